/* SPDX-License-Identifier: MIT */
/* `hvrun img` resize, commit, rebase: changes to images that exist. */
#include "control.h"
#include "img_int.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool new_size(const char *s, uint64_t now, uint64_t *v, struct err *e)
{
	bool more = *s == '+', less = *s == '-';

	if (!image_size(s + (more || less), v))
		return err_set(e, HV_EXIT_USAGE, "%s is not a size; write 20G, +5G or -1G", s);
	*v = (*v + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull);
	if (less && *v >= now)
		return err_set(e, HV_EXIT_USAGE, "the disk has only %s", img_bytes(now));
	*v = more ? now + *v : less ? now - *v : *v;
	return (*v && *v <= IMAGE_MAX_SIZE) ||
		err_set(e, HV_EXIT_USAGE, "a disk has between 512 bytes and 1 PiB");
}

static void tell_size(const struct img_args *a, uint64_t size, uint64_t old, const char *more)
{
	struct img_json j = { .out = stdout };

	if (a->json) {
		json_begin(&j, NULL, '{');
		json_string(&j, "filename", a->pos[0]);
		json_number(&j, "virtual-size", size);
		json_number(&j, "old-virtual-size", old);
		json_end(&j, '}');
	} else if (!a->quiet) {
		printf("%s: %s, was %s%s\n", a->pos[0], img_bytes(size), img_bytes(old), more);
	}
}

