/* SPDX-License-Identifier: MIT */
/*
 * Making images: the options on the way to the format, the files made so far
 * (all gone again when something fails), and helpers shared by the formats.
 */
#include "config.h"
#include "imgtool.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct block_format *image_format(const char *name, struct err *e)
{
	char known[256] = "";

	if (!strcmp(name, "vpc"))	/* QEMU's name for it */
		name = "vhd";
	for (unsigned i = 0; block_formats[i]; i++) {
		if (!strcmp(block_formats[i]->name, name))
			return block_formats[i];
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", block_formats[i]->name);
	}
	err_set(e, HV_EXIT_USAGE, "unknown disk format '%.32s'; known: %s", name, known);
	return NULL;
}

bool image_size(const char *s, uint64_t *v)
{
	static const char units[] = "BKMGTP";
	char *end;
	double d;
	const char *u;

	if (!isdigit((unsigned char)*s))
		return false;
	d = strtod(s, &end);
	u = *end ? strchr(units, toupper((unsigned char)*end)) : units;
	if (!u || (*end && end[1] && strcmp(end + 1, "B") && strcmp(end + 1, "iB")))
		return false;
	if (!*end && strspn(s, "0123456789") == strlen(s)) {	/* bytes, exactly */
		*v = strtoull(s, NULL, 10);
		return *v <= IMAGE_MAX_SIZE;
	}
	d *= (double)(1ull << 10 * (u - units));
	*v = d <= (double)IMAGE_MAX_SIZE ? (uint64_t)d : 0;
	return d <= (double)IMAGE_MAX_SIZE;
}

const char *image_opt(const struct image_create *c, const char *name)
{
	for (unsigned i = 0; i < c->nopt; i++)
		if (!strcmp(c->opt[i].name, name))
			return c->opt[i].value;
	return NULL;
}

bool image_opt_pow2(const struct image_create *c, const char *name, uint64_t min, uint64_t max,
		    uint64_t *v, struct err *e)
{
	const char *s = image_opt(c, name);

	if (!s)
		return true;
	return (image_size(s, v) && is_pow2(*v) && *v >= min && *v <= max) ||
		err_set(e, HV_EXIT_USAGE, "%s=%.32s: give a power of two from %llu to %llu", name,
			s, (unsigned long long)min, (unsigned long long)max);
}

bool image_opt_bool(const struct image_create *c, const char *name, bool *v, struct err *e)
{
	const char *s = image_opt(c, name);

	if (s && strcmp(s, "on") && strcmp(s, "off"))
		return err_set(e, HV_EXIT_USAGE, "%s=%.32s: use on or off", name, s);
	if (s)
		*v = !strcmp(s, "on");
	return true;
}

int image_create_file(struct image_create *c, const char *path, struct err *e)
{
	char **more = realloc(c->made, (c->nmade + 1) * sizeof(*more));
	int fd;

	if (!more) {
		err_set(e, HV_EXIT_HOST, "out of memory");
		return -1;
	}
	c->made = more;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		if (errno == EEXIST)
			err_set(e, HV_EXIT_GENERIC, "%s: exists already; remove it or take another "
				"name (--force replaces it)", path);
		else
			err_errno(e, HV_EXIT_HOST, errno, "%s: cannot create the file", path);
		return -1;
	}
	c->made[c->nmade++] = hv_strdup(path);
	if (image_lock(fd, path, false, e))
		return fd;
	close(fd);
	return -1;
}

void image_create_end(struct image_create *c)
{
	for (unsigned i = 0; i < c->nmade; i++)
		free(c->made[i]);
	free(c->made);
	c->made = NULL;
	c->nmade = 0;
}

void image_create_undo(struct image_create *c)
{
	for (unsigned i = 0; i < c->nmade; i++)
		unlink(c->made[i]);
	image_create_end(c);
}

int image_create_step(const struct image_create *c, uint64_t done, uint64_t total)
{
	return !c->step || c->step(c->step_opaque, done, total) ? 0 : ECANCELED;
}

static bool known_options(const struct block_format *fmt, const struct image_create *c,
			  struct err *e)
{
	for (unsigned i = 0; i < c->nopt; i++) {
		const struct image_opt_help *o = fmt->tool->options;

		while (o && o->name && strcmp(o->name, c->opt[i].name))
			o++;
		if (!o || !o->name)
			return err_set(e, HV_EXIT_USAGE,
				       "%s images have no option '%.32s'; hvrun img "
				       "create --help lists them",
				       fmt->name, c->opt[i].name);
	}
	return true;
}

bool image_create(const struct block_format *fmt, struct image_create *c, struct err *e)
{
	if (!fmt->tool || !fmt->tool->create)
		return err_set(e, HV_EXIT_USAGE, "hvrun cannot create %s images", fmt->name);
	if (!known_options(fmt, c, e))
		return false;
	if (!c->size || c->size > IMAGE_MAX_SIZE)
		return err_set(e, HV_EXIT_USAGE, "%s: a disk of %llu bytes is impossible; give "
			       "between 512 and 1 PiB", c->path, (unsigned long long)c->size);
	if (c->backing && !fmt->tool->set_backing)
		return err_set(e, HV_EXIT_USAGE, "%s images have no backing file; use qcow2",
			       fmt->name);
	if (fmt->tool->create(c, e))
		return true;
	image_create_undo(c);
	return false;
}

int image_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	int err;

	*n = len;
	*k = IMAGE_DATA;
	if (!im->fmt->tool || !im->fmt->tool->map)
		return 0;
	err = im->fmt->tool->map(im, off, len, n, k);
	if (!err && *k == IMAGE_BELOW && !im->backing && !(im->flags & IMAGE_NO_BACKING))
		*k = IMAGE_ZERO;
	return err;
}

void image_field(struct image_info *i, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (i->n == IMAGE_MAX_FIELDS)
		return;
	snprintf(i->field[i->n].name, sizeof(i->field[i->n].name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(i->field[i->n].value, sizeof(i->field[i->n].value), fmt, ap);
	va_end(ap);
	i->n++;
}

void image_damage(struct image_check *c, uint64_t n, const char *fmt, ...)
{
	va_list ap;

	c->errors += n;
	if (!n || c->first[0])
		return;
	va_start(ap, fmt);
	vsnprintf(c->first, sizeof(c->first), fmt, ap);
	va_end(ap);
}
