/* SPDX-License-Identifier: MIT */
/* `hvrun img` create, convert, compare: whole images made and held against each other. */
#include "img_int.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fill_create(struct image_create *c, const struct img_args *a, const char *path)
{
	*c = (struct image_create){ .path = path, .nopt = a->nopt };
	memcpy(c->opt, a->opt, sizeof(c->opt));
}

/* What --force replaces, under another name until the new image is complete. */
struct replaced {
	char path[4096], aside[4128];	/* aside "": nothing was there */
};

bool img_not_in_use(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK), rdonly = fd < 0;
	bool ok;

	if (rdonly)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "%s: cannot open, so it cannot be "
				 "told whether it is in use", path);
	ok = image_lock(fd, path, rdonly, e);
	close(fd);
	return ok;
}

/* Never over another file. */
static bool rename_new(const char *from, const char *to)
{
	struct stat st;

	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return true;
	return (errno == EINVAL || errno == ENOSYS) && lstat(to, &st) && !rename(from, to);
}

static bool set_aside(const struct img_args *a, const char *path, struct replaced *r,
		      struct err *e)
{
	struct stat st;

	*r = (struct replaced){ 0 };
	if (!a->force || lstat(path, &st))
		return true;
	if (!S_ISREG(st.st_mode))
		return err_set(e, HV_EXIT_USAGE, "%s: is no file; --force replaces files only",
			       path);
	if (!img_not_in_use(path, e))
		return false;
	snprintf(r->path, sizeof(r->path), "%s", path);
	snprintf(r->aside, sizeof(r->aside), "%s.old-%d", r->path, (int)getpid());
	if (rename_new(path, r->aside))
		return true;
	r->aside[0] = '\0';
	return err_errno(e, HV_EXIT_HOST, errno, "%s: cannot be set aside", path);
}

/* The new image is there (@ok), and the old file goes, or comes back. */
static void settle_replaced(const struct replaced *r, bool ok)
{
	if (!r->aside[0])
		return;
	if (ok ? unlink(r->aside) : !rename_new(r->aside, r->path))
		log_warn("%s: cannot %s: %s", r->aside, ok ? "remove it" : "name it as before",
			 strerror(errno));
}

/* The backing file as the new image will see it: relative to its directory. */
static struct image *open_backing(const struct img_args *a, const char *target, struct err *e)
{
	char *copy = hv_strdup(target), path[8192];
	struct image *im;

	if (a->backing[0] == '/')
		snprintf(path, sizeof(path), "%s", a->backing);
	else
		snprintf(path, sizeof(path), "%.4000s/%.4000s", dirname(copy), a->backing);
	im = image_open(path, a->backing_fmt, BLOCK_RDONLY, e);
	free(copy);
	return im;
}

static bool create_step(void *opaque, uint64_t done, uint64_t total)
{
	struct img_bar *bar = opaque;

	bar->total = total;
	img_bar_update(bar, done);
	return !atomic_load(&img_cancelled);
}

/* Only preallocation takes long enough for a bar. */
static bool create(const struct img_args *a, const struct block_format *fmt,
		   struct image_create *c, struct err *e)
{
	struct img_bar bar;
	bool ok;

	img_bar_begin(&bar, a, "create", c->size);
	c->step = create_step;
	c->step_opaque = &bar;
	ok = image_create(fmt, c, e);
	if (atomic_load(&bar.done))
		img_bar_end(&bar, ok);
	return ok || (atomic_load(&img_cancelled) ? img_was_cancelled(e) : false);
}

static void tell_created(const struct img_args *a, const struct image *im)
{
	struct img_json j = { .out = stdout };

	if (a->json) {
		json_begin(&j, NULL, '{');
		json_string(&j, "filename", a->pos[0]);
		json_string(&j, "format", im->fmt->name);
		json_number(&j, "virtual-size", im->size);
		if (a->backing)
			json_string(&j, "backing-filename", a->backing);
		json_end(&j, '}');
	} else if (!a->quiet) {
		printf("%s: %s, %s%s%s\n", a->pos[0], im->fmt->name, img_bytes(im->size),
		       a->backing ? " over " : "", a->backing ? a->backing : "");
	}
}

