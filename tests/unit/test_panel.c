/* SPDX-License-Identifier: MIT */
/* Panels: layout at several scales, focus by keyboard, clicks, bad text. */
#include "../../ui/panel.h"
#include "../../src/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const double scales[] = { 1.0, 1.5, 2.0 };

static struct font *font_at(double scale)
{
	struct font *f = font_open(13.0 * scale);

	assert_non_null(f);
	return f;
}

static void build_sheet(struct panel *p, struct font *f, double scale)
{
	panel_begin(p, PANEL_SHEET);
	panel_add(p, W_TITLE, 0, "A question");
	panel_add(p, W_TEXT, 0, "What shall happen to the guest that is still running?");
	panel_add(p, W_BUTTON, 7, "Go on");
	panel_add(p, W_BUTTON, 8, "Not possible")->disabled = true;
	panel_add(p, W_BUTTON, 9, "\xe4\xb8\xad\xe6\xad\xa2");	/* Japanese: cancel */
	panel_end(p, f, scale, 0);
}

static bool inside(const struct panel *p, const struct widget *w)
{
	return w->r.x >= 0 && w->r.y >= 0 && w->r.x + w->r.w <= p->s->w &&
	       w->r.y + w->r.h <= p->s->h;
}

static void test_layout(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(scales); k++) {
		struct font *f = font_at(scales[k]);
		struct panel p = { .focus = -1 };

		build_sheet(&p, f, scales[k]);
		for (unsigned i = 0; i < p.n; i++) {
			assert_true(inside(&p, &p.w[i]));
			assert_true(font_width(f, p.w[i].text) <= p.w[i].r.w);
			for (unsigned j = 0; j < i; j++)
				assert_false(SDL_HasIntersection(&p.w[i].r, &p.w[j].r));
		}
		panel_free(&p);
		font_close(f);
	}
}

/* A narrow window: the buttons are a column, as wide as the window at most. */
static void test_narrow(void **state)
{
	struct font *f = font_at(1.5);
	struct panel p = { .focus = -1, .max_w = 240 };

	panel_begin(&p, PANEL_SHEET);
	panel_add(&p, W_TEXT, 0, "What now?");
	panel_add(&p, W_BUTTON, 7, "Go on");
	panel_add(&p, W_BUTTON, 8, "Not possible");
	panel_add(&p, W_BUTTON, 9, "Cancel");
	panel_end(&p, f, 1.5, 0);
	assert_true(p.s->w <= 240);
	for (unsigned i = 1; i < p.n; i++) {
		assert_true(inside(&p, &p.w[i]));
		assert_true(p.w[i].r.y >= p.w[i - 1].r.y + p.w[i - 1].r.h);
	}
	panel_free(&p);
	font_close(f);
}

static void build_tall(struct panel *p, struct font *f, char *text, size_t len)
{
	struct widget *w;

	panel_begin(p, PANEL_SHEET);
	panel_add(p, W_TITLE, 0, "Settings");
	for (int i = 0; i < 20; i++) {
		w = panel_add(p, i == 19 ? W_FIELD : W_CHOICE, 1 + i, "A choice");
		w->edit = text;
		w->edit_len = len;
	}
	panel_add(p, W_BUTTON, 30, "Save");
	panel_end(p, f, 1, 0);
}

static bool seen(const struct panel *p, const struct widget *w)
{
	return w->r.y >= 0 && w->r.y + w->r.h <= p->view_h;
}

/* Higher than the window: the focus is always in sight, the buttons stay where they are. */
static void test_scroll(void **state)
{
	struct font *f = font_at(1);
	struct panel p = { .focus = -1, .max_h = 200 };
	char text[40] = "";
	SDL_Rect save;

	build_tall(&p, f, text, sizeof(text));
	save = p.w[21].r;
	assert_int_equal(p.s->h, 200);
	assert_true(inside(&p, &p.w[21]) && save.y >= p.view_h);
	assert_true(seen(&p, &p.w[1]) && !seen(&p, &p.w[20]));
	for (int i = 0; i < 19; i++) {
		assert_int_equal(panel_key(&p, SDLK_DOWN, 0), PANEL_MOVED);
		build_tall(&p, f, text, sizeof(text));
		assert_true(seen(&p, &p.w[2 + i]));
	}
	assert_int_equal(panel_type(&p, "x"), PANEL_EDITED);
	assert_memory_equal(&save, &p.w[21].r, sizeof(save));
	assert_true(!seen(&p, &p.w[1]));
	assert_int_equal(panel_wheel(&p, 100), PANEL_MOVED);	/* to the top; the focus stays */
	assert_int_equal(panel_wheel(&p, 1), PANEL_NOTHING);
	build_tall(&p, f, text, sizeof(text));
	assert_true(seen(&p, &p.w[1]));
	assert_int_equal(panel_focus_id(&p), 20);
	/* What is scrolled away, below the part that is seen, cannot be clicked. */
	for (int y = p.view_h; y < 200; y++)
		assert_int_equal(panel_mouse(&p, 20, y, true), PANEL_NOTHING);
	assert_int_equal(panel_focus_id(&p), 20);
	assert_int_equal(panel_mouse(&p, save.x + 3, save.y + 3, true), 30);
	panel_free(&p);
	font_close(f);
}

