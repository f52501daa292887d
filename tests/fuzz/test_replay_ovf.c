/* SPDX-License-Identifier: MIT */
/* The fuzz target fuzz_ovf.c on its seed corpus; see replay.h. */
#define REPLAY "ovf"
#include "fuzz_ovf.c"
#include "replay.h"
