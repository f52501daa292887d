/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters (raw deflate or zstd), read: one cluster's worth of
 * output, at most two of input.  The last one decompressed is kept; a reader
 * that finds the keeper busy decompresses for itself.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define ZSTD_WINDOW_LOG 24	/* 16 MiB: bounds the decoder's memory */

static bool inflate_cluster(uint8_t *out, uint32_t out_len, uint8_t *in, size_t in_len)
{
	z_stream z = { .next_in = in, .avail_in = (uInt)in_len, .next_out = out,
		       .avail_out = out_len };

	if (inflateInit2(&z, -15) != Z_OK)
		return false;
	inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return z.avail_out == 0;
}

static bool unzstd_cluster(uint8_t *out, uint32_t out_len, const uint8_t *in, size_t in_len)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer src = { in, in_len, 0 };
	ZSTD_outBuffer dst = { out, out_len, 0 };

	if (!d)
		return false;
	ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	while (dst.pos < dst.size) {
		size_t before = src.pos + dst.pos, r = ZSTD_decompressStream(d, &dst, &src);

		if (ZSTD_isError(r) || src.pos + dst.pos == before)
			break;
	}
	ZSTD_freeDCtx(d);
	return dst.pos == dst.size;
}

/* @in: room for two clusters and a sector. */
static int unpack(struct qcow2 *q, uint64_t entry, uint8_t *in, uint8_t *out)
{
	uint32_t skip = (uint32_t)(entry & 511);
	uint64_t off, len;
	bool ok;
	int err;

	qcow2_compressed_range(q, entry, &off, &len);
	/* cluster_bits - 8 bits of length: never more than two clusters and a sector */
	if (off >= q->file_end || len > 2ull * q->cs + 512)
		return EIO;
	err = hf_pread(q->f, in, len, off);
	if (err)
		return err;
	ok = q->compression == QC_ZSTD ? unzstd_cluster(out, q->cs, in + skip, len - skip) :
		inflate_cluster(out, q->cs, in + skip, len - skip);
	if (ok)
		return 0;
	log_limited(LOG_ERROR, "%s: a compressed cluster at %#llx does not decompress",
		    q->im->path, (unsigned long long)off);
	return EIO;
}

/* Under comp_lock: make comp_out hold the cluster of @entry. */
static int load_cluster(struct qcow2 *q, uint64_t entry)
{
	int err;

	if (q->comp_entry == entry)
		return 0;
	if (!q->comp_in)
		q->comp_in = malloc(2ull * q->cs + 512);
	if (!q->comp_out)
		q->comp_out = malloc(q->cs);
	if (!q->comp_in || !q->comp_out)
		return ENOMEM;
	q->comp_entry = 0;
	err = unpack(q, entry, q->comp_in, q->comp_out);
	if (!err)
		q->comp_entry = entry;
	return err;
}

static int read_alone(struct qcow2 *q, uint64_t entry, uint32_t from, uint32_t len,
		      const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint8_t *buf = malloc(3ull * q->cs + 512);
	int err = buf ? unpack(q, entry, buf + q->cs, buf) : ENOMEM;

	if (!err)
		iov_from_buf(iov, niov, iov_off, buf + from, len);
	free(buf);
	return err;
}

int qcow2_read_compressed(struct qcow2 *q, uint64_t entry, uint32_t from, uint32_t len,
			  const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	int err;

	if (pthread_mutex_trylock(&q->comp_lock))
		return read_alone(q, entry, from, len, iov, niov, iov_off);
	err = load_cluster(q, entry);
	if (!err)
		iov_from_buf(iov, niov, iov_off, q->comp_out + from, len);
	pthread_mutex_unlock(&q->comp_lock);
	return err;
}
