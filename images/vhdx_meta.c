/* SPDX-License-Identifier: MIT */
/*
 * VHDX region tables and metadata items: what is where, sizes, the parent.
 * Regions and items that are required and not known are refused.
 */
#include "vhdx_int.h"
#include "utf16.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REGION_LEN 65536u
#define META_LEN 65536u
#define MAX_ITEMS 2047u

const uint8_t vx_guid_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
				  0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vx_guid_meta[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
				   0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };

static int guid_text(const uint8_t *g, char *out, size_t n)
{
	return snprintf(out, n, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", ld_le32(g),
			ld_le16(g + 4), ld_le16(g + 6), g[8], g[9], g[10], g[11], g[12], g[13],
			g[14], g[15]);
}

static bool take_region(struct vhdx *v, const uint8_t *r, uint64_t *bat_len, struct err *e)
{
	uint64_t off = ld_le64(r + 16), len = ld_le32(r + 24);
	char text[40];

	if (off < 1 << 20 || off % (1 << 20) || !range_ok(off, len, v->file_size))
		return vx_bad(v, e, "a region lies outside the file");
	if (!memcmp(r, vx_guid_bat, 16)) {
		v->bat_off = off;
		*bat_len = len;
	} else if (!memcmp(r, vx_guid_meta, 16)) {
		v->meta_off = off;
	} else if (ld_le32(r + 28) & 1) {
		guid_text(r, text, sizeof(text));
		return err_set(e, HV_EXIT_IMAGE, "%s: needs a VHDX region that hvrun does not know "
			       "(%s)", v->b.im->path, text);
	}
	return true;
}

bool vx_read_regions(struct vhdx *v, struct err *e)
{
	static const uint64_t place[] = { VX_REGIONS1, VX_REGIONS2 };
	uint8_t *t = malloc(REGION_LEN);
	uint64_t bat_len = 0;
	uint32_t n = 0;
	bool ok = false;

	for (unsigned i = 0; t && i < 2 && !ok; i++) {
		ok = !vx_pread(v, t, REGION_LEN, place[i]) && !memcmp(t, "regi", 4) &&
			ld_le32(t + 4) == vx_checksum(t, REGION_LEN);
		n = ld_le32(t + 8);
	}
	if (!ok || n > MAX_ITEMS)
		ok = vx_bad(v, e, "no valid region table");
	for (uint32_t i = 0; ok && i < n; i++)
		ok = take_region(v, t + 16 + i * 32, &bat_len, e);
	free(t);
	if (ok && (!v->bat_off || !v->meta_off))
		ok = vx_bad(v, e, "a region is missing");
	v->bat_n = bat_len / 8;
	return ok;
}

/* ---- metadata ------------------------------------------------------------------- */

enum item { IT_PARAMS, IT_SIZE, IT_ID, IT_SECTOR, IT_PHYSICAL, IT_PARENT, IT_COUNT };

static const uint8_t items[IT_COUNT][16] = {
	{ 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44,
	  0xe7, 0x6b },
	{ 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b,
	  0xf4, 0xb8 },
	{ 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00,
	  0xc7, 0x46 },
	{ 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa,
	  0xab, 0x5f },
	{ 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51,
	  0xc5, 0x56 },
	{ 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34,
	  0xab, 0x0c },
};

struct place {
	uint64_t off;
	uint32_t len;
};

static bool find_items(struct vhdx *v, struct place *at, struct err *e)
{
	uint8_t *t = malloc(META_LEN);
	bool ok = t && !vx_pread(v, t, META_LEN, v->meta_off) && !memcmp(t, "metadata", 8);
	uint32_t n = ok ? ld_le16(t + 10) : 0;

	if (!ok || n > MAX_ITEMS)
		ok = vx_bad(v, e, "no valid metadata table");
	for (uint32_t i = 0; ok && i < n; i++) {
		const uint8_t *it = t + 32 + i * 32;
		unsigned k = 0;

		while (k < IT_COUNT && memcmp(items[k], it, 16))
			k++;
		if (k == IT_COUNT && (ld_le32(it + 24) & 4))
			ok = err_set(e, HV_EXIT_IMAGE, "%s: needs a VHDX metadata item that hvrun "
				     "does not know", v->b.im->path);
		if (k == IT_COUNT || !ok)
			continue;
		at[k] = (struct place){ v->meta_off + ld_le32(it + 16), ld_le32(it + 20) };
		if (ld_le32(it + 16) < META_LEN || !range_ok(at[k].off, at[k].len, v->file_size))
			ok = vx_bad(v, e, "a metadata item is in a wrong place");
	}
	free(t);
	return ok;
}

