/* SPDX-License-Identifier: MIT */
/*
 * SMBIOS tables (DMTF DSP0134 3.0): types 0, 1, 3, 4, 16, 17, 19, 32 and 127.
 *
 * There are both entry points: the 32-bit one says 3.0 as well and is what
 * firmware is given (old systems know no other, UEFI makes the second itself),
 * direct boot shows the two of them.
 *
 * Each structure is a formatted area and its strings; the writer numbers the
 * strings as they are added.
 */
#include "smbios.h"
#include <stdio.h>
#include <stdlib.h>

#define MAX_STRINGS 8
#define MAX_FORMATTED 64
#define DIMM_MAX GiB(16)
#define MAX_DIMMS 64

struct item {
	uint8_t f[MAX_FORMATTED];
	unsigned len;
	const char *str[MAX_STRINGS];
	unsigned nstr;
};

struct writer {
	struct smbios *out;
	size_t cap;
	unsigned count, largest;
};

static void put(struct writer *w, const void *p, size_t n)
{
	if (w->out->len + n > w->cap) {
		size_t cap = (w->out->len + n) * 2;
		uint8_t *bigger = hv_zalloc(cap);

		if (w->out->len)
			memcpy(bigger, w->out->tables, w->out->len);
		free(w->out->tables);
		w->out->tables = bigger;
		w->cap = cap;
	}
	memcpy(w->out->tables + w->out->len, p, n);
	w->out->len += n;
}

static void begin(struct item *it, uint8_t type, uint8_t len, uint16_t handle)
{
	HV_BUG_ON(len > MAX_FORMATTED);
	memset(it, 0, sizeof(*it));
	it->f[0] = type;
	it->f[1] = it->len = len;
	st_le16(it->f + 2, handle);
}

static void str(struct item *it, unsigned off, const char *s)
{
	HV_BUG_ON(it->nstr == MAX_STRINGS || off >= it->len);
	it->str[it->nstr++] = s;
	it->f[off] = it->nstr;
}

/* 6.1.3: the string set ends with an empty string, two zeros if there is none. */
static void end(struct writer *w, const struct item *it)
{
	size_t start = w->out->len;

	put(w, it->f, it->len);
	for (unsigned i = 0; i < it->nstr; i++)
		put(w, it->str[i], strlen(it->str[i]) + 1);
	put(w, "\0", it->nstr ? 1 : 2);
	w->count++;
	w->largest = MAX(w->largest, w->out->len - start);
}

/* 7.1: BIOS information */
static void type0(struct writer *w)
{
	struct item it;

	begin(&it, 0, 24, 0x0000);
	str(&it, 4, "hvrun");
	str(&it, 5, "1.0");
	st_le16(it.f + 6, 0xe800);
	str(&it, 8, "01/01/2026");
	st_le64(it.f + 10, 0x08);	/* characteristics not supported */
	it.f[19] = 0x14;		/* virtual machine, targeted content distribution */
	it.f[20] = 1;
	it.f[22] = it.f[23] = 0xff;
	end(w, &it);
}

/* 7.2: system; the UUID stays all-zero, "not present" */
static void type1(struct writer *w, const struct smbios_config *cfg)
{
	struct item it;

	begin(&it, 1, 27, 0x0100);
	str(&it, 4, "hvrun");
	str(&it, 5, "Standard PC (i440FX + PIIX)");
	str(&it, 6, "1.0");
	if (cfg->name && *cfg->name)
		str(&it, 7, cfg->name);
	it.f[24] = 6;			/* woken by power switch */
	end(w, &it);
}

/* 7.4: enclosure */
static void type3(struct writer *w)
{
	struct item it;

	begin(&it, 3, 22, 0x0300);
	str(&it, 4, "hvrun");
	it.f[5] = 1;			/* other */
	it.f[9] = it.f[10] = it.f[11] = 3;	/* safe */
	it.f[12] = 2;			/* security: unknown */
	end(w, &it);
}

/* 7.5: one socket a processor */
static void type4(struct writer *w, unsigned i)
{
	struct item it;
	char sock[16];

	snprintf(sock, sizeof(sock), "CPU %u", i);
	begin(&it, 4, 48, 0x0400 + i);
	str(&it, 4, sock);
	it.f[5] = 3;			/* central processor */
	it.f[6] = 1;			/* family: other */
	str(&it, 7, "hvrun");
	st_le16(it.f + 20, 2000);
	st_le16(it.f + 22, 2000);
	it.f[24] = 0x41;		/* populated, enabled */
	it.f[25] = 1;
	st_le16(it.f + 26, 0xffff);
	st_le16(it.f + 28, 0xffff);
	st_le16(it.f + 30, 0xffff);
	it.f[35] = it.f[36] = it.f[37] = 1;
	st_le16(it.f + 38, 4);		/* 64-bit capable */
	st_le16(it.f + 40, 1);
	st_le16(it.f + 42, 1);
	st_le16(it.f + 44, 1);
	st_le16(it.f + 46, 1);
	end(w, &it);
}

