/* SPDX-License-Identifier: MIT */
/* 64-bit guest programs with interrupts: IDT at 0x40000, local APIC, gates. */
#include "guest.h"
	.code64
#define IDT 0x40000
#define LAPIC 0xfee00000
#define APIC_ID (LAPIC + 0x20)
#define APIC_EOI (LAPIC + 0xb0)
#define APIC_SVR (LAPIC + 0xf0)
#define APIC_ICR (LAPIC + 0x300)
#define APIC_ICR_HI (LAPIC + 0x310)
#define APIC_LVT_TIMER (LAPIC + 0x320)
#define APIC_LVT0 (LAPIC + 0x350)
#define APIC_TIMER_INIT (LAPIC + 0x380)
#define APIC_TIMER_DIV (LAPIC + 0x3e0)

/* 32-bit store to the APIC page (clobbers RAX, RDX). */
.macro APIC_SET reg, val
	mov	$\reg, %edx
	mov	$\val, %eax
	mov	%eax, (%rdx)
.endm

.macro GATE vec, handler
	movw	$(\handler - start + 0x0000), IDT + \vec * 16
	movw	$24, IDT + \vec * 16 + 2
	movw	$0x8e00, IDT + \vec * 16 + 4
	movw	$1, IDT + \vec * 16 + 6		/* programs are at 0x10000 */
.endm

/* Load the IDT, mask the 8259 pair, enable the local APIC. */
.macro SETUP
	lidt	idtr(%rip)
	mov	$0xff, %al
	out	%al, $0x21
	out	%al, $0xa1
	APIC_SET APIC_SVR, 0x1ff
.endm

.macro IDTR
	.balign	8
idtr:	.word	256 * 16 - 1
	.quad	IDT
.endm

/* Interrupts on for a while: until @var reaches @n, at most some thousand rounds. */
.macro WINDOW var, n
	sti
	mov	$5000, %ecx
7777:	cmpl	$\n, \var(%rip)
	jae	7778f
	pause
	loop	7777b
7778:	cli
.endm

/* Wait with HLT until the byte counter @var reaches @n; interrupts off on return. */
.macro WAIT_FOR var, n
7777:	cli
	cmpl	$\n, \var(%rip)
	jae	7778f
	sti
	hlt
	jmp	7777b
7778:
.endm
