/* SPDX-License-Identifier: MIT */
/* Local APIC timer: periodic, one-shot, TSC deadline. */
#include "guest64.h"
start:	GATE	0x40, on_timer
	SETUP
	APIC_SET APIC_TIMER_DIV, 0xb
	APIC_SET APIC_LVT_TIMER, 0x20040
	APIC_SET APIC_TIMER_INIT, 100000
	WAIT_FOR ticks, 5
	APIC_SET APIC_TIMER_INIT, 0
	APIC_SET APIC_LVT_TIMER, 0x40
	sti
	nop
	cli				/* one that was on its way */
	movl	$0, ticks(%rip)
	APIC_SET APIC_TIMER_INIT, 50000
	WAIT_FOR ticks, 1
	mov	$1, %eax
	cpuid
	bt	$24, %ecx
	CHECK	c, 2
	APIC_SET APIC_LVT_TIMER, 0x40040
	mfence
	movl	$0, ticks(%rip)
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	add	$1000000, %rax
	mov	%rax, %rbx
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$0x6e0, %ecx
	wrmsr
	WAIT_FOR ticks, 1
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	cmp	%rbx, %rax		/* not early */
	CHECK	ae, 3
	mov	$0x6e0, %ecx
	rdmsr
	or	%edx, %eax
	CHECK	z, 4
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	EXIT	1
on_timer: push	%rax
	push	%rdx
	incl	ticks(%rip)
	APIC_SET APIC_EOI, 0
	pop	%rdx
	pop	%rax
	iretq
ticks:	.long	0
	IDTR
