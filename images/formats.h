/* SPDX-License-Identifier: MIT */
/* The format descriptors of this folder, for the table in all.c. */
#ifndef HV_FORMATS_H
#define HV_FORMATS_H

#include "../src/image.h"

extern const struct block_format raw_format;
extern const struct block_format qcow2_format;
extern const struct block_format vdi_format;
extern const struct block_format vmdk_format;
extern const struct block_format vhdx_format;
extern const struct block_format vhd_format;

#endif
