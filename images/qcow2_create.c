/* SPDX-License-Identifier: MIT */
/*
 * New qcow2 images, and a new backing file for an existing one.
 *
 * An empty image of size 0 is written by hand (header, refcount table, one
 * block); everything else is the ordinary code: it is opened and grown.
 */
#include "formats.h"
#include "qcow2_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct image_opt_help qcow2_options[] = {
	{ "cluster_size", "512..2M", "unit of allocation, 64k" },
	{ "compat", "v2|v3", "version of the format, v3" },
	{ "refcount_bits", "1..64", "width of reference counts, 16" },
	{ "compression_type", "zlib|zstd", "for compressed clusters, zlib" },
	{ "extended_l2", "on|off", "32 subclusters in each cluster (16k or more), off" },
	{ "lazy_refcounts", "on|off", "lets other programs write counts late, off" },
	{ "preallocation", "off|metadata|falloc|full", "reserve space now, off" },
	{ NULL, NULL, NULL },
};

enum prealloc { PRE_OFF, PRE_METADATA, PRE_FALLOC, PRE_FULL };

struct plan {
	uint64_t cs, refcount_bits;
	bool v2, zstd, ext, lazy;
	enum prealloc pre;
};

static bool read_version(const struct image_create *c, struct plan *p, struct err *e)
{
	const char *v = image_opt(c, "compat");

	if (!v || !strcmp(v, "v3") || !strcmp(v, "1.1"))
		return true;
	p->v2 = !strcmp(v, "v2") || !strcmp(v, "0.10");
	return p->v2 || err_set(e, HV_EXIT_USAGE, "compat=%.32s: use v2 or v3", v);
}

static bool read_prealloc(const struct image_create *c, struct plan *p, struct err *e)
{
	static const char *const names[] = { "off", "metadata", "falloc", "full" };
	const char *v = image_opt(c, "preallocation");

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!v || !strcmp(v, names[i])) {
			p->pre = (enum prealloc)i;
			return true;
		}
	return err_set(e, HV_EXIT_USAGE, "preallocation=%.32s: use off, metadata, falloc or full",
		       v);
}

static bool read_plan(const struct image_create *c, struct plan *p, struct err *e)
{
	const char *comp = image_opt(c, "compression_type");

	*p = (struct plan){ .cs = 65536, .refcount_bits = 16 };
	if (!read_version(c, p, e) || !read_prealloc(c, p, e) ||
	    !image_opt_pow2(c, "cluster_size", 512, 2 << 20, &p->cs, e) ||
	    !image_opt_pow2(c, "refcount_bits", 1, 64, &p->refcount_bits, e) ||
	    !image_opt_bool(c, "extended_l2", &p->ext, e) ||
	    !image_opt_bool(c, "lazy_refcounts", &p->lazy, e))
		return false;
	if (comp && strcmp(comp, "zlib") && strcmp(comp, "zstd"))
		return err_set(e, HV_EXIT_USAGE, "compression_type=%.32s: use zlib or zstd", comp);
	p->zstd = comp && !strcmp(comp, "zstd");
	if (p->v2 && (p->zstd || p->ext || p->lazy || p->refcount_bits != 16))
		return err_set(e, HV_EXIT_USAGE, "compat=v2 has no extended_l2, lazy_refcounts, "
			       "zstd or refcount_bits; leave it away");
	if (p->ext && p->cs < 16384)
		return err_set(e, HV_EXIT_USAGE, "extended_l2=on needs cluster_size=16k or more");
	if (p->pre != PRE_OFF && c->backing)
		return err_set(e, HV_EXIT_USAGE, "preallocation would hide the backing file");
	return true;
}

static unsigned log2_of(uint64_t v)
{
	return (unsigned)__builtin_ctzll(v);
}