static void test_keyboard(void **state)
{
	struct font *f = font_at(1);
	struct panel p = { .focus = -1 };

	build_sheet(&p, f, 1);
	assert_int_equal(panel_key(&p, SDLK_RETURN, 0), 7);
	assert_int_equal(panel_key(&p, SDLK_TAB, 0), PANEL_MOVED);
	assert_int_equal(panel_key(&p, SDLK_SPACE, 0), 9);	/* the disabled one is skipped */
	assert_int_equal(panel_key(&p, SDLK_RIGHT, 0), PANEL_MOVED);
	assert_int_equal(panel_key(&p, SDLK_RETURN, 0), 7);	/* around */
	assert_int_equal(panel_key(&p, SDLK_TAB, KMOD_LSHIFT), PANEL_MOVED);
	assert_int_equal(panel_key(&p, SDLK_RETURN, 0), 9);
	build_sheet(&p, f, 1);					/* rebuilt: the focus stays */
	assert_int_equal(panel_key(&p, SDLK_RETURN, 0), 9);
	assert_int_equal(panel_key(&p, SDLK_ESCAPE, 0), PANEL_CLOSE);
	assert_int_equal(panel_key(&p, SDLK_x, 0), PANEL_NOTHING);
	panel_free(&p);
	font_close(f);
}

static void test_mouse(void **state)
{
	struct font *f = font_at(1);
	struct panel p = { .focus = -1, .at = { 100, 50 } };
	const SDL_Rect *r = &p.w[4].r, *off = &p.w[3].r;

	build_sheet(&p, f, 1);
	assert_int_equal(panel_mouse(&p, 100 + r->x + 2, 50 + r->y + 2, false), PANEL_MOVED);
	assert_int_equal(panel_mouse(&p, 100 + r->x + 3, 50 + r->y + 2, false), PANEL_NOTHING);
	assert_int_equal(panel_key(&p, SDLK_RETURN, 0), 9);
	assert_int_equal(panel_mouse(&p, 100 + r->x + 2, 50 + r->y + 2, true), 9);
	assert_int_equal(panel_mouse(&p, 100 + off->x + 2, 50 + off->y + 2, true), PANEL_NOTHING);
	assert_true(panel_contains(&p, 101, 51));
	assert_false(panel_contains(&p, 99, 51));
	panel_free(&p);
	font_close(f);
}

static bool has_ink(const struct panel *p, const struct widget *w)
{
	const Uint32 *line = p->s->pixels;
	Uint32 first = 0;

	for (int y = w->r.y; y < w->r.y + w->r.h; y++)
		for (int x = w->r.x; x < w->r.x + w->r.w; x++) {
			Uint32 v = line[y * (p->s->pitch / 4) + x];

			if (x == w->r.x && y == w->r.y)
				first = v;
			if (v != first)
				return true;
		}
	return false;
}

/* Bytes that are not UTF-8, text longer than a run, more widgets than fit: drawn, not crashed. */
static void test_bad_text(void **state)
{
	struct font *f = font_at(1);
	struct panel p = { .focus = -1 };
	char big[1000];

	memset(big, 'm', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	panel_begin(&p, PANEL_MENU);
	panel_add(&p, W_ITEM, 1, "\xff\xfe\xc3(\xe4\xb8");
	panel_add(&p, W_ITEM, 2, big);
	for (int i = 0; i < 200; i++)
		panel_add(&p, W_ITEM, 3 + i, "row");
	panel_end(&p, f, 1, 0);
	assert_int_equal(p.n, PANEL_WIDGETS);
	assert_true(has_ink(&p, &p.w[0]));
	assert_true(has_ink(&p, &p.w[1]));
	assert_true(font_width(f, big) > 5000);
	panel_free(&p);
	font_close(f);
}

static void test_strip(void **state)
{
	struct font *f = font_at(1);
	struct panel p = { .focus = -1 };

	panel_begin(&p, PANEL_STRIP);
	panel_add(&p, W_TEXT, 1, "left");
	panel_add(&p, W_GAP, 0, NULL);
	panel_add(&p, W_TEXT, 2, "right");
	panel_end(&p, f, 1, 640);
	assert_int_equal(p.s->w, 640);
	assert_true(p.w[0].r.x < 20);
	assert_true(p.w[2].r.x + p.w[2].r.w > 620 && inside(&p, &p.w[2]));
	assert_int_equal(panel_mouse(&p, p.w[2].r.x + 1, 3, true), 2);
	panel_free(&p);
	font_close(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout), cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_scroll),
		cmocka_unit_test(test_keyboard),
		cmocka_unit_test(test_mouse), cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_strip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
