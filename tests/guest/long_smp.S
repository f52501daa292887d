/* SPDX-License-Identifier: MIT */
/* A second CPU started by INIT and SIPI: real mode first, then a hand-over of a counter, an IPI. */
#include "guest64.h"
#define AP_CODE 0x8000
#define BALL 0x20100			/* even: CPU 0's turn; odd: CPU 1's */
start:	GATE	0x50, on_50
	SETUP
	lea	ap(%rip), %rsi
	mov	$AP_CODE, %edi
	mov	$ap_end-ap, %ecx
	rep movsb
	APIC_SET APIC_ICR_HI, 0x01000000
	APIC_SET APIC_ICR, 0x4500	/* INIT to CPU 1 */
	APIC_SET APIC_ICR_HI, 0x01000000
	APIC_SET APIC_ICR, 0x4608	/* start at 0800:0000 */
	mov	$100, %ebx
1:	incl	BALL			/* to CPU 1 */
2:	pause
	testl	$1, BALL
	jnz	2b
	dec	%ebx
	jnz	1b
	cmpl	$200, BALL
	CHECK	e, 2
	cmpl	$1, RESULT		/* its APIC ID, by CPUID */
	CHECK	e, 3
	WAIT_FOR got, 1
	xor	%edx, %edx
	EXIT	1
on_50:	push	%rax
	push	%rdx
	incl	got(%rip)
	APIC_SET APIC_EOI, 0
	pop	%rdx
	pop	%rax
	iretq
got:	.long	0
	IDTR
	.code16
ap:	cli
	mov	$0x2000, %ax
	mov	%ax, %ds
	mov	$1, %eax
	cpuid
	shr	$24, %ebx
	mov	%ebx, 0
	mov	$100, %cx
3:	pause
	testb	$1, 0x100
	jz	3b
	lock incl 0x100
	loop	3b
	/* big real mode is not needed: reach the APIC through protected mode */
	lgdtl	%cs:ap_gdtr-ap
	mov	$1, %eax
	mov	%eax, %cr0
	ljmpl	$8, $AP_CODE+ap32-ap
ap_gdtr: .word	31
	.long	0x1000
	.code32
ap32:	mov	$16, %eax
	mov	%eax, %ds
	movl	$0x1ff, APIC_SVR
	movl	$0, APIC_ICR_HI
	movl	$0x4050, APIC_ICR
4:	cli
	hlt
	jmp	4b
ap_end:
