/* SPDX-License-Identifier: MIT */
/*
 * 64-bit mode: #PF with CR2 and error code for absent, read-only and reserved
 * pages; remapping with INVLPG; accessed and dirty bits.
 */
#include "guest.h"
	.code64
#define PT	0x100000
#define VIRT	0x40000000		/* second gigabyte, our own tables */
start:	lea	on_pf(%rip), %rax
	mov	$0x10000+idt-start, %edi
	mov	%ax, 14*16(%rdi)
	movw	$24, 14*16+2(%rdi)
	movw	$0x8e00, 14*16+4(%rdi)
	shr	$16, %rax
	mov	%ax, 14*16+6(%rdi)
	lidt	idtr(%rip)
	mov	$RESULT, %edi
	movq	$PT+0x1003, 0x3008	/* PDPT[1] -> PD -> PT */
	movq	$PT+0x2003, PT+0x1000
	mov	$0xc0000080, %ecx	/* NXE */
	rdmsr
	bts	$11, %eax
	wrmsr
	mov	%cr0, %rax		/* WP */
	bts	$16, %rax
	mov	%rax, %cr0

	mov	$VIRT, %ebx
	call	touch_r			/* absent */
	call	touch_w
	movq	$0x110001, PT+0x2000	/* present, read-only */
	invlpg	(%rbx)
	call	touch_r
	call	touch_w
	movq	$0x110003, PT+0x2000
	invlpg	(%rbx)
	movq	$0x1234, 0x110000
	call	touch_r
	call	touch_w
	mov	PT+0x2000, %rax		/* A and D */
	stosq
	movq	$0x111003, PT+0x2000	/* another page behind the same address */
	movq	$0x9876, 0x111000
	invlpg	(%rbx)
	call	touch_r
	mov	PT+0x2000, %rax		/* A only */
	and	$0x60, %eax
	stosq
	btsq	$63, PT+0x2000		/* no-execute */
	invlpg	(%rbx)
	movb	$0xc3, 0x111000		/* ret */
	lea	1f(%rip), %r15
	call	*%rbx
1:	mov	$0x2000000000, %rbx	/* PML4 entry 0 has no such PDPT entry */
	call	touch_r
	mov	%cr2, %rax
	cmp	%rbx, %rax
	CHECK	e, 2
	xor	%ecx, %ecx
	EXIT	1

touch_r: lea	2f(%rip), %r15
	xor	%eax, %eax
	mov	(%rbx), %rax
2:	stosq
	ret
touch_w: lea	3f(%rip), %r15
	movq	$0x55, 8(%rbx)
	mov	$0x77, %eax
3:	stosq
	ret
/* error code, cr2 to the window; the handler continues at R15. */
on_pf:	pop	%rax
	stosq
	mov	%cr2, %rax
	stosq
	mov	$0xbad, %eax
	cmpq	$VIRT, (%rsp)		/* fetch fault: drop the return address */
	jne	4f
	addq	$8, 24(%rsp)
4:	mov	%r15, (%rsp)
	iretq
	.balign	16
idtr:	.word	32*16-1
	.quad	0x10000+idt-start
	.balign	16
idt:	.skip	32*16
