/* SPDX-License-Identifier: MIT */
/* Pictures of the machine's screen, for the library and as a file; see main_int.h. */
#include "main_int.h"
#include "display.h"
#include "machine.h"
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
	char path[4096];

	vm_lock(a->vm);
	display_refresh(a->vm->display);
	s = display_surface(a->vm->display);
	if (s->w && s->h && !display_blank(a->vm->display)) {
		w = s->w;
		h = s->h;
		px = hv_zalloc((size_t)w * h * 4);
		for (unsigned y = 0; y < h; y++)
			memcpy(px + (size_t)y * w, s->pixels + (size_t)y * s->stride,
			       (size_t)w * 4);
	}
	vm_unlock(a->vm);
	if (px && machine_path(a->machine, "png", path, sizeof(path), NULL))
		thumb_save(path, px, w, h, w);
	free(px);
}

/* FILE.png of the first screen, FILE-2.png of the second one. */
static bool save_scanout(struct app *a, unsigned i, struct err *e)
{
	struct display *d = display_scanout(a->vm->display, i);
	const char *path = a->cfg.screenshot, *base = strrchr(path, '/');
	const char *dot = strrchr(base ? base : path, '.');
	int stem = (int)(dot ? dot - path : (ptrdiff_t)strlen(path));
	char *of = NULL;
	bool ok;

	if (i && asprintf(&of, "%.*s-%u%s", stem, path, i + 1, path + stem) < 0)
		return err_set(e, HV_EXIT_HOST, "out of memory");
	display_refresh(d);
	ok = display_screenshot(d, of ? of : path, e);
	free(of);
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
