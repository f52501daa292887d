/* SPDX-License-Identifier: MIT */
/*
 * Keyboard and pointer events to the guest, and the host key.
 *
 * Keys travel by scancode: SDL scancodes are USB HID usages.  Right Ctrl is
 * the host key: with another key it is a chord for us, alone it shows how to
 * reach the menu, twice within 400 ms it goes to the guest.  Ctrl+Alt+G
 * releases a captured mouse as well.  The pointer is absolute as soon as the
 * guest has a device for that; before, a click captures it.
 */
#include "window_int.h"
#include "../src/display.h"

#define TAP_MS 400
#define PASTE_MAX 4096
#define HID_LSHIFT 0xe1

/* ---- to the guest ------------------------------------------------------------ */
static void send_key(struct window *w, unsigned sc, bool down)
{
	if (sc >= ARRAY_SIZE(w->keys.down))
		return;
	w->keys.down[sc] = down;
	vm_lock(w->vm);
	input_key(w->vm->input, (uint16_t)sc, down);
	vm_unlock(w->vm);
	w->still = 0;
}

void keys_send(struct window *w, const uint16_t *hid)
{
	size_t n = 0;

	for (; hid[n]; n++)
		send_key(w, hid[n], true);
	while (n-- > 0)
		send_key(w, hid[n], false);
}

void keys_release(struct window *w)
{
	memset(w->keys.down, 0, sizeof(w->keys.down));
	w->keys.host_down = false;
	vm_lock(w->vm);
	input_release_all(w->vm->input);
	vm_unlock(w->vm);
}

void keys_capture(struct window *w, bool on)
{
	struct keys *k = &w->keys;

	if (k->captured == on)
		return;
	k->captured = on;
	SDL_SetRelativeMouseMode(on ? SDL_TRUE : SDL_FALSE);
	SDL_SetWindowKeyboardGrab(w->win, on || k->grab_keys ? SDL_TRUE : SDL_FALSE);
	k->buttons = 0;
	w->shell.dirty = true;
	window_title(w);
}

/* ---- paste --------------------------------------------------------------------- */
/* Shifted characters of the US layout: what a guest that was not told otherwise has. */
static bool key_of_char(unsigned char c, uint16_t *hid, bool *shift)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz1234567890\n\033\b\t -=[]\\\0;'`,./";
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ!@#$%^&*()\n\033\b\t _+{}|\0:\"~<>?";
	const char *at;

	if (!c)
		return false;
	*shift = false;
	at = memchr(plain, c, sizeof(plain) - 1);
	if (at) {
		*hid = (uint16_t)(4 + (at - plain));
		return true;
	}
	at = memchr(upper, c, sizeof(upper) - 1);
	if (!at)
		return false;
	*shift = true;
	*hid = (uint16_t)(4 + (at - upper));
	return true;
}

void keys_paste(struct window *w)
{
	char *text = SDL_GetClipboardText();

	free(w->keys.paste);
	w->keys.paste = NULL;
	if (text && *text) {
		w->keys.paste = hv_strdup(text);
		if (strlen(text) > PASTE_MAX)
			w->keys.paste[PASTE_MAX] = 0;
		w->keys.paste_at = 0;
	}
	SDL_free(text);
}

/* One character a call: a keyboard's buffer is short. */
void keys_paste_step(struct window *w)
{
	struct keys *k = &w->keys;
	uint16_t hid, chord[3] = { 0 };
	bool shift;
	unsigned char c;

	if (!k->paste)
		return;
	c = (unsigned char)k->paste[k->paste_at++];
	if (!c) {
		free(k->paste);
		k->paste = NULL;
		return;
	}
	if (!key_of_char(c, &hid, &shift))
		return;
	chord[0] = shift ? HID_LSHIFT : hid;
	chord[1] = shift ? hid : 0;
	keys_send(w, chord);
}

/* ---- keyboard ------------------------------------------------------------------- */
static void host_released(struct window *w)
{
	struct keys *k = &w->keys;
	Uint64 now = SDL_GetTicks64();

	k->host_down = false;
	if (k->host_used)
		return;
	if (now - k->host_tap < TAP_MS) {
		k->host_tap = 0;
		action_do(w, ACT_SEND_HOST);
		return;
	}
	k->host_tap = now;
	keys_capture(w, false);
	shell_notice(w, _("Right Ctrl + M opens the menu, Right Ctrl + ? lists the keys"), 3000);
}

/* true: the host key or a chord with it. */
static bool host_key(struct window *w, const SDL_KeyboardEvent *e)
{
	struct keys *k = &w->keys;
	bool down = e->type == SDL_KEYDOWN;
	enum action a;

	if (e->keysym.scancode == SDL_SCANCODE_RCTRL) {
		if (down && !k->host_down) {
			k->host_down = true;
			k->host_used = false;
		} else if (!down && k->host_down) {
			host_released(w);
		}
		return true;
	}
	if (!k->host_down)
		return false;
	if (!down)
		return !(e->keysym.scancode < ARRAY_SIZE(k->down) && k->down[e->keysym.scancode]);
	k->host_used = true;
	a = action_of_chord(e->keysym.scancode);
	if (a != ACT_NONE)
		action_do(w, a);
	return true;
}

static bool leave_key(struct window *w, const SDL_KeyboardEvent *e)
{
	if (e->keysym.scancode != SDL_SCANCODE_G || !(e->keysym.mod & KMOD_CTRL) ||
	    !(e->keysym.mod & KMOD_ALT))
		return false;
	if (e->type == SDL_KEYDOWN) {
		if (w->keys.captured)
			keys_capture(w, false);
		else
			action_do(w, ACT_CAPTURE);
		keys_release(w);
	}
	return true;
}

