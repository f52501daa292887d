/* SPDX-License-Identifier: MIT */
/* Real mode: decimal and ASCII adjust instructions, every byte value. */
#include "guest.h"
	.code16
start:	mov	$0x2000, %ax
	mov	%ax, %es
	cld
	xor	%di, %di
	xor	%cx, %cx
loop:	mov	%cl, %al
	add	$0x27, %al
	daa
	stosb
	mov	%cl, %al
	sub	$0x19, %al
	das
	stosb
	mov	%cl, %al
	xor	%ah, %ah
	add	$9, %al
	aaa
	stosw
	mov	%cl, %al
	mov	$5, %ah
	sub	$7, %al
	aas
	stosw
	mov	%cl, %al
	aam
	stosw
	aad
	stosw
	cmp	%cl, %al
	CHECK	e, 2
	inc	%cl
	jnz	loop
	EXIT	1
