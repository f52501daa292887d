/* SPDX-License-Identifier: MIT */
/* 64-bit mode: integer work on wide registers: a checksum over memory, shifts, bit scans, CMOV. */
#include "guest.h"
	.code64
start:	mov	$0x9e3779b97f4a7c15, %rbx
	mov	$0x2545f4914f6cdd1d, %rdx
	mov	$RESULT, %edi
	mov	$1000, %ecx
1:	mov	%rbx, %rax
	shr	$12, %rax
	xor	%rax, %rbx
	mov	%rbx, %rax
	shl	$25, %rax
	xor	%rax, %rbx
	mov	%rbx, %rax
	shr	$27, %rax
	xor	%rax, %rbx
	mov	%rbx, %rax
	imul	%rdx, %rax
	mov	%rax, (%rdi)
	bsf	%rax, %r8
	bsr	%rax, %r9
	lea	(%r8,%r9,4), %r10
	mov	%r10d, 8(%rdi)
	shld	$13, %rbx, %rax
	mov	%eax, 12(%rdi)
	cmp	%rax, %rbx
	cmovb	%rax, %r11
	setg	%r12b
	movslq	%eax, %r13
	bt	$33, %rbx
	adc	$0, %r14
	xadd	%r13, %r15
	bswap	%rax
	rol	%cl, %rax
	xor	%rax, %r11
	add	$16, %rdi
	dec	%ecx
	jnz	1b
	/* 128-bit product and its division back */
	mov	$0xfedcba9876543210, %rax
	mov	%rdx, %rcx
	mul	%rcx
	mov	%rax, RESULT+0x8000
	mov	%rdx, RESULT+0x8008
	div	%rcx
	mov	$0xfedcba9876543210, %r8
	cmp	%r8, %rax
	CHECK	e, 2
	test	%rdx, %rdx
	CHECK	z, 3
	lock cmpxchg %rbx, RESULT+0x8010
	lock xadd %rbx, RESULT+0x8018
	xchg	%rbx, RESULT+0x8010
	EXIT	1
