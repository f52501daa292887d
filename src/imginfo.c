/* SPDX-License-Identifier: MIT */
/* `hvrun img` info, check, snapshot: what an image is, and whether it is sound. */
#include "img_int.h"

#include <sys/stat.h>
#include <time.h>

static void collect(struct image *im, struct image_info *i)
{
	*i = (struct image_info){ 0 };
	if (im->fmt->tool && im->fmt->tool->info)
		im->fmt->tool->info(im, i);
}

static uint64_t space_used(const struct image *im)
{
	struct stat st;

	return fstat(im->file.fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void when(uint64_t sec, char *buf, size_t n)
{
	time_t t = (time_t)sec;
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(buf, n, "%Y-%m-%d %H:%M:%S", &tm);
}

static bool snap_at(struct image *im, unsigned k, struct image_snap *s)
{
	return im->fmt->tool && im->fmt->tool->snapshot_list &&
		im->fmt->tool->snapshot_list(im, k, s);
}

static void list_json(struct img_json *j, struct image *im)
{
	struct image_snap s;

	json_begin(j, "snapshots", '[');
	for (unsigned k = 0; snap_at(im, k, &s); k++) {
		json_begin(j, NULL, '{');
		json_string(j, "id", s.id);
		json_string(j, "name", s.name);
		json_number(j, "vm-state-size", s.vm_bytes);
		json_number(j, "date-sec", s.sec);
		json_number(j, "virtual-size", s.disk_size);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void list_text(struct image *im)
{
	struct image_snap s;
	char date[32];

	for (unsigned k = 0; snap_at(im, k, &s); k++) {
		if (!k)
			printf("%-4s %-24s %-20s %s\n", "ID", "NAME", "TAKEN", "MACHINE STATE");
		when(s.sec, date, sizeof(date));
		printf("%-4s %-24s %-20s %s\n", s.id, s.name, date,
		       s.vm_bytes ? img_bytes(s.vm_bytes) : "none");
	}
}

static void info_json(struct image *im, const struct image_info *i)
{
	struct img_json j = { .out = stdout };

	json_begin(&j, NULL, '{');
	json_string(&j, "filename", im->path);
	json_string(&j, "format", im->fmt->name);
	json_number(&j, "virtual-size", im->size);
	json_number(&j, "actual-size", space_used(im));
	if (i->backing[0])
		json_string(&j, "backing-filename", i->backing);
	if (i->backing_fmt[0])
		json_string(&j, "backing-filename-format", i->backing_fmt);
	json_bool(&j, "dirty-flag", i->dirty);
	json_bool(&j, "corrupt", i->corrupt);
	json_begin(&j, "format-specific", '{');
	for (unsigned k = 0; k < i->n; k++)
		json_string(&j, i->field[k].name, i->field[k].value);
	json_end(&j, '}');
	list_json(&j, im);
	json_end(&j, '}');
}

static void info_text(struct image *im, const struct image_info *i)
{
	printf("%-16s %s\n%-16s %s\n", "image", im->path, "format", im->fmt->name);
	printf("%-16s %s (%llu bytes)\n", "disk size", img_bytes(im->size),
	       (unsigned long long)im->size);
	printf("%-16s %s\n", "space used", img_bytes(space_used(im)));
	if (i->backing[0])
		printf("%-16s %s%s%s%s\n", "backing file", i->backing,
		       i->backing_fmt[0] ? " (" : "", i->backing_fmt, i->backing_fmt[0] ? ")" : "");
	for (unsigned k = 0; k < i->n; k++)
		printf("%-16s %s\n", i->field[k].name, i->field[k].value);
	if (i->dirty)
		printf("%-16s not closed cleanly; the next start repairs it\n", "state");
	if (i->corrupt)
		printf("%-16s damaged; hvrun img check --repair\n", "state");
	list_text(im);
}

int img_info(struct img_args *a, struct err *e)
{
	struct image *im = image_open(a->pos[0], a->format, BLOCK_RDONLY | IMAGE_LENIENT |
				      IMAGE_NO_BACKING | (a->unsafe ? BLOCK_NO_LOCK : 0), e);
	struct image_info i;

	if (!im)
		return e->exit_code;
	collect(im, &i);
	(a->json ? info_json : info_text)(im, &i);
	image_close(im);
	return 0;
}

/* ---- check -------------------------------------------------------------------- */

static void check_text(const struct image_check *r)
{
	if (r->total)
		printf("%llu of %llu units in use (%.1f %%)\n", (unsigned long long)r->allocated,
		       (unsigned long long)r->total,
		       100.0 * (double)r->allocated / (double)r->total);
	if (r->errors)
		printf("%llu errors, %llu repaired: %s\n", (unsigned long long)r->errors,
		       (unsigned long long)r->errors_fixed, r->first);
	if (r->leaks)
		printf("%llu leaked units, %llu given back\n", (unsigned long long)r->leaks,
		       (unsigned long long)r->leaks_fixed);
	if (!r->errors && !r->leaks)
		puts("No errors found.");
}

static void check_json(const char *path, const struct image_check *r)
{
	struct img_json j = { .out = stdout };

	json_begin(&j, NULL, '{');
	json_string(&j, "filename", path);
	json_number(&j, "corruptions", r->errors);
	json_number(&j, "leaks", r->leaks);
	json_number(&j, "corruptions-fixed", r->errors_fixed);
	json_number(&j, "leaks-fixed", r->leaks_fixed);
	json_number(&j, "allocated-clusters", r->allocated);
	json_number(&j, "total-clusters", r->total);
	if (r->first[0])
		json_string(&j, "first", r->first);
	json_end(&j, '}');
}

int img_check(struct img_args *a, struct err *e)
{
	struct image_check r = { .repair = a->repair };
	struct image *im = image_open(a->pos[0], a->format, IMAGE_LENIENT | IMAGE_NO_BACKING |
				      (a->repair ? 0 : BLOCK_RDONLY), e);
	bool ok;

	if (!im)
		return e->exit_code;
	if (!im->fmt->tool || !im->fmt->tool->check) {
		err_set(e, HV_EXIT_USAGE, "%s: %s images have nothing to check", a->pos[0],
			im->fmt->name);
		image_close(im);
		return HV_EXIT_USAGE;
	}
	ok = im->fmt->tool->check(im, &r, e);
	image_close(im);
	if (!ok)
		return e->exit_code;
	if (a->json)
		check_json(a->pos[0], &r);
	else if (!a->quiet)
		check_text(&r);
	if (r.errors > r.errors_fixed)
		return HV_EXIT_IMAGE;
	return r.leaks > r.leaks_fixed ? HV_EXIT_EXPECT : 0;
}

/* ---- snapshot ------------------------------------------------------------------- */

static int snapshot_list(struct img_args *a, struct err *e)
{
	struct image *im = image_open(a->pos[1], a->format,
				      BLOCK_RDONLY | IMAGE_LENIENT | IMAGE_NO_BACKING, e);
	struct img_json j = { .out = stdout };

	if (!im)
		return e->exit_code;
	if (a->json) {
		json_begin(&j, NULL, '{');
		list_json(&j, im);
		json_end(&j, '}');
	} else {
		list_text(im);
	}
	image_close(im);
	return 0;
}

int img_snapshot(struct img_args *a, struct err *e)
{
	static const char *const names[] = { "create", "apply", "delete" };
	struct image *im;
	unsigned op = 0;
	bool ok;

	if (!strcmp(a->pos[0], "list") && a->npos == 2)
		return snapshot_list(a, e);
	while (op < 3 && strcmp(a->pos[0], names[op]))
		op++;
	if (op == 3 || a->npos != 3)
		return err_set(e, HV_EXIT_USAGE, "img snapshot: write list FILE, create FILE NAME, "
			       "apply FILE NAME or delete FILE NAME"), HV_EXIT_USAGE;
	im = image_open(a->pos[1], a->format, BLOCK_DISCARD_ON, e);
	if (!im)
		return e->exit_code;
	if (!im->fmt->tool || !im->fmt->tool->snapshot)
		ok = err_set(e, HV_EXIT_USAGE,
			     "%s: %s images have no internal snapshots; use qcow2", a->pos[1],
			     im->fmt->name);
	else
		ok = im->fmt->tool->snapshot(im, (enum image_snap_op)op, a->pos[2], e);
	image_close(im);
	return ok ? 0 : e->exit_code;
}
