/* SPDX-License-Identifier: MIT */
/*
 * Writing a stream-optimized VMDK: each grain compressed behind a marker, in
 * the order of the disk; the tables follow the grains they describe, then the
 * directory, a footer with the real header and the end mark.
 */
#include "vmdk_int.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#define GRAIN_BYTES 65536u
#define LEVEL 6

bool vmdk_stream_open(struct vmdk *v, struct err *e)
{
	uint8_t h[VMDK_SECTOR];
	struct vmdk_stream *s = calloc(1, sizeof(*s));

	if (!s || hf_pread(&v->im->file, h, sizeof(h), 0))
		return free(s), err_set(e, HV_EXIT_IMAGE, "%s: cannot read", v->im->path);
	v->im->size = ld_le64(h + VH_CAPACITY) * VMDK_SECTOR;
	s->ngd = (v->im->size + (uint64_t)GRAIN_BYTES * VMDK_GTES - 1) /
		((uint64_t)GRAIN_BYTES * VMDK_GTES);
	s->gd = calloc(s->ngd + 1, 4);
	s->table = UINT64_MAX;
	s->at = ld_le64(h + VH_OVERHEAD);
	v->stream = s;
	return s->gd || err_set(e, HV_EXIT_HOST, "%s: out of memory", v->im->path);
}

static int put(struct vmdk *v, const void *p, size_t len)
{
	struct vmdk_stream *s = v->stream;
	int err = s->at > UINT32_MAX - 4096 ? EFBIG :
		hf_pwrite(&v->im->file, p, len, s->at * VMDK_SECTOR);

	if (!err)
		s->at += (len + VMDK_SECTOR - 1) / VMDK_SECTOR;
	return err;
}

static int put_marker(struct vmdk *v, uint64_t sectors, uint32_t type)
{
	uint8_t m[VMDK_SECTOR] = { 0 };

	st_le64(m, sectors);
	st_le32(m + 12, type);
	return put(v, m, sizeof(m));
}

static int put_table(struct vmdk *v)
{
	struct vmdk_stream *s = v->stream;
	uint8_t raw[VMDK_GTES * 4];
	int err;

	if (!s->any)
		return 0;
	for (uint32_t i = 0; i < VMDK_GTES; i++)
		st_le32(raw + i * 4, s->gt[i]);
	err = put_marker(v, sizeof(raw) / VMDK_SECTOR, MARK_GT);
	s->gd[s->table] = (uint32_t)s->at;
	if (!err)
		err = put(v, raw, sizeof(raw));
	memset(s->gt, 0, sizeof(s->gt));
	s->any = false;
	return err;
}

int vmdk_stream_grain(struct vmdk *v, uint64_t off, const uint8_t *packed, uint32_t len)
{
	struct vmdk_stream *s = v->stream;
	uint64_t grain = off / GRAIN_BYTES;
	uint8_t *m;
	int err = 0;

	if (off % GRAIN_BYTES || off >= v->im->size || grain < s->next)
		return EINVAL;
	if (s->table != grain / VMDK_GTES)
		err = put_table(v);
	s->table = grain / VMDK_GTES;
	m = calloc(1, 12 + len + VMDK_SECTOR);
	if (!m)
		err = ENOMEM;
	if (!err) {
		st_le64(m, off / VMDK_SECTOR);
		st_le32(m + 8, len);
		memcpy(m + 12, packed, len);
		s->gt[grain % VMDK_GTES] = (uint32_t)s->at;
		s->any = true;
		s->next = grain + 1;
		err = put(v, m, (12 + len + VMDK_SECTOR - 1) & ~(VMDK_SECTOR - 1));
	}
	free(m);
	return err;
}

int vmdk_pack(struct image *im, const uint8_t *in, uint8_t *out, uint32_t *len)
{
	uLongf n = GRAIN_BYTES;

	*len = compress2(out, &n, in, GRAIN_BYTES, LEVEL) == Z_OK ? (uint32_t)n : 0;
	return 0;
}

/* What does not get smaller: still packed, as the format wants it. */
int vmdk_stream_raw(struct vmdk *v, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned niov)
{
	uLongf n = compressBound(GRAIN_BYTES);
	uint8_t *in = calloc(1, GRAIN_BYTES), *out = malloc(n);
	int err = in && out && len <= GRAIN_BYTES ? 0 : EINVAL;

	if (!err) {
		iov_to_buf(iov, niov, 0, in, len);
		err = compress2(out, &n, in, GRAIN_BYTES, 1) == Z_OK ?
			vmdk_stream_grain(v, off, out, (uint32_t)n) : EIO;
	}
	free(in);
	free(out);
	return err;
}

int vmdk_stream_end(struct vmdk *v)
{
	struct vmdk_stream *s = v->stream;
	uint64_t n = (s->ngd * 4 + VMDK_SECTOR - 1) / VMDK_SECTOR, gd_at;
	uint8_t *raw = calloc(n, VMDK_SECTOR), h[VMDK_SECTOR], eos[VMDK_SECTOR] = { 0 };
	int err = raw ? put_table(v) : ENOMEM;

	for (uint64_t i = 0; !err && i < s->ngd; i++)
		st_le32(raw + i * 4, s->gd[i]);
	if (!err)
		err = put_marker(v, n, MARK_GD);
	gd_at = s->at;
	if (!err)
		err = put(v, raw, n * VMDK_SECTOR);
	free(raw);
	if (!err)
		err = put_marker(v, 1, MARK_FOOTER);
	if (!err)
		err = hf_pread(&v->im->file, h, sizeof(h), 0);
	st_le64(h + VH_GD, gd_at);
	if (!err)
		err = put(v, h, sizeof(h));
	return err ? err : put(v, eos, sizeof(eos));
}
