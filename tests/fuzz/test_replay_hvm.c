/* SPDX-License-Identifier: MIT */
/* The fuzz target fuzz_hvm.c on its seed corpus; see replay.h. */
#define REPLAY "hvm"
#include "fuzz_hvm.c"
#include "replay.h"
