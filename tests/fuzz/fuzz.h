/* SPDX-License-Identifier: MIT */
/* What the libFuzzer targets share: the input as a stream, files in memory. */
#ifndef HV_FUZZ_H
#define HV_FUZZ_H

#include "../../src/log.h"
#include "../../src/util.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz_input {
	const uint8_t *p;
	size_t left;
};

/* The next @n <= 8 bytes as a number; zeros when the input is used up. */
static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned n)
{
	uint64_t v = 0;

	for (; n && in->left; n--, in->left--)
		v = v << 8 | *in->p++;
	return v;
}

/*
 * A file in memory: @len bytes of @data laid over @base by exclusive or, so
 * that an input of zeros is the valid file @base.  -1: no descriptor.
 */
static inline int fuzz_file(const uint8_t *data, size_t len, const uint8_t *base, size_t base_len,
			    char *path, size_t path_len)
{
	size_t n = MAX(len, base_len);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, (off_t)n))
		return -1;
	snprintf(path, path_len, "/proc/self/fd/%d", fd);
	p = n ? mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (p == MAP_FAILED)
		return fd;
	if (base_len)
		memcpy(p, base, base_len);
	for (size_t i = 0; i < len; i++)
		p[i] ^= data[i];
	munmap(p, n);
	return fd;
}

#endif
