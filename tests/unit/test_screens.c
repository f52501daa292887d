/* SPDX-License-Identifier: MIT */
/*
 * Every screen of the user interface at scale 1, 1.5 and 2, in English and
 * Japanese, drawn without a display and compared with reviewed pictures.
 */
#include "../../ui/library_int.h"
#undef _
#undef N_
#include "../../ui/window_int.h"
#include "../../src/display.h"
#include "../../src/input.h"
#include "../../src/thumb.h"
#include "../lib/golden.h"
#include "../lib/stubcpu.h"
#include "../lib/testvm.h"
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEJAVU "/usr/share/fonts/truetype/dejavu"
#define DROID "/usr/share/fonts/truetype/droid"
#define OUT "build/golden"

static char top[] = "/tmp/hvrun-screens.XXXXXX";
static const double scales[] = { 1.0, 1.5, 2.0 };
static unsigned bad;

/* ---- the ground ------------------------------------------------------------- */

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The same two fonts on every computer. */
static void pin_fonts(void)
{
	char path[PATH_MAX], text[2000];

	snprintf(path, sizeof(path), "%s/fonts.conf", top);
	snprintf(text, sizeof(text),
		 "<fontconfig><dir>" DEJAVU "</dir><dir>" DROID "</dir><cachedir>%s</cachedir>"
		 "<alias><family>sans-serif</family><prefer><family>DejaVu Sans</family>"
		 "<family>Droid Sans Fallback</family></prefer></alias></fontconfig>", top);
	put(path, text);
	setenv("FONTCONFIG_FILE", path, 1);
}

static void language(const char *lang)
{
	extern int _nl_msg_cat_cntr;

	setenv("LC_ALL", "C.UTF-8", 1);
	setenv("LANGUAGE", lang, 1);
	setlocale(LC_MESSAGES, "");
	bindtextdomain("hvrun", "build/locale");
	bind_textdomain_codeset("hvrun", "UTF-8");
	textdomain("hvrun");
	_nl_msg_cat_cntr++;
}

static void compare(const char *screen, const char *lang, double scale, const uint32_t *px,
		    unsigned w, unsigned h, unsigned stride)
{
	char name[100], why[400] = "";

	snprintf(name, sizeof(name), "%s-%s-%d", screen, lang, (int)(scale * 10));
	if (golden_check(name, px, w, h, stride, OUT, why, sizeof(why)))
		return;
	fprintf(stderr, "%s\n", why);
	bad++;
}

/* ---- the window ----------------------------------------------------------------- */

struct scene {
	struct vm *vm;
	struct config cfg;
	struct session *session;
	struct window *w;
};

static void paint(void *dev)
{
	struct vm *vm = dev;
	struct surface *s;

	display_resize(vm->display, 720, 400);
	s = display_surface(vm->display);
	for (unsigned y = 0; y < s->h; y++)
		for (unsigned x = 0; x < s->w; x++)
			s->pixels[(size_t)y * s->stride + x] = (x / 40 + y / 40) & 1 ? 0x204060 :
							       0x102030;
	display_damage(vm->display, (struct rect){ 0, 0, 720, 400 });
}

static void no_set(struct device *d, unsigned unit, struct block *b)
{
}

static struct media_tray no_tray(struct device *d, unsigned unit, bool wish)
{
	return (struct media_tray){ .open = false };
}

static const struct media_ops changeable = { .set = no_set, .tray = no_tray };

static void open_scene(struct scene *s, double scale)
{
	struct display_source src = { .refresh = paint };
	static struct net net;
	static struct block *nothing;
	struct err e = { 0 };

	*s = (struct scene){ .vm = vm_new(true, &e) };
	assert_non_null(s->vm);
	assert_true(vm_set_engine(s->vm, &stub_cpu_ops, 2, &e));
	config_init(&s->cfg);
	s->cfg.ui_scale = scale;
	s->vm->display = display_new();
	src.dev = s->vm;
	display_set_source(s->vm->display, &src);
	if (!s->vm->input)
		s->vm->input = input_new();
	vm_media_add(s->vm, &(struct media_drive){ .bus = "IDE", .cdrom = true,
						     .ops = &changeable, .home = &nothing });
	vm_media_add(s->vm, &(struct media_drive){ .bus = "virtio" });
	s->vm->status = VM_RUNNING;
	s->session = session_new(s->vm, &s->cfg, NULL, &e);
	assert_non_null(s->session);
	s->w = window_open(s->vm, &s->cfg, "Debian", &e);
	if (!s->w)
		fail_msg("%s", e.msg);
	s->w->session = s->session;
	window_set_net(s->w, &net);
	SDL_SetWindowSize(s->w->win, (int)(720 * scale), (int)(424 * scale));
	s->w->user_sized = true;
}

