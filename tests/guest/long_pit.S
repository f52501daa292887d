/* SPDX-License-Identifier: MIT */
/* Timer interrupts of the 8254 through the 8259 pair and LINT0 as ExtINT. */
#include "guest64.h"
start:	GATE	0x20, on_tick
	GATE	0x2b, on_line
	SETUP
	APIC_SET APIC_LVT0, 0x700
	/* 8259 pair: edge, cascade on 2, vectors 0x20 and 0x28 */
	mov	$0x11, %al
	out	%al, $0x20
	out	%al, $0xa0
	mov	$0x20, %al
	out	%al, $0x21
	mov	$0x28, %al
	out	%al, $0xa1
	mov	$4, %al
	out	%al, $0x21
	mov	$2, %al
	out	%al, $0xa1
	mov	$1, %al
	out	%al, $0x21
	out	%al, $0xa1
	mov	$0xfe, %al
	out	%al, $0x21
	mov	$0xff, %al
	out	%al, $0xa1
	/* channel 0: mode 2, 1 ms */
	mov	$0x34, %al
	out	%al, $0x43
	mov	$0xa9, %al
	out	%al, $0x40
	mov	$0x04, %al
	out	%al, $0x40
	WAIT_FOR ticks, 5
	/* the cascade: IRQ 11 is vector 0x2b */
	mov	$0xf7, %al
	out	%al, $0xa1
	mov	$0xfb, %al
	out	%al, $0x21
	mov	$1, %al
	out	%al, $0xf5
	WAIT_FOR lines, 1
	in	$0xf6, %al
	test	%al, %al
	CHECK	z, 2
	xor	%edx, %edx
	EXIT	1
on_tick: push	%rax
	incl	ticks(%rip)
	cmpl	$5, ticks(%rip)
	jb	1f
	mov	$0xff, %al
	out	%al, $0x21
1:	mov	$0x20, %al
	out	%al, $0x20
	pop	%rax
	iretq
on_line: push	%rax
	incl	lines(%rip)
	out	%al, $0xf6
	mov	$0x20, %al
	out	%al, $0xa0
	out	%al, $0x20
	pop	%rax
	iretq
ticks:	.long	0
lines:	.long	0
	IDTR
