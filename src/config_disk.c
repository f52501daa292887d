/* SPDX-License-Identifier: MIT */
/* --disk, --cdrom and --floppy: FILE[,KEY=VALUE...], one row a key. */
#include "config_int.h"
#include <ctype.h>
#include <stdlib.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

/* Splits at the next single comma, undoubling ",,"; NULL at the end. */
static char *next_field(char **rest)
{
	char *start = *rest, *w = start, *r = start;

	if (!start)
		return NULL;
	for (; *r; r++) {
		if (*r == ',' && r[1] != ',')
			break;
		r += *r == ',';
		*w++ = *r;
	}
	*rest = *r ? r + 1 : NULL;
	*w = '\0';
	return start;
}

/* Which of @names (NULL-terminated) @v is. */
static bool choice(const char *key, const char *v, const char *const *names, unsigned *out,
		   struct err *e)
{
	char list[128] = "";

	for (unsigned i = 0; names[i]; i++) {
		if (!strcmp(v, names[i])) {
			*out = i;
			return true;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
			 names[i]);
	}
	return USAGE(e, "--disk %s=%s does not exist; use one of: %s", key, v, list);
}

static bool on_off(const char *key, const char *v, bool *out, struct err *e)
{
	if (strcmp(v, "on") && strcmp(v, "off"))
		return USAGE(e, "%s=%s: write %s=on or %s=off", key, v, key, key);
	*out = !strcmp(v, "on");
	return true;
}

static const char *const bus_names[] = { "virtio", "scsi", "nvme", "ahci", "ide", NULL };
static const char *const cache_names[] = { "writeback", "none", "writethrough", NULL };

static bool key_if(struct cfg_disk *d, char *v, struct err *e)
{
	unsigned n = 0;

	if (!choice("if", v, bus_names, &n, e))
		return false;
	d->bus = (enum cfg_disk_bus)(n + 1);
	return true;
}

static bool key_cache(struct cfg_disk *d, char *v, struct err *e)
{
	unsigned n = 0;

	if (!choice("cache", v, cache_names, &n, e))
		return false;
	d->io.cache = (enum block_cache)n;
	return true;
}

static bool key_format(struct cfg_disk *d, char *v, struct err *e)
{
	d->format = v;
	return true;
}

static bool key_readonly(struct cfg_disk *d, char *v, struct err *e)
{
	return on_off("readonly", v, &d->readonly, e);
}

static bool key_discard(struct cfg_disk *d, char *v, struct err *e)
{
	bool on = false;

	if (!on_off("discard", v, &on, e))
		return false;
	d->keep_space = !on;
	return true;
}

static bool key_serial(struct cfg_disk *d, char *v, struct err *e)
{
	d->serial = v;
	for (const char *p = v; *p; p++)
		if (!isprint((unsigned char)*p))
			return USAGE(e, "--disk serial: printable ASCII characters only");
	return strlen(v) <= 20 || USAGE(e, "--disk serial=%s: at most 20 characters", v);
}

static bool key_iops(struct cfg_disk *d, char *v, struct err *e)
{
	return (config_size(v, false, &d->io.iops) && d->io.iops) ||
	       USAGE(e, "--disk iops=%s: write a number of requests a second, for example 500", v);
}

static bool key_bps(struct cfg_disk *d, char *v, struct err *e)
{
	return (config_size(v, false, &d->io.bps) && d->io.bps) ||
	       USAGE(e, "--disk bps=%s: write bytes a second, for example 20M", v);
}

static bool key_error(const char *key, const char *v, bool *report, struct err *e)
{
	static const char *const names[] = { "stop", "report", NULL };
	unsigned n = 0;

	if (!choice(key, v, names, &n, e))
		return false;
	*report = n;
	return true;
}

static bool key_werror(struct cfg_disk *d, char *v, struct err *e)
{
	return key_error("werror", v, &d->io.report_write, e);
}

static bool key_rerror(struct cfg_disk *d, char *v, struct err *e)
{
	return key_error("rerror", v, &d->io.report_read, e);
}

static const struct disk_key {
	const char *name;
	bool (*parse)(struct cfg_disk *d, char *v, struct err *e);
} keys[] = {
	{ "if", key_if }, { "format", key_format }, { "cache", key_cache },
	{ "discard", key_discard }, { "readonly", key_readonly }, { "serial", key_serial },
	{ "iops", key_iops }, { "bps", key_bps }, { "werror", key_werror },
	{ "rerror", key_rerror },
};

static bool disk_key(struct cfg_disk *d, char *field, struct err *e)
{
	char known[160] = "", *v = strchr(field, '=');

	if (!v)
		return USAGE(e,
			     "--disk: '%s' is no KEY=VALUE (a comma in a file name is written ,,)",
			     field);
	*v++ = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(field, keys[i].name))
			return keys[i].parse(d, v, e);
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", keys[i].name);
	}
	return USAGE(e, "--disk: unknown key '%s'; known: %s", field, known);
}

/* Splits @v into @d's fields; d->spec owns the text. */
static bool parse_disk(struct cfg_disk *d, const char *option, const char *v, struct err *e)
{
	char *rest = hv_strdup(v), *field;

	d->spec = rest;
	d->path = next_field(&rest);
	if (!*d->path)
		return USAGE(e, "--%s needs a file name", option);
	while ((field = next_field(&rest)))
		if (!disk_key(d, field, e))
			return false;
	return true;
}

bool config_add_disk(struct config *c, const char *v, bool cdrom, struct err *e)
{
	struct cfg_disk *d = &c->disks[c->ndisks];

	if (c->ndisks == CFG_MAX_DISKS)
		return USAGE(e, "too many disks: at most %d", CFG_MAX_DISKS);
	*d = (struct cfg_disk){ .cdrom = cdrom, .readonly = cdrom };
	c->ndisks++;
	if (!parse_disk(d, cdrom ? "cdrom" : "disk", v, e))
		return false;
	if (cdrom && !d->readonly)
		return USAGE(e, "--cdrom: a CD is read-only; leave readonly=off away");
	if (cdrom && (d->bus == CFG_BUS_VIRTIO || d->bus == CFG_BUS_NVME))
		return USAGE(e, "--cdrom if=virtio, if=nvme: there are no CD drives there; "
			     "use if=ide, if=ahci or if=scsi");
	return true;
}

bool config_add_floppy(struct config *c, const char *v, struct err *e)
{
	struct cfg_disk *d = &c->floppies[c->nfloppies];

	if (c->nfloppies == CFG_MAX_FLOPPIES)
		return USAGE(e, "too many floppy disks: a PC has %d drives", CFG_MAX_FLOPPIES);
	*d = (struct cfg_disk){ 0 };
	c->nfloppies++;
	if (!parse_disk(d, "floppy", v, e))
		return false;
	return (d->bus == CFG_BUS_DEFAULT && !d->serial && !d->cdrom) ||
	       USAGE(e, "--floppy knows no if= and serial=; use readonly=, format=, cache=");
}