static void close_scene(struct scene *s)
{
	window_close(s->w);
	s->vm->status = VM_CREATED;
	session_free(s->session);
	display_free(s->vm->display);
	s->vm->display = NULL;
	input_free(s->vm->input);
	s->vm->input = NULL;
	vm_free(s->vm);
}

static void menu(struct window *w, enum action a)
{
	shell_menu(w, true);
	action_do(w, a);
}

static void m_machine(struct window *w) { menu(w, ACT_M_MACHINE); }
static void m_media(struct window *w) { menu(w, ACT_M_MEDIA); }
static void m_keyboard(struct window *w) { menu(w, ACT_M_KEYBOARD); }
/* A low window: the menu scrolls. */
static void m_low(struct window *w)
{
	SDL_SetWindowSize(w->win, (int)(480 * w->shell.scale), (int)(240 * w->shell.scale));
	menu(w, ACT_M_KEYBOARD);
}

static void m_view(struct window *w) { menu(w, ACT_M_VIEW); }
static void m_help(struct window *w) { menu(w, ACT_M_HELP); }
static void s_close(struct window *w) { shell_show_sheet(w, SHEET_CLOSE); }
static void s_poweroff(struct window *w) { shell_show_sheet(w, SHEET_POWEROFF); }
static void s_reset(struct window *w) { shell_show_sheet(w, SHEET_RESET); }
static void s_info(struct window *w) { shell_show_sheet(w, SHEET_INFO); }
static void s_keys(struct window *w) { shell_show_sheet(w, SHEET_KEYS); }
static void s_about(struct window *w) { shell_show_sheet(w, SHEET_ABOUT); }
static void s_off(struct window *w) { shell_show_sheet(w, SHEET_OFF); }
static void s_resets(struct window *w) { shell_show_sheet(w, SHEET_RESETS); }
static void s_eject(struct window *w) { shell_show_sheet(w, SHEET_EJECT); }
static void s_message(struct window *w) { shell_message(w, "/home/u/a.iso: No such file"); }
static void s_plain(struct window *w) { w->media.disk = 3; w->media.cd = 1; w->media.net = 2; }

static void s_paused(struct window *w)
{
	w->vm->status = VM_PAUSED;
}

static void s_failed(struct window *w)
{
	snprintf(w->shell.message, sizeof(w->shell.message),
		 "CPU 0: an instruction that the engine cannot carry out at 0xffffffff81000000");
	w->shell.failed = true;
	shell_show_sheet(w, SHEET_END);
}

static void s_full(struct window *w)
{
	w->vm->status = VM_PAUSED;
	snprintf(w->trouble, sizeof(w->trouble), "/home/u/disk.qcow2: No space left on device");
	w->trouble_full = true;
}

static void s_browse(struct window *w)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/files", top);
	browser_open(&w->media.browser, dir);
	snprintf(w->media.browser.dir, sizeof(w->media.browser.dir), "/home/u/images");
	shell_show_sheet(w, SHEET_BROWSE);
}

static const struct {
	const char *name;
	void (*set)(struct window *w);
} screens[] = {
	{ "running", s_plain }, { "menu-machine", m_machine }, { "menu-media", m_media },
	{ "menu-keyboard", m_keyboard }, { "menu-low", m_low },
	{ "menu-view", m_view }, { "menu-help", m_help },
	{ "close", s_close }, { "poweroff", s_poweroff }, { "reset", s_reset },
	{ "info", s_info }, { "keys", s_keys }, { "about", s_about }, { "off", s_off },
	{ "resets", s_resets }, { "eject", s_eject }, { "message", s_message },
	{ "paused", s_paused }, { "failed", s_failed }, { "full", s_full },
	{ "browse", s_browse },
};

/* Lights go out when nothing happens and trouble is asked for: after the looks at them. */
static void draw_window(struct scene *s, void (*set)(struct window *w))
{
	window_frame(s->w);
	set(s->w);
	s->w->media.looked_at = SDL_GetTicks64() + 1000000;
	s->w->shell.dirty = s->w->present = true;
	s->w->dim = vm_status(s->vm) != VM_RUNNING;
	shell_update(s->w);
	s->w->ops->present(s->w->view, &(struct view_frame){
		.dst = { 0, 0, (int)(720 * s->cfg.ui_scale), (int)(400 * s->cfg.ui_scale) },
		.dim = s->w->dim });
}

