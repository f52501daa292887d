/* SPDX-License-Identifier: MIT */
/*
 * Runs a small flat guest program on a CPU engine, in a process of its own
 * under a watchdog.
 *
 * The machine: 4 MiB of RAM, ports 0xe9 (console) and 0xf4 (exit), and the
 * 8259 pair, 8254, IOAPIC and local APICs, wired as in a PC.
 *
 * The program's file name tells how it is entered:
 *   real_*  at 0000:7C00 in real mode, SS:SP = 0000:7000
 *   prot_*  at 0x10000 in flat 32-bit protected mode, CS 8, data 16
 *   long_*  at 0x10000 in 64-bit mode, CS 24, 0-1 GiB and 3-4 GiB identity-mapped
 * GDT at 0x1000, page tables at 0x2000-0x5fff, result window 0x20000-0x2ffff.
 */
#ifndef HV_GUESTRUN_H
#define HV_GUESTRUN_H

#include "../../src/cpu/vcpu.h"

#define GUEST_RAM MiB(4)
#define GUEST_RESULT 0x20000u
#define GUEST_RESULT_LEN 0x10000u

enum guest_end {
	GUEST_EXIT,		/* wrote the exit port: value */
	GUEST_TIMEOUT,		/* kicked out at the time limit */
	GUEST_STUCK,		/* did not follow the kick: killed */
	GUEST_TRIPLE,
	GUEST_FAIL,		/* engine stopped: text */
	GUEST_NO_ENGINE,	/* could not be set up: text */
};

struct guest_result {
	enum guest_end end;
	unsigned value;
	char console[4096];
	size_t console_len;
	char text[512];
	struct x86_state state;		/* of vCPU 0, after the exit */
	uint64_t hash;			/* of the result window */
	uint8_t window[256];		/* its start, for messages */
	double seconds;
};

/* Run @path (a flat binary).  @ms: time limit; the process is killed 3 s later. */
void guest_run(const struct cpu_ops *ops, const char *path, unsigned ncpus, unsigned ms,
	       struct guest_result *out);
const char *guest_end_name(enum guest_end end);

#endif
