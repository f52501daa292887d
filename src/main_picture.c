/* SPDX-License-Identifier: MIT */
/* Pictures of the machine's screen, for the library and as a file; see main_int.h. */
#include "main_int.h"
#include "display.h"
#include "machine.h"
#include "record.h"
#include "thumb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last picture, small, for the library. */
void main_keep_picture(void *opaque)
{
	struct app *a = opaque;
	const struct surface *s;
	uint32_t *px = NULL;
	unsigned w = 0, h = 0;
	uint64_t serial;
	char path[4096];

	vm_lock(a->vm);
	display_refresh(a->vm->display);
	s = display_surface(a->vm->display);
	serial = display_serial(a->vm->display);
	if (s->w && s->h && !display_blank(a->vm->display) && serial != a->kept) {
		w = s->w;
		h = s->h;
		px = hv_zalloc((size_t)w * h * 4);
		for (unsigned y = 0; y < h; y++)
			memcpy(px + (size_t)y * w, s->pixels + (size_t)y * s->stride,
			       (size_t)w * 4);
	}
	vm_unlock(a->vm);
	a->kept = serial;
	if (px && machine_path(a->machine, "png", path, sizeof(path), NULL))
		thumb_save(path, px, w, h, w);
	free(px);
}

/* FILE.png for the first screen, FILE-2.png for the second one.  To be freed; NULL + @e. */
static char *file_of_screen(const char *path, unsigned i, struct err *e)
{
	const char *base = strrchr(path, '/'), *dot = strrchr(base ? base : path, '.');
	int stem = (int)(dot ? dot - path : (ptrdiff_t)strlen(path));
	char *of = NULL;

	if (!i)
		return hv_strdup(path);
	if (asprintf(&of, "%.*s-%u%s", stem, path, i + 1, path + stem) >= 0)
		return of;
	err_set(e, HV_EXIT_HOST, "out of memory");
	return NULL;
}

static bool save_scanout(struct app *a, unsigned i, struct err *e)
{
	struct display *d = display_scanout(a->vm->display, i);
	char *path = file_of_screen(a->cfg.screenshot, i, e);
	bool ok;

	if (!path)
		return false;
	display_refresh(d);
	ok = display_screenshot(d, path, e);
	free(path);
	return ok;
}

bool main_save_screenshot(struct app *a, struct err *e)
{
	unsigned n = display_scanouts(a->vm->display);
	bool ok = true;

	vm_lock(a->vm);
	for (unsigned i = 0; ok && i < n; i++)
		ok = save_scanout(a, i, e);
	vm_unlock(a->vm);
	return ok;
}

static bool start_record(struct app *a, unsigned i, struct err *e)
{
	char *path = file_of_screen(a->cfg.record, i, e);

	if (path)
		a->record[i] = record_start(a->vm, i, path, e);
	free(path);
	return a->record[i] != NULL;
}

void main_stop_records(struct app *a)
{
	for (unsigned i = 0; i < ARRAY_SIZE(a->record); i++) {
		struct err e = { 0 };

		if (!record_stop(a->record[i], &e))
			log_error("%s", e.msg);
		a->record[i] = NULL;
	}
}

bool main_start_records(struct app *a, struct err *e)
{
	for (unsigned i = 0; i < display_scanouts(a->vm->display); i++)
		if (!start_record(a, i, e)) {
			main_stop_records(a);
			return false;
		}
	return true;
}
