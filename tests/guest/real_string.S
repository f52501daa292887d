/* SPDX-License-Identifier: MIT */
/* Real mode: string instructions forwards, backwards, repeated, across a segment base. */
#include "guest.h"
	.code16
start:	mov	$0x2000, %ax
	mov	%ax, %es
	mov	%ax, %ds
	cld
	xor	%di, %di
	mov	$512, %cx
	mov	$0x1111, %ax
fill:	stosw
	add	$0x0305, %ax
	loop	fill
	/* forwards, overlapping: bytes repeat */
	xor	%si, %si
	mov	$3, %di
	mov	$300, %cx
	rep movsb
	cmp	$303, %di
	CHECK	e, 2
	/* backwards */
	std
	mov	$0x3fe, %si
	mov	$0x7fe, %di
	mov	$200, %cx
	rep movsw
	cld
	cmp	$0x7fe-400, %di
	CHECK	e, 3
	mov	$0x1000, %di
	mov	$0xdeadbeef, %eax
	mov	$100, %cx
	rep stosl
	/* equal for as long as it was copied */
	mov	$0x3fe-398, %si
	mov	$0x7fe-398, %di
	mov	$400, %cx
	repe cmpsb
	mov	%cx, 0x2000
	mov	%si, 0x2002
	mov	%di, 0x2004
	mov	$0xef, %al
	mov	$0x0f00, %di
	mov	$0x400, %cx
	repne scasb
	CHECK	e, 4
	cmp	$0x1001, %di
	CHECK	e, 5
	/* count 0: nothing happens */
	xor	%cx, %cx
	rep lodsb
	cmp	$0xef, %al
	CHECK	e, 6
	EXIT	1
