/* SPDX-License-Identifier: MIT */
/*
 * The board's firmware: a ROM that ends at 4 GiB (its last 128 KiB also show
 * at E0000-FFFFF, see i440fx.c) and, for UEFI firmware, the flash chip with
 * its variables right below.
 */
#include "pc_int.h"
#include "pflash.h"
#include "../src/block.h"
#include "../src/vm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FIRMWARE_MAX MiB(8)

bool pc_read_file(const char *path, const char *what, const char *hint, size_t max,
		  uint8_t **data, size_t *len, struct err *e)
{
	FILE *f = fopen(path, "rbe");
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0) {
		err_errno(e, HV_EXIT_IMAGE, errno, "cannot open the %s %s%s", what, path, hint);
		if (f)
			fclose(f);
		return false;
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > max) {
		fclose(f);
		return err_set(e, HV_EXIT_IMAGE, "%s cannot be a %s: a file of up to %zu MiB is"
			       " needed", path, what, max >> 20);
	}
	*len = st.st_size;
	*data = hv_zalloc(*len);
	if (fread(*data, 1, *len, f) != *len) {
		free(*data);
		fclose(f);
		return err_set(e, HV_EXIT_IMAGE, "cannot read the %s %s", what, path);
	}
	fclose(f);
	return true;
}

static bool add_rom(struct pc *pc, struct err *e)
{
	const char *path = pc->cfg->firmware ? pc->cfg->firmware : PC_FIRMWARE;
	struct guest_mem *gm = dev_mem(&pc->dev);
	uint8_t *data;
	size_t len;
	bool ok;

	if (!pc_read_file(path, "firmware", pc->cfg->firmware ? "" :
		       " (from the package seabios; --firmware names another)",
		       FIRMWARE_MAX, &data, &len, e))
		return false;
	if (len % (pc->cfg->nvram ? KiB(4) : KiB(64))) {
		free(data);
		return err_set(e, HV_EXIT_IMAGE, "%s is no PC firmware: its size is not a multiple"
			       " of %u KiB", path, pc->cfg->nvram ? 4 : 64);
	}
	pc->bios = gm_block_new(gm, "bios", len, e);
	ok = pc->bios && gm_block_write(pc->bios, 0, data, len);
	free(data);
	return ok && gm_slot_add(gm, GPA(GiB(4) - len), len, pc->bios, 0, GM_READONLY, e);
}

bool pc_add_firmware(struct pc *pc, struct err *e)
{
	struct block *file = pc->cfg->nvram;
	uint64_t len;
	struct device *d;

	if (!add_rom(pc, e))
		return false;
	if (!file)
		return true;
	len = block_info(file)->size;
	if (!len || len > FIRMWARE_MAX || len % PFLASH_ERASE_BLOCK)
		return err_set(e, HV_EXIT_IMAGE, "%s holds no firmware variables: its size must be"
			       " a multiple of 4 KiB, at most %llu MiB", block_info(file)->path,
			       (unsigned long long)(FIRMWARE_MAX >> 20));
	d = device_create(pc->dev.vm, &pflash_ops, "nvram");
	pflash_wire(d, GPA(GiB(4) - gm_block_size(pc->bios) - len), len, file);
	return device_realize(d, e);
}
