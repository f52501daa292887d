/* SPDX-License-Identifier: MIT */
/*
 * The benchmark guest: one static program that runs on the host and as /init of a
 * guest.  A row prepares its data outside the measured time, then does a fixed amount
 * of work and returns a checksum of everything that it computed.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline, noclone))

struct row {
	const char *name;
	uint64_t work;			/* rounds at 100 % */
	void (*prepare)(void);		/* may be NULL */
	uint64_t (*run)(uint64_t rounds);
	int (*missing)(void);		/* the processor lacks what it needs; may be NULL */
};

/* Tables of rows, one for each file, ended by an empty row. */
extern const struct row int_rows[], mem_rows[], fp_rows[], sys_rows[], app_rows[];

extern const char *self_path;		/* this program, for fork+exec */

/* Memory for this row, already touched; ends the program if there is none. */
void *grab(size_t size);
void die(const char *what);

static inline uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

/* Numbers that look random and are the same everywhere. */
static inline uint32_t rnd(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*s >> 33);
}

uint64_t hash_bytes(const void *p, size_t n);

#endif