/* Header, refcount table, refcount block: three clusters. */
static bool write_empty(struct image_create *c, const struct plan *p, int fd, struct err *e)
{
	struct qcow2 q = { .version = p->v2 ? 2 : 3, .cluster_bits = log2_of(p->cs),
			   .cs = (uint32_t)p->cs, .refcount_order = log2_of(p->refcount_bits),
			   .rt_off = p->cs, .rt_clusters = 1, .compat = p->lazy };
	uint8_t *b = calloc(3, p->cs);
	struct hostfile f;
	bool ok;
	int err = 0;

	if (!b)
		return err_set(e, HV_EXIT_HOST, "out of memory");
	q.header_len = p->v2 ? 72 : p->zstd ? 112 : 104;
	q.compression = p->zstd ? QC_ZSTD : QC_ZLIB;
	q.incompat = (p->zstd ? INCOMPAT_COMPRESSION : 0) | (p->ext ? INCOMPAT_EXTENDED_L2 : 0);
	snprintf(q.backing_name, sizeof(q.backing_name), "%s", c->backing ? c->backing : "");
	snprintf(q.backing_fmt, sizeof(q.backing_fmt), "%s", c->backing_fmt ? c->backing_fmt : "");
	q.kept_ext = b;		/* nothing of it: kept_len is 0 */
	ok = (!c->backing || strlen(c->backing) < sizeof(q.backing_name)) &&
		qcow2_build_header(&q, b);
	st_be64(b + p->cs, 2 * p->cs);
	for (unsigned i = 0; i < 3; i++) {	/* a count of 1 in each width */
		unsigned bit = i * (unsigned)p->refcount_bits;
		uint8_t *at = b + 2 * p->cs + bit / 8;

		if (p->refcount_bits < 8)
			*at |= (uint8_t)(1u << bit % 8);
		else
			at[p->refcount_bits / 8 - 1] = 1;
	}
	hf_init(&f, fd, false);
	if (ok)
		err = hf_pwrite(&f, b, 3 * p->cs, 0);
	free(b);
	if (!ok)
		return err_set(e, HV_EXIT_USAGE, "the backing file's name does not fit a header of "
			       "%llu bytes", (unsigned long long)p->cs);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
}

/* Blocks for the whole file, or zeros in them. */
static int reserve(struct qcow2 *q, enum prealloc how, const struct image_create *c)
{
	static const uint8_t zeros[65536];
	uint64_t step = sizeof(zeros), from = 0;
	int err = 0;

	if (how == PRE_FALLOC)
		return fallocate(q->f->fd, 0, 0, (off_t)q->file_end) ? errno : 0;
	while (!err && from < q->im->size) {
		struct iovec v = { (void *)zeros, MIN(step, q->im->size - from) };

		err = qcow2_write(q, from, v.iov_len, &v, 1);
		from += v.iov_len;
		if (!err)
			err = image_create_step(c, from, q->im->size);
	}
	return err;
}

static bool grow_and_fill(struct image *im, const struct plan *p, const struct image_create *c,
			  struct err *e)
{
	struct qcow2 *q;
	int err = 0;
	bool ok;

	im->fmt = &qcow2_format;
	if (!qcow2_open(im, e))
		return false;
	q = im->priv;
	ok = qcow2_resize(im, c->size, e);
	if (ok && p->pre != PRE_OFF)
		err = qcow2_preallocate(q, 0, im->size);
	if (ok && !err && p->pre >= PRE_FALLOC)
		err = reserve(q, p->pre, c);
	if (ok && !err)
		err = qcow2_flush_meta(q, true);
	qcow2_close(im);
	if (err)
		err_errno(e, HV_EXIT_HOST, err, "%s: cannot reserve the space", im->path);
	return ok && !err;
}

bool qcow2_create(struct image_create *c, struct err *e)
{
	struct image im = { .path = (char *)c->path, .flags = BLOCK_NO_LOCK | IMAGE_NO_BACKING };
	struct plan p;
	int fd;
	bool ok;

	if (!read_plan(c, &p, e))
		return false;
	fd = image_create_file(c, c->path, e);
	if (fd < 0)
		return false;
	hf_init(&im.file, fd, false);
	im.file.no_sync = c->no_sync;
	ok = write_empty(c, &p, fd, e) && grow_and_fill(&im, &p, c, e);
	hf_close(&im.file);
	return ok;
}

bool qcow2_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	struct qcow2 *q = im->priv;
	uint8_t *h = malloc(q->cs);
	bool ok = h && (!name || strlen(name) < sizeof(q->backing_name));
	int err = 0;

	snprintf(q->backing_name, sizeof(q->backing_name), "%s", name ? name : "");
	snprintf(q->backing_fmt, sizeof(q->backing_fmt), "%s", fmt ? fmt : "");
	ok = ok && qcow2_build_header(q, h);
	if (ok)
		err = qcow2_flush_meta(q, true);
	if (ok && !err)
		err = hf_pwrite(q->f, h, q->cs, 0);
	if (ok && !err)
		err = hf_sync(q->f);
	free(h);
	if (!ok)
		return err_set(e, HV_EXIT_IMAGE, "%s: the name does not fit the header", im->path);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write the header", im->path);
}
