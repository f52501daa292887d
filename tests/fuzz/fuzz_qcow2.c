/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the input is laid over a small valid qcow2 file (first
 * byte: flags, seed of the operations).  Opened from memory, exercised,
 * closed; sanitizers judge.
 */
#include "fuzz.h"
#include "../../src/image.h"

#define MAX_FILE 65536u
#define CLUSTER 512u

/* Header, L1, refcount table, refcount block, L2, data; clusters of 512 bytes. */
static uint8_t base[8 * CLUSTER];

static void make_base(void)
{
	st_be32(base, 0x514649fb);
	st_be32(base + 4, 3);
	st_be32(base + 20, 9);				/* cluster_bits */
	st_be64(base + 24, 64 * CLUSTER);		/* one L2 table's worth */
	st_be32(base + 36, 1);				/* L1 size, offset */
	st_be64(base + 40, CLUSTER);
	st_be64(base + 48, 2 * CLUSTER);		/* refcount table, clusters */
	st_be32(base + 56, 1);
	st_be32(base + 96, 4);				/* 16-bit refcounts */
	st_be32(base + 100, 104);
	st_be64(base + CLUSTER, 4 * CLUSTER | 1ull << 63);
	st_be64(base + 2 * CLUSTER, 3 * CLUSTER);
	for (unsigned i = 0; i < 8; i++)
		st_be16(base + 3 * CLUSTER + 2 * i, 1);
	for (unsigned i = 0; i < 3; i++)
		st_be64(base + 4 * CLUSTER + 8 * i, (5 + i) * CLUSTER | 1ull << 63);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open("/dev/null");
	make_base();
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
	struct image *im;
	char path[64];
	int fd;

	if (len < 2 || len > MAX_FILE)
		return 0;
	fd = fuzz_file(data + 1, len - 1, base, sizeof(base), path, sizeof(path));
	if (fd < 0)
		return 0;
	im = image_open(path, "qcow2", flags[data[0] & 3] | BLOCK_NO_LOCK, NULL);
	if (im && im->size)
		exercise(im, data[0] * 2654435761u);
	image_close(im);
	close(fd);
	return 0;
}
