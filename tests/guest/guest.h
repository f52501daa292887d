/* SPDX-License-Identifier: MIT */
/*
 * Common ground of the guest programs: ports, the way out, checks.
 * Exit value 1 is success; another value names the failed check.
 */
#define CONSOLE 0xe9
#define EXIT_PORT 0xf4
#define RESULT 0x20000

/* Leaves with @v in AL and defined flags; the other registers are compared. */
.macro EXIT v
	xor	%eax, %eax
	mov	$\v, %al
	out	%al, $EXIT_PORT
8888:	cli
	hlt
	jmp	8888b
.endm

/* Leave with @v unless the condition holds. */
.macro CHECK cond, v
	j\cond	8889f
	EXIT	\v
8889:
.endm
