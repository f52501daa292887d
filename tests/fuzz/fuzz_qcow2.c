/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the input is a qcow2 file (first byte: flags and seed of
 * the operations).  Opened from memory, exercised, closed; sanitizers judge.
 */
#include "../../src/image.h"
#include "../../src/log.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_INPUT (1u << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open("/dev/null");
	return 0;
}

static void exercise(struct image *im, uint32_t s)
{
	static uint8_t buf[16384];

	for (unsigned i = 0; i < 12; i++) {
		uint64_t span = MIN(im->size, 4ull << 20) / 512, off, n;
		enum block_op op;

		s = s * 1664525 + 1013904223;
		off = (s >> 4) % span * 512;
		n = MIN((uint64_t)sizeof(buf), im->size - off);
		op = (enum block_op)(s >> 29) % 5;
		struct iovec v = { buf, n };

		image_io(im, op, off, n, op <= BLOCK_WRITE ? &v : NULL, op <= BLOCK_WRITE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned flags[] = { 0, BLOCK_DISCARD_ON, BLOCK_RDONLY, BLOCK_THROWAWAY };
	char path[64];
	struct image *im;
	int fd;

	if (len < 2 || len > MAX_INPUT)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data + 1, len - 1) != (ssize_t)(len - 1))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	im = image_open(path, "qcow2", flags[data[0] & 3] | BLOCK_NO_LOCK, NULL);
	if (im && im->size)
		exercise(im, data[0] * 2654435761u);
	image_close(im);
	close(fd);
	return 0;
}
