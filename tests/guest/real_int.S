/* SPDX-License-Identifier: MIT */
/* Real mode: INT n, IRET, #DE through the vector table, and console output. */
#include "guest.h"
	.code16
start:	xor	%ax, %ax
	mov	%ax, %ds
	movw	$on_int, 0x40*4
	movw	%ax, 0x40*4+2
	movw	$on_de, 0
	movw	%ax, 2
	mov	$message, %si
1:	lodsb
	test	%al, %al
	jz	2f
	int	$0x40
	jmp	1b
2:	cmpw	$7, count
	CHECK	e, 2
	xor	%dx, %dx
	mov	$5, %ax
	mov	$0, %bl
fault:	div	%bl
	cmpw	$0xdeed, count
	CHECK	e, 3
	EXIT	1
on_int:	out	%al, $CONSOLE
	incw	count
	iret
on_de:	push	%bp
	mov	%sp, %bp
	cmpw	$fault, 2(%bp)
	jne	3f
	movw	$0xdeed, count
3:	addw	$2, 2(%bp)		/* past the DIV: it is two bytes */
	pop	%bp
	iret
message: .asciz	"hello, "
count:	.word	0