/* A running hvrun has the image: it makes its disk larger.  Before: @e says who has it. */
static int resize_in_use(struct img_args *a, struct err *e)
{
	const char *arg = a->pos[1];
	char request[128], answer[600], told[8] = "";
	int fd = open(a->pos[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	pid_t pid = fd >= 0 ? image_lock_holder(fd) : 0;
	unsigned long long was, now;
	struct err why = { 0 };
	struct stat st;
	uint64_t size;
	bool ok = pid && !fstat(fd, &st) && !a->shrink && image_size(arg + (*arg == '+'), &size);

	if (fd >= 0)
		close(fd);
	if (!ok)
		return e->exit_code;
	size = (size + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull);
	snprintf(request, sizeof(request), "resize\n%llu %llu %c%llu",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 *arg == '+' ? '+' : '=', (unsigned long long)size);
	if (!control_call_process(pid, request, answer, sizeof(answer), &why)) {
		if (why.exit_code != HV_EXIT_LOCKED)
			*e = why;
		return e->exit_code;
	}
	if (sscanf(answer, "ok %llu %llu %7s", &was, &now, told) != 3)
		return err_set(e, HV_EXIT_LOCKED, "%s", answer), e->exit_code;
	e->msg[0] = '\0';
	tell_size(a, now, was, !strcmp(told, "told") ? "; the running guest was told" :
		  "; the running guest sees it after its next restart");
	return 0;
}

int img_resize(struct img_args *a, struct err *e)
{
	struct image *im = image_open(a->pos[0], a->format, BLOCK_DISCARD_ON, e);
	uint64_t size, old;
	bool ok;

	if (!im)
		return e->exit_code == HV_EXIT_LOCKED ? resize_in_use(a, e) : e->exit_code;
	old = im->size;
	ok = new_size(a->pos[1], im->size, &size, e);
	if (ok && size < old && !a->shrink)
		ok = err_set(e, HV_EXIT_USAGE,
			     "%s: from %s to %s would cut off the end of the disk; "
			     "shrink the file systems in it first, then give --shrink",
			     a->pos[0], img_bytes(old), img_bytes(size));
	if (ok && (!im->fmt->tool || !im->fmt->tool->resize))
		ok = err_set(e, HV_EXIT_USAGE, "%s: hvrun cannot resize %s images; convert it",
			     a->pos[0], im->fmt->name);
	ok = ok && im->fmt->tool->resize(im, size, e);
	if (ok)
		tell_size(a, size, old, "");
	image_close(im);
	return ok ? 0 : e->exit_code;
}

/*
 * What the image is over, by the ordinary open: it refuses backing files in
 * wrong places, and finds those that have no name.  @fmt: the format that was
 * recorded; "": none was, and what is there is judged with the usual care.
 */
static char *find_base(const struct img_args *a, char *fmt, size_t n, struct err *e)
{
	struct image *im = image_open(a->pos[0], a->format, BLOCK_RDONLY, e);
	struct image_info i = { 0 };
	char *path = NULL;

	if (im && im->backing) {
		if (im->fmt->tool && im->fmt->tool->info)
			im->fmt->tool->info(im, &i);
		path = hv_strdup(im->backing->path);
		snprintf(fmt, n, "%s", i.backing_fmt);
	} else if (im) {
		err_set(e, HV_EXIT_USAGE, "%s: has no backing file to commit to", a->pos[0]);
	}
	image_close(im);
	return path;
}

static bool commit_into(struct img_args *a, struct image *top, struct image *base, struct err *e)
{
	struct img_bar bar;
	struct img_copy c = { .src = top, .dst = base, .own_only = true, .size = top->size,
			      .threads = 2, .bar = &bar };
	bool ok = true;
	int err;

	if (top->size > base->size)
		ok = base->fmt->tool && base->fmt->tool->resize ?
			base->fmt->tool->resize(base, top->size, e) :
			err_set(e, HV_EXIT_IMAGE, "%s: smaller than the image above it, and cannot "
				"grow", base->path);
	if (!ok)
		return false;
	img_bar_begin(&bar, a, "commit", top->size);
	if (!img_copy_run(&c, e))
		return atomic_load(&img_cancelled) ?
			err_set(e, 130, "cancelled; %s still holds all its changes, %s some of "
				"them: commit it again before you use %s alone", top->path,
				base->path, base->path) : false;
	err = image_io(base, BLOCK_FLUSH, 0, 0, NULL, 0);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", base->path);
	return !top->fmt->tool->make_empty || top->fmt->tool->make_empty(top, e);
}

/*
 * While it was written the base kept its identity, so that the overlay could
 * be opened after an interruption.  Now it gets another: whatever else was
 * made over what it was must not be used over what it is.
 */
static bool new_identity(const char *path, const char *fmt, struct err *e)
{
	struct image *im = image_open(path, *fmt ? fmt : NULL, 0, e);
	uint8_t b[BLOCK_SECTOR];
	struct iovec v = { b, sizeof(b) };
	int err;

	if (!im)
		return false;
	err = image_read(im, 0, b, sizeof(b));
	if (!err)
		err = image_io(im, BLOCK_WRITE, 0, sizeof(b), &v, 1);
	if (!err)
		err = image_io(im, BLOCK_FLUSH, 0, 0, NULL, 0);
	image_close(im);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", path);
}

int img_commit(struct img_args *a, struct err *e)
{
	struct image *top = NULL, *base = NULL;
	char fmt[32], *path = find_base(a, fmt, sizeof(fmt), e);
	bool ok;

	if (path)
		top = image_open(a->pos[0], a->format, IMAGE_NO_BACKING | BLOCK_DISCARD_ON, e);
	if (top)
		base = image_open(path, *fmt ? fmt : NULL, BLOCK_DISCARD_ON | IMAGE_KEEP_ID, e);
	ok = base && commit_into(a, top, base, e);
	if (ok && !top->fmt->tool->make_empty) {
		image_close(base);
		base = NULL;
		ok = new_identity(path, fmt, e);
	}
	if (ok && a->json) {
		struct img_json j = { .out = stdout };

		json_begin(&j, NULL, '{');
		json_string(&j, "filename", a->pos[0]);
		json_string(&j, "committed-to", path);
		json_end(&j, '}');
	} else if (ok && !a->quiet) {
		printf("%s: now holds what %s held%s\n", path, a->pos[0],
		       top->fmt->tool->make_empty ? "" : "; make a new overlay over it");
	}
	image_close(base);
	image_close(top);
	free(path);
	return ok ? 0 : e->exit_code;
}

/* ---- rebase ------------------------------------------------------------------------ */

#define PIECE (1u << 20)

/* Where the new base would show something else, the overlay takes the content over. */
static int keep_content(struct image *top, struct image *base, struct img_bar *bar)
{
	uint8_t *x = malloc(PIECE), *y = malloc(PIECE);
	uint64_t at = 0, n;
	enum image_kind k;
	int err = x && y ? 0 : ENOMEM;

	while (!err && at < top->size) {
		if (atomic_load(&img_cancelled)) {
			err = ECANCELED;
			break;
		}
		err = image_map(top, at, MIN(PIECE - at % PIECE, top->size - at), &n, &k);
		if (!err && (k == IMAGE_BELOW || (k == IMAGE_ZERO && !top->backing))) {
			struct iovec v = { x, n };

			err = image_read(top, at, x, n);
			memset(y, 0, n);
			if (!err && base)
				err = image_read(base, at, y, n);
			if (!err && memcmp(x, y, n))
				err = img_is_zero(x, n) ?
					image_io(top, BLOCK_WRITE_ZEROES, at, n, NULL, 0) :
					image_io(top, BLOCK_WRITE, at, n, &v, 1);
		}
		at += n;
		img_bar_update(bar, at);
	}
	free(x);
	free(y);
	img_bar_end(bar, !err);
	return err;
}

/* By the rules of an ordinary open, before anything is changed. */
static struct image *open_new_base(const struct img_args *a, struct image *top, struct err *e)
{
	struct image above = *top;

	above.backing = NULL;
	above.flags &= ~IMAGE_NO_BACKING;
	if (!image_open_backing(&above, a->backing, a->backing_fmt, e))
		return NULL;
	above.backing->over = top;
	return above.backing;
}

static bool rebase(struct img_args *a, struct image *top, struct image *base, struct err *e)
{
	bool none = !a->backing[0];
	struct img_bar bar;
	int err;

	if (!a->unsafe) {
		img_bar_begin(&bar, a, "rebase", top->size);
		err = keep_content(top, base, &bar);
		if (err == ECANCELED)
			return err_set(e, 130, "cancelled; %s still uses its old backing file",
				       top->path);
		if (err)
			return err_errno(e, HV_EXIT_HOST, err, "%s: cannot copy", top->path);
	}
	return top->fmt->tool->set_backing(top, none ? NULL : a->backing,
					   none	  ? NULL
					   : base ? base->fmt->name
						  : a->backing_fmt,
					   e);
}

/* The ordinary open refuses backing files in wrong places; do not write to what it refuses. */
static bool chain_is_allowed(const char *path, const char *fmt, struct err *e)
{
	struct image *im = image_open(path, fmt, BLOCK_RDONLY, e);
	bool ok = im != NULL;

	image_close(im);
	return ok;
}

int img_rebase(struct img_args *a, struct err *e)
{
	struct image *top, *base = NULL;
	bool ok = true;

	if (!a->backing)
		return err_set(e, HV_EXIT_USAGE, "img rebase: give the new backing file with -b "
			       "(-b '' for none)"), HV_EXIT_USAGE;
	top = image_open(a->pos[0], a->format, BLOCK_DISCARD_ON |
			 (a->unsafe ? IMAGE_NO_BACKING : 0), e);
	if (!top)
		return e->exit_code;
	if (!top->fmt->tool || !top->fmt->tool->set_backing)
		ok = err_set(e, HV_EXIT_USAGE, "%s: %s images have no backing file", a->pos[0],
			     top->fmt->name);
	if (ok && a->backing[0] && !(a->unsafe && a->backing_fmt)) {
		base = open_new_base(a, top, e);
		ok = base != NULL;
	}
	ok = ok && rebase(a, top, base, e);
	image_close(base);
	image_close(top);
	/* As at attach: a name that would be refused is told now. */
	if (ok && !a->unsafe)
		ok = chain_is_allowed(a->pos[0], a->format, e);
	return ok ? 0 : e->exit_code;
}
