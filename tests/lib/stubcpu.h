/* SPDX-License-Identifier: MIT */
/* A CPU engine that never runs: for tests of what surrounds the CPU. */
#ifndef HV_STUBCPU_H
#define HV_STUBCPU_H

#include "../../src/cpu/vcpu.h"

extern const struct cpu_ops stub_cpu_ops;
extern struct x86_state stub_cpu_state;		/* as last given to set_state() */

#endif
