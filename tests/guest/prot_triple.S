/* SPDX-License-Identifier: MIT */
/* Protected mode: an exception without an IDT ends in a shutdown cycle. */
#include "guest.h"
	.code32
start:	lidt	none
	ud2
	EXIT	2
none:	.word	0
	.long	0
