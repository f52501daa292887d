/* SPDX-License-Identifier: MIT */
/* New VHDX images: 1 MiB each for headers, log and metadata, then table and blocks. */
#include "vhdx_int.h"
#include "utf16.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MEG (1u << 20)
#define LOG_AT (1ull * MEG)
#define META_AT (2ull * MEG)
#define TABLE_AT (3ull * MEG)
#define ITEMS_AT 65536u

const struct image_opt_help vhdx_options[] = {
	{ "subformat", "dynamic|fixed", "grow on demand, or all at once; dynamic" },
	{ "block_size", "1M..256M", "unit of allocation, 2M (32M above 4 TiB)" },
	{ NULL, NULL, NULL },
};

struct plan {
	uint64_t size, block, ratio, blocks, entries, table_len;
	bool fixed;
	const struct vhdx *parent;
	const char *parent_name;
};

static void put_item(uint8_t *meta, unsigned i, const uint8_t *guid, uint32_t off, uint32_t len,
		     uint32_t flags)
{
	uint8_t *e = meta + 32 + i * 32;

	memcpy(e, guid, 16);
	st_le32(e + 16, off);
	st_le32(e + 20, len);
	st_le32(e + 24, flags);
	st_le16(meta + 10, (uint16_t)(i + 1));
}

static size_t put_text(uint8_t *at, const char *text)
{
	size_t i = 0;

	for (; text[i]; i++)
		st_le16(at + 2 * i, (uint8_t)text[i]);
	return 2 * i;
}

/* One key and its value behind the entries; *end moves. */
static void put_pair(uint8_t *loc, unsigned i, const char *key, const uint8_t *val, size_t len,
		     uint32_t *end)
{
	uint8_t *e = loc + 20 + i * 12;
	uint32_t key_len = (uint32_t)put_text(loc + *end, key);

	st_le32(e, *end);
	st_le16(e + 8, (uint16_t)key_len);
	*end += key_len;
	st_le32(e + 4, *end);
	st_le16(e + 10, (uint16_t)len);
	memcpy(loc + *end, val, len);
	*end += (uint32_t)len;
}

/* Length of the locator in @loc (8 KiB); 0: the name is too long. */
static uint32_t build_locator(const struct plan *p, uint8_t *loc)
{
	static const uint8_t type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
					  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };
	const uint8_t *g = p->parent->hdr + HD_DATA_GUID;
	uint8_t val[4096];
	uint32_t end = 20 + 2 * 12;
	char text[48];
	size_t n;

	memcpy(loc, type, 16);
	st_le16(loc + 18, 2);
	snprintf(text, sizeof(text), "{%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
		 ld_le32(g), ld_le16(g + 4), ld_le16(g + 6), g[8], g[9], g[10], g[11], g[12], g[13],
		 g[14], g[15]);
	n = put_text(val, text);
	put_pair(loc, 0, "parent_linkage", val, n, &end);
	n = path_to_utf16(p->parent_name, false, val, sizeof(val));
	put_pair(loc, 1, "relative_path", val, n, &end);
	return n ? end : 0;
}

static const uint8_t id_params[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6,
				       0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const uint8_t id_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11,
				     0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
static const uint8_t id_disk[16] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef,
				     0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
static const uint8_t id_sector[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47,
				       0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
static const uint8_t id_phys[16] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9,
				     0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };
static const uint8_t id_parent[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7,
				       0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };

/* Table and items, in one buffer of MEG bytes. */
static bool build_metadata(const struct plan *p, uint8_t *m)
{
	uint8_t *it = m + ITEMS_AT;
	uint32_t len;

	memcpy(m, "metadata", 8);
	st_le32(it, (uint32_t)p->block);
	st_le32(it + 4, (p->fixed ? 1 : 0) | (p->parent ? 2 : 0));
	st_le64(it + 8, p->size);
	vx_new_guid(it + 16);
	st_le32(it + 32, 512);
	st_le32(it + 36, 4096);
	put_item(m, 0, id_params, ITEMS_AT, 8, 4);
	put_item(m, 1, id_size, ITEMS_AT + 8, 8, 6);
	put_item(m, 2, id_disk, ITEMS_AT + 16, 16, 6);
	put_item(m, 3, id_sector, ITEMS_AT + 32, 4, 6);
	put_item(m, 4, id_phys, ITEMS_AT + 36, 4, 6);
	if (!p->parent)
		return true;
	len = build_locator(p, it + 64);
	put_item(m, 5, id_parent, ITEMS_AT + 64, len, 4);
	return len != 0;
}

static void build_regions(const struct plan *p, uint8_t *r)
{
	memcpy(r, "regi", 4);
	st_le32(r + 8, 2);
	memcpy(r + 16, vx_guid_bat, 16);
	st_le64(r + 32, TABLE_AT);
	st_le32(r + 40, (uint32_t)p->table_len);
	st_le32(r + 44, 1);
	memcpy(r + 48, vx_guid_meta, 16);
	st_le64(r + 64, META_AT);
	st_le32(r + 72, MEG);
	st_le32(r + 76, 1);
	st_le32(r + 4, vx_checksum(r, 65536));
}

/* The first megabyte: signature, two headers, two region tables. */
static void build_front(const struct plan *p, uint8_t *m)
{
	memcpy(m, "vhdxfile", 8);
	put_text(m + 8, "hvrun");
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *h = m + (i ? VX_HEADER2 : VX_HEADER1);

		memcpy(h, "head", 4);
		st_le64(h + HD_SEQ, i + 1);
		vx_new_guid(h + HD_FILE_GUID);
		vx_new_guid(h + HD_DATA_GUID);
		st_le16(h + HD_VERSION, 1);
		st_le32(h + HD_LOG_LEN, MEG);
		st_le64(h + HD_LOG_OFF, LOG_AT);
		st_le32(h + 4, vx_checksum(h, VX_PAGE));
	}
	build_regions(p, m + VX_REGIONS1);
	memcpy(m + VX_REGIONS2, m + VX_REGIONS1, 65536);
}

