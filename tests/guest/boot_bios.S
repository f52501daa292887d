/* SPDX-License-Identifier: MIT */
/*
 * A program of the kind DOS ran: it lives on the BIOS.  Disk by INT 13h (LBA
 * and CHS), memory by INT 15h, keys by INT 16h, the screen by INT 10h in each
 * mode of the VGA BIOS and its VBE.  tests/guest/test_bios.c is the other half:
 * it reads the words said on COM1, presses keys and looks at the pictures.
 */
#define COM 0x3f8
#define SECTORS 8
#define PROBE 70		/* the sector read in two ways */
#define BUF_CHS 0x3000
#define BUF_LBA 0x3200
#define INFO 0x3400		/* VBE mode information */
#define BOX 32			/* two boxes of so many dots, at opposite corners */

	.code16
start:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7000, %sp
	cld
	mov	%dl, drive
	mov	$dap, %si
	mov	$0x42, %ah
	int	$0x13
	jc	1f
	jmp	main
1:	mov	$no_disk, %si
	call	say
2:	hlt
	jmp	2b

putc:	push	%dx
	mov	$COM, %dx
	out	%al, %dx
	pop	%dx
	ret
say:	push	%ax
1:	lodsb
	test	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	pop	%ax
	ret
/* %eax in hexadecimal, then a blank. */
hex:	push	%ecx
	push	%eax
	mov	$8, %cx
1:	rol	$4, %eax
	push	%eax
	and	$15, %al
	cmp	$10, %al
	jb	2f
	add	$'a' - '0' - 10, %al
2:	add	$'0', %al
	call	putc
	pop	%eax
	loop	1b
	mov	$' ', %al
	call	putc
	pop	%eax
	pop	%ecx
	ret
line:	mov	$'\n', %al
	jmp	putc

drive:	.byte	0
	.balign	4
dap:	.byte	16, 0
	.word	SECTORS
	.word	0x7e00, 0
	.quad	1
dap2:	.byte	16, 0
	.word	1
	.word	BUF_LBA, 0
	.quad	PROBE
no_disk: .asciz	"no disk\n"
	.org	510
	.word	0xaa55

main:	call	disk
	call	memory
	call	key
	mov	$bios_modes, %si
1:	lodsw
	cmp	$0xffff, %ax
	je	2f
	call	bios_mode
	jmp	1b
2:	mov	$vbe_modes, %si
3:	lodsw
	test	%ax, %ax
	jz	4f
	call	vbe_mode
	jmp	3b
4:	mov	$end, %si
	call	say
5:	hlt
	jmp	5b

/* ---- INT 13h ---- */

disk:	mov	$8, %ah
	mov	drive, %dl
	int	$0x13
	jc	disk_bad
	xor	%ax, %ax
	mov	%ax, %es
	and	$63, %cx
	movzbw	%dh, %bx
	inc	%bx			/* heads */
	mov	$PROBE, %ax
	xor	%dx, %dx
	div	%cx
	inc	%dx
	mov	%dl, %cl		/* sector */
	xor	%dx, %dx
	div	%bx
	mov	%al, %ch		/* cylinder: small */
	mov	%dl, %dh		/* head */
	mov	drive, %dl
	mov	$BUF_CHS, %bx
	mov	$0x0201, %ax
	int	$0x13
	jc	disk_bad
	mov	$dap2, %si
	mov	drive, %dl
	mov	$0x42, %ah
	int	$0x13
	jc	disk_bad
	mov	$BUF_CHS, %si
	mov	$BUF_LBA, %di
	mov	$256, %cx
	repe	cmpsw
	jne	disk_bad
	mov	$disk_ok, %si
	jmp	say
disk_bad:
	mov	$disk_no, %si
	jmp	say

/* ---- INT 15h: usable KiB by E820, KiB above 1 MiB by 88h ---- */

memory:	xor	%ebx, %ebx
	xor	%ebp, %ebp
1:	mov	$0xe820, %eax
	mov	$0x534d4150, %edx
	mov	$20, %ecx
	mov	$BUF_CHS + 512, %di
	int	$0x15
	jc	2f
	cmpl	$1, 16(%di)
	jne	3f
	mov	8(%di), %eax
	shr	$10, %eax
	add	%eax, %ebp
3:	test	%ebx, %ebx
	jnz	1b
