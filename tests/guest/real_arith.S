/* SPDX-License-Identifier: MIT */
/* Real mode: integer arithmetic with its flags; results and PUSHF images to the window. */
#include "guest.h"
	.code16
start:	mov	$0x2000, %ax
	mov	%ax, %es
	xor	%di, %di
	cld
	mov	$64, %cx
	mov	$0x1234, %bx
	mov	$0xfedc, %dx
loop:	mov	%bx, %ax
	add	%dx, %ax
	call	keep
	adc	%cx, %ax
	call	keep
	sub	$0x7fff, %ax
	call	keep
	sbb	%bx, %ax
	call	keep
	imul	%bx, %ax
	stosw
	mov	%dx, %ax
	rol	$3, %ax
	stosw
	rcr	$1, %ax
	stosw
	sar	$1, %ax
	call	keep
	neg	%ax
	call	keep
	movzbw	%al, %si
	lea	3(%bx,%si), %bx
	xchg	%bl, %dh
	inc	%dx
	not	%bx
	bswap	%ebx
	ror	$7, %ebx
	loop	loop
	/* division and multiplication with 32-bit operands */
	mov	$123456789, %eax
	mov	$10007, %ecx
	xor	%edx, %edx
	div	%ecx
	stosl
	mov	%edx, %eax
	stosl
	mov	$-77, %eax
	cltd
	mov	$10, %ecx
	idiv	%ecx
	stosl
	mov	%edx, %eax
	stosl
	EXIT	1

/* AX and the flags that every instruction above defines: OF SF ZF PF CF. */
keep:	stosw
	pushf
	push	%ax
	pushf
	pop	%ax
	and	$0x8c5, %ax
	stosw
	pop	%ax
	popf
	ret
