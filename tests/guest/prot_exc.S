/* SPDX-License-Identifier: MIT */
/*
 * Protected mode: #DE, #UD, #GP, #NP and #SS with vector, error code and EIP
 * recorded, resumed behind the faulting instruction.
 */
#include "guest.h"
	.code32
.macro ENTRY n, has_code
exc\n:	.if \has_code == 0
	push	$0
	.endif
	push	$\n
	jmp	common
.endm
.macro TRY insn:vararg
	movl	$99f, resume
98:	\insn
99:
.endm
start:	mov	$idt, %edi
	mov	$table, %esi
	mov	$20, %ecx
1:	lodsl
	mov	%ax, (%edi)
	movw	$8, 2(%edi)
	movw	$0x8e00, 4(%edi)
	shr	$16, %eax
	mov	%ax, 6(%edi)
	add	$8, %edi
	loop	1b
	lidt	idtr
	lgdt	gdtr
	mov	$RESULT, %edi
	xor	%edx, %edx
	xor	%ebx, %ebx
	mov	$7, %eax
	TRY	div %ebx
	TRY	ud2
	mov	$0x3b, %eax		/* beyond the table */
	TRY	mov %ax, %fs
	mov	$0x20, %eax		/* not present, data */
	TRY	mov %ax, %gs
	mov	$0x20, %eax
	TRY	mov %ax, %ss
	xor	%eax, %eax
	TRY	mov %ax, %ss		/* null stack selector: #GP(0) */
	mov	$0x28, %eax		/* limit 0xfff */
	mov	%eax, %fs
	TRY	mov %fs:0x1000, %eax
	TRY	mov %fs:0xffd, %eax
	TRY	mov %eax, %cs:RESULT	/* code is read-only */
	mov	$0xdead, %ecx
	TRY	rdmsr
	mov	$80000001, %eax
	mov	$0x80000001, %eax	/* PG without PE */
	and	$~1, %eax
	TRY	mov %eax, %cr0
	cmpl	$RESULT+11*16, %edi
	CHECK	e, 2
	mov	%edi, count
	EXIT	1
	.balign	4
common:	/* vector, code, eip, cs, eflags */
	pop	%eax
	stosl
	pop	%eax
	stosl
	mov	(%esp), %eax
	sub	$start, %eax
	stosl
	mov	8(%esp), %eax
	and	$0x3f02, %eax
	stosl
	/* not IRET: interpreted KVM lacks the 32-bit one */
	add	$8, %esp
	popfl
	jmp	*resume
	ENTRY	0, 0
	ENTRY	1, 0
	ENTRY	2, 0
	ENTRY	3, 0
	ENTRY	4, 0
	ENTRY	5, 0
	ENTRY	6, 0
	ENTRY	7, 0
	ENTRY	8, 1
	ENTRY	9, 0
	ENTRY	10, 1
	ENTRY	11, 1
	ENTRY	12, 1
	ENTRY	13, 1
	ENTRY	14, 1
	ENTRY	15, 0
	ENTRY	16, 0
	ENTRY	17, 1
	ENTRY	18, 0
	ENTRY	19, 0
table:	.long	exc0, exc1, exc2, exc3, exc4, exc5, exc6, exc7, exc8, exc9
	.long	exc10, exc11, exc12, exc13, exc14, exc15, exc16, exc17, exc18, exc19
resume:	.long	0
count:	.long	0
	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0
	.quad	0x00cf13000000ffff	/* 0x20: not present */
	.quad	0x0040930000000fff	/* 0x28: limit 0xfff */
gdtr:	.word	47
	.long	gdt
idtr:	.word	20*8-1
	.long	idt
	.balign	8
idt:	.skip	20*8
