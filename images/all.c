/* SPDX-License-Identifier: MIT */
/* The disk formats, most specific first; raw takes what nothing else wants. */
#include "formats.h"

const struct block_format *const block_formats[] = {
	&qcow2_format,
	&vdi_format,
	&vmdk_format,
	&vhdx_format,
	&vhd_format,
	&raw_format,
	NULL,
};
