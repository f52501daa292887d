/* SPDX-License-Identifier: MIT */
/* The menu as tables: its rows in their order, and the action of each. */
#include "window_int.h"

struct menu_row {
	enum action id;		/* ACT_NONE: separator */
	const char *text;
};

static const struct menu_row main_rows[] = {
	{ ACT_M_MACHINE, N_("Machine") },
	{ ACT_M_MEDIA, N_("Devices") },
	{ ACT_M_KEYBOARD, N_("Keyboard") },
	{ ACT_M_VIEW, N_("View") },
	{ ACT_M_HELP, N_("Help") },
	{ ACT_NONE, NULL },
	{ ACT_CLOSE, N_("Close...") },
}, machine_rows[] = {
	{ ACT_PAUSE, N_("Pause") },
	{ ACT_SLEEP, N_("Sleep or wake up") },
	{ ACT_RESET, N_("Reset...") },
	{ ACT_SHUTDOWN, N_("Shut down") },
	{ ACT_POWEROFF, N_("Power off...") },
	{ ACT_NONE, NULL },
	{ ACT_INFO, N_("Information") },
	{ ACT_LOG, N_("Log") },
	{ ACT_NONE, NULL },
	{ ACT_HEADLESS, N_("Keep running without a window") },
}, keyboard_rows[] = {
	{ ACT_SEND_CAD, N_("Send Ctrl+Alt+Del") },
	{ ACT_SEND_CAB, N_("Send Ctrl+Alt+Backspace") },
	{ ACT_SEND_PRTSC, N_("Send Print Screen") },
	{ ACT_SEND_SUPER, N_("Send Super") },
	{ ACT_SEND_HOST, N_("Send Right Ctrl") },
	{ ACT_NONE, NULL },
	{ ACT_SEND_VT1, "Ctrl+Alt+F1" }, { ACT_SEND_VT1 + 1, "Ctrl+Alt+F2" },
	{ ACT_SEND_VT1 + 2, "Ctrl+Alt+F3" }, { ACT_SEND_VT1 + 3, "Ctrl+Alt+F4" },
	{ ACT_SEND_VT1 + 4, "Ctrl+Alt+F5" }, { ACT_SEND_VT1 + 5, "Ctrl+Alt+F6" },
	{ ACT_SEND_VT1 + 6, "Ctrl+Alt+F7" }, { ACT_SEND_VT1 + 7, "Ctrl+Alt+F8" },
	{ ACT_SEND_VT1 + 8, "Ctrl+Alt+F9" }, { ACT_SEND_VT1 + 9, "Ctrl+Alt+F10" },
	{ ACT_SEND_VT1 + 10, "Ctrl+Alt+F11" }, { ACT_SEND_VT12, "Ctrl+Alt+F12" },
	{ ACT_NONE, NULL },
	{ ACT_PASTE, N_("Paste as keystrokes") },
	{ ACT_GRAB_KEYS, N_("All keys to the guest") },
	{ ACT_CAPTURE, N_("Capture the mouse") },
}, view_rows[] = {
	{ ACT_FULLSCREEN, N_("Fullscreen") },
	{ ACT_NEXT_DISPLAY, N_("Next display") },
	{ ACT_NONE, NULL },
	{ ACT_FIT, N_("Scale to the window") },
	{ ACT_INTEGER, N_("Whole multiples only") },
	{ ACT_ONE, N_("1:1") },
	{ ACT_SMOOTH, N_("Smooth") },
	{ ACT_NONE, NULL },
	{ ACT_STRIP, N_("Status bar") },
	{ ACT_SCREENSHOT, N_("Screenshot") },
	{ ACT_RECORD, N_("Record the screen") },
}, help_rows[] = {
	{ ACT_KEYS, N_("Keys") },
	{ ACT_ABOUT, N_("About hvrun") },
};

#define MENU(rows) { rows, ARRAY_SIZE(rows) }
static const struct {
	const struct menu_row *rows;
	size_t n;
} menus[] = {
	[0] = MENU(main_rows),
	[ACT_M_MACHINE] = MENU(machine_rows),
	[ACT_M_KEYBOARD] = MENU(keyboard_rows),
	[ACT_M_VIEW] = MENU(view_rows),
	[ACT_M_HELP] = MENU(help_rows),
};

static void add_row(struct window *w, struct panel *p, const struct menu_row *row)
{
	struct widget *g;

	if (row->id == ACT_NONE) {
		panel_add(p, W_SEPARATOR, 0, NULL);
		return;
	}
	if (row->id == ACT_NEXT_DISPLAY && !action_enabled(w, row->id))
		return;		/* of one */
	g = panel_add(p, W_ITEM, (int)row->id, _(row->text));
	g->disabled = !action_enabled(w, row->id);
	g->checked = action_checked(w, row->id);
	if (row->id >= ACT_M_MACHINE && row->id <= ACT_M_LAST)
		snprintf(g->right, sizeof(g->right), "\xe2\x96\xb8");
	else
		snprintf(g->right, sizeof(g->right), "%s", action_chord_text(row->id));
}

void menu_build(struct window *w, struct panel *p, int submenu)
{
	HV_BUG_ON((size_t)submenu >= ARRAY_SIZE(menus));
	panel_begin(p, PANEL_MENU);
	if (submenu == ACT_M_MEDIA)
		media_menu(w, p);
	for (size_t i = 0; i < menus[submenu].n; i++)
		add_row(w, p, &menus[submenu].rows[i]);
}
