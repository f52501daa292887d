/* SPDX-License-Identifier: MIT */
/*
 * Decompression of kernel payloads: gzip, xz, lzma, lz4 (legacy frame), zstd,
 * bzip2.
 *
 * Output goes to one lazily committed mapping of a fixed size, which is the
 * limit: a hostile file can cost that much and no more.  Kernel payloads end
 * with four bytes that are not part of the stream; trailing bytes are ignored.
 */
#include "boot_int.h"
#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#define OUT_MAX MiB(512)
#define LZ4_BLOCK MiB(8)
#define LZMA_MEM MiB(512)

struct unpacker {
	const char *name;
	uint8_t magic[6];
	uint8_t magic_len;
	/* Bytes written, or -1. */
	int64_t (*run)(const uint8_t *in, size_t n, uint8_t *out, size_t cap);
};

static int64_t run_gzip(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (uint8_t *)in, .avail_in = n, .next_out = out,
		       .avail_out = cap };
	int rc;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -1;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return rc == Z_STREAM_END ? (int64_t)z.total_out : -1;
}

static int64_t run_lzma(lzma_stream *z, const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	lzma_ret rc;

	z->next_in = in;
	z->avail_in = n;
	z->next_out = out;
	z->avail_out = cap;
	rc = lzma_code(z, LZMA_RUN);
	lzma_end(z);
	return rc == LZMA_STREAM_END ? (int64_t)(cap - z->avail_out) : -1;
}

static int64_t run_xz(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&z, LZMA_MEM, 0) != LZMA_OK)
		return -1;
	return run_lzma(&z, in, n, out, cap);
}

static int64_t run_lzma_alone(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&z, LZMA_MEM) != LZMA_OK)
		return -1;
	return run_lzma(&z, in, n, out, cap);
}

/* Legacy frame: magic, then blocks of {compressed size, data}, 8 MiB each but the last. */
static int64_t run_lz4(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	size_t pos = 4, done = 0;

	while (n - pos > 4) {
		uint32_t len = ld_le32(in + pos);
		int got;

		pos += 4;
		if (!len || len > n - pos)
			return -1;
		got = LZ4_decompress_safe((const char *)in + pos, (char *)out + done, len,
					  MIN(LZ4_BLOCK, cap - done));
		if (got <= 0)
			return -1;
		pos += len;
		done += got;
		if ((uint64_t)got < LZ4_BLOCK)
			break;
	}
	return done;
}

static int64_t run_zstd(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer ib = { in, n, 0 };
	ZSTD_outBuffer ob = { out, cap, 0 };
	size_t rc = 1, last;

	if (!z)
		return -1;
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 29);
	do {
		last = ib.pos + ob.pos;
		rc = ZSTD_decompressStream(z, &ob, &ib);
	} while (rc && !ZSTD_isError(rc) && ib.pos + ob.pos != last);
	ZSTD_freeDStream(z);
	return rc == 0 ? (int64_t)ob.pos : -1;
}

static int64_t run_bzip2(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	bz_stream z = { .next_in = (char *)in, .avail_in = n, .next_out = (char *)out,
			.avail_out = cap };
	int rc;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -1;
	rc = BZ2_bzDecompress(&z);
	BZ2_bzDecompressEnd(&z);
	return rc == BZ_STREAM_END ? (int64_t)(cap - z.avail_out) : -1;
}

static const struct unpacker unpackers[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, run_gzip },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, run_xz },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, run_lz4 },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, run_zstd },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, run_bzip2 },
	{ "lzma", { 0x5d, 0x00, 0x00 }, 3, run_lzma_alone },
};

static const struct unpacker *detect(const uint8_t *in, size_t n)
{
	for (unsigned i = 0; i < ARRAY_SIZE(unpackers); i++)
		if (n > 8 && !memcmp(in, unpackers[i].magic, unpackers[i].magic_len))
			return &unpackers[i];
	return NULL;
}

bool boot_unpack(const uint8_t *in, size_t n, struct boot_buf *out, struct err *e)
{
	const struct unpacker *u = detect(in, n);
	int64_t got;

	if (e)
		e->msg[0] = 0;
	if (!u)
		return false;
	out->data = mmap(NULL, OUT_MAX, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (out->data == MAP_FAILED) {
		out->data = NULL;
		return err_set(e, HV_EXIT_HOST, "no memory to decompress the kernel");
	}
	madvise(out->data, OUT_MAX, MADV_HUGEPAGE);	/* fewer page faults */
	out->mapped = OUT_MAX;
	got = u->run(in, n, out->data, OUT_MAX);
	if (got < 0) {
		boot_buf_free(out);
		return err_set(e, HV_EXIT_IMAGE, "the %s data in the kernel are corrupt or cut off",
			       u->name);
	}
	out->len = got;
	return true;
}
