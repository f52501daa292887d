/* SPDX-License-Identifier: MIT */
/*
 * Floppy drives and the disks in them: which of them answers, what is readable
 * under its heads, where these are, what fits in; fdc.c is their controller.
 *
 * Left out: rotation (READ ID excepted) and the time that steps take.
 */
#include "fdc_int.h"
#include "../src/media.h"

/* ---- The drive that is selected ---- */

struct fdc_drive *fdc_selected(struct fdc *s)
{
	unsigned n = s->dor & 3;

	if (n >= FDC_DRIVES || !s->drive[n].present || !(s->dor & 0x10u << n))
		return NULL;
	return &s->drive[n];
}

const struct fdc_format *fdc_readable(struct fdc *s, bool mfm, unsigned head)
{
	struct fdc_drive *dr = fdc_selected(s);
	const struct fdc_format *f = dr ? dr->fmt : NULL;

	if (!f || !mfm || f->rate != s->rate || head >= f->heads || dr->pos >= f->cyls)
		return NULL;
	return f;
}

/* Step pulses: the heads stop at either end; the first one resets the change line. */
void fdc_step_to(struct fdc *s, struct fdc_drive *dr, unsigned unit, int cyl)
{
	int pos = dr->pos + cyl - s->pcn[unit & 3];

	if (cyl != s->pcn[unit & 3] && dr->fmt)
		dr->changed = false;
	dr->pos = (uint8_t)(pos < 0 ? 0 : MIN(pos, FDC_MAX_CYL));
}

/* ---- Disks ---- */

static const struct fdc_format formats[] = {
	{ 5760, 80, 2, 36, 3, 5 }, { 2880, 80, 2, 18, 0, 4 }, { 3360, 80, 2, 21, 0, 4 },
	{ 3444, 82, 2, 21, 0, 4 }, { 2400, 80, 2, 15, 0, 2 }, { 1440, 80, 2, 9, 2, 3 },
	{ 720, 40, 2, 9, 2, 1 }, { 640, 40, 2, 8, 2, 1 }, { 360, 40, 1, 9, 2, 1 },
	{ 320, 40, 1, 8, 2, 1 },
};

/* The end of a 1.44 or 2.88 MB image may be missing: as boot floppies are handed out. */
static const struct fdc_format *format_of(struct block *b, struct err *e)
{
	uint64_t size = block_info(b)->size;

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (size == (uint64_t)formats[i].sectors * FDC_SECTOR)
			return &formats[i];
	for (unsigned i = 2; i-- > 0;)		/* 1.44 MB, 2.88 MB */
		if (size && size < (uint64_t)formats[i].sectors * FDC_SECTOR)
			return &formats[i];
	err_set(e, HV_EXIT_IMAGE, "%s has %llu bytes, too much for a floppy disk (at most 2949120)",
		block_info(b)->path, (unsigned long long)size);
	return NULL;
}

/* Which disks go into which drive: the same size, up to its density. */
static bool fits(uint8_t drive, uint8_t disk)
{
	static const uint8_t takes[6] = { 0, 1 << 1, 1 << 2, 1 << 3, 1 << 3 | 1 << 4,
					  1 << 3 | 1 << 4 | 1 << 5 };

	return drive < ARRAY_SIZE(takes) && takes[drive] >> disk & 1;
}

static void put_disk(struct fdc_drive *dr, struct block *b, const struct fdc_format *f,
		     bool readonly)
{
	dr->block = b;
	dr->fmt = f;
	dr->readonly = b && (readonly || block_info(b)->readonly);
}

bool fdc_set_drive(struct device *d, unsigned unit, struct block *block, bool readonly,
		   struct err *e)
{
	struct fdc_drive *dr = &to_fdc(d)->drive[unit];
	const struct fdc_format *f = NULL;

	HV_BUG_ON(unit >= FDC_DRIVES || dr->present);
	if (block && !(f = format_of(block, e)))
		return false;
	dr->present = true;
	dr->cmos = f ? f->cmos : 4;
	put_disk(dr, block, f, readonly);
	return true;
}

static bool medium_fits(struct device *d, unsigned unit, struct block *block, struct err *e)
{
	const struct fdc_format *f = format_of(block, e);

	return f && (fits(to_fdc(d)->drive[unit].cmos, f->cmos) ||
		     err_set(e, HV_EXIT_IMAGE, "%s does not fit into this floppy drive",
			     block_info(block)->path));
}

bool fdc_set_medium(struct device *d, unsigned unit, struct block *block, bool readonly,
		    struct err *e)
{
	struct fdc *s = to_fdc(d);
	const struct fdc_format *f = NULL;

	HV_BUG_ON(unit >= FDC_DRIVES || !s->drive[unit].present);
	if (block && !medium_fits(d, unit, block, e))
		return false;
	if (block)
		f = format_of(block, e);
	fdc_data_drain(s);
	put_disk(&s->drive[unit], block, f, readonly);
	s->drive[unit].changed = true;
	return true;
}

static void medium_set(struct device *d, unsigned unit, struct block *block)
{
	struct err e = { 0 };

	HV_BUG_ON(!fdc_set_medium(d, unit, block, false, &e));
}

/* No lock, no tray: whoever pulls the disk out has it. */
static struct media_tray medium_tray(struct device *d, unsigned unit, bool wish)
{
	return (struct media_tray){ false, false };
}

const struct media_ops fdc_media = { .set = medium_set, .tray = medium_tray, .fits = medium_fits };

uint8_t fdc_cmos_types(struct device *d)
{
	const struct fdc *s = to_fdc(d);

	return (uint8_t)(s->drive[0].cmos << 4 | s->drive[1].cmos);
}
