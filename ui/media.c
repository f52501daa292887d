/* SPDX-License-Identifier: MIT */
/*
 * Discs in the window: the menu of drives, choosing and dropping files, and
 * the activity lights of the strip.
 */
#include "window_int.h"
#include "../src/boot.h"

#define LOOK_MS 100

/* ---- menu --------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void drive_title(const struct media_info *m, char *out, size_t len)
{
	char name[80];

	if (m->floppy)
		snprintf(name, sizeof(name), _("Floppy drive %u"), m->number);
	else
		snprintf(name, sizeof(name), m->cdrom ? _("CD drive %u (%s)") : _("Disk %u (%s)"),
			 m->number, m->bus);
	snprintf(out, len, "%s: %.60s", name, m->loaded ? base_name(m->path) : _("empty"));
}

static void network_row(const struct window *w, struct panel *p)
{
	char text[PANEL_TEXT];
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "%s: %s", _("Network"),
			     w->cfg->no_net ? _("None") : _("Through this computer (NAT)"));
	for (unsigned i = 0; i < w->cfg->nforwards && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u>%u", i ? ", " : "; ",
				      w->cfg->forwards[i].host_port,
				      w->cfg->forwards[i].guest_port);
	panel_add(p, W_TEXT, 0, text);
}

void media_menu(struct window *w, struct panel *p)
{
	struct widget *mic;
	struct media_info m;
	char text[PANEL_TEXT];

	for (unsigned i = 0; i < vm_media_count(w->vm) && i < MEDIA_SLOTS; i++) {
		if (!vm_media_info(w->vm, i, &m))
			continue;
		if (p->n && m.removable)
			panel_add(p, W_SEPARATOR, 0, NULL);
		drive_title(&m, text, sizeof(text));
		panel_add(p, W_TEXT, 0, text);
		if (!m.removable)
			continue;
		panel_add(p, W_ITEM, ACT_INSERT + (int)i, m.loaded ? _("Change disc...") :
			  _("Insert disc..."));
		panel_add(p, W_ITEM, ACT_EJECT + (int)i, _("Eject"))->disabled = !m.loaded;
	}
	if (!p->n)
		panel_add(p, W_TEXT, 0, _("This machine has no drives."));
	panel_add(p, W_SEPARATOR, 0, NULL);
	network_row(w, p);
	mic = panel_add(p, W_ITEM, ACT_MIC, _("Microphone"));
	mic->disabled = !action_enabled(w, ACT_MIC);
	mic->checked = action_checked(w, ACT_MIC);
}

/* ---- actions ---------------------------------------------------------------------- */

static void insert(struct window *w, unsigned slot, const char *path)
{
	struct err e = { 0 };
	char text[300];

	switch (vm_media_insert(w->vm, slot, path, &e)) {
	case MEDIA_DONE:
		snprintf(text, sizeof(text), _("Inserted %s"), base_name(path));
		shell_notice(w, text, 4000);
		log_info("inserted %s", path);
		break;
	case MEDIA_ASKED:
		shell_notice(w, e.msg, 6000);
		break;
	default:
		shell_message(w, e.msg);
		break;
	}
}

static void eject(struct window *w, unsigned slot, bool force)
{
	struct err e = { 0 };

	w->media.slot = slot;
	switch (vm_media_eject(w->vm, slot, force, &e)) {
	case MEDIA_DONE:
		shell_notice(w, _("Ejected"), 3000);
		break;
	case MEDIA_ASKED:
		shell_show_sheet(w, SHEET_EJECT);
		break;
	default:
		shell_message(w, e.msg);
		break;
	}
}