/* 7.17: memory array */
static void type16(struct writer *w, uint64_t ram, unsigned dimms)
{
	struct item it;

	begin(&it, 16, 23, 0x1000);
	it.f[4] = 1;
	it.f[5] = 3;			/* system memory */
	it.f[6] = 6;			/* multi-bit ECC */
	st_le32(it.f + 7, 0x80000000u);	/* see extended capacity */
	st_le16(it.f + 11, 0xfffe);
	st_le16(it.f + 13, dimms);
	st_le64(it.f + 15, ram);
	end(w, &it);
}

/* 7.18: memory device */
static void type17(struct writer *w, unsigned i, uint64_t size)
{
	struct item it;
	char loc[16];

	snprintf(loc, sizeof(loc), "DIMM %u", i);
	begin(&it, 17, 40, 0x1100 + i);
	st_le16(it.f + 4, 0x1000);
	st_le16(it.f + 6, 0xfffe);
	st_le16(it.f + 8, 0xffff);
	st_le16(it.f + 10, 0xffff);
	st_le16(it.f + 12, MIN(size >> 20, 0x7fff));
	if (size >> 20 >= 0x7fff)
		st_le32(it.f + 28, size >> 20);
	it.f[14] = 9;			/* DIMM */
	str(&it, 16, loc);
	it.f[18] = 7;			/* RAM */
	st_le16(it.f + 19, 2);
	str(&it, 23, "hvrun");
	end(w, &it);
}

/* 7.20: where the array shows in the address space */
static void type19(struct writer *w, unsigned i, uint64_t at, uint64_t len)
{
	struct item it;

	begin(&it, 19, 31, 0x1300 + i);
	st_le32(it.f + 4, UINT32_MAX);
	st_le32(it.f + 8, UINT32_MAX);
	st_le16(it.f + 12, 0x1000);
	it.f[14] = 1;
	st_le64(it.f + 15, at);
	st_le64(it.f + 23, at + len - 1);
	end(w, &it);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

/* 5.2.1 */
static void anchor(struct writer *w)
{
	uint8_t *a = w->out->anchor;

	memcpy(a, "_SM_", 4);
	a[5] = SMBIOS_ANCHOR_LEN;
	a[6] = 3;
	st_le16(a + 8, w->largest);
	memcpy(a + 16, "_DMI_", 5);
	st_le16(a + 22, w->out->len);
	st_le16(a + 28, w->count);
	a[30] = 0x30;
	smbios_relocate(w->out, 0);
}

/* 5.2.2 */
static void relocate64(struct smbios *s, uint64_t tables_at)
{
	uint8_t *a = s->anchor64;

	memset(a, 0, SMBIOS_ANCHOR64_LEN);
	memcpy(a, "_SM3_", 5);
	a[6] = SMBIOS_ANCHOR64_LEN;
	a[7] = 3;
	a[10] = 1;
	st_le32(a + 12, s->len);
	st_le64(a + 16, tables_at);
	a[5] = -sum(a, SMBIOS_ANCHOR64_LEN);
}

void smbios_relocate(struct smbios *s, uint32_t tables_at)
{
	relocate64(s, tables_at);
	st_le32(s->anchor + 24, tables_at);
	s->anchor[21] = 0;
	s->anchor[21] = -sum(s->anchor + 16, 15);
	s->anchor[4] = 0;
	s->anchor[4] = -sum(s->anchor, SMBIOS_ANCHOR_LEN);
}

void smbios_build(const struct smbios_config *cfg, struct smbios *out)
{
	struct writer w = { .out = out };
	uint64_t dimm = MAX(DIMM_MAX, (cfg->ram + MAX_DIMMS - 1) / MAX_DIMMS);
	unsigned dimms = (cfg->ram + dimm - 1) / dimm;
	struct item it;

	memset(out, 0, sizeof(*out));
	type0(&w);
	type1(&w, cfg);
	type3(&w);
	for (unsigned i = 0; i < cfg->ncpus; i++)
		type4(&w, i);
	type16(&w, cfg->ram, dimms);
	for (unsigned i = 0; i < dimms; i++)
		type17(&w, i, MIN(dimm, cfg->ram - i * dimm));
	type19(&w, 0, 0, cfg->ram_below_4g);
	if (cfg->ram > cfg->ram_below_4g)
		type19(&w, 1, GiB(4), cfg->ram - cfg->ram_below_4g);
	begin(&it, 32, 11, 0x2000);	/* 7.33: boot status: no errors */
	end(&w, &it);
	begin(&it, 127, 4, 0x7f00);
	end(&w, &it);
	anchor(&w);
}

void smbios_free(struct smbios *s)
{
	free(s->tables);
	memset(s, 0, sizeof(*s));
}
