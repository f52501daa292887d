/* SPDX-License-Identifier: MIT */
/* The interrupt chips of a guest program's machine, wired as in a PC. */
#ifndef HV_GUESTBOARD_H
#define HV_GUESTBOARD_H

#include "../../src/vm.h"

bool guest_board(struct vm *vm, struct err *e);

#endif
