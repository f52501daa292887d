/* SPDX-License-Identifier: MIT */
/*
 * The interrupt chips of a guest program's machine, wired as in a PC, and
 * three ports to raise interrupts with:
 *   0xf5  write n: IRQ 11 goes up and stays up until n acknowledgements
 *   0xf6  write: one acknowledgement;  read: how many are missing
 *   0xf8  write (32 bits): a message to CPU 0 with this data (an MSI)
 */
#ifndef HV_GUESTBOARD_H
#define HV_GUESTBOARD_H

#include "../../src/vm.h"

bool guest_board(struct vm *vm, struct err *e);

#endif
