/* SPDX-License-Identifier: MIT */
/*
 * Guessing the system on a medium; see guess.h.  ISO 9660 (ECMA-119) 8.4:
 * volume identifier; partition tables as in UEFI 2.10 chapter 5; magic
 * numbers of the usual file systems.
 */
#include "guess.h"
#include "image.h"
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define ISO_PVD 0x8000u		/* primary volume descriptor */
#define PARTITIONS 8u

struct likes {
	const char *volume;	/* the volume's name begins with this */
	const char *os;
	unsigned mib, cpus, gib;
};

static const struct likes systems[] = {
	{ "Debian", "Debian", 2048, 2, 32 },
	{ "Ubuntu", "Ubuntu", 4096, 2, 32 },
	{ "Kubuntu", "Ubuntu", 4096, 2, 32 },
	{ "Linux Mint", "Linux Mint", 4096, 2, 32 },
	{ "Fedora", "Fedora", 4096, 2, 32 },
	{ "openSUSE", "openSUSE", 4096, 2, 40 },
	{ "ARCH_", "Arch Linux", 2048, 2, 32 },
	{ "CentOS", "CentOS", 4096, 2, 32 },
	{ "RHEL", "RHEL", 4096, 2, 32 },
	{ "Rocky", "Rocky Linux", 4096, 2, 32 },
	{ "AlmaLinux", "AlmaLinux", 4096, 2, 32 },
	{ "nixos", "NixOS", 4096, 2, 40 },
	{ "Kali", "Kali", 4096, 2, 40 },
	{ "alpine", "Alpine Linux", 512, 1, 8 },
	{ "FreeBSD", "FreeBSD", 2048, 2, 32 },
	{ "OpenBSD", "OpenBSD", 1024, 1, 20 },
	{ "NetBSD", "NetBSD", 1024, 1, 20 },
	{ "haiku", "Haiku", 1024, 2, 16 },
	{ "FD1", "FreeDOS", 64, 1, 2 },
	{ "FREEDOS", "FreeDOS", 64, 1, 2 },
	{ "CCCOMA", "Windows", 4096, 2, 64 },	/* Microsoft's retail media */
	{ "CPBA", "Windows", 4096, 2, 64 },
	{ "SSS_X", "Windows", 4096, 2, 64 },
	{ "ESD-ISO", "Windows", 4096, 2, 64 },
	{ "GRMC", "Windows", 2048, 1, 40 },
}, linux_disk = { NULL, "Linux", 2048, 2, 32 }, windows_disk = { NULL, "Windows", 4096, 2, 64 },
   dos_disk = { NULL, "DOS", 64, 1, 2 }, unknown = { NULL, "", 1024, 1, 32 };

static void take(struct guess *g, const struct likes *l)
{
	uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
	uint64_t half = pages * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	g->os = l->os;
	g->memory = MIN(MiB(l->mib), MAX(half & ~(MiB(64) - 1), MiB(64)));
	g->cpus = MIN(l->cpus, (unsigned)MAX(cpus, 1));
	g->disk = GiB(l->gib);
}

void guess_default(struct guess *g)
{
	*g = (struct guess){ .kind = BOOT_UNKNOWN };
	take(g, &unknown);
}

/* ---- CD --------------------------------------------------------------------- */

static void read_volume(const char *path, char *out, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint8_t d[2048];
	size_t n = 0;

	*out = 0;
	if (fd < 0)
		return;
	if (pread(fd, d, sizeof(d), ISO_PVD) == (ssize_t)sizeof(d) && !memcmp(d + 1, "CD001", 5))
		for (; n < 32 && n + 1 < len && d[40 + n] >= ' ' && d[40 + n] < 0x7f; n++)
			out[n] = (char)d[40 + n];
	while (n && out[n - 1] == ' ')
		n--;
	out[n] = 0;
	close(fd);
}

static void guess_cd(const char *path, struct guess *g)
{
	read_volume(path, g->title, sizeof(g->title));
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
		if (!strncasecmp(g->title, systems[i].volume, strlen(systems[i].volume))) {
			take(g, &systems[i]);
			return;
		}
}

/* ---- disk ------------------------------------------------------------------- */

static bool has(struct image *im, uint64_t at, const void *magic, size_t n)
{
	uint8_t buf[16];

	return range_ok(at, n, im->size) && image_read(im, at, buf, n) == 0 &&
	       !memcmp(buf, magic, n);
}

/* A file system at byte @at. */
static const struct likes *look(struct image *im, uint64_t at)
{
	if (has(im, at + 0x438, "\x53\xef", 2) || has(im, at, "XFSB", 4) ||
	    has(im, at + 0x10040, "_BHRfS_M", 8) || has(im, at + 0x218, "LVM2 001", 8))
		return &linux_disk;
	if (has(im, at + 3, "NTFS    ", 8))
		return &windows_disk;
	return has(im, at + 0x36, "FAT1", 4) ? &dos_disk : NULL;
}

static uint64_t mbr_start(const uint8_t *sector, unsigned i)
{
	return (uint64_t)ld_le32(sector + 446 + 16 * i + 8) * 512;
}

static uint64_t gpt_start(struct image *im, unsigned i)
{
	uint8_t e[48];

	if (image_read(im, 1024 + 128ull * i, e, sizeof(e)) || !ld_le64(e))
		return 0;
	return ld_le64(e + 32) < im->size / 512 ? ld_le64(e + 32) * 512 : 0;
}

static void guess_disk(const char *path, struct guess *g)
{
	struct image *im = image_open(path, NULL, BLOCK_RDONLY, NULL);
	const struct likes *l = NULL, *best = NULL;
	uint8_t mbr[512] = { 0 };
	bool gpt;

	if (!im)
		return;
	gpt = has(im, 512, "EFI PART", 8);
	if (image_read(im, 0, mbr, sizeof(mbr)))
		memset(mbr, 0, sizeof(mbr));
	best = look(im, 0);
	for (unsigned i = 0; i < (gpt ? PARTITIONS : 4u) && best != &linux_disk; i++) {
		uint64_t at = gpt ? gpt_start(im, i) : mbr_start(mbr, i);

		l = at && at < im->size ? look(im, at) : NULL;
		if (l && (!best || l != &dos_disk))
			best = l;
	}
	image_close(im);
	if (best)
		take(g, best);
}

bool guess_medium(const char *path, struct guess *g, struct err *e)
{
	guess_default(g);
	if (!boot_sniff(path, &g->kind, e))
		return false;
	if (block_is_recorded(path))
		g->kind = BOOT_DISK;
	if (g->kind == BOOT_ISO)
		guess_cd(path, g);
	else if (!boot_is_kernel(g->kind))
		guess_disk(path, g);
	if (!*g->title)
		snprintf(g->title, sizeof(g->title), "%s", g->os);
	return true;
}
