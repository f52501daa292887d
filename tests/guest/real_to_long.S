/* SPDX-License-Identifier: MIT */
/* From real mode through 32-bit protected mode and PAE to 64-bit mode, and back out to 32-bit. */
#include "guest.h"
	.code16
start:	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	gdtr
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmp	$8, $prot
	.code32
prot:	mov	$16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x9000, %esp
	movl	$0x32337470, RESULT
	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	$0x2000, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	bts	$8, %eax
	wrmsr
	mov	%cr0, %eax
	bts	$31, %eax
	mov	%eax, %cr0
	/* compatibility mode here: LMA on, CS.L off */
	rdmsr
	bt	$10, %eax
	CHECK	c, 2
	ljmp	$24, $long
	.code64
long:	movabs	$0x1122334455667788, %rax
	mov	%rax, RESULT+8
	lea	here(%rip), %rbx
here:	mov	%rbx, RESULT+16
	mov	%rax, %r9
	add	%r9, %r9
	push	%r9
	pop	%r10
	mov	$0xffffffff80000000, %r11
	mov	%r11d, %r12d
	mov	%r12, RESULT+24
	ljmpl	*back
	.code32
back:	.long	compat
	.word	8
compat:	mov	$0x55, %al
	mov	%al, RESULT+32
	ljmp	$24, $fin
	.code64
fin:	EXIT	1
	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdtr:	.word	31
	.long	gdt
