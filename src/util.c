/* SPDX-License-Identifier: MIT */
/* Small helpers; see util.h. */
#include "util.h"
#include "err.h"
#include "log.h"
#include <stdlib.h>
#include <time.h>

void hv_bug(const char *file, int line, const char *what)
{
	log_error("internal error at %s:%d: %s; please report this", file, line, what);
	abort();
}

void *hv_zalloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (!p) {
		log_error("out of memory allocating %zu bytes; close other programs and try again",
			  n);
		exit(HV_EXIT_HOST);
	}
	return p;
}

char *hv_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(hv_zalloc(n), s, n);
}

/* Reflected polynomial 0x82f63b78, a nibble at a time: sections are small. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
	static const uint32_t tbl[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *p = buf;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ tbl[crc & 15];
		crc = crc >> 4 ^ tbl[crc & 15];
	}
	return ~crc;
}

uint64_t host_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