static int write_fixed_table(const struct plan *p, struct hostfile *f)
{
	uint8_t *t = calloc(1, p->table_len);
	uint64_t at = TABLE_AT + p->table_len;
	int err;

	if (!t)
		return ENOMEM;
	for (uint64_t b = 0; b < p->blocks; b++, at += p->block)
		st_le64(t + (b + b / p->ratio) * 8, at | VX_PRESENT);
	err = hf_truncate(f, at);
	if (!err)
		err = hf_pwrite(f, t, p->table_len, TABLE_AT);
	free(t);
	return err;
}

static bool write_all(const struct image_create *c, const struct plan *p, struct hostfile *f,
		      struct err *e)
{
	uint8_t *m = calloc(1, MEG);
	bool named = true;
	int err = m ? hf_truncate(f, TABLE_AT + p->table_len) : ENOMEM;

	if (!err) {
		build_front(p, m);
		err = hf_pwrite(f, m, MEG, 0);
		memset(m, 0, MEG);
		named = build_metadata(p, m);
	}
	if (!err)
		err = hf_pwrite(f, m, MEG, META_AT);
	if (!err && p->fixed)
		err = write_fixed_table(p, f);
	free(m);
	if (!named)
		return err_set(e, HV_EXIT_USAGE, "%s: the parent's name is too long", c->path);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
}

static bool read_plan(const struct image_create *c, struct plan *p, struct err *e)
{
	const char *sub = image_opt(c, "subformat");

	*p = (struct plan){ .size = c->size, .block = c->size > 4ull << 40 ? 32 * MEG : 2 * MEG };
	p->fixed = sub && !strcmp(sub, "fixed");
	if (sub && !p->fixed && strcmp(sub, "dynamic"))
		return err_set(e, HV_EXIT_USAGE, "subformat=%.32s: use dynamic or fixed", sub);
	if (c->size > 64ull << 40)
		return err_set(e, HV_EXIT_USAGE, "a VHDX image has at most 64 TiB");
	if (c->backing && (p->fixed || strcmp(c->backing_im->fmt->name, "vhdx")))
		return err_set(e, HV_EXIT_USAGE,
			       "a VHDX overlay is dynamic and needs a VHDX backing "
			       "file");
	if (!image_opt_pow2(c, "block_size", MEG, 256ull * MEG, &p->block, e))
		return false;
	p->parent = c->backing ? c->backing_im->priv : NULL;
	p->parent_name = c->backing;
	p->ratio = (512ull << 23) / p->block;
	p->blocks = (p->size + p->block - 1) / p->block;
	p->entries = p->parent ? (p->blocks + p->ratio - 1) / p->ratio * (p->ratio + 1) :
		p->blocks + (p->blocks - 1) / p->ratio;
	p->table_len = (p->entries * 8 + MEG - 1) & ~(MEG - 1ull);
	return true;
}

bool vhdx_create(struct image_create *c, struct err *e)
{
	struct hostfile f;
	struct plan p;
	bool ok;

	if (!read_plan(c, &p, e))
		return false;
	hf_init(&f, image_create_file(c, c->path, e), false);
	if (f.fd < 0)
		return false;
	ok = write_all(c, &p, &f, e);
	hf_close(&f);
	return ok;
}
