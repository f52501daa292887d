/* SPDX-License-Identifier: MIT */
/*
 * Importing an OVA or OVF; see ova.h.  Tar headers as in POSIX.1-2017 pax,
 * ustar, with GNU's large sizes.
 *
 * A disk in an archive is copied to a directory of its own before it is
 * converted, so that whatever names a hostile image contains lead nowhere.
 */
#include "command_int.h"
#include "imgtool.h"
#include "log.h"
#include "manifest.h"
#include "ova.h"
#include "ovf.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAR 512u
#define MEMBERS_MAX 256u
#define PIECE (1u << 20)

struct member {
	char name[OVF_NAME + 16];
	uint64_t at, size;
};

struct package {
	const char *path;
	int fd;
	bool tar;
	uint64_t size;
	struct ovf ovf;
	char dir[PATH_MAX - 16];	/* of temporary copies; "": none yet */
};

/* ---- tar ---- */

/* Octal, or base 256 as GNU tar writes large sizes. */
static bool tar_number(const uint8_t *p, unsigned n, uint64_t *v)
{
	*v = 0;
	if (*p & 0x80) {
		for (unsigned i = n - 8; i < n; i++)
			*v = *v << 8 | p[i];
		return *v < 1ull << 50;
	}
	for (unsigned i = 0; i < n && p[i] && p[i] != ' '; i++) {
		if (p[i] < '0' || p[i] > '7')
			return false;
		*v = *v << 3 | (uint64_t)(p[i] - '0');
	}
	return true;
}

static bool checksum_ok(const uint8_t *h)
{
	uint64_t want, sum = 0;

	for (unsigned i = 0; i < TAR; i++)
		sum += i >= 148 && i < 156 ? ' ' : h[i];
	return tar_number(h + 148, 8, &want) && want == sum;
}

static bool read_member(int fd, uint64_t at, struct member *m)
{
	uint8_t h[TAR];

	if (at > 1ull << 50 || pread(fd, h, TAR, (off_t)at) != (ssize_t)TAR ||
	    memcmp(h + 257, "ustar", 5) || !checksum_ok(h) || !tar_number(h + 124, 12, &m->size))
		return false;
	if (h[345] && !memcmp(h + 257, "ustar\0", 6))	/* a prefix, in POSIX's own format */
		snprintf(m->name, sizeof(m->name), "%.155s/%.100s", h + 345, h);
	else
		snprintf(m->name, sizeof(m->name), "%.100s", h);
	m->at = at + TAR;
	return true;
}

/* The first member called @name, or whose name ends with it when @suffix. */
static bool find_member(int fd, const char *name, bool suffix, struct member *m)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < MEMBERS_MAX && read_member(fd, at, m); i++) {
		const char *have = strncmp(m->name, "./", 2) ? m->name : m->name + 2;
		size_t n = strlen(have), k = strlen(name);

		if (suffix ? n > k && !strcasecmp(have + n - k, name) : !strcmp(have, name))
			return true;
		at = m->at + ((m->size + TAR - 1) & ~(uint64_t)(TAR - 1));
	}
	return false;
}

static bool is_ovf_name(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && !strcasecmp(path + n - 4, ".ovf");
}

static bool is_ovf_text(int fd)
{
	char head[4096] = "";
	ssize_t n = pread(fd, head, sizeof(head) - 1, 0);

	return n > 0 && memmem(head, (size_t)n, "Envelope", 8);
}

bool ova_is(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct member m;
	bool is = fd >= 0 && (find_member(fd, ".ovf", true, &m) ||
			      (is_ovf_name(path) && is_ovf_text(fd)));

	if (fd >= 0)
		close(fd);
	return is;
}

/* ---- the package ---- */

static bool read_description(struct package *p, struct err *e)
{
	struct member m = { .at = 0, .size = p->size };
	char *text;
	bool ok;

	p->tar = find_member(p->fd, ".ovf", true, &m);
	if (!p->tar && !is_ovf_name(p->path))
		return err_set(e, HV_EXIT_IMAGE, "%s: is no OVA: there is no .ovf in it", p->path);
	if (!p->tar)
		m = (struct member){ .at = 0, .size = p->size };
	if (m.size > OVF_TEXT_MAX || !range_ok(m.at, m.size, p->size))
		return err_set(e, HV_EXIT_IMAGE, "%s: its description is cut short or far too "
			       "large", p->path);
	text = hv_zalloc(m.size + 1);
	ok = pread(p->fd, text, m.size, (off_t)m.at) == (ssize_t)m.size ?
		ovf_parse(text, m.size, &p->ovf, e) :
		err_set(e, HV_EXIT_IMAGE, "%s: its description cannot be read", p->path);
	free(text);
	return ok || err_prefix(e, "%s", p->path);
}

static bool open_package(struct package *p, struct err *e)
{
	struct stat st;

	p->fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (p->fd < 0 || fstat(p->fd, &st))
		return err_errno(e, HV_EXIT_IMAGE, errno, "cannot open %s", p->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, HV_EXIT_IMAGE, "%s: is no file", p->path);
	p->size = (uint64_t)st.st_size;
	return read_description(p, e);
}