2:	mov	$e820, %si
	call	say
	mov	%ebp, %eax
	call	hex
	mov	$0x88, %ah
	int	$0x15
	movzwl	%ax, %eax
	call	hex
	jmp	line

/* ---- INT 16h ---- */

key:	mov	$1, %ah
	int	$0x16
	mov	$key_none, %si
	jz	1f
	mov	$key_some, %si
1:	call	say
	mov	$key_wait, %si
	call	say
	xor	%ah, %ah
	int	$0x16
	movzwl	%ax, %eax
	call	hex
	jmp	line

/* ---- The screen ---- */

/* "mode %ax", then a key. */
shown:	push	%eax
	push	%si
	mov	$mode_is, %si
	call	say
	pop	%si
	movzwl	%ax, %eax
	call	hex
	call	line
	xor	%ah, %ah
	int	$0x16
	pop	%eax
	ret

/* %ax: number | kind << 8: 0 text, else graphics; the size follows in the table. */
bios_mode:
	push	%ax
	xor	%ah, %ah
	int	$0x10
	pop	%ax
	mov	%ax, mode
	test	%ah, %ah
	jnz	1f
	call	text
	jmp	2f
1:	lodsw
	mov	%ax, width
	lodsw
	mov	%ax, height
	call	boxes
2:	movzbw	mode, %ax
	jmp	shown

/* 'A' + i with attribute i * 15 & 7f at row i, column 2 i. */
text:	push	%si
	mov	$1, %ah			/* no cursor */
	mov	$0x2000, %cx
	int	$0x10
	xor	%si, %si
1:	mov	$2, %ah
	xor	%bh, %bh
	mov	%si, %dx
	shl	$8, %dx
	mov	%si, %cx
	add	%cx, %cx
	mov	%cl, %dl
	int	$0x10
	mov	%si, %ax
	imul	$15, %ax, %ax
	and	$0x7f, %al
	mov	%al, %bl
	xor	%bh, %bh
	mov	%si, %ax
	add	$0x0900 + 'A', %ax
	mov	$1, %cx
	int	$0x10
	inc	%si
	cmp	$16, %si
	jb	1b
	pop	%si
	ret

/* Boxes at the first and the last corner; dot (x, y) of a box has colour x ^ y. */
boxes:	movw	$0, left
	movw	$0, top
	call	box
	mov	width, %ax
	sub	$BOX, %ax
	mov	%ax, left
	mov	height, %ax
	sub	$BOX, %ax
	mov	%ax, top
box:	push	%si
	xor	%di, %di		/* y */
1:	xor	%si, %si		/* x */
2:	mov	left, %cx
	add	%si, %cx
	mov	top, %dx
	add	%di, %dx
	push	%si
	push	%di
	call	*plot
	pop	%di
	pop	%si
	inc	%si
	cmp	$BOX, %si
	jb	2b
	inc	%di
	cmp	$BOX, %di
	jb	1b
	pop	%si
	ret

plot_bios:
	mov	%si, %ax
	xor	%di, %ax
	and	$15, %al
	cmpb	$6, mode		/* no more colours than there are: bit 7 is xor */
	jne	1f
	and	$1, %al
1:	cmpb	$0x11, mode
	jne	2f
	and	$1, %al
2:	cmpb	$4, mode
	je	3f
	cmpb	$5, mode
	jne	4f
3:	and	$3, %al
4:	xor	%bh, %bh
	mov	$0x0c, %ah
	int	$0x10
	ret

/* ---- VBE ---- */

/* Mode %ax: "vbe number width height bits pitch", boxes, key. */
vbe_mode:
	push	%si
	mov	%ax, mode
	mov	%ax, %cx
	mov	$0x4f01, %ax
	mov	$INFO, %di
	int	$0x10
	cmp	$0x4f, %ax
	jne	1f
	mov	$0x4f02, %ax
	mov	mode, %bx
	int	$0x10
	cmp	$0x4f, %ax
	jne	1f
	mov	INFO + 18, %ax
	mov	%ax, width
	mov	INFO + 20, %ax
	mov	%ax, height
	movzbw	INFO + 25, %ax
	mov	%ax, bits
	movw	$0xffff, bank
	movw	$plot_bios, plot
	movw	$plot_bank, plot
	cmp	$4, %ax
	jne	2f
	movw	$plot_bios, plot
	cmpw	$0x102, mode
	je	2f
	movw	$plot_planes, plot	/* INT 10h AH=0Ch ends at 64 KiB a plane */