static void on_key(struct window *w, const SDL_KeyboardEvent *e)
{
	if (shell_modal(w)) {
		shell_key(w, e);
		return;
	}
	if (e->repeat)
		return;
	if (w->keys.paste && e->keysym.scancode == SDL_SCANCODE_ESCAPE) {
		free(w->keys.paste);
		w->keys.paste = NULL;
		return;
	}
	if (leave_key(w, e) || host_key(w, e))
		return;
	send_key(w, e->keysym.scancode, e->type == SDL_KEYDOWN);
}

/* ---- pointer --------------------------------------------------------------------- */
static unsigned button_bit(Uint8 b)
{
	static const uint8_t bits[] = { 0, MOUSE_LEFT, MOUSE_MIDDLE, MOUSE_RIGHT, MOUSE_SIDE,
					MOUSE_EXTRA };

	return b < ARRAY_SIZE(bits) ? bits[b] : 0;
}

/* Window units to drawable pixels. */
static SDL_Point to_pixels(struct window *w, int x, int y)
{
	int lw, lh, dw, dh;

	SDL_GetWindowSize(w->win, &lw, &lh);
	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	return (SDL_Point){ (int)((int64_t)x * dw / MAX(lw, 1)),
			    (int)((int64_t)y * dh / MAX(lh, 1)) };
}

static unsigned to_abs(int at, int from, int size)
{
	int64_t v = size > 1 ? (int64_t)(at - from) * 32767 / (size - 1) : 0;

	return (unsigned)(v < 0 ? 0 : v > 32767 ? 32767 : v);
}

/* Guests spread positions over all their monitors: @v of @part at @from, of @all. */
static unsigned to_desktop(unsigned v, unsigned from, unsigned part, unsigned all)
{
	return (unsigned)(((uint64_t)from * 32767 + (uint64_t)v * part) / MAX(all, 1u));
}

static void send_abs(struct window *w, SDL_Point at, int dz)
{
	struct display_place p = display_place(window_display(w));
	unsigned x = to_abs(at.x, w->dst.x, w->dst.w), y = to_abs(at.y, w->dst.y, w->dst.h);

	input_abs(w->vm->input, to_desktop(x, p.r.x, p.r.w, p.w),
		  to_desktop(y, p.r.y, p.r.h, p.h), dz, w->keys.buttons);
}

static void send_pointer(struct window *w, SDL_Point at, int dx, int dy, int dz)
{
	vm_lock(w->vm);
	if (w->keys.captured)
		input_rel(w->vm->input, dx, dy, dz, w->keys.buttons);
	else
		send_abs(w, at, dz);
	vm_unlock(w->vm);
	w->still = 0;
}

/* The pointer reaches the guest: captured, or absolute and over the picture. */
static bool guest_has_pointer(const struct window *w, SDL_Point at)
{
	return w->keys.captured || w->keys.buttons ||
	       (w->keys.absolute && SDL_PointInRect(&at, &w->dst));
}

void keys_cursor(struct window *w)
{
	SDL_Cursor *c = SDL_GetDefaultCursor();
	SDL_Point at;
	int x, y;

	SDL_GetMouseState(&x, &y);
	at = to_pixels(w, x, y);
	if (w->cursor && w->keys.absolute && SDL_PointInRect(&at, &w->dst) &&
	    !shell_modal(w))
		c = w->cursor;
	if (c && SDL_GetCursor() != c)
		SDL_SetCursor(c);
}

static void on_motion(struct window *w, const SDL_MouseMotionEvent *m)
{
	SDL_Point at = to_pixels(w, m->x, m->y);

	keys_cursor(w);
	if (!w->keys.captured && !w->keys.buttons && shell_pointer(w, at.x, at.y, false))
		return;
	if (guest_has_pointer(w, at))
		send_pointer(w, at, m->xrel, m->yrel, 0);
}

static void on_button(struct window *w, const SDL_MouseButtonEvent *b)
{
	SDL_Point at = to_pixels(w, b->x, b->y);
	bool down = b->type == SDL_MOUSEBUTTONDOWN;

	if (!w->keys.captured && down && shell_pointer(w, at.x, at.y, true))
		return;
	if (!guest_has_pointer(w, at)) {	/* the click that captures is not the guest's */
		if (down && b->button == SDL_BUTTON_LEFT && !shell_modal(w))
			action_do(w, ACT_CAPTURE);
		return;
	}
	if (down)
		w->keys.buttons |= button_bit(b->button);
	else
		w->keys.buttons &= ~button_bit(b->button);
	send_pointer(w, at, 0, 0, 0);
}

static void on_wheel(struct window *w, const SDL_MouseWheelEvent *e)
{
	SDL_Point at;
	int x, y;

	if (shell_modal(w)) {
		shell_wheel(w, e->y);
		return;
	}
	SDL_GetMouseState(&x, &y);
	at = to_pixels(w, x, y);
	if (guest_has_pointer(w, at))
		send_pointer(w, at, 0, 0, e->y);
}

void keys_event(struct window *w, const SDL_Event *e)
{
	switch (e->type) {
	case SDL_KEYDOWN:
	case SDL_KEYUP:
		on_key(w, &e->key);
		break;
	case SDL_MOUSEMOTION:
		on_motion(w, &e->motion);
		break;
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
		on_button(w, &e->button);
		break;
	case SDL_MOUSEWHEEL:
		on_wheel(w, &e->wheel);
		break;
	default:
		break;
	}
}
