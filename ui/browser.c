/* SPDX-License-Identifier: MIT */
/* The built-in file browser; see browser.h. */
#include "browser.h"
#include "text.h"
#include "../src/util.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#define ENTRIES_MAX 5000u
#define OTHER_ROWS 6	/* title, folder, up, buttons, margins */
#define ID_ROW 1000	/* + entry */
enum { ID_UP = 900, ID_OPEN, ID_CANCEL };

static void clear(struct browser *b)
{
	for (unsigned i = 0; i < b->n; i++)
		free(b->e[i].name);
	free(b->e);
	b->e = NULL;
	b->n = b->top = b->at = 0;
}

static int compare(const void *x, const void *y)
{
	const struct browser_entry *a = x, *b = y;

	if (a->folder != b->folder)
		return a->folder ? -1 : 1;
	return strcasecmp(a->name, b->name);
}

static void add(struct browser *b, const char *name)
{
	char path[4096 + 300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	if (name[0] == '.' || stat(path, &st) < 0 ||
	    (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return;
	b->e[b->n++] = (struct browser_entry){ hv_strdup(name), S_ISDIR(st.st_mode) };
}

static void look(struct browser *b)
{
	DIR *d = opendir(b->dir);
	struct dirent *de;

	clear(b);
	b->problem = !d;
	if (!d)
		return;
	b->e = hv_zalloc(ENTRIES_MAX * sizeof(*b->e));
	while ((de = readdir(d)) && b->n < ENTRIES_MAX)
		add(b, de->d_name);
	closedir(d);
	if (b->n)
		qsort(b->e, b->n, sizeof(*b->e), compare);
}

void browser_open(struct browser *b, const char *dir)
{
	const char *home = getenv("HOME");

	*b = (struct browser){ .rows = BROWSER_ROWS };
	snprintf(b->dir, sizeof(b->dir), "%s", dir && *dir ? dir : home && *home ? home : "/");
	look(b);
}

void browser_close(struct browser *b)
{
	clear(b);
}

static void up(struct browser *b)
{
	char was[300];
	char *slash = strrchr(b->dir, '/');

	if (!slash || !b->dir[1])
		return;
	snprintf(was, sizeof(was), "%s", slash + 1);
	slash[slash == b->dir] = 0;
	look(b);
	for (unsigned i = 0; i < b->n; i++)
		if (!strcmp(b->e[i].name, was))
			b->at = i;
}

static enum browser_result enter(struct browser *b)
{
	const struct browser_entry *e = b->at < b->n ? &b->e[b->at] : NULL;
	int n;

	if (!e)
		return BROWSER_STAYS;
	n = snprintf(b->chosen, sizeof(b->chosen), "%s/%s", b->dir[1] ? b->dir : "", e->name);
	if (n < 0 || (size_t)n >= sizeof(b->chosen))
		return BROWSER_STAYS;
	if (!e->folder)
		return BROWSER_CHOSEN;
	if ((size_t)n < sizeof(b->dir)) {
		memcpy(b->dir, b->chosen, (size_t)n + 1);
		look(b);
	}
	return BROWSER_STAYS;
}

static void keep_in_view(struct browser *b)
{
	if (b->at < b->top)
		b->top = b->at;
	if (b->at >= b->top + b->rows)
		b->top = b->at - b->rows + 1;
}

void browser_build(struct browser *b, struct panel *p, int height)
{
	char line[PANEL_TEXT];
	size_t n = strlen(b->dir);

	b->rows = (unsigned)MAX(MIN(height - OTHER_ROWS, BROWSER_ROWS), 3);
	keep_in_view(b);
	panel_add(p, W_TITLE, 0, _("Choose a file"));
	panel_add(p, W_TEXT, 0, n > 60 ? b->dir + n - 60 : b->dir);
	panel_add(p, W_ITEM, ID_UP, _("Up"))->disabled = !b->dir[1];
	panel_add(p, W_SEPARATOR, 0, NULL);
	for (unsigned i = b->top; i < b->n && i < b->top + b->rows; i++) {
		snprintf(line, sizeof(line), "%.100s%s", b->e[i].name, b->e[i].folder ? "/" : "");
		panel_add(p, W_ITEM, ID_ROW + (int)i, line);
	}
	if (b->problem)
		panel_add(p, W_TEXT, 0, _("This folder cannot be read."));
	else if (!b->n)
		panel_add(p, W_TEXT, 0, _("Nothing is in this folder."));
	panel_add(p, W_BUTTON, ID_OPEN, _("Open"))->disabled = !b->n;
	panel_add(p, W_BUTTON, ID_CANCEL, _("Cancel"));
	panel_set_focus(p, b->n ? ID_ROW + (int)b->at : ID_UP);
}

enum browser_result browser_key(struct browser *b, SDL_Keycode key)
{
	unsigned last = b->n ? b->n - 1 : 0;

	switch (key) {
	case SDLK_ESCAPE:
		return BROWSER_CLOSED;
	case SDLK_RETURN:
	case SDLK_KP_ENTER:
	case SDLK_RIGHT:
		return enter(b);
	case SDLK_BACKSPACE:
	case SDLK_LEFT:
		up(b);
		break;
	case SDLK_DOWN:
		b->at = MIN(b->at + 1, last);
		break;
	case SDLK_UP:
		b->at -= b->at > 0;
		break;
	case SDLK_PAGEDOWN:
		b->at = MIN(b->at + b->rows, last);
		break;
	case SDLK_PAGEUP:
		b->at -= MIN(b->at, b->rows);
		break;
	case SDLK_HOME:
		b->at = 0;
		break;
	case SDLK_END:
		b->at = last;
		break;
	default:
		break;
	}
	return BROWSER_STAYS;
}

/* The next name that begins so. */
enum browser_result browser_type(struct browser *b, const char *utf8)
{
	for (unsigned k = 1; k <= b->n; k++) {
		unsigned i = (b->at + k) % b->n;

		if (!strncasecmp(b->e[i].name, utf8, strlen(utf8))) {
			b->at = i;
			break;
		}
	}
	return BROWSER_STAYS;
}

enum browser_result browser_hit(struct browser *b, int id)
{
	if (id == ID_CANCEL)
		return BROWSER_CLOSED;
	if (id == ID_UP)
		up(b);
	if (id == ID_OPEN)
		return enter(b);
	if (id < ID_ROW || (unsigned)(id - ID_ROW) >= b->n)
		return BROWSER_STAYS;
	if (b->at == (unsigned)(id - ID_ROW))	/* the second click */
		return enter(b);
	b->at = (unsigned)(id - ID_ROW);
	return BROWSER_STAYS;
}

void browser_wheel(struct browser *b, int by)
{
	int at = (int)b->at + by;

	b->at = (unsigned)MAX(MIN(at, (int)b->n - 1), 0);
}
