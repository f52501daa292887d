/* SPDX-License-Identifier: MIT */
/* Private to src/snapshot*.c: one processor as it lies in the stream. */
#ifndef HV_SNAPSHOT_INT_H
#define HV_SNAPSHOT_INT_H

#include "cpu/vcpu.h"
#include "state.h"

struct snap_cpu {
	struct x86_state s;
	uint32_t req, sipi_vector;	/* requests that the CPU has not seen yet */
};

#define SNAP_CPU_VERSION 3
extern const struct state_field snap_cpu_fields[];

/* What no running processor can have and an engine might not survive. */
bool snap_cpu_valid(const struct snap_cpu *c, struct err *e);

#endif