/* A piece of @left bytes at @at to the end of @out; returns its length, 0: end of file. */
static ssize_t copy_piece(int fd, uint64_t at, int out, uint64_t left)
{
	loff_t from = (loff_t)at;
	ssize_t n = copy_file_range(fd, &from, out, NULL, MIN(left, 64u << 20), 0);
	char *buf;

	if (n >= 0 || (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
		return n;
	buf = malloc(PIECE);	/* from another file system */
	n = buf ? pread(fd, buf, MIN(left, PIECE), from) : -1;
	if (n > 0)
		n = write(out, buf, (size_t)n);
	free(buf);
	return n;
}

static bool copy_out(struct package *p, const struct member *d, const char *to, struct err *e)
{
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint64_t left = d->size;
	bool ok = out >= 0;

	while (ok && left) {
		ssize_t n = copy_piece(p->fd, d->at + d->size - left, out, left);

		ok = n > 0;
		if (!n)
			errno = EIO;	/* the archive is cut short */
		left -= ok ? (uint64_t)n : 0;
	}
	if (!ok)
		err_errno(e, HV_EXIT_HOST, errno, "cannot take the disk out of %s", p->path);
	if (out >= 0)
		close(out);
	return ok;
}

static bool temporary_dir(struct package *p, struct err *e)
{
	char disks[PATH_MAX - 64];

	if (p->dir[0])
		return true;
	if (!machine_dir(MACHINE_DIR_DISKS, disks, sizeof(disks), e))
		return false;
	snprintf(p->dir, sizeof(p->dir), "%s/.import-XXXXXX", disks);
	if (mkdtemp(p->dir))
		return true;
	p->dir[0] = 0;
	return err_errno(e, HV_EXIT_HOST, errno, "cannot make a folder in %s", disks);
}

/* A disk of the archive as a file: in a folder where nothing else is. */
static bool take_out(struct package *p, const struct ovf_disk *d, char *out, size_t len,
		     struct err *e)
{
	struct member m;

	if (!find_member(p->fd, d->file, false, &m))
		return err_set(e, HV_EXIT_IMAGE, "%s: '%.128s', which it says is a disk, is not in "
			       "it", p->path, d->file);
	if (!range_ok(m.at, m.size, p->size))
		return err_set(e, HV_EXIT_IMAGE, "%s: is cut short: '%.128s' is not all there",
			       p->path, d->file);
	if (!temporary_dir(p, e))
		return false;
	snprintf(out, len, "%s/disk", p->dir);
	return copy_out(p, &m, out, e);
}

static bool is_plain(const char *name)
{
	return *name && *name != '.' && !strpbrk(name, "/\\:");
}

static void same_folder(const struct package *p, const char *name, char *out, size_t len)
{
	char *copy = hv_strdup(p->path);

	snprintf(out, len, "%.3000s/%s", dirname(copy), name);
	free(copy);
}

/* A disk beside the description: in the same folder, by a plain name. */
static bool beside(struct package *p, const struct ovf_disk *d, char *out, size_t len,
		   struct err *e)
{
	struct stat st;
	bool ok = is_plain(d->file);

	if (!ok)
		err_set(e, HV_EXIT_IMAGE, "%s: its disk '%.128s' is not in the same folder",
			p->path, d->file);
	same_folder(p, d->file, out, len);
	if (ok && (lstat(out, &st) || !S_ISREG(st.st_mode)))
		ok = err_set(e, HV_EXIT_IMAGE, "%s: its disk '%.128s' is not there", p->path,
			     d->file);
	return ok;
}

/* ---- manifest and signature ---- */

/* For manifest_check(): a member of the archive, or a plain file in the same folder. */
static bool find_file(void *opaque, const char *name, struct manifest_file *out)
{
	const struct package *p = opaque;
	char path[PATH_MAX];
	struct member m;
	struct stat st;

	if (p->tar) {
		if (!find_member(p->fd, name, false, &m) || !range_ok(m.at, m.size, p->size))
			return false;
		*out = (struct manifest_file){ dup(p->fd), m.at, m.size };
		return out->fd >= 0;
	}
	if (!is_plain(name))
		return false;
	same_folder(p, name, path, sizeof(path));
	out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (out->fd >= 0 && (fstat(out->fd, &st) || !S_ISREG(st.st_mode))) {
		close(out->fd);
		out->fd = -1;
	}
	out->at = 0;
	out->size = out->fd >= 0 ? (uint64_t)st.st_size : 0;
	return out->fd >= 0;
}

/* NAME.mf or NAME.cert of NAME.ovf; in an archive the first one. */
static bool find_companion(struct package *p, const char *suffix, struct manifest_file *out)
{
	const char *slash = strrchr(p->path, '/'), *base = slash ? slash + 1 : p->path;
	char name[OVF_NAME];
	struct member m;

	if (p->tar)
		return find_member(p->fd, suffix, true, &m) &&
		       find_file(p, strncmp(m.name, "./", 2) ? m.name : m.name + 2, out);
	if (snprintf(name, sizeof(name), "%.*s%s", (int)strlen(base) - 4, base, suffix) >=
	    (int)sizeof(name))
		return false;
	return find_file(p, name, out);
}

static void tell_unchecked(const struct package *p, const char *text, size_t len)
{
	for (unsigned i = 0; i < p->ovf.ndisks; i++) {
		const char *file = p->ovf.disk[i].file;

		if (*file && !manifest_names(text, len, file))
			log_warn("%s: '%s' is not in its manifest, so it is not checked", p->path,
				 file);
	}
}

static bool check_manifest(struct package *p, struct err *e)
{
	struct manifest_file f;
	char *text;
	bool ok;

	if (find_companion(p, ".cert", &f)) {
		log_info("%s: is signed; hvrun does not check the signature", p->path);
		close(f.fd);
	}
	if (!find_companion(p, ".mf", &f))
		return true;
	text = f.size <= MANIFEST_MAX ? hv_zalloc(f.size + 1) : NULL;
	ok = text && pread(f.fd, text, f.size, (off_t)f.at) == (ssize_t)f.size ?
		manifest_check(text, f.size, p->path, find_file, p, e) :
		err_set(e, HV_EXIT_IMAGE, "%s: its manifest cannot be read or is far too large",
			p->path);
	if (ok)
		tell_unchecked(p, text, f.size);
	free(text);
	close(f.fd);
	return ok;
}

static bool empty_disk(const struct ovf_disk *d, const char *disk, struct err *e)
{
	struct image_create c = { .path = disk, .size = (d->capacity + 511) & ~511ull };
	const struct block_format *fmt = image_format("qcow2", e);
	bool ok;

	if (!c.size)
		return err_set(e, HV_EXIT_IMAGE, "a disk without a file and without a size");
	ok = fmt && image_create(fmt, &c, e);
	image_create_end(&c);
	return ok;
}

static bool convert(struct package *p, const struct ovf_disk *d, const char *disk, struct err *e)
{
	char from[PATH_MAX];
	const char *args[] = { "convert", "-q", "-O", "qcow2", from, disk, NULL };
	bool ok = p->tar ? take_out(p, d, from, sizeof(from), e) :
			   beside(p, d, from, sizeof(from), e);

	ok = ok && command_img(args, e);
	if (p->tar && p->dir[0]) {
		snprintf(from, sizeof(from), "%s/disk", p->dir);
		unlink(from);
	}
	return ok;
}

static bool import_disk(struct package *p, struct machine *m, const struct ovf_disk *d,
			void (*made)(void *opaque, const char *disk), void *opaque, struct err *e)
{
	char disk[PATH_MAX], *v, *value;

	if (!command_disk_path(m->name, "qcow2", disk, sizeof(disk), e) ||
	    !(*d->file ? convert(p, d, disk, e) : empty_disk(d, disk, e)))
		return false;
	made(opaque, disk);
	v = machine_value_of(disk);
	value = hv_zalloc(strlen(v) + 32);
	snprintf(value, strlen(v) + 32, "%s%s%s", v, d->bus ? ",if=" : "", d->bus ? d->bus : "");
	machine_add(m, "disk", value);
	free(value);
	free(v);
	return true;
}

static void set_default(struct machine *m, const char *key, const char *v)
{
	if (!machine_get(m, key, 0))
		machine_set(m, key, v);
}

static void take_settings(struct machine *m, const struct ovf *o)
{
	char v[32];

	if (o->memory >= 8 << 20) {
		snprintf(v, sizeof(v), "%lluM", (unsigned long long)(MIN(o->memory, 512ull << 30) >>
								     20));
		set_default(m, "memory", v);
	}
	if (o->cpus) {
		snprintf(v, sizeof(v), "%u", MIN(o->cpus, 64u));
		set_default(m, "cpus", v);
	}
	set_default(m, "net", !o->nnics ? "none" : o->virtio_net ? "user" : "user,model=e1000");
	if (o->efi)
		set_default(m, "firmware", "uefi");
	if (*o->ignored)
		log_warn("not taken over: %s", o->ignored);
}

bool ova_import(struct machine *m, const char *path,
		void (*made)(void *opaque, const char *disk), void *opaque, struct err *e)
{
	struct package *p = hv_zalloc(sizeof(*p));
	bool ok;

	p->path = path;
	p->fd = -1;
	ok = open_package(p, e);
	if (ok && !p->ovf.ndisks)
		ok = err_set(e, HV_EXIT_IMAGE, "%s: has no disk", path);
	ok = ok && check_manifest(p, e);
	for (unsigned i = 0; ok && i < p->ovf.ndisks; i++)
		ok = import_disk(p, m, &p->ovf.disk[i], made, opaque, e);
	if (ok)
		take_settings(m, &p->ovf);
	if (p->dir[0])
		rmdir(p->dir);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
	return ok;
}