static void one_window(unsigned i, const char *lang, double scale)
{
	struct scene s;
	SDL_Surface *shown;

	open_scene(&s, scale);
	draw_window(&s, screens[i].set);
	shown = SDL_ConvertSurfaceFormat(SDL_GetWindowSurface(s.w->win), SDL_PIXELFORMAT_ARGB8888,
					 0);
	assert_non_null(shown);
	compare(screens[i].name, lang, scale, shown->pixels, (unsigned)shown->w,
		(unsigned)shown->h, (unsigned)shown->pitch / 4);
	SDL_FreeSurface(shown);
	close_scene(&s);
}

static void test_window(void **state)
{
	static const char *const langs[] = { "en", "ja" };

	bad = 0;
	for (unsigned l = 0; l < 2; l++) {
		language(langs[l]);
		for (unsigned i = 0; i < ARRAY_SIZE(screens); i++)
			for (unsigned k = 0; k < ARRAY_SIZE(scales); k++)
				one_window(i, langs[l], scales[k]);
	}
	assert_int_equal(bad, 0);
}

/* ---- the library ------------------------------------------------------------------ */

static void add_machine(const char *name, const char *text, int64_t used)
{
	struct timespec t[2] = { { .tv_sec = used }, { .tv_sec = used } };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/hvrun/machines/%s.hvm", top, name);
	put(path, text);
	if (!used)
		return;
	snprintf(path, sizeof(path), "%s/hvrun/%s.state", top, name);
	put(path, "ended\n");
	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void make_machines(void)
{
	char path[PATH_MAX];
	uint32_t *px = hv_zalloc(640 * 400 * 4);

	add_machine("debian", "memory = 2G\ncpus = 2\ncdrom = /home/u/debian.iso\n", 1800000000);
	add_machine("dos", "memory = 64M\nname = FreeDOS\n", 1700000000);
	add_machine("nihon", "memory = 4G\nname = \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\n", 0);
	add_machine("win", "memory = 4G\nname = A system with quite a long name, longer than a "
		    "card\nforward = tcp:2222:22\nforward = udp:5353:53\nsound = ac97,mic=on\n",
		    1750000000);
	for (unsigned y = 0; y < 400; y++)
		for (unsigned x = 0; x < 640; x++)
			px[y * 640 + x] = x * 255 / 640 << 16 | y * 255 / 400 << 8 | 0x80;
	snprintf(path, sizeof(path), "%s/hvrun/debian.png", top);
	assert_true(thumb_save(path, px, 640, 400, 640));
	free(px);
	snprintf(path, sizeof(path), "%s/hvrun/win.log", top);
	put(path, "hvrun: software CPU, as asked\nhvrun: the window was closed; the guest runs "
	    "on\n");
}

static void l_plain(struct library *l) { l->dirty = true; }
static void l_new(struct library *l) { lib_sheet_new(l, NULL); }
static void l_settings(struct library *l) { lib_do(l, LIB_SETTINGS); }
static void l_more(struct library *l)
{
	lib_sheet_new(l, NULL);
	l->form.more = true;
}

/* A low window: scrolled to the focus. */
static void l_low(struct library *l)
{
	SDL_SetWindowSize(l->win, (int)(560 * l->scale), (int)(320 * l->scale));
	lib_do(l, LIB_SETTINGS);
	lib_draw(l);
	panel_set_focus(&l->sheet, LIB_SOUND);
}

static void l_duplicate(struct library *l) { lib_do(l, LIB_DUPLICATE); }
static void l_clone(struct library *l) { lib_do(l, LIB_CLONE); }
static void l_delete(struct library *l) { lib_do(l, LIB_DELETE); }
static void l_log(struct library *l) { lib_do(l, LIB_LOG); }

static void l_search(struct library *l)
{
	SDL_Event e = { .type = SDL_TEXTINPUT };

	snprintf(e.text.text, sizeof(e.text.text), "free");
	lib_event(l, &e);
}

static void l_menu(struct library *l)
{
	SDL_Event e = { .key = { .type = SDL_KEYDOWN, .keysym.sym = SDLK_F10 } };

	lib_draw(l);
	lib_event(l, &e);
}

static const struct {
	const char *name;
	void (*set)(struct library *l);
} pages[] = {
	{ "library", l_plain }, { "library-search", l_search }, { "library-menu", l_menu },
	{ "library-new", l_new }, { "library-more", l_more },
	{ "library-settings", l_settings }, { "library-low", l_low },
	{ "library-duplicate", l_duplicate }, { "library-clone", l_clone },
	{ "library-delete", l_delete }, { "library-log", l_log },
};

static void one_page(const char *name, void (*set)(struct library *l), const char *lang,
		     double scale)
{
	struct err e = { 0 };
	struct library *l = lib_open(scale, &e);

	if (!l)
		fail_msg("%s", e.msg);
	SDL_SetWindowSize(l->win, (int)(800 * scale), (int)(520 * scale));
	lib_draw(l);
	set(l);
	lib_draw(l);
	compare(name, lang, scale, l->s->pixels, (unsigned)l->s->w, (unsigned)l->s->h,
		(unsigned)l->s->pitch / 4);
	lib_close(l);
}

static void test_library(void **state)
{
	static const char *const langs[] = { "en", "ja" };

	bad = 0;
	for (unsigned l = 0; l < 2; l++) {
		language(langs[l]);
		for (unsigned k = 0; k < ARRAY_SIZE(scales); k++)
			one_page("library-empty", l_plain, langs[l], scales[k]);
	}
	make_machines();
	for (unsigned l = 0; l < 2; l++) {
		language(langs[l]);
		for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
			for (unsigned k = 0; k < ARRAY_SIZE(scales); k++)
				one_page(pages[i].name, pages[i].set, langs[l], scales[k]);
	}
	assert_int_equal(bad, 0);
}

/* ---- dropped files ------------------------------------------------------------------ */

static void drop_event(SDL_Event *e, const char *path)
{
	*e = (SDL_Event){ .drop = { .type = SDL_DROPFILE, .file = SDL_strdup(path) } };
}

/* On the library: the sheet for a new machine, filled in; what is no file: said so. */
static void test_drop_library(void **state)
{
	struct library *l = lib_open(1, NULL);
	char path[PATH_MAX];
	SDL_Event e;

	assert_non_null(l);
	snprintf(path, sizeof(path), "%s/files/disk.qcow2", top);
	drop_event(&e, path);
	lib_event(l, &e);
	assert_int_equal(l->kind, LSHEET_NEW);
	assert_string_equal(l->form.file.now, path);
	assert_string_equal(l->form.name, "disk");
	drop_event(&e, "/nowhere/x.iso");
	lib_event(l, &e);
	assert_int_equal(l->kind, LSHEET_MESSAGE);
	assert_non_null(strstr(l->message, "/nowhere/x.iso"));
	lib_close(l);
}

/* On a machine: only CD images, everything else is told. */
static void test_drop_window(void **state)
{
	struct scene s;
	char path[PATH_MAX];

	open_scene(&s, 1);
	snprintf(path, sizeof(path), "%s/files/notes.txt", top);
	media_drop(s.w, path);
	assert_int_equal(s.w->shell.sheet, SHEET_MESSAGE);
	assert_non_null(strstr(s.w->shell.message, "ISO"));
	media_drop(s.w, "/nowhere/x.iso");
	assert_non_null(strstr(s.w->shell.message, "/nowhere/x.iso"));
	close_scene(&s);
}

static int set_up(void **state)
{
	static const char *const files[] = { "debian-12.iso", "disk.qcow2", "notes.txt" };
	char path[PATH_MAX];

	if (!mkdtemp(top))
		return -1;
	mkdir(OUT, 0755);
	setenv("XDG_DATA_HOME", top, 1);
	setenv("XDG_CACHE_HOME", top, 1);
	setenv("XDG_RUNTIME_DIR", top, 1);
	setenv("SDL_VIDEODRIVER", "dummy", 1);
	setenv("TZ", "UTC", 1);
	unsetenv("GDK_SCALE");
	unsetenv("QT_SCALE_FACTOR");
	pin_fonts();
	snprintf(path, sizeof(path), "%s/hvrun", top);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/hvrun/machines", top);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/files", top);
	mkdir(path, 0700);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/files/%s", top, files[i]);
		put(path, "x");
	}
	snprintf(path, sizeof(path), "%s/files/old", top);
	return mkdir(path, 0700);
}

static int clean_up(void **state)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window), cmocka_unit_test(test_library),
		cmocka_unit_test(test_drop_library), cmocka_unit_test(test_drop_window),
	};

	if (access(DEJAVU "/DejaVuSans.ttf", R_OK) ||
	    access(DROID "/DroidSansFallbackFull.ttf", R_OK) ||
	    access("build/locale/ja/LC_MESSAGES/hvrun.mo", R_OK)) {
		puts("skipped: the fonts DejaVu Sans and Droid Sans Fallback, or the catalogues, "
		     "are not there");
		puts("[  SKIPPED ] 4 test(s), listed above:");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, clean_up);
}
