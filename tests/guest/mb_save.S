/* SPDX-License-Identifier: MIT */
/*
 * A multiboot kernel whose end state does not depend on when it is stopped
 * and continued: 40 rounds of integer, x87 and SSE arithmetic over 4 MiB,
 * bytes on COM1, CMOS and VGA text memory, with timer interrupts all the time
 * and a HLT for two ticks after each round.  Everything that time touches lies
 * in the page at 0x7000 (stack, tick counter).  Leaves by port 0xf4 with 1.
 */
#define TICKS 0x7000
#define STACK 0x8000
#define SUM 0x20000
#define BUF 0x400000
#define BUF_WORDS 0x100000
#define IDT 0x30000
#define COM1 0x3f8
	.code32
start:	jmp	go
	.balign	4
mb:	.long	0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
	.long	mb, start, end, end, start
	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	.word	23
	.long	gdt
idtr:	.word	0x21 * 8 - 1
	.long	IDT
	/* PUT PORT, VALUE */
	.macro	PUT p, v
	mov	$\p, %dx
	mov	$\v, %al
	out	%al, %dx
	.endm
go:	cli
	mov	$STACK, %esp
	lgdt	gdtr
	ljmp	$8, $1f
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	/* SSE on */
	mov	%cr0, %eax
	and	$~4, %eax
	or	$2, %eax
	mov	%eax, %cr0
	mov	%cr4, %eax
	or	$0x600, %eax
	mov	%eax, %cr4
	/* gate 0x20 */
	mov	$tick, %eax
	mov	%ax, IDT + 0x20 * 8
	movw	$8, IDT + 0x20 * 8 + 2
	movw	$0x8e00, IDT + 0x20 * 8 + 4
	shr	$16, %eax
	mov	%ax, IDT + 0x20 * 8 + 6
	lidt	idtr
	/* 8259 pair: vectors 0x20, 0x28; IRQ 0 only.  8254 channel 0: mode 2, 500 Hz */
	PUT	0x20, 0x11
	PUT	0xa0, 0x11
	PUT	0x21, 0x20
	PUT	0xa1, 0x28
	PUT	0x21, 4
	PUT	0xa1, 2
	PUT	0x21, 1
	PUT	0xa1, 1
	PUT	0x21, 0xfe
	PUT	0xa1, 0xff
	PUT	0x43, 0x34
	PUT	0x40, 0x52
	PUT	0x40, 0x09
	/* COM1: 115200 8N1, FIFO */
	PUT	COM1 + 3, 0x80
	PUT	COM1, 1
	PUT	COM1 + 1, 0
	PUT	COM1 + 3, 3
	PUT	COM1 + 2, 7
	movl	$0, TICKS
	fninit
	fldpi
	mov	$0x12345678, %ebx	/* xorshift */
	xor	%esi, %esi		/* round */
	sti
round:	mov	$60000, %ecx
2:	mov	%ebx, %eax
	shl	$13, %eax
	xor	%eax, %ebx
	mov	%ebx, %eax
	shr	$17, %eax
	xor	%eax, %ebx
	mov	%ebx, %eax
	shl	$5, %eax
	xor	%eax, %ebx
	mov	%ebx, %edi
	and	$(BUF_WORDS - 4), %edi
	add	%ebx, BUF(, %edi, 4)
	movups	BUF(, %edi, 4), %xmm0
	paddd	%xmm0, %xmm1
	movups	%xmm1, BUF(, %edi, 4)
	test	$255, %cl
	jnz	3f
	fld	%st(0)
	fsqrt
	fld1
	faddp
	fmulp
	fsqrt
3:	dec	%ecx
	jnz	2b
	/* the round's byte on COM1 */
	mov	$COM1 + 5, %dx
4:	in	%dx, %al
	test	$0x20, %al
	jz	4b
	mov	%ebx, %eax
	and	$15, %al
	add	$'a', %al
	mov	$COM1, %dx
	out	%al, %dx
	mov	%ax, 0xb8000(, %esi, 2)
	/* CMOS 0x40 adds up */
	cli
	mov	$0x40, %al
	out	%al, $0x70
	in	$0x71, %al
	add	%bl, %al
	mov	%al, %ah
	mov	$0x40, %al
	out	%al, $0x70
	mov	%ah, %al
	out	%al, $0x71
	sti
	/* two ticks from now */
	mov	TICKS, %ebp
	add	$2, %ebp
5:	cli
	cmp	%ebp, TICKS
	jns	6f
	sti
	hlt
	jmp	5b
6:	sti
	inc	%esi
	cmp	$40, %esi
	jb	round
	cli
	mov	%ebx, SUM
	fstpt	SUM + 16
	movups	%xmm1, SUM + 32
	mov	$0x40, %al
	out	%al, $0x70
	in	$0x71, %al
	mov	%al, SUM + 4
	xor	%ebp, %ebp
	mov	$1, %al
	mov	$0xf4, %dx
	out	%al, %dx
7:	hlt
	jmp	7b
tick:	incl	TICKS
	push	%eax
	mov	$0x20, %al
	out	%al, $0x20
	pop	%eax
	iret
	.balign	4
end:
