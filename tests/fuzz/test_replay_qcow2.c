/* SPDX-License-Identifier: MIT */
/* The fuzz target fuzz_qcow2.c on its seed corpus; see replay.h. */
#define REPLAY "qcow2"
#include "fuzz_qcow2.c"
#include "replay.h"
