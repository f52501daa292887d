/* SPDX-License-Identifier: MIT */
/*
 * hvrun delete: the machine's file, what is known of its runs, and with
 * --disks its disks, but for those that something else needs: another
 * machine, an image over them (of a machine, or in their folder: overlays
 * elsewhere could not be opened), a process.  What cannot be told is kept.
 */
#include "command_int.h"
#include "firmware.h"
#include "img_int.h"
#include "log.h"
#include "savefile.h"
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)
#define FOLDER_MAX 10000u	/* files of a folder that are looked at */

static bool is_file(const char *path, const struct stat *st)
{
	struct stat s;

	return stat(path, &s) == 0 && s.st_dev == st->st_dev && s.st_ino == st->st_ino;
}

/* Where @im's file says that its backing file is, NULL: it says none; @fmt: the format. */
static char *backing_path(struct image *im, char *fmt, size_t n)
{
	struct image_info i = { 0 };
	char *copy, *path;

	if (im->fmt->tool && im->fmt->tool->info)
		im->fmt->tool->info(im, &i);
	if (!i.backing[0])
		return NULL;
	snprintf(fmt, n, "%s", i.backing_fmt);
	if (i.backing[0] == '/')
		return hv_strdup(i.backing);
	copy = hv_strdup(im->path);
	path = hv_zalloc(strlen(copy) + strlen(i.backing) + 2);
	snprintf(path, strlen(copy) + strlen(i.backing) + 2, "%s/%s", dirname(copy), i.backing);
	free(copy);
	return path;
}

/* As far as names lead, also where something further down is missing. */
static bool names_lead_to(const char *path, const struct stat *st)
{
	char *at = hv_strdup(path), fmt[32] = "";
	bool found = false;
	struct stat s;

	for (unsigned i = 0; at && !found && i <= IMAGE_MAX_DEPTH; i++) {
		struct image *im = stat(at, &s) == 0 && S_ISREG(s.st_mode) ?
			image_open(at, *fmt ? fmt : NULL, BLOCK_RDONLY | BLOCK_NO_LOCK |
				   IMAGE_LENIENT | IMAGE_NO_BACKING, NULL) : NULL;

		free(at);
		at = im ? backing_path(im, fmt, sizeof(fmt)) : NULL;
		image_close(im);
		found = at && is_file(at, st);
	}
	free(at);
	return found;
}

static bool has_part(const struct image *im, const struct stat *st)
{
	bool found = false;

	for (unsigned i = 0; i < im->nparts && !found; i++)
		found = is_file(im->part[i], st);
	return found;
}

/* Is the file @st somewhere below the image @path, or a part of it? */
static bool is_over(const char *path, const struct stat *st)
{
	struct stat s;
	struct image *im = stat(path, &s) == 0 && S_ISREG(s.st_mode) ?
		image_open(path, NULL, BLOCK_RDONLY | BLOCK_NO_LOCK, NULL) : NULL;
	bool found = im && has_part(im, st);

	for (const struct image *b = im ? im->backing : NULL; b && !found; b = b->backing)
		found = (b->dev == st->st_dev && b->ino == st->st_ino) || has_part(b, st);
	image_close(im);
	return found || names_lead_to(path, st);
}

static bool own_disk(const struct machine *m, const char *path)
{
	struct stat st;
	bool own = false;
	const char *v;

	for (unsigned i = 0; !own && stat(path, &st) == 0 && (v = machine_get(m, "disk", i)); i++) {
		char *file = machine_file_of(m, v);

		own = is_file(file, &st);
		free(file);
	}
	return own;
}

/* What needs the file @st as its disk @v, in words; false: it does not. */
static bool machine_needs(const struct machine *m, const char *v, const struct stat *st, char *why,
			  size_t n)
{
	char *file = machine_file_of(m, v);
	bool same = is_file(file, st), over = !same && is_over(file, st);

	if (same || over)
		snprintf(why, n, "machine %s has %s", m->name, same ? "it" : "a clone of it");
	free(file);
	return same || over;
}

