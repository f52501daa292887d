/* SPDX-License-Identifier: MIT */
/* The fuzz target fuzz_images.c on its seed corpus; see replay.h. */
#define REPLAY "images"
#define REPLAY_CHANGES 20u	/* of files of some megabytes */
#include "fuzz_images.c"
#include "replay.h"
