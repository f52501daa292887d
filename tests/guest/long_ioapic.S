/* SPDX-License-Identifier: MIT */
/* IOAPIC: a level-triggered line interrupts until its cause is gone; an edge does once. */
#include "guest64.h"
#define IOAPIC 0xfec00000
.macro IOAPIC_SET reg, val
	mov	$IOAPIC, %edx
	movl	$\reg, (%rdx)
	mov	$\val, %eax
	mov	%eax, 0x10(%rdx)
.endm
start:	GATE	0x61, on_level
	GATE	0x62, on_edge
	SETUP
	IOAPIC_SET 0x10+2*11+1, 0
	IOAPIC_SET 0x10+2*11, 0x8061	/* level, high, fixed, CPU 0 */
	mov	$3, %al
	out	%al, $0xf5
	WAIT_FOR count, 3
	in	$0xf6, %al
	test	%al, %al
	CHECK	z, 2
	/* remote IRR is clear again: the EOI message takes its time, so a bounded wait */
	mov	$IOAPIC, %edx
	movl	$0x10+2*11, (%rdx)
	mov	$20000, %ecx
2:	mov	0x10(%rdx), %eax
	cmp	$0x8061, %eax
	je	3f
	dec	%ecx
	jnz	2b
3:	cmp	$0x8061, %eax
	CHECK	e, 3
	/* the same once more: the first EOI was not a single stroke of luck */
	mov	$2, %al
	out	%al, $0xf5
	WAIT_FOR count, 5
	/* edge: one interrupt for one rise, whatever the level does then */
	IOAPIC_SET 0x10+2*11, 0x0062
	mov	$2, %al
	out	%al, $0xf5
	WAIT_FOR edges, 1
	WINDOW	edges, 2
	cmpl	$1, edges(%rip)
	CHECK	e, 4
	out	%al, $0xf6
	out	%al, $0xf6
	mov	$1, %al
	out	%al, $0xf5
	WAIT_FOR edges, 2
	/* masked: nothing */
	out	%al, $0xf6
	IOAPIC_SET 0x10+2*11, 0x18061
	mov	$1, %al
	out	%al, $0xf5
	WINDOW	count, 6
	cmpl	$5, count(%rip)
	CHECK	e, 5
	xor	%ecx, %ecx
	xor	%edx, %edx
	EXIT	1
on_level: push	%rax
	push	%rdx
	incl	count(%rip)
	out	%al, $0xf6
	jmp	1f
on_edge: push	%rax
	push	%rdx
	incl	edges(%rip)
1:	APIC_SET APIC_EOI, 0
	pop	%rdx
	pop	%rax
	iretq
count:	.long	0
edges:	.long	0
	IDTR
