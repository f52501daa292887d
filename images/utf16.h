/* SPDX-License-Identifier: MIT */
/* File names in UTF-16 as Microsoft's formats store them. */
#ifndef HV_UTF16_H
#define HV_UTF16_H

#include "../src/util.h"

/* @len bytes, ended early by a zero; "\" becomes "/", ".\" in front goes.  false: no name. */
bool utf16_to_path(const uint8_t *raw, size_t len, bool big_endian, char *out, size_t n);
/* The other way, relative names as ".\name"; bytes written, 0: does not fit. */
size_t path_to_utf16(const char *path, bool big_endian, uint8_t *out, size_t cap);

#endif
