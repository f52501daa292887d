/* SPDX-License-Identifier: MIT */
/*
 * The few helpers that every file may use: attributes, bounds arithmetic,
 * little-endian access, checked allocation.
 */
#ifndef HV_UTIL_H
#define HV_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HV_MUSTCHECK __attribute__((warn_unused_result))
#define HV_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define HV_UNUSED __attribute__((unused))
#define HV_NORETURN __attribute__((noreturn))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define KiB(n) ((uint64_t)(n) << 10)
#define MiB(n) ((uint64_t)(n) << 20)
#define GiB(n) ((uint64_t)(n) << 30)
#define container_of(p, T, m) ((T *)((char *)(p) - offsetof(T, m)))

/* Our own bugs only.  Never reachable from guest, image, snapshot or command line. */
HV_NORETURN void hv_bug(const char *file, int line, const char *what);
#define HV_BUG_ON(c) do { if (unlikely(c)) hv_bug(__FILE__, __LINE__, #c); } while (0)

/* Allocation for set-up paths: zeroed, and ends the process with a clear line on failure. */
void *hv_zalloc(size_t n);
char *hv_strdup(const char *s);

/* True if [off, off+len) lies inside [0, size): subtract, then compare. */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

#define HV_LE(bits) \
	static inline uint##bits##_t ld_le##bits(const void *p) \
	{ uint##bits##_t v; memcpy(&v, p, sizeof(v)); return v; } \
	static inline void st_le##bits(void *p, uint##bits##_t v) \
	{ memcpy(p, &v, sizeof(v)); }
HV_LE(16) HV_LE(32) HV_LE(64)
#undef HV_LE

static inline uint16_t ld_be16(const void *p) { return __builtin_bswap16(ld_le16(p)); }
static inline uint32_t ld_be32(const void *p) { return __builtin_bswap32(ld_le32(p)); }
static inline uint64_t ld_be64(const void *p) { return __builtin_bswap64(ld_le64(p)); }
static inline void st_be16(void *p, uint16_t v) { st_le16(p, __builtin_bswap16(v)); }
static inline void st_be32(void *p, uint32_t v) { st_le32(p, __builtin_bswap32(v)); }
static inline void st_be64(void *p, uint64_t v) { st_le64(p, __builtin_bswap64(v)); }

/* CRC-32C (Castagnoli), for state sections. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

/* Host CLOCK_MONOTONIC in ns. */
uint64_t host_now_ns(void);

#endif
