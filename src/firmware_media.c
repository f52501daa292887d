/* SPDX-License-Identifier: MIT */
/*
 * What firmware a disk or CD was made for: MBR and GPT (UEFI 2.10 chapter 5),
 * El Torito ("El Torito" Bootable CD-ROM Format Specification 1.0 chapter 2,
 * platform EFh from UEFI 2.10 section 13.3.2.1).
 *
 * Everything read is hostile; what does not parse says nothing.
 */
#include "firmware.h"
#include <stdlib.h>

#define CD_SECTOR 2048u
#define GPT_MAX_ENTRIES 128u
#define PLATFORM_EFI 0xef


static void read_done(struct block_req *r, int error)
{
	*(int *)r->opaque = error;
}

static bool read_at(struct block *b, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	int error = 0;
	struct block_req r = { .op = BLOCK_READ, .off = off, .len = len, .iov = &iov, .niov = 1,
			       .done = read_done, .opaque = &error };

	if (!range_ok(off, len, block_info(b)->size))
		return false;
	block_submit(b, &r);
	block_drain(b);
	return !error;
}

/* ---- Disks ---- */

struct disk_found {
	bool esp, bios;
};

/* Type GUIDs as they lie on disk. */
static const uint8_t guid_esp[16] = { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
				      0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b };
static const uint8_t guid_bios_boot[16] = { 0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e,
					    0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49 };
#define GPT_ATTR_LEGACY_BOOT 4u

static void scan_gpt(struct block *b, struct disk_found *f)
{
	uint8_t head[512], ents[GPT_MAX_ENTRIES * 128];
	uint32_t n;

	if (!read_at(b, 512, head, sizeof(head)) || memcmp(head, "EFI PART", 8) ||
	    ld_le32(head + 84) != 128)
		return;
	n = MIN(ld_le32(head + 80), GPT_MAX_ENTRIES);
	if (ld_le64(head + 72) > UINT64_MAX / 512 ||
	    !read_at(b, ld_le64(head + 72) * 512, ents, ((size_t)n * 128 + 511) & ~511ull))
		return;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *p = ents + i * 128;

		f->esp |= !memcmp(p, guid_esp, 16);
		f->bios |= !memcmp(p, guid_bios_boot, 16) || p[48] & GPT_ATTR_LEGACY_BOOT;
	}
}

static bool any(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return true;
	return false;
}

/*
 * Boot code in the MBR alone means little: partitioning tools write some into
 * every protective MBR.  With a GPT it counts when a partition for it exists.
 */
static bool disk_uefi(struct block *b, bool *blank)
{
	struct disk_found f = { 0 };
	bool code, gpt = false;
	uint8_t mbr[512];

	if (!read_at(b, 0, mbr, sizeof(mbr)))
		return false;
	*blank = !any(mbr, sizeof(mbr));
	if (mbr[510] != 0x55 || mbr[511] != 0xaa)
		return false;
	code = any(mbr, 440);
	for (unsigned i = 0; i < 4; i++) {
		uint8_t type = mbr[446 + 16 * i + 4];

		gpt |= type == 0xee;
		f.esp |= type == 0xef;
	}
	f.bios = !gpt && code;
	if (gpt)
		scan_gpt(b, &f);
	if (gpt && !code)
		f.bios = false;
	return f.esp && !f.bios;
}

/* ---- CDs ---- */

static bool cd_uefi(struct block *b, bool *blank)
{
	uint8_t vd[CD_SECTOR], cat[CD_SECTOR], platform;
	bool efi = false, other = false;

	*blank = true;
	if (!read_at(b, 17 * CD_SECTOR, vd, sizeof(vd)) || vd[0] != 0 ||
	    memcmp(vd + 1, "CD001", 5) || memcmp(vd + 7, "EL TORITO SPECIFICATION", 23) ||
	    !read_at(b, (uint64_t)ld_le32(vd + 0x47) * CD_SECTOR, cat, sizeof(cat)) ||
	    cat[0] != 1)
		return false;
	platform = cat[1];
	for (unsigned i = 1; i < CD_SECTOR / 32; i++) {
		const uint8_t *p = cat + 32 * i;

		if (p[0] == 0x90 || p[0] == 0x91) {
			platform = p[1];
		} else if (p[0] == 0x88) {
			efi |= platform == PLATFORM_EFI;
			other |= platform != PLATFORM_EFI;
		}
	}
	*blank = !efi && !other;
	return efi && !other;
}

bool firmware_media_uefi(struct block *b, bool cdrom, bool *blank)
{
	*blank = false;
	return cdrom ? cd_uefi(b, blank) : disk_uefi(b, blank);
}
