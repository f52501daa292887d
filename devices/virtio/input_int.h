/* SPDX-License-Identifier: MIT */
/* Key codes of the virtio keyboard. */
#ifndef HV_VIRTIO_INPUT_INT_H
#define HV_VIRTIO_INPUT_INT_H

#include <stdint.h>

/* Linux key code of a USB HID keyboard usage (page 7); 0: none. */
uint16_t virtio_input_keycode(uint16_t hid);

#endif