static bool others_need(const struct machine *m, const struct stat *st, char *why, size_t n)
{
	unsigned count;
	struct machine **list = machine_list(&count);
	bool found = false;
	const char *v;

	for (unsigned i = 0; i < count && !found; i++)
		for (unsigned k = 0; !found && strcmp(list[i]->path, m->path) &&
		     (v = machine_get(list[i], "disk", k)); k++)
			found = machine_needs(list[i], v, st, why, n);
	machine_list_free(list, count);
	return found;
}

/* Is a file of the folder @dir over @st?  What cannot be searched may have one. */
static bool folder_needs(const struct machine *m, const char *dir, const struct stat *st,
			 char *why, size_t n)
{
	char path[PATH_MAX];
	DIR *d = opendir(dir);
	struct dirent *de;
	bool found = false;
	unsigned i = 0;

	if (!d) {
		snprintf(why, n, "cannot look for clones of it in %.400s: %s", dir,
			 strerror(errno));
		return true;
	}
	for (; !found && i < FOLDER_MAX && (de = readdir(d)); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) >= (int)sizeof(path) ||
		    own_disk(m, path) || !is_over(path, st))
			continue;
		snprintf(why, n, "%.500s is a clone of it", path);
		found = true;
	}
	if (!found && i == FOLDER_MAX) {
		snprintf(why, n, "%.400s has too many files to look for clones of it", dir);
		found = true;
	}
	closedir(d);
	return found;
}

static bool needed(const struct machine *m, const char *file, char *why, size_t n)
{
	struct err e = { 0 };
	struct stat st;
	char *copy;
	bool found;

	if (stat(file, &st) < 0)
		return false;
	copy = hv_strdup(file);
	found = others_need(m, &st, why, n) || folder_needs(m, dirname(copy), &st, why, n);
	free(copy);
	if (found)
		return true;
	if (img_not_in_use(file, &e))
		return false;
	snprintf(why, n, "%s", e.msg);
	return true;
}

static bool regular(const char *path, struct stat *st)
{
	return stat(path, st) == 0 && S_ISREG(st->st_mode);
}

/* One file of a disk: its bytes are said, or it is removed. */
static uint64_t one_file(const char *path, bool remove)
{
	struct stat st;

	if (!regular(path, &st))
		return 0;
	if (!remove)
		printf("%s\t%s\n", img_bytes((uint64_t)st.st_blocks * 512), path);
	else if (unlink(path) < 0)
		log_warn("cannot remove %s: %s", path, strerror(errno));
	return (uint64_t)st.st_blocks * 512;
}

/* -flat.vmdk, -delta.vmdk, -s001.vmdk, -f001.vmdk: what follows a disk's name in its parts. */
static bool part_suffix(const char *s)
{
	size_t digits = strlen(s) > 2 ? strspn(s + 2, "0123456789") : 0;

	if (!strcmp(s, "-flat.vmdk") || !strcmp(s, "-delta.vmdk"))
		return true;
	return (!strncmp(s, "-s", 2) || !strncmp(s, "-f", 2)) && digits >= 3 &&
	       !strcmp(s + 2 + digits, ".vmdk");
}

static bool is_vmdk(const char *path)
{
	const char *end = strrchr(path, '.');

	return end && !strcasecmp(end, ".vmdk");
}

/* A descriptor may name anything as its part: only what also looks like one is. */
static bool part_by_name(const char *disk, const char *part)
{
	size_t n = is_vmdk(disk) ? strlen(disk) - strlen(".vmdk") : 0;

	return n && !strncmp(disk, part, n) && part_suffix(part + n);
}

/* Is the disk, or a part that would go with it, needed? */
static bool disk_needed(const struct machine *m, const char *file, const struct image *im,
			const char *open_failed, char *why, size_t n)
{
	bool found = needed(m, file, why, n);

	if (!found && !im && is_vmdk(file)) {
		snprintf(why, n, "it may have parts, and cannot be opened: %s", open_failed);
		found = true;
	}
	for (unsigned i = 0; im && i < im->nparts && !found; i++)
		found = part_by_name(file, im->part[i]) && needed(m, im->part[i], why, n);
	return found;
}

static uint64_t parts_of(const char *disk, const struct image *im, bool remove)
{
	uint64_t sum = 0;

	for (unsigned i = 0; im && i < im->nparts; i++)
		if (part_by_name(disk, im->part[i]))
			sum += one_file(im->part[i], remove);
		else if (!remove)
			log_info("kept: %s: a part of %s by content, not by name", im->part[i],
				 disk);
	return sum;
}

