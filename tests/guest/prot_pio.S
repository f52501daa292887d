/* SPDX-License-Identifier: MIT */
/* Protected mode: string port accesses and accesses to ports and memory that nobody answers. */
#include "guest.h"
	.code32
start:	cld
	mov	$text, %esi
	mov	$end-text, %ecx
	mov	$CONSOLE, %edx
	rep outsb
	cmp	$end, %esi
	CHECK	e, 2
	mov	$RESULT, %edi
	mov	$16, %ecx
	rep insb
	cmp	$RESULT+16, %edi
	CHECK	e, 3
	mov	$0x5678, %edx		/* hole: all ones */
	in	(%dx), %al
	stosb
	in	(%dx), %ax
	stosw
	in	(%dx), %eax
	stosl
	mov	0xe0000000, %eax
	stosl
	mov	0xe0000001, %al
	stosb
	mov	0xdffffffd, %eax
	stosl
	movl	$5, 0xe0000000
	incl	0xe0000004
	mov	$4, %ecx
	mov	$0xe0000010, %esi
	rep movsl
	xor	%edx, %edx
	EXIT	1
text:	.ascii	"string output, one exit or many\n"
end:
