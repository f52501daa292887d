/* SPDX-License-Identifier: MIT */
/* The sheets: questions and notes in the middle of the window. */
#include "window_int.h"
#include "../src/vm.h"
#include <SDL_ttf.h>

#define WIDEST 560	/* of a line of text, units of layout */

/* Bytes of @text's next line: as many words as fit, at least one character. */
static size_t fit(struct font *f, const char *text, size_t n, int width)
{
	char line[PANEL_TEXT];
	size_t best = 0, space = 0;

	n = MIN(n, sizeof(line) - 1);
	for (size_t i = 1; i <= n; i++) {
		if (i < n && ((unsigned char)text[i] & 0xc0) == 0x80)
			continue;	/* not inside a UTF-8 character */
		snprintf(line, sizeof(line), "%.*s", (int)i, text);
		if (best && font_width(f, line) > width)
			return space ? space : best;
		best = i;
		if (text[i] == ' ' || !text[i])
			space = i;
	}
	return best ? best : n;
}

static void add_lines(struct window *w, struct panel *p, const char *text)
{
	int width = (int)(WIDEST * w->shell.scale);
	char line[PANEL_TEXT];

	if (p->max_w)
		width = MIN(width, p->max_w - (int)(40 * w->shell.scale));
	while (*text && p->n < PANEL_WIDGETS - 8) {
		size_t take = fit(w->shell.font, text, strcspn(text, "\n"), width);

		snprintf(line, sizeof(line), "%.*s", (int)take, text);
		panel_add(p, W_TEXT, 0, line);
		text += take;
		text += strspn(text, " ");
		text += *text == '\n';
	}
}

static struct widget *button(struct panel *p, enum action a, const char *text)
{
	return panel_add(p, W_BUTTON, (int)a, text);
}

static void build_close(struct window *w, struct panel *p)
{
	bool runs = action_enabled(w, ACT_SHUTDOWN);

	panel_add(p, W_TITLE, 0, _("The guest is still running"));
	add_lines(w, p, _("Shut down asks it to end; power off is like pulling the plug."));
	button(p, ACT_SHUTDOWN, _("Shut down"))->disabled = !runs;
	button(p, ACT_HEADLESS, _("Keep running without a window"))->disabled = !runs;
	button(p, ACT_POWEROFF_NOW, _("Power off"))->danger = true;
	button(p, ACT_CANCEL, _("Cancel"));
}

static void build_sure(struct window *w, struct panel *p, const char *title, enum action yes,
		       const char *text)
{
	panel_add(p, W_TITLE, 0, title);
	add_lines(w, p, _("What the guest has not written to its disks yet is lost."));
	button(p, ACT_CANCEL, _("Cancel"));
	button(p, yes, text)->danger = true;
}

static void add_fact(struct panel *p, const char *what, const char *fmt, ...) HV_PRINTF(3, 4);
static void add_fact(struct panel *p, const char *what, const char *fmt, ...)
{
	struct widget *g = panel_add(p, W_TEXT, 0, what);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->right, sizeof(g->right), fmt, ap);
	va_end(ap);
}

static void build_info(struct window *w, struct panel *p)
{
	const struct config *c = w->cfg;

	panel_add(p, W_TITLE, 0, w->title);
	add_fact(p, _("Memory"), "%llu MiB", (unsigned long long)(c->memory >> 20));
	add_fact(p, _("Processors"), "%u", w->vm->ncpus);
	add_fact(p, _("Engine"), "%s", vm_engine_name(w->vm));
	add_fact(p, _("Picture"), "%u x %u", w->w, w->h);
	add_fact(p, _("Drawn by"), "%s, %s", w->ops->name, SDL_GetCurrentVideoDriver());
	for (unsigned i = 0; i < c->ndisks && i < 8; i++) {
		const char *slash = strrchr(c->disks[i].path, '/');

		add_fact(p, c->disks[i].cdrom ? _("CD") : _("Disk"), "%s",
			 slash ? slash + 1 : c->disks[i].path);
	}
	button(p, ACT_CANCEL, _("Close"));
}

static void build_log(struct window *w, struct panel *p)
{
	char text[3000];

	panel_add(p, W_TITLE, 0, _("Log"));
	if (log_tail(text, sizeof(text)))
		add_lines(w, p, text);
	else
		panel_add(p, W_TEXT, 0, _("Nothing was logged."));
	button(p, ACT_CANCEL, _("Close"));
}

static void build_keys(struct window *w, struct panel *p)
{
	static const struct {
		enum action a;
		const char *text;
	} rows[] = {
		{ ACT_MENU, N_("Menu") }, { ACT_FULLSCREEN, N_("Fullscreen") },
		{ ACT_CAPTURE, N_("Capture or release the mouse") }, { ACT_PAUSE, N_("Pause") },
		{ ACT_RESET, N_("Reset") }, { ACT_SHUTDOWN, N_("Shut down") },
		{ ACT_SCREENSHOT, N_("Screenshot") }, { ACT_SEND_CAD, N_("Send Ctrl+Alt+Del") },
		{ ACT_CLOSE, N_("Close") }, { ACT_NEXT_DISPLAY, N_("Next display") },
	};

	panel_add(p, W_TITLE, 0, _("Keys"));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].a != ACT_NEXT_DISPLAY || action_enabled(w, rows[i].a))
			add_fact(p, _(rows[i].text), _("Right Ctrl + %s"),
				 action_chord_text(rows[i].a));
	add_fact(p, _("Ctrl+Alt+F1 to F12"), _("Right Ctrl + %s"), "F1 - F12");
	add_fact(p, _("Release the mouse"), "Ctrl+Alt+G");
	add_lines(w, p, _("Right Ctrl twice sends Right Ctrl to the guest."));
	button(p, ACT_CANCEL, _("Close"));
}

static void build_about(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, "hvrun " HVRUN_VERSION);
	add_lines(w, p, _("A second operating system in a window. MIT licence."));
	button(p, ACT_CANCEL, _("Close"));
}

static void build_off(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, _("The guest has powered off"));
	button(p, ACT_AGAIN, _("Start again"));
	button(p, ACT_LOG, _("Log"));
	button(p, ACT_END, _("Close"));
}

static void build_resets(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, _("The guest keeps resetting"));
	add_lines(w, p, _("It crashed three times within ten seconds (triple fault) and is paused "
			  "now. Often its disk holds a system for another computer, or the "
			  "firmware is the wrong one."));
	button(p, ACT_GO_ON, _("Let it try again"));
	button(p, ACT_AGAIN_MENU, _("Boot menu"));
	button(p, ACT_LOG, _("Log"));
	button(p, ACT_POWEROFF_NOW, _("Power off"))->danger = true;
}

/* The last picture stays above it. */
static void build_end(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, _("The machine cannot go on [HV-CPU-01]"));
	add_lines(w, p, w->shell.message);
	add_lines(w, p, _("Its picture is as it was last. A report helps those who mend this."));
	button(p, ACT_AGAIN, _("Start again"));
	button(p, ACT_REPORT, _("Save report"));
	button(p, ACT_LOG, _("Log"));
	button(p, ACT_END, _("Close"));
}

static void build_message(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, w->title);
	add_lines(w, p, w->shell.message);
	button(p, ACT_CANCEL, _("Close"));
}

void sheet_trouble(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, w->trouble_full ? _("The host's disk is full") :
		  _("The host's disk has a problem"));
	add_lines(w, p, w->trouble);
	add_lines(w, p, w->trouble_full ?
		  _("The guest is paused. Free some space: it goes on by itself.") :
		  _("The guest is paused. This is tried again every second."));
}

/* Rows of text that the window is high. */
static int rows_of(const struct window *w)
{
	int dw, dh;

	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	return (int)(dh / (font_height(w->shell.font) + 8 * w->shell.scale));
}

static void build_eject(struct window *w, struct panel *p)
{
	panel_add(p, W_TITLE, 0, _("The guest holds the disc"));
	add_lines(w, p, _("It was asked to let it go. Taking it out now may disturb the guest."));
	button(p, ACT_CANCEL, _("Cancel"));
	button(p, (enum action)(ACT_EJECT_NOW + w->media.slot), _("Take it out"))->danger = true;
}

void sheet_build(struct window *w, struct panel *p, enum sheet s)
{
	panel_begin(p, PANEL_SHEET);
	switch (s) {
	case SHEET_CLOSE:
		build_close(w, p);
		break;
	case SHEET_POWEROFF:
		build_sure(w, p, _("Power off?"), ACT_POWEROFF_NOW, _("Power off"));
		break;
	case SHEET_RESET:
		build_sure(w, p, _("Reset?"), ACT_RESET_NOW, _("Reset"));
		break;
	case SHEET_INFO:
		build_info(w, p);
		break;
	case SHEET_LOG:
		build_log(w, p);
		break;
	case SHEET_KEYS:
		build_keys(w, p);
		break;
	case SHEET_ABOUT:
		build_about(w, p);
		break;
	case SHEET_BROWSE:
		browser_build(&w->media.browser, p, rows_of(w));
		break;
	case SHEET_EJECT:
		build_eject(w, p);
		break;
	case SHEET_OFF:
		build_off(w, p);
		break;
	case SHEET_RESETS:
		build_resets(w, p);
		break;
	case SHEET_END:
		build_end(w, p);
		break;
	default:
		build_message(w, p);
		break;
	}
}
