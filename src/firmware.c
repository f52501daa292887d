/* SPDX-License-Identifier: MIT */
/* Choice of firmware and its variable store; see firmware.h. */
#include "firmware.h"
#include "log.h"
#include "savefile.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEMPLATE_MAX MiB(8)

/* ---- The choice ---- */

/* The medium that is tried first and is not blank decides. */
static bool media_want_uefi(const struct config *c, struct block *const *disks)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		bool cd = (c->boot == BOOT_ORDER_CD) ^ (pass == 1);

		for (unsigned i = 0; i < c->ndisks; i++) {
			bool blank;

			if (c->disks[i].cdrom != cd || !disks[i])
				continue;
			if (firmware_media_uefi(disks[i], cd, &blank))
				return true;
			if (!blank)
				return false;
		}
	}
	return false;
}

/* Firmware packages name the pair NAME_CODE... and NAME_VARS...; NULL: no such pair. */
static char *template_of(const char *rom)
{
	const char *slash = strrchr(rom, '/'), *at = strstr(slash ? slash : rom, "_CODE");
	char *t;

	if (!at)
		return NULL;
	t = hv_strdup(rom);
	memcpy(t + (at - rom), "_VARS", 5);
	if (access(t, R_OK) == 0)
		return t;
	free(t);
	return NULL;
}

static char *default_path(const struct config *c)
{
	for (unsigned i = 0; i < c->ndisks; i++) {
		const struct cfg_disk *d = &c->disks[i];
		size_t n = strlen(d->path) + sizeof(FIRMWARE_NVRAM);
		char *p;

		if (d->cdrom || d->readonly)
			continue;
		p = hv_zalloc(n);
		snprintf(p, n, "%s%s", d->path, FIRMWARE_NVRAM);
		return p;
	}
	return NULL;
}

/* ---- The variable store ---- */

static bool read_template(const char *path, uint8_t **data, size_t *len, struct err *e)
{
	FILE *f = fopen(path, "rbe");
	size_t n;

	if (!f)
		return err_errno(e, HV_EXIT_IMAGE, errno, "cannot open %s", path);
	*data = hv_zalloc(TEMPLATE_MAX);
	n = fread(*data, 1, TEMPLATE_MAX, f);
	fclose(f);
	*len = n;
	if (n && n < TEMPLATE_MAX)
		return true;
	free(*data);
	return err_set(e, HV_EXIT_IMAGE, "%s holds no firmware variables", path);
}

/* All of the file or none of it. */
static bool create(const char *path, const uint8_t *data, size_t len, struct err *e)
{
	int error = savefile_write(path, data, len, 0644, false);

	return !error || err_errno(e, HV_EXIT_IMAGE, error, "cannot make %s, where the firmware"
				   " keeps its variables (--nvram names another file)", path);
}

static bool check_size(struct block *b, size_t want, struct err *e)
{
	const struct block_info *info = block_info(b);

	return info->size == want ||
	       err_set(e, HV_EXIT_IMAGE, "%s does not belong to this firmware: %zu bytes of"
		       " variables are needed, it has %llu; remove it or name another with --nvram",
		       info->path, want, (unsigned long long)info->size);
}

static struct block *open_nvram(const struct config *c, const char *path, const char *template,
				struct loop *loop, struct err *e)
{
	bool missing = path && access(path, F_OK) < 0 && errno == ENOENT;
	bool keep = path && !c->discard;
	uint8_t *data = NULL;
	size_t len = 0;
	struct block *b;
	bool ok;

	if (!read_template(template, &data, &len, e))
		return NULL;
	ok = !missing || !keep || create(path, data, len, e);
	free(data);
	if (!ok)
		return NULL;
	b = block_open(missing && !keep ? template : path ? path : template, "raw",
		       keep ? 0 : BLOCK_THROWAWAY, loop, e);
	if (b && !check_size(b, len, e)) {
		block_close(b);
		return NULL;
	}
	return b;
}

static bool open_store(const struct config *c, const char *template, struct loop *loop,
		       struct firmware *out, struct err *e)
{
	char *path = c->nvram ? hv_strdup(c->nvram) : default_path(c);

	out->nvram = open_nvram(c, path, template, loop, e);
	free(path);
	return out->nvram != NULL;
}

bool firmware_open(const struct config *c, struct block *const *disks, struct loop *loop,
		   struct firmware *out, struct err *e)
{
	char *template;
	bool ok;

	memset(out, 0, sizeof(*out));
	if (c->kernel)
		return true;
	if (c->firmware && strcmp(c->firmware, "uefi"))
		out->rom = strcmp(c->firmware, "bios") ? c->firmware : NULL;
	else if (c->firmware || media_want_uefi(c, disks))
		out->rom = FIRMWARE_UEFI;
	if (out->rom && !strcmp(out->rom, FIRMWARE_UEFI) && access(out->rom, R_OK) < 0)
		return err_errno(e, HV_EXIT_IMAGE, errno, "%s needs UEFI firmware, and %s (from the"
				 " package ovmf) cannot be read",
				 c->firmware ? "--firmware uefi" : "the boot disk", out->rom);
	template = out->rom ? template_of(out->rom) : NULL;
	if (!template)
		return !c->nvram || err_set(e, HV_EXIT_USAGE, "--nvram is for UEFI firmware with"
					    " a variable store (--firmware uefi)");
	if (!c->firmware)
		log_info("UEFI firmware, as the boot disk needs it (--firmware bios: not)");
	ok = open_store(c, template, loop, out, e);
	free(template);
	return ok;
}

void firmware_close(struct firmware *f)
{
	if (f->nvram)
		block_close(f->nvram);
	memset(f, 0, sizeof(*f));
}