static void choose(struct window *w, unsigned slot)
{
	struct media_info m = { 0 };
	char dir[4096] = "";
	char *slash;

	if (w->media.dialog)
		return;
	w->media.slot = slot;
	vm_media_info(w->vm, slot, &m);
	w->media.dialog = filedialog_open(w->win, m.floppy ? _("Choose a floppy disk image") :
					  _("Choose a CD image"), !m.floppy);
	if (w->media.dialog)
		return;
	if (*m.path)
		snprintf(dir, sizeof(dir), "%s", m.path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = 0;
	browser_open(&w->media.browser, slash ? dir : NULL);
	shell_show_sheet(w, SHEET_BROWSE);
}

void media_do(struct window *w, enum action a)
{
	if (a < ACT_EJECT)
		choose(w, (unsigned)(a - ACT_INSERT));
	else if (a < ACT_EJECT_NOW)
		eject(w, (unsigned)(a - ACT_EJECT), false);
	else
		eject(w, (unsigned)(a - ACT_EJECT_NOW), true);
}

void media_drop(struct window *w, const char *path)
{
	bool floppy = media_is_floppy(path);
	int slot = vm_media_drop_slot(w->vm, floppy);
	enum boot_kind kind;
	struct err e = { 0 };

	if (!boot_sniff(path, &kind, &e))
		shell_message(w, e.msg);
	else if (kind != BOOT_ISO && !floppy)
		shell_message(w, _("Only CD images (ISO files) and floppy disk images can be "
				   "dropped on a running machine."));
	else if (slot < 0)
		shell_message(w, floppy ?
			      _("This machine has no floppy drive. Give it one with --floppy, or "
				"in its settings.") :
			      _("This machine has no CD drive. Give it one with --cdrom, or in "
				"its settings."));
	else
		insert(w, (unsigned)slot, path);
}

/* ---- browser ---------------------------------------------------------------------------- */

static void browsed(struct window *w, enum browser_result r)
{
	w->shell.dirty = true;
	if (r == BROWSER_STAYS)
		return;
	shell_show_sheet(w, SHEET_NONE);
	if (r == BROWSER_CHOSEN)
		insert(w, w->media.slot, w->media.browser.chosen);
	browser_close(&w->media.browser);
}

bool media_key(struct window *w, const SDL_KeyboardEvent *k)
{
	if (w->shell.sheet != SHEET_BROWSE)
		return false;
	if (k->type == SDL_KEYDOWN)
		browsed(w, browser_key(&w->media.browser, k->keysym.sym));
	return true;
}

bool media_type(struct window *w, const char *utf8)
{
	if (w->shell.sheet != SHEET_BROWSE)
		return false;
	browsed(w, browser_type(&w->media.browser, utf8));
	return true;
}

void media_hit(struct window *w, int id)
{
	browsed(w, browser_hit(&w->media.browser, id));
}

void media_wheel(struct window *w, int by)
{
	browser_wheel(&w->media.browser, -3 * by);
	w->shell.dirty = true;
}

static void poll_dialog(struct window *w)
{
	char path[4096];
	enum filedialog_state st = filedialog_poll(w->media.dialog, path, sizeof(path));

	if (st == FILEDIALOG_OPEN)
		return;
	filedialog_close(w->media.dialog);
	w->media.dialog = NULL;
	if (st == FILEDIALOG_CHOSEN)
		insert(w, w->media.slot, path);
}

/* ---- lights ---------------------------------------------------------------------------------- */

static unsigned changed(uint64_t now, uint64_t *was, unsigned bit)
{
	bool differs = now != *was;

	*was = now;
	return differs ? bit : 0;
}

static void look_at_drives(struct window *w)
{
	struct media *m = &w->media;
	unsigned count = MIN(vm_media_count(w->vm), MEDIA_SLOTS);

	m->disk = m->cd = 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t reads, writes;
		unsigned busy;

		vm_media_activity(w->vm, i, &reads, &writes);
		busy = changed(reads, &m->reads[i], BUSY_READ) |
		       changed(writes, &m->writes[i], BUSY_WRITE);
		if (m->is_cd[i])
			m->cd |= busy;
		else
			m->disk |= busy;
	}
}

void media_step(struct window *w)
{
	struct media *m = &w->media;
	Uint64 now = SDL_GetTicks64();

	if (m->dialog)
		poll_dialog(w);
	if (now - m->looked_at < LOOK_MS)
		return;
	m->looked_at = now;
	atomic_store(&w->wait.lights, false);
	bell_arm(&w->wait.lights_bell);
	look_at_drives(w);
	if (w->net)
		m->net = changed(w->net->sent, &m->sent, BUSY_WRITE) |
			 changed(w->net->received, &m->received, BUSY_READ);
}

Uint64 media_due(const struct window *w)
{
	const struct media *m = &w->media;
	bool lit = w->wait.lights || m->disk || m->cd || m->net;

	return m->dialog || (lit && window_strip_height(w) && !window_hidden(w)) ?
	       m->looked_at + LOOK_MS : 0;
}

/* Slots do not change while the machine runs. */
void media_open(struct window *w)
{
	struct media_info info;

	for (unsigned i = 0; i < vm_media_count(w->vm) && i < MEDIA_SLOTS; i++)
		if (vm_media_info(w->vm, i, &info) && info.cdrom)
			w->media.is_cd[i] = w->media.has_cd = true;
}

void media_close(struct window *w)
{
	filedialog_close(w->media.dialog);
	w->media.dialog = NULL;
	browser_close(&w->media.browser);
}
