/* SPDX-License-Identifier: MIT */
/* Interrupts to oneself: xAPIC shorthand, blocked by CR8, by priority; MSI; x2APIC. */
#include "guest64.h"
start:	GATE	0x50, on_50
	GATE	0x60, on_60
	GATE	0x70, on_70
	SETUP
	mov	$RESULT, %edi
	APIC_SET APIC_ICR, 0x40050	/* self */
	WINDOW	order, 1
	cmpl	$1, order(%rip)
	CHECK	e, 2
	/* held back by the task priority */
	mov	$5, %eax
	mov	%rax, %cr8
	APIC_SET APIC_ICR, 0x40050
	WINDOW	order, 2
	cmpl	$1, order(%rip)
	CHECK	e, 3
	xor	%eax, %eax
	mov	%rax, %cr8
	WINDOW	order, 2
	cmpl	$2, order(%rip)
	CHECK	e, 4
	/* both pending: the higher vector first */
	APIC_SET APIC_ICR, 0x40050
	APIC_SET APIC_ICR, 0x40060
	WINDOW	order, 4
	cmpl	$4, order(%rip)
	CHECK	e, 5
	/* a message as a device sends it */
	mov	$0xf8, %edx
	mov	$0x70, %eax
	out	%eax, (%dx)
	WINDOW	order, 5
	cmpl	$5, order(%rip)
	CHECK	e, 6
	/* x2APIC */
	mov	$0x1b, %ecx
	rdmsr
	bts	$10, %eax
	wrmsr
	movl	$1, x2(%rip)
	mov	$0x802, %ecx
	rdmsr
	stosl
	mov	$0x83f, %ecx
	mov	$0x60, %eax
	xor	%edx, %edx
	wrmsr
	WINDOW	order, 6
	cmpl	$6, order(%rip)
	CHECK	e, 7
	xor	%ecx, %ecx
	xor	%edx, %edx
	EXIT	1
on_50:	push	%rax
	mov	$0x50, %eax
	jmp	common
on_60:	push	%rax
	mov	$0x60, %eax
	jmp	common
on_70:	push	%rax
	mov	$0x70, %eax
common:	push	%rdx
	push	%rcx
	stosl
	incl	order(%rip)
	xor	%eax, %eax
	xor	%edx, %edx
	cmpl	$0, x2(%rip)
	jne	1f
	mov	$APIC_EOI, %ecx
	mov	%eax, (%rcx)
	jmp	2f
1:	mov	$0x80b, %ecx
	wrmsr
2:	pop	%rcx
	pop	%rdx
	pop	%rax
	iretq
order:	.long	0
x2:	.long	0
	IDTR
