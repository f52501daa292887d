/* SPDX-License-Identifier: MIT */
/* 64-bit mode: CMPXCHG16B, INT3 and its handler, POPCNT. */
#include "guest.h"
	.code64
start:	lea	on_bp(%rip), %rax
	mov	$0x10000+idt-start, %edi
	mov	%ax, 3*16(%rdi)
	movw	$24, 3*16+2(%rdi)
	movw	$0x8e00, 3*16+4(%rdi)
	shr	$16, %rax
	mov	%ax, 3*16+6(%rdi)
	lidt	idtr(%rip)
	xor	%ebx, %ebx
	int3
	cmp	$1, %ebx
	CHECK	e, 2
	xor	%eax, %eax
	xor	%edx, %edx
	mov	$5, %ebx
	mov	$6, %ecx
	lock cmpxchg16b RESULT
	CHECK	z, 3
	mov	$0xf0f0, %esi
	popcnt	%esi, %esi
	cmp	$8, %esi
	CHECK	e, 4
	EXIT	1
on_bp:	inc	%ebx
	iretq
	.balign	16
idtr:	.word	32*16-1
	.quad	0x10000+idt-start
	.balign	16
idt:	.skip	32*16
