/* SPDX-License-Identifier: MIT */
/*
 * 32-bit protected mode: hardware task switches (SDM vol. 3, chapter 8) by
 * JMP, CALL with return by IRET, and through a task gate for #UD; virtual-8086
 * mode entered by IRET and left by #GP.
 */
#include "guest.h"
	.code32
#define TSS0 0x41000
#define TSS1 0x41100
#define TSS2 0x41200
#define IDT 0x40000
#define GDT2 0x42000
.macro TSSDESC at, tss
	movw	$0x67, GDT2+\at
	movw	$(\tss & 0xffff), GDT2+\at+2
	movb	$(\tss >> 16), GDT2+\at+4
	movb	$0x89, GDT2+\at+5
.endm
start:	cld
	mov	$0x1000, %esi
	mov	$GDT2, %edi
	mov	$8, %ecx
	rep movsl
	TSSDESC	0x20, TSS0
	TSSDESC	0x28, TSS1
	TSSDESC	0x30, TSS2
	lgdt	gdtr
	lidt	idtr
	mov	$0x20, %eax
	ltr	%ax
	/* task 1: adds 5 to EBX of the window, returns by JMP */
	mov	$TSS1, %edi
	movl	$task1, 0x20(%edi)
	call	fill
	mov	$0x1234, %ebx
	movw	$0x5555, %bp
	ljmp	$0x28, $0
	cmpl	$0x1234, %ebx		/* our registers came back */
	CHECK	e, 2
	cmpl	$1, RESULT
	CHECK	e, 3
	testb	$2, GDT2+0x20+5		/* we are busy, it is not */
	CHECK	nz, 4
	testb	$2, GDT2+0x28+5
	CHECK	z, 5
	str	%ax
	cmp	$0x20, %ax
	CHECK	e, 6
	/* nested by CALL: back link, NT, return by IRET; then it goes on after its IRET */
	lcall	$0x28, $0
	cmpl	$2, RESULT
	CHECK	e, 7
	cmpw	$0x20, TSS1
	CHECK	e, 8
	mov	%cr0, %eax
	test	$8, %al			/* TS */
	CHECK	nz, 9
	clts
	/* #UD through a task gate */
	movw	$0x30, IDT+6*8+2
	movw	$0x8500, IDT+6*8+4
	mov	$TSS2, %edi
	movl	$task2, 0x20(%edi)
	call	fill
	ud2
	cmpl	$0x0600, RESULT+4
	CHECK	e, 10
	clts
	/* #GP handler for virtual-8086 mode, stack 16:0x48000 */
	movl	$0x48000, TSS0+4
	movl	$16, TSS0+8
	movw	$0x68, TSS0+0x66
	movw	$(on_gp - start), IDT+13*8
	movw	$8, IDT+13*8+2
	movw	$0x8e00, IDT+13*8+4
	movw	$1, IDT+13*8+6
	mov	%esp, saved
	mov	$v86code, %esi
	mov	$0x30000, %edi
	mov	$v86end-v86code, %ecx
	rep movsb
	push	$0			/* GS FS DS ES */
	push	$0
	push	$0x2000
	push	$0
	push	$0x3000			/* SS:ESP */
	push	$0x800
	push	$0x23002		/* VM, IOPL 3 */
	push	$0x3000
	push	$0
	iret
v86code: .code16
	movw	$0x8686, 0x10		/* DS 2000 */
	pushf
	popw	0x12
	mov	%cs, 0x14
	hlt				/* privileged: #GP(0) */
v86end:	.code32
on_gp:	cmpl	$0, (%esp)
	CHECK	e, 11
	testb	$2, 14(%esp)		/* VM in the EFLAGS image */
	CHECK	nz, 12
	cmpl	$0x3000, 8(%esp)
	CHECK	e, 13
	mov	%ds, %eax		/* data segments were cleared */
	test	%eax, %eax
	CHECK	z, 14
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	cmpw	$0x8686, RESULT+0x10
	CHECK	e, 15
	cmpw	$0x3000, RESULT+0x14
	CHECK	e, 16
	mov	saved, %esp
	EXIT	1

task1:	incl	RESULT
	ljmp	$0x20, $0
	incl	RESULT			/* second time: by CALL */
	iret
task2:	mov	%cs, %eax
	shl	$8, %eax
	sub	$0x200, %eax
	mov	%eax, RESULT+4
	mov	TSS0+0x20, %eax		/* past the UD2 */
	addl	$2, TSS0+0x20
	iret

/* TSS at EDI: flat segments, a stack of its own, our page tables (none). */
fill:	movl	$2, 0x24(%edi)
	lea	0x6000(%edi), %eax
	mov	%eax, 0x38(%edi)
	movl	$16, 0x48(%edi)
	movl	$8, 0x4c(%edi)
	movl	$16, 0x50(%edi)
	movl	$16, 0x54(%edi)
	movl	$16, 0x58(%edi)
	movl	$16, 0x5c(%edi)
	ret
saved:	.long	0
gdtr:	.word	0x37
	.long	GDT2
idtr:	.word	0x7f
	.long	IDT
