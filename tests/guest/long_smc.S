/* SPDX-License-Identifier: MIT */
/* 64-bit mode: self-modifying code: an immediate patched in a loop, code copied and replaced. */
#include "guest.h"
	.code64
start:	xor	%ebx, %ebx
	mov	$200, %ecx
	lea	patch+1(%rip), %rsi
1:	mov	%cl, (%rsi)
	jmp	patch
patch:	mov	$0, %eax
	add	%rax, %rbx
	loop	1b
	cmp	$20100, %rbx
	CHECK	e, 2
	/* the next instruction, changed by the one before it */
	movb	$0xc3, 2f+1(%rip)
	jmp	2f
2:	.byte	0xff, 0xc0		/* inc %eax -> inc %ebx */
	cmp	$20101, %rbx
	CHECK	e, 3
	/* a function copied over another, called in between */
	mov	$0x30000, %edi
	lea	f1(%rip), %rsi
	mov	$f1end-f1, %ecx
	rep movsb
	mov	$0x30000, %r8d
	call	*%r8
	mov	%rax, RESULT
	mov	$0x30000, %edi
	lea	f2(%rip), %rsi
	mov	$f2end-f2, %ecx
	rep movsb
	call	*%r8
	mov	%rax, RESULT+8
	cmpl	$1111, RESULT
	CHECK	e, 4
	cmpl	$2222, RESULT+8
	CHECK	e, 5
	EXIT	1
f1:	mov	$1111, %eax
	ret
f1end:
f2:	mov	$1, %eax
	mov	$2222, %eax
	ret
f2end:
