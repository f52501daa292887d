/* SPDX-License-Identifier: MIT */
/* Boot sector: prints through the BIOS and to COM1, then leaves. */
#include "guest.h"
	.code16
start:	xor	%ax, %ax
	mov	%ax, %ds
	cld
	mov	$text, %si
1:	lodsb
	test	%al, %al
	jz	2f
	mov	$0x0e, %ah
	mov	$7, %bx
	push	%ax
	int	$0x10
	pop	%ax
	mov	$0x3f8, %dx
	out	%al, (%dx)
	out	%al, $CONSOLE
	jmp	1b
2:	EXIT	1
text:	.asciz	"boot sector reached\r\n"
	.org	510
	.word	0xaa55