int img_create(struct img_args *a, struct err *e)
{
	const char *path = a->pos[0], *def = a->backing ? "qcow2" : "raw";
	const struct block_format *fmt = image_format(a->format ? a->format : def, e);
	struct image_create c;
	struct image *base = NULL, *im;
	struct replaced old;
	bool ok;

	fill_create(&c, a, path);
	if (!fmt)
		return e->exit_code;
	if (!a->backing && a->npos < 2)
		return err_set(e, HV_EXIT_USAGE, "img create: give a size, for example 20G, or a "
			       "backing file: -b BASE"), HV_EXIT_USAGE;
	if (a->npos == 2 && !image_size(a->pos[1], &c.size))
		return err_set(e, HV_EXIT_USAGE, "%s is not a size; write for example 512M or 20G",
			       a->pos[1]), HV_EXIT_USAGE;
	if (a->backing) {
		base = open_backing(a, path, e);
		if (!base)
			return e->exit_code;
		c.backing = a->backing;
		c.backing_fmt = base->fmt->name;
		c.backing_im = base;
		c.size = c.size ? c.size : base->size;
	}
	c.size = (c.size + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull);
	ok = set_aside(a, path, &old, e) && create(a, fmt, &c, e);
	image_close(base);
	/* What was made must open: names and paths are checked by the ordinary rules. */
	im = ok ? image_open(path, fmt->name, BLOCK_RDONLY, e) : NULL;
	if (ok && !im)
		image_create_undo(&c);
	settle_replaced(&old, im);
	if (im)
		tell_created(a, im);
	image_close(im);
	image_create_end(&c);
	return im ? 0 : e->exit_code;
}

/* ---- convert ------------------------------------------------------------------ */

static unsigned thread_count(const struct img_args *a, bool pack)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	/* Who waits for its turn to store leaves its processor to another. */
	n = n < 2 ? 2 : n > 8 ? 8 : n;
	return a->threads ? MIN(a->threads, 16u) : (unsigned)(pack ? 2 * n : n);
}

static bool can_pack(struct image *im, struct err *e)
{
	const struct image_tool *t = im->fmt->tool;

	if (t && t->pack_unit && t->pack_unit(im) && t->pack_unit(im) <= 2u << 20)
		return true;
	return err_set(e, HV_EXIT_USAGE, "%s images have no compression; leave --compress away",
		       im->fmt->name);
}

/* A stream can be written packed and in order, not otherwise. */
static bool only_packed(struct image *im)
{
	const struct image_tool *t = im->fmt->tool;

	return t && t->only_packed && t->only_packed(im);
}

static bool copy_into(struct img_args *a, struct image *src, struct image *dst, struct err *e)
{
	struct img_bar bar;
	bool pack = a->compress || only_packed(dst);
	struct img_copy c = { .src = src, .dst = dst, .fresh = true, .size = src->size,
			      .threads = thread_count(a, pack), .bar = &bar, .pack = pack };
	bool ok;
	int err;

	if (c.pack && !can_pack(dst, e))
		return false;
	dst->file.no_sync = true;
	img_bar_begin(&bar, a, "convert", src->size);
	ok = img_copy_run(&c, e);
	err = ok ? image_io(dst, BLOCK_FLUSH, 0, 0, NULL, 0) : 0;
	dst->file.no_sync = a->no_sync;
	if (ok && !err)
		err = image_io(dst, BLOCK_FLUSH, 0, 0, NULL, 0);
	if (err)
		err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", dst->path);
	return ok && !err;
}

static bool same_file(const struct image *im, const char *path, struct err *e)
{
	struct stat st;

	for (; im; im = im->backing)
		if (!stat(path, &st) && st.st_dev == im->dev && st.st_ino == im->ino) {
			err_set(e, HV_EXIT_USAGE, "%s is the source itself; give another target",
				path);
			return true;
		}
	return false;
}

static struct image *open_source(const struct img_args *a, struct err *e)
{
	struct image *im = image_open(a->pos[0], a->format,
				      BLOCK_RDONLY | (a->snapshot ? IMAGE_LENIENT : 0), e);

	if (!im || !a->snapshot)
		return im;
	if (!im->fmt->tool || !im->fmt->tool->snapshot)
		err_set(e, HV_EXIT_USAGE, "%s: %s images have no snapshots", a->pos[0],
			im->fmt->name);
	else if (im->fmt->tool->snapshot(im, SNAP_VIEW, a->snapshot, e))
		return im;
	image_close(im);
	return NULL;
}

