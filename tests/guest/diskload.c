/* SPDX-License-Identifier: MIT */
/*
 * Guest program of scripts/bench-disk: requests to a block device past the
 * guest's page cache, at a queue depth, for some seconds; prints the rate.
 * diskload DEVICE randread|randwrite|seqread BYTES DEPTH SECONDS
 */
#define _GNU_SOURCE
#define SAMPLES (1u << 20)
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static struct iocb cb[64];
	static uint32_t took[SAMPLES];	/* ns, of a request at depth 1 */
	static uint64_t began[64];
	struct io_event ev[64];
	uint64_t size, seed = 1, pos = 0, n = 0, start, end, samples = 0;
	unsigned len, depth, inflight = 0;
	aio_context_t ctx = 0;
	int fd, write_it, seq;

	if (argc != 6)
		return 2;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	size = fd < 0 ? 0 : (uint64_t)lseek(fd, 0, SEEK_END);
	if (!size || size == UINT64_MAX) {
		perror(argv[1]);
		return 1;
	}
	write_it = !strcmp(argv[2], "randwrite");
	seq = !strcmp(argv[2], "seqread");
	len = (unsigned)atoi(argv[3]);
	depth = (unsigned)atoi(argv[4]);
	if (!len || !depth || depth > 64 || syscall(SYS_io_setup, 64, &ctx))
		return 1;
	start = now_ns();
	end = start + (uint64_t)atoi(argv[5]) * 1000000000u;
	for (unsigned i = 0; i < depth; i++) {
		cb[i].aio_data = i;
		cb[i].aio_fildes = (uint32_t)fd;
		cb[i].aio_lio_opcode = write_it ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		cb[i].aio_buf = (uint64_t)(uintptr_t)aligned_alloc(4096, len);
		cb[i].aio_nbytes = len;
		ev[i].data = i;
	}
	for (long got = depth;; got = syscall(SYS_io_getevents, ctx, 1, 64, ev, NULL)) {
		struct iocb *list[64];
		uint64_t t = now_ns();
		long k = 0;

		inflight -= inflight ? (unsigned)got : 0;
		n += (uint64_t)got;
		for (long i = 0; i < got && t < end; i++) {
			struct iocb *c = list[k++] = &cb[ev[i].data];

			if (n > depth && samples < SAMPLES)
				took[samples++] = (uint32_t)(t - began[ev[i].data]);
			began[ev[i].data] = t;
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			c->aio_offset = (int64_t)(seq ? pos : (seed >> 20) % (size / len) * len);
			pos = pos + 2 * len > size ? 0 : pos + len;
		}
		inflight += (unsigned)k;
		if (k && syscall(SYS_io_submit, ctx, k, list) != k)
			return 1;
		if (!inflight)
			break;
	}
	n -= depth;
	end = now_ns();
	qsort(took, samples, sizeof(took[0]), by_value);
	printf("RESULT %s %s %s %.0f IOPS %.1f MB/s p50 %.1f us p99 %.1f us\n", argv[2], argv[3],
	       argv[4], n * 1e9 / (double)(end - start), n * 1e3 * len / (double)(end - start),
	       took[samples / 2] / 1e3, took[samples - samples / 100 - 1] / 1e3);
	return 0;
}