/* The variables of its firmware, unless another machine has named that file. */
static uint64_t nvram_of(const struct machine *m, const char *disk, bool remove)
{
	char path[PATH_MAX], *file;
	bool kept = false;
	struct machine **list;
	struct stat st;
	unsigned n;

	if (snprintf(path, sizeof(path), "%s" FIRMWARE_NVRAM, disk) >= (int)sizeof(path) ||
	    !regular(path, &st))
		return 0;
	list = machine_list(&n);
	for (unsigned i = 0; i < n && !kept; i++) {
		const char *v = strcmp(list[i]->path, m->path) ?
			machine_get(list[i], "nvram", 0) : NULL;

		file = v ? machine_file_of(list[i], v) : NULL;
		kept = file && is_file(file, &st);
		if (kept && !remove)
			log_info("kept: %s: machine %s uses it", path, list[i]->name);
		free(file);
	}
	machine_list_free(list, n);
	return kept ? 0 : one_file(path, remove);
}

/* A disk with what lies beside it. */
static uint64_t one_disk(const struct machine *m, const char *file, bool remove)
{
	struct err e = { 0 };
	struct image *im;
	uint64_t sum = 0;
	struct stat st;
	char why[600];

	if (!regular(file, &st))
		return 0;
	im = image_open(file, NULL, BLOCK_RDONLY | BLOCK_NO_LOCK | IMAGE_NO_BACKING, &e);
	if (!disk_needed(m, file, im, e.msg, why, sizeof(why)))
		sum = parts_of(file, im, remove) + nvram_of(m, file, remove) +
		      one_file(file, remove);
	else if (!remove)
		log_info("kept: %s: %s", file, why);
	image_close(im);
	return sum;
}

/* Goes through the files that go with the machine; @remove: and removes them. */
static uint64_t each_file(const struct machine *m, bool disks, bool remove)
{
	static const char *const own[] = { "png", "log", "state", "lock", "sock" };
	char path[PATH_MAX];
	uint64_t sum = 0;
	const char *v;

	for (unsigned i = 0; disks && (v = machine_get(m, "disk", i)); i++) {
		char *file = machine_file_of(m, v);

		sum += one_disk(m, file, remove);
		free(file);
	}
	for (unsigned i = 0; remove && i < ARRAY_SIZE(own); i++)
		if (machine_path(m, own[i], path, sizeof(path), NULL))
			unlink(path);
	if (!remove)
		one_file(m->path, false);
	return sum;
}

static bool confirm(const struct command_args *a, struct err *e)
{
	char answer[16] = "";

	if (a->yes)
		return true;
	if (!isatty(STDIN_FILENO))
		return USAGE(e, "nothing was removed: --yes is needed without a terminal");
	fputs("Remove? [y/N] ", stdout);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
		return true;
	return err_set(e, HV_EXIT_GENERIC, "nothing was removed");
}

static void remove_previous(const struct machine *m)
{
	char old[PATH_MAX];

	if (snprintf(old, sizeof(old), "%s" SAVEFILE_PREVIOUS, m->path) < (int)sizeof(old))
		unlink(old);	/* mostly there is none */
}

int command_delete(struct command_args *a, struct err *e)
{
	struct machine *m = machine_find(a->pos[0], e);
	bool ok = m != NULL;
	uint64_t sum;

	/* Held while its files go, so that nobody starts it. */
	ok = ok && machine_lock(m, e);
	if (ok) {
		sum = each_file(m, a->disks, false);
		printf("%s\tin all\n", img_bytes(sum));
		ok = confirm(a, e);
	}
	if (ok && unlink(m->path) < 0)
		ok = err_errno(e, HV_EXIT_HOST, errno, "cannot remove %s", m->path);
	if (ok) {
		remove_previous(m);
		each_file(m, a->disks, true);
	}
	if (m && m->lock_fd >= 0) {
		close(m->lock_fd);	/* without a note of use */
		m->lock_fd = -1;
	}
	machine_free(m);
	return ok ? 0 : e->exit_code;
}