int img_convert(struct img_args *a, struct err *e)
{
	const struct block_format *fmt = image_format(a->out_format ? a->out_format : "raw", e);
	struct image *src = fmt ? open_source(a, e) : NULL, *dst = NULL;
	struct replaced old = { 0 };
	struct image_create c;
	bool ok = false;

	if (!src)
		return e->exit_code;
	fill_create(&c, a, a->pos[1]);
	c.size = src->size;
	c.packed = a->compress;
	c.no_sync = true;
	if (!same_file(src, c.path, e) && set_aside(a, c.path, &old, e) &&
	    image_create(fmt, &c, e)) {
		dst = image_open(c.path, fmt->name, IMAGE_NEW, e);
		ok = dst && copy_into(a, src, dst, e);
		if (dst && !ok)
			dst->file.no_sync = true;
		image_close(dst);
		if (!ok)
			image_create_undo(&c);
	}
	settle_replaced(&old, ok);
	image_create_end(&c);
	image_close(src);
	return ok ? 0 : e->exit_code;
}

/* ---- compare ------------------------------------------------------------------- */

#define CMP_PIECE (2u << 20)

/* First difference of two buffers, in sectors' bytes; @n: none. */
static uint64_t first_difference(const uint8_t *x, const uint8_t *y, uint64_t n)
{
	uint64_t i = 0;

	if (!memcmp(x, y, n))
		return n;
	while (x[i] == y[i])
		i++;
	return i;
}

/* @got: where they differ, or the size.  A longer one may go on with zeros. */
static bool compare_all(struct image *x, struct image *y, struct img_bar *bar, uint64_t *got,
			struct err *e)
{
	uint64_t size = MAX(x->size, y->size), at = 0, n, m;
	uint8_t *bx = malloc(CMP_PIECE), *by = malloc(CMP_PIECE);
	enum image_kind kx = IMAGE_DATA, ky = IMAGE_DATA;
	int err = bx && by ? 0 : ENOMEM;

	while (!err && at < size && !atomic_load(&img_cancelled)) {
		n = m = size - at;
		err = img_chain_map(x, at, n, &n, &kx);
		if (!err)
			err = img_chain_map(y, at, n, &m, &ky);
		n = MIN(n, m);
		if (!err && (kx != IMAGE_ZERO || ky != IMAGE_ZERO)) {
			n = MIN(n, CMP_PIECE);
			err = image_read(x, at, bx, n);
			if (!err)
				err = image_read(y, at, by, n);
			m = err ? n : first_difference(bx, by, n);
			if (m < n) {
				at += m;
				break;
			}
		}
		at += n;
		img_bar_update(bar, at);
	}
	free(bx);
	free(by);
	*got = at;
	img_bar_end(bar, !err && at == size);
	if (atomic_load(&img_cancelled))
		return err_set(e, 130, "cancelled");
	return !err || err_errno(e, HV_EXIT_IMAGE, err, "cannot read at %llu",
				 (unsigned long long)at);
}

static void report(const struct img_args *a, uint64_t at, bool same, bool sizes)
{
	struct img_json j = { .out = stdout };

	if (a->json) {
		json_begin(&j, NULL, '{');
		json_bool(&j, "identical", same);
		json_bool(&j, "same-size", sizes);
		if (!same)
			json_number(&j, "offset", at);
		json_end(&j, '}');
	} else if (!a->quiet && same) {
		printf("The images are identical%s.\n",
		       sizes ? "" : " (one is longer, with zeros)");
	} else if (!a->quiet) {
		printf("The images differ at byte %llu.\n", (unsigned long long)at);
	}
}

int img_compare(struct img_args *a, struct err *e)
{
	struct image *x = image_open(a->pos[0], a->format, BLOCK_RDONLY, e);
	struct image *y = x ? image_open(a->pos[1], a->out_format, BLOCK_RDONLY, e) : NULL;
	struct img_bar bar;
	uint64_t at = 0;
	bool ok = false, same = false;

	if (y) {
		img_bar_begin(&bar, a, "compare", MAX(x->size, y->size));
		ok = compare_all(x, y, &bar, &at, e);
		same = ok && at == MAX(x->size, y->size);
		if (ok)
			report(a, at, same, x->size == y->size);
	}
	image_close(y);
	image_close(x);
	return !ok ? e->exit_code : same ? 0 : HV_EXIT_GENERIC;
}
