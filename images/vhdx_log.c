/* SPDX-License-Identifier: MIT */
/*
 * The VHDX log: finding the active sequence and replaying it, and writing
 * entries.  An entry of ours is a sequence of its own: what it describes is
 * in place and synced before the next one is written.
 */
#include "vhdx_int.h"
#include "../src/log.h"

#include <errno.h>
#include <stdlib.h>

#define CRC_BUDGET 8u			/* times the log: hostile entries overlap */
#define NO_ENTRY UINT32_MAX
#define ENTRY_HEAD 64u
#define DESC 32u

enum { LE_LEN = 8, LE_TAIL = 12, LE_SEQ = 16, LE_COUNT = 24, LE_GUID = 32, LE_FLUSHED = 48,
       LE_LAST = 56 };

struct replay {
	struct vhdx *v;
	uint8_t *log;
	uint64_t len, budget;
	uint8_t *entry;			/* one, unwrapped */
	uint32_t *known;		/* per page: length, NO_ENTRY, 0 = not looked at */
};

/* Copy @len bytes from @at on around the end. */
static void unwrap(const struct replay *r, uint64_t at, uint64_t len)
{
	uint64_t first = MIN(len, r->len - at);

	memcpy(r->entry, r->log + at, first);
	memcpy(r->entry + first, r->log, len - first);
}

/* Pages that the descriptors take. */
static uint64_t desc_pages(uint32_t count)
{
	return (ENTRY_HEAD + (uint64_t)count * DESC + VX_PAGE - 1) / VX_PAGE;
}

static bool descriptors_ok(const struct replay *r, uint64_t seq, uint32_t count, uint32_t len)
{
	uint64_t page = desc_pages(count);

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *d = r->entry + ENTRY_HEAD + i * DESC;

		if (ld_le64(d + 24) != seq)
			return false;
		if (!memcmp(d, "zero", 4))
			continue;
		if (memcmp(d, "desc", 4) || (page + 1) * VX_PAGE > len)
			return false;
		d = r->entry + page++ * VX_PAGE;
		if (memcmp(d, "data", 4) || ld_le32(d + 4) != seq >> 32 ||
		    ld_le32(d + VX_PAGE - 4) != (uint32_t)seq)
			return false;
	}
	return page * VX_PAGE == len;
}

static uint32_t look(struct replay *r, uint64_t at)
{
	const uint8_t *h = r->log + at;
	uint32_t len = ld_le32(h + LE_LEN), count = ld_le32(h + LE_COUNT);
	uint64_t seq = ld_le64(h + LE_SEQ);

	if (memcmp(h, "loge", 4) || !len || len % VX_PAGE || len > r->len || !seq ||
	    memcmp(h + LE_GUID, r->v->hdr + HD_LOG_GUID, 16) ||
	    ld_le32(h + LE_TAIL) % VX_PAGE || ld_le32(h + LE_TAIL) >= r->len ||
	    desc_pages(count) * VX_PAGE > len || r->budget < len)
		return 0;
	r->budget -= len;
	unwrap(r, at, len);
	if (ld_le32(h + 4) != vx_checksum(r->entry, len) || !descriptors_ok(r, seq, count, len))
		return 0;
	return len;
}

/* A whole, valid entry at @at, now in r->entry; its length, 0: none. */
static uint32_t entry_at(struct replay *r, uint64_t at)
{
	uint32_t *known = &r->known[at / VX_PAGE], len;

	if (*known == NO_ENTRY)
		return 0;
	if (*known) {
		unwrap(r, at, *known);
		return *known;
	}
	len = look(r, at);
	*known = len ? len : NO_ENTRY;
	return len;
}

/* The sequence from @start on: its length in entries and the last number, if it is one. */
static bool sequence_at(struct replay *r, uint64_t start, uint64_t *last, unsigned *n)
{
	uint64_t at = start, seq = 0, tail = UINT64_MAX, total = 0;
	uint32_t len;

	for (*n = 0; total < r->len && (len = entry_at(r, at)) != 0; ++*n) {
		if (*n && ld_le64(r->entry + LE_SEQ) != seq + 1)
			break;
		seq = ld_le64(r->entry + LE_SEQ);
		tail = ld_le32(r->entry + LE_TAIL);
		total += len;
		at = (at + len) % r->len;
	}
	*last = seq;
	return *n && tail == start;
}

static int patch_page(struct vhdx *v, uint64_t off, const uint8_t *data)
{
	struct vx_patch *p;

	if (!(v->im_readonly))
		return hf_pwrite(v->b.f, data, VX_PAGE, off);
	p = realloc(v->patch, (v->npatch + 1) * sizeof(*p));
	if (!p)
		return ENOMEM;
	v->patch = p;
	p[v->npatch].off = off;
	memcpy(p[v->npatch++].data, data, VX_PAGE);
	return 0;
}

static int apply_entry(struct replay *r)
{
	uint32_t count = ld_le32(r->entry + LE_COUNT);
	uint8_t *page = r->entry + desc_pages(count) * VX_PAGE;
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++) {
		const uint8_t *d = r->entry + ENTRY_HEAD + i * DESC;
		uint64_t off = ld_le64(d + 16), len = ld_le64(d + 8);

		if (off % VX_PAGE || off < VX_REGIONS1 || off > IMAGE_MAX_SIZE)
			return EINVAL;
		if (!memcmp(d, "zero", 4)) {
			if (len % VX_PAGE || len > r->v->file_size || off > r->v->file_size - len)
				return EINVAL;
			err = r->v->im_readonly ? ENOTSUP : hf_zero(r->v->b.f, off, len, false);
			continue;
		}
		memcpy(page, d + 8, 8);		/* the data page lent its ends to signatures */
		memcpy(page + VX_PAGE - 4, d + 4, 4);
		err = patch_page(r->v, off, page);
		page += VX_PAGE;
	}
	return err;
}

