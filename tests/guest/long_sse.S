/* SPDX-License-Identifier: MIT */
/* 64-bit mode: SSE2 and x87 arithmetic. */
#include "guest.h"
	.code64
start:	fninit
	mov	$RESULT, %edi
	mov	$3, %eax
	cvtsi2sd %eax, %xmm0
	mov	$7, %eax
	cvtsi2sd %eax, %xmm1
	divsd	%xmm1, %xmm0
	movsd	%xmm0, (%rdi)
	sqrtsd	%xmm1, %xmm2
	movsd	%xmm2, 8(%rdi)
	movdqu	start(%rip), %xmm3
	paddd	%xmm3, %xmm3
	pshufd	$0x1b, %xmm3, %xmm4
	movdqu	%xmm4, 16(%rdi)
	fldpi
	fld1
	faddp
	fsqrt
	fstpt	32(%rdi)
	cvttsd2si %xmm2, %rax
	cmp	$2, %rax
	CHECK	e, 2
	EXIT	1
