/* SPDX-License-Identifier: MIT */
/*
 * The guest's picture in the window: which scanout is shown, where it goes at
 * which scale, how large the window is, and what the guest is asked to draw.
 * Main thread; vm->dev_lock is taken to look at the display.
 */
#include "window_int.h"

struct display *window_display(const struct window *w)
{
	struct display *d = display_scanout(w->vm->display, w->shown);

	return d ? d : w->vm->display;
}

/* One that the user has given a size keeps it: the guest is asked for it there too. */
void window_next_display(struct window *w)
{
	unsigned n = display_scanouts(w->vm->display);
	char text[80];

	w->shown = (w->shown + 1) % n;
	w->w = w->h = 0;		/* the whole picture is taken */
	w->still = 0;
	w->cursor_serial = ~0u;
	wait_other_display(w);
	if (w->user_sized || w->fullscreen)
		w->resize_at = SDL_GetTicks64();
	window_title(w);
	snprintf(text, sizeof(text), _("Display %u of %u"), w->shown + 1, n);
	shell_notice(w, text, 2000);
}

int window_strip_height(const struct window *w)
{
	const struct panel *p = &w->shell.panel[SLOT_STRIP];

	return w->shell.strip && !w->fullscreen && p->s ? p->s->h : 0;
}

static double factor(const struct window *w, int dw, int dh)
{
	double k = SDL_min((double)dw / w->w, (double)dh / w->h);

	if (w->mode == SCALE_ONE)
		return 1.0;
	return w->mode == SCALE_INTEGER && k >= 1.0 ? (double)(int)k : k;
}

/* Where the picture goes: in the middle, above the strip; whole multiples stay sharp. */
static SDL_Rect place(const struct window *w, bool *smooth)
{
	int dw, dh;
	double k;
	SDL_Rect r;

	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	dh = MAX(dh - window_strip_height(w), 1);
	k = factor(w, dw, dh);
	*smooth = w->smooth || k != (double)(int)k;
	r.w = (int)(w->w * k);
	r.h = (int)(w->h * k);
	r.x = (dw - r.w) / 2;
	r.y = (dh - r.h) / 2;
	return r;
}

/* Makes a size fit the desktop's free area, window borders included; keeps its shape. */
static void fit_desktop(struct window *w, int *width, int *height)
{
	int top = 0, left = 0, bottom = 0, right = 0;
	SDL_Rect area;
	double k;

	if (SDL_GetDisplayUsableBounds(SDL_GetWindowDisplayIndex(w->win), &area) < 0)
		return;
	SDL_GetWindowBordersSize(w->win, &top, &left, &bottom, &right);
	k = SDL_min((double)(area.w - left - right) / *width,
		    (double)(area.h - top - bottom) / *height);
	if (k > 0 && k < 1) {
		*width = (int)(*width * k);
		*height = (int)(*height * k);
	}
}

/* The guest's picture pixel for pixel where it fits, and the strip below it. */
void window_follow(struct window *w)
{
	int lw, lh, dw, dh, width, height;

	if (w->user_sized || w->fullscreen || !w->w)
		return;
	SDL_GetWindowSize(w->win, &lw, &lh);
	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	dh = MAX(dh, 1);
	width = (int)((int64_t)w->w * lw / MAX(dw, 1));
	height = (int)((int64_t)((int)w->h + window_strip_height(w)) * lh / dh);
	fit_desktop(w, &width, &height);
	SDL_SetWindowSize(w->win, width, height);
}

void window_set_fullscreen(struct window *w, bool on)
{
	if (w->fullscreen == on ||
	    SDL_SetWindowFullscreen(w->win, on ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0) < 0)
		return;
	w->fullscreen = on;
	w->resize_at = SDL_GetTicks64() + RESIZE_MS;
	w->shell.dirty = w->present = true;
	if (on)
		shell_notice(w, _("Right Ctrl + F leaves fullscreen, Right Ctrl + M opens the "
				  "menu"), 3000);
}

void window_set_mode(struct window *w, enum scale_mode mode)
{
	w->mode = mode;
	w->resize_at = SDL_GetTicks64() + RESIZE_MS;
	w->user_sized &= mode != SCALE_ONE;
	window_follow(w);
	w->present = true;
}

static void follow_size(struct window *w, unsigned width, unsigned height)
{
	w->w = width;
	w->h = height;
	w->ops->resize(w->view, width, height);
	window_follow(w);
}

void picture_update(struct window *w)
{
	struct display *d = window_display(w);
	struct rect rects[DISPLAY_MAX_RECTS];
	struct surface *s;
	bool resized, blank;
	unsigned n;

	vm_lock(w->vm);
	w->wait.picture = false;
	bell_arm(&w->wait.picture_bell);
	display_refresh(d);
	n = display_take_damage(d, rects, &resized);
	s = display_surface(d);
	blank = display_blank(d);
	if (resized || s->w != w->w || s->h != w->h) {
		follow_size(w, s->w, s->h);
		rects[0] = (struct rect){ 0, 0, s->w, s->h };
		n = 1;
	}
	/* One copy, into the view: it takes no longer than one out of the lock's way would. */
	for (unsigned i = 0; i < n; i++)
		w->ops->upload(w->view, s->pixels, s->stride, rects[i]);
	wait_rest(w, display_rest_ms(d));
	vm_unlock(w->vm);
	w->still = n ? 0 : w->still + 1;
	w->present |= n || blank != w->blank;
	w->blank = blank;
}

void picture_show(struct window *w)
{
	struct view_frame f = { .blank = w->blank, .dim = w->dim, .whole = w->whole };

	if (!w->present || !w->w || window_hidden(w))
		return;
	w->present = w->whole = false;
	f.dst = w->dst = place(w, &f.smooth);
	w->ops->present(w->view, &f);
}

/* The guest is asked once the dragging has stopped. */
void picture_tell_size(struct window *w)
{
	int dw, dh;

	if (!w->resize_at || SDL_GetTicks64() < w->resize_at || w->mode != SCALE_FIT)
		return;
	w->resize_at = 0;
	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	dh -= window_strip_height(w);
	vm_lock(w->vm);
	if (dw > 0 && dh > 0)
		display_want_size(window_display(w), (unsigned)dw, (unsigned)dh);
	vm_unlock(w->vm);
	w->still = 0;
}