static int apply_sequence(struct replay *r, uint64_t at, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++) {
		uint32_t len;

		len = entry_at(r, at);
		if (!len)
			return EIO;
		if (ld_le64(r->entry + LE_FLUSHED) > r->v->file_size)
			return ENXIO;
		err = apply_entry(r);
		at = (at + len) % r->len;
	}
	return err;
}

static bool run(struct replay *r, struct err *e)
{
	struct vhdx *v = r->v;
	uint64_t best = 0, start = 0, last;
	unsigned n, best_n = 0;
	int err;

	for (uint64_t at = 0; at < r->len; at += VX_PAGE)
		if (sequence_at(r, at, &last, &n) && last > best) {
			best = last;
			best_n = n;
			start = at;
		}
	if (!best_n) {		/* nothing got as far as the log */
		v->seq = 1;
		return true;
	}
	err = apply_sequence(r, start, best_n);
	v->seq = best + 1;
	if (err == ENXIO)
		return err_set(e, HV_EXIT_IMAGE, "%s: truncated: the log tells of a longer file; "
			       "copy it again", v->b.im->path);
	if (!err && !v->im_readonly)
		err = hf_sync(v->b.f);
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot replay the log", v->b.im->path);
	log_info("%s: was not closed cleanly: %u log entries replayed%s", v->b.im->path, best_n,
		 v->im_readonly ? " in memory" : "");
	return true;
}

bool vx_replay(struct vhdx *v, struct err *e)
{
	struct replay r = { .v = v, .len = v->log_len, .budget = CRC_BUDGET * v->log_len };
	bool ok;

	r.log = malloc(r.len);
	r.entry = malloc(r.len);
	r.known = calloc(r.len / VX_PAGE, sizeof(*r.known));
	if (!r.log || !r.entry || !r.known || hf_pread(v->b.f, r.log, r.len, v->log_off))
		ok = err_set(e, HV_EXIT_IMAGE, "%s: cannot read the log", v->b.im->path);
	else
		ok = run(&r, e);
	free(r.log);
	free(r.entry);
	free(r.known);
	return ok;
}

/* ---- writing ------------------------------------------------------------------- */

static void build_entry(struct vhdx *v, uint8_t *en, uint32_t len, const uint64_t *off,
			const uint8_t *pages, unsigned n)
{
	memcpy(en, "loge", 4);
	st_le32(en + LE_LEN, len);
	st_le32(en + LE_TAIL, (uint32_t)v->head);
	st_le64(en + LE_SEQ, v->seq);
	st_le32(en + LE_COUNT, n);
	memcpy(en + LE_GUID, v->hdr + HD_LOG_GUID, 16);
	st_le64(en + LE_FLUSHED, v->b.end);
	st_le64(en + LE_LAST, v->b.end);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = pages + i * VX_PAGE;
		uint8_t *d = en + ENTRY_HEAD + i * DESC;
		uint8_t *data = en + (desc_pages(n) + i) * VX_PAGE;

		memcpy(d, "desc", 4);
		memcpy(d + 4, p + VX_PAGE - 4, 4);
		memcpy(d + 8, p, 8);
		st_le64(d + 16, off[i]);
		st_le64(d + 24, v->seq);
		memcpy(data, p, VX_PAGE);
		memcpy(data, "data", 4);
		st_le32(data + 4, (uint32_t)(v->seq >> 32));
		st_le32(data + VX_PAGE - 4, (uint32_t)v->seq);
	}
	st_le32(en + 4, vx_checksum(en, len));
}

static int put_entry(struct vhdx *v, const uint64_t *off, const uint8_t *pages, unsigned n)
{
	uint32_t len = (uint32_t)(desc_pages(n) + n) * VX_PAGE;
	uint8_t *en = calloc(1, len);
	int err = !en ? ENOMEM : len > v->log_len ? EFBIG : 0;

	if (!err && v->log_len - v->head < len)
		v->head = 0;
	if (!err) {
		build_entry(v, en, len, off, pages, n);
		err = hf_pwrite(v->b.f, en, len, v->log_off + v->head);
	}
	free(en);
	if (!err)
		err = hf_sync(v->b.f);
	v->head = (v->head + len) % v->log_len;
	v->seq++;
	return err;
}

/* An empty entry first, so that headers never name a log without one. */
int vx_begin_writing(struct vhdx *v)
{
	int err = 0;

	pthread_mutex_lock(&v->begin_lock);
	if (!v->writing) {
		vx_new_guid(v->hdr + HD_FILE_GUID);
		if (!(v->b.im->flags & IMAGE_KEEP_ID))
			vx_new_guid(v->hdr + HD_DATA_GUID);
		vx_new_guid(v->hdr + HD_LOG_GUID);
		v->head = 0;
		v->seq = MAX(v->seq, 1ull);
		err = put_entry(v, NULL, NULL, 0);
		if (!err)
			err = vx_write_headers(v);
		v->writing = !err;
	}
	pthread_mutex_unlock(&v->begin_lock);
	return err;
}

int vx_logged_write(struct vhdx *v, const uint64_t *off, const uint8_t *pages, unsigned n)
{
	int err = put_entry(v, off, pages, n);

	for (unsigned i = 0; i < n && !err; i++)
		err = hf_pwrite(v->b.f, pages + i * VX_PAGE, VX_PAGE, off[i]);
	return err ? err : hf_sync(v->b.f);
}