2:	call	boxes
	mov	$vbe_is, %si
	call	say
	movzwl	width, %eax
	call	hex
	movzwl	height, %eax
	call	hex
	movzwl	bits, %eax
	call	hex
	movzwl	INFO + 16, %eax
	call	hex
	mov	mode, %ax
	pop	%si
	jmp	shown
1:	mov	$vbe_no, %si
	call	say
	movzwl	mode, %eax
	call	hex
	call	line
	pop	%si
	ret

/* Through the window at A000: bytes of x << 19 | y << 11 | (x ^ y) << 3, or x ^ y in 8 bits. */
plot_bank:
	movzwl	%si, %ebx
	movzwl	%di, %eax
	mov	%ebx, %ebp
	xor	%eax, %ebp
	cmpw	$8, bits
	jbe	1f
	shl	$3, %ebp
	shl	$11, %eax
	or	%eax, %ebp
	shl	$19, %ebx
	or	%ebx, %ebp
1:	movzwl	%dx, %eax
	movzwl	INFO + 16, %ebx
	imul	%ebx, %eax		/* y * pitch */
	movzwl	bits, %ebx
	add	$7, %bx
	shr	$3, %bx			/* bytes a dot */
	movzwl	%cx, %ecx
	imul	%ebx, %ecx
	add	%ecx, %eax
	mov	%bx, %cx
2:	call	window
	mov	%ebp, %edx
	mov	%dl, %es:(%bx)
	shr	$8, %ebp
	inc	%eax
	loop	2b
	xor	%ax, %ax
	mov	%ax, %es
	ret

/* %es:%bx: byte %eax of the frame buffer, or of its planes. */
window:	mov	%eax, %edx
	shr	$16, %edx
	cmp	bank, %dx
	je	1f
	mov	%dx, bank
	push	%eax
	push	%cx
	mov	$0x4f05, %ax
	xor	%bx, %bx
	int	$0x10
	pop	%cx
	pop	%eax
1:	push	$0xa000
	pop	%es
	mov	%ax, %bx
	ret

/* Write mode 2, one bit of the mask. */
plot_planes:
	movzwl	%dx, %eax
	movzwl	INFO + 16, %ebx
	imul	%ebx, %eax
	movzwl	%cx, %ebx
	shr	$3, %ebx
	add	%ebx, %eax
	call	window
	mov	$0x3ce, %dx
	mov	$0x0205, %ax
	out	%ax, %dx
	and	$7, %cl
	mov	$0x80, %ah
	shr	%cl, %ah
	mov	$8, %al
	out	%ax, %dx
	mov	%si, %ax
	xor	%di, %ax
	mov	%es:(%bx), %ah
	mov	%al, %es:(%bx)
	mov	$0x0005, %ax
	out	%ax, %dx
	mov	$0xff08, %ax
	out	%ax, %dx
	xor	%ax, %ax
	mov	%ax, %es
	ret

	.balign	2
plot:	.word	plot_bios
mode:	.word	0
width:	.word	0
height:	.word	0
bits:	.word	0
bank:	.word	0
left:	.word	0
top:	.word	0

bios_modes:
	.word	0x00, 0x01, 0x02, 0x03, 0x07, 0x03
	.word	0x104, 320, 200, 0x105, 320, 200, 0x106, 640, 200, 0x10d, 320, 200
	.word	0x10e, 640, 200, 0x10f, 640, 350, 0x110, 640, 350, 0x111, 640, 480
	.word	0x112, 640, 480, 0x113, 320, 200
	.word	0xffff
vbe_modes:
	.word	0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x10d, 0x10e, 0x10f, 0x110, 0x111
	.word	0x112, 0x113, 0x114, 0x115, 0x117, 0x118, 0x140, 0x142, 0x143, 0

disk_ok: .asciz	"disk ok\n"
disk_no: .asciz	"disk bad\n"
e820:	.asciz	"memory "
key_none: .asciz "no key, "
key_some: .asciz "a key, "
key_wait: .asciz "press one: "
mode_is: .asciz	"mode "
vbe_is:	.asciz	"vbe "
vbe_no:	.asciz	"no vbe "
end:	.asciz	"end\n"
	.org	512 + SECTORS * 512
