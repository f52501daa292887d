/* SPDX-License-Identifier: MIT */
/*
 * 64-bit mode, ring 3: SYSCALL and SYSRET, INT n with a stack from the TSS,
 * #GP and #PF from user code, SWAPGS.
 */
#include "guest64.h"
#define TSS 0x41000
#define KSTACK 0x48000
#define USTACK 0x4c000
#define GDT2 0x42000
start:	GATE	0x0d, on_gp
	GATE	0x0e, on_pf
	GATE	0x80, on_80
	movw	$0xee00, IDT + 0x80 * 16 + 4	/* DPL 3 */
	SETUP
	/* GDT: as before, then for ring 3: 0x23 32-bit code, 0x2b data, 0x33 64-bit code; TSS */
	mov	$0x1000, %esi
	mov	$GDT2, %edi
	mov	$4, %ecx
	rep movsq
	mov	$0x00cffb000000ffff, %rax
	stosq
	mov	$0x00cff3000000ffff, %rax
	stosq
	mov	$0x00affb000000ffff, %rax
	stosq
	mov	$0x0000890410000067, %rax	/* TSS at 0x41000 */
	stosq
	xor	%eax, %eax
	stosq
	lgdt	gdtr(%rip)
	movq	$KSTACK, TSS + 4
	mov	$0x38, %eax
	ltr	%ax
	/* user access to 0-2 MiB (program, stacks); the kernel's window stays supervisor: 2-4 MiB */
	orq	$4, 0x2000
	orq	$4, 0x3000
	orq	$4, 0x4000
	mov	%cr3, %rax
	mov	%rax, %cr3
	mov	$0xc0000081, %ecx
	xor	%eax, %eax
	mov	$0x00230018, %edx		/* SYSRET: CS 0x33, SS 0x2b */
	wrmsr
	mov	$0xc0000082, %ecx
	lea	on_syscall(%rip), %rax
	xor	%edx, %edx
	wrmsr
	mov	$0xc0000084, %ecx
	mov	$0x200, %eax
	wrmsr
	mov	$0xc0000080, %ecx
	rdmsr
	or	$1, %eax
	wrmsr
	mov	$0xc0000102, %ecx		/* kernel GS */
	mov	$0x7000, %eax
	xor	%edx, %edx
	wrmsr
	mov	$RESULT, %r15d
	push	$0x2b
	push	$USTACK
	push	$0x202
	push	$0x33
	lea	user(%rip), %rax
	push	%rax
	iretq

user:	mov	%cs, %eax
	mov	%eax, (%r15)
	mov	%ss, %eax
	mov	%eax, 4(%r15)
	mov	$0x1111, %edi
	syscall
back1:	mov	%eax, 8(%r15)
	mov	%cs, %eax
	mov	%eax, 12(%r15)
	mov	%ss, %eax
	mov	%eax, 16(%r15)
	int	$0x80
	mov	%eax, 20(%r15)
	cli					/* #GP(0) */
after_gp: mov	0x200000, %eax			/* #PF: present, user */
after_pf: mov	%eax, 24(%r15)
	movl	$1, 0x200000			/* #PF: present, user, write */
after_pf2: mov	$0x2222, %edi
	syscall
	ud2

on_syscall: cmp	$0x2222, %edi
	je	done
	lea	back1(%rip), %rax
	cmp	%rax, %rcx
	CHECK	e, 2
	bt	$9, %r11
	CHECK	c, 3
	pushfq
	popq	%rax
	bt	$9, %rax			/* masked by SFMASK */
	CHECK	nc, 4
	mov	%cs, %eax
	cmp	$24, %eax
	CHECK	e, 5
	mov	%gs:0, %r8d
	swapgs
	mov	%gs:0x100, %r9d
	swapgs
	mov	$0x600d, %eax
	sysretq

on_80:	lea	40(%rsp), %rax			/* five words below the TSS's stack */
	cmp	$KSTACK, %rax
	CHECK	e, 6
	cmpq	$0x33, 8(%rsp)
	CHECK	e, 7
	cmpq	$USTACK, 24(%rsp)
	CHECK	e, 8
	cmpq	$0x2b, 32(%rsp)
	CHECK	e, 9
	mov	$0x8080, %eax
	iretq

on_gp:	cmpq	$0, (%rsp)
	CHECK	e, 10
	lea	after_gp(%rip), %rax
	add	$8, %rsp
	mov	%rax, (%rsp)
	iretq

on_pf:	pop	%rax				/* the error code, kept */
	cmp	$5, %eax
	je	1f
	cmp	$7, %eax
	CHECK	e, 11
	mov	%cr2, %rax
	cmp	$0x200000, %rax
	CHECK	e, 12
	lea	after_pf2(%rip), %rdx
	mov	%rdx, (%rsp)
	iretq
1:	lea	after_pf(%rip), %rdx
	mov	%rdx, (%rsp)
	iretq

done:	mov	$KSTACK, %esp
	cmpl	$0x600d, RESULT + 8
	CHECK	e, 13
	cmpl	$0x33, RESULT + 12
	CHECK	e, 14
	cmpl	$0x2b, RESULT + 16
	CHECK	e, 15
	cmpl	$0x8080, RESULT + 20
	CHECK	e, 16
	cmpl	$5, RESULT + 24
	CHECK	e, 17
	EXIT	1
gdtr:	.word	9 * 8 - 1
	.quad	GDT2
	IDTR