static bool read_item(struct vhdx *v, const struct place *p, void *buf, uint32_t len)
{
	return p->len >= len && !vx_pread(v, buf, len, p->off);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ?
		(c | 32) - 'a' + 10 : -1;
}

/* "{xxxxxxxx-...}" as bytes in the file's order. */
static bool parse_guid(const char *s, uint8_t *g)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	unsigned n = 0;

	for (; *s && n < 32; s++) {
		if (hex(*s) < 0)
			continue;
		if (n % 2)
			g[order[n / 2]] |= (uint8_t)hex(*s);
		else
			g[order[n / 2]] = (uint8_t)(hex(*s) << 4);
		n++;
	}
	return n == 32;
}

static bool read_locator(struct vhdx *v, const struct place *p, struct err *e)
{
	uint32_t len = MIN(p->len, 65536u), n;
	uint8_t *t = calloc(1, len + 20);
	bool linked = false;

	if (!t || p->len < 20 || vx_pread(v, t, len, p->off)) {
		free(t);
		return vx_bad(v, e, "it does not say what its parent is");
	}
	n = ld_le16(t + 18);
	for (uint32_t i = 0; i < n && 20 + (i + 1) * 12 <= len; i++) {
		const uint8_t *k = t + 20 + i * 12;
		uint32_t ko = ld_le32(k), vo = ld_le32(k + 4), kl = ld_le16(k + 8),
			 vl = ld_le16(k + 10);
		char key[64], val[1024];

		if (!range_ok(ko, kl, len) || !range_ok(vo, vl, len) ||
		    !utf16_to_path(t + ko, kl, false, key, sizeof(key)) ||
		    !utf16_to_path(t + vo, vl, false, val, sizeof(val)))
			continue;
		if (!strcmp(key, "relative_path"))
			snprintf(v->parent, sizeof(v->parent), "%s", val);
		if (!strcmp(key, "parent_linkage"))
			linked = parse_guid(val, v->linkage);
	}
	free(t);
	return (linked && v->parent[0]) || vx_bad(v, e, "it does not say what its parent is");
}

bool vx_read_metadata(struct vhdx *v, struct err *e)
{
	struct place at[IT_COUNT] = { { 0, 0 } };
	uint8_t params[8], size[8], sector[4];
	uint64_t blocks, entries;
	uint32_t block;

	if (!find_items(v, at, e))
		return false;
	if (!read_item(v, &at[IT_PARAMS], params, 8) || !read_item(v, &at[IT_SIZE], size, 8) ||
	    !read_item(v, &at[IT_SECTOR], sector, 4))
		return vx_bad(v, e, "a metadata item is missing");
	v->size_at = at[IT_SIZE].off;
	read_item(v, &at[IT_ID], v->disk_id, 16);
	block = ld_le32(params);
	v->has_parent = ld_le32(params + 4) & 2;
	v->sector = ld_le32(sector);
	v->b.size = v->b.im->size = ld_le64(size) & ~511ull;
	if (!is_pow2(block) || block < 1 << 20 || block > 256 << 20 ||
	    (v->sector != 512 && v->sector != 4096))
		return vx_bad(v, e, "the block or sector size is impossible");
	if (!v->b.size || v->b.size > IMAGE_MAX_SIZE)
		return vx_bad(v, e, "the disk's size is impossible");
	v->b.bits = (unsigned)__builtin_ctz(block);
	v->ratio = (uint32_t)((uint64_t)v->sector * (1 << 23) / block);
	blocks = (v->b.size + block - 1) / block;
	entries = v->has_parent ? (blocks + v->ratio - 1) / v->ratio * (v->ratio + 1) :
		blocks + (blocks - 1) / v->ratio;
	if (entries > v->bat_n)
		return vx_bad(v, e, "the block table is too short for the disk");
	return !v->has_parent || read_locator(v, &at[IT_PARENT], e);
}
