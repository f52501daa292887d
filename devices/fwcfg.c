/* SPDX-License-Identifier: MIT */
/*
 * fw_cfg: the interface by which SeaBIOS asks the machine for its memory
 * map, boot order and tables ("QEMU Firmware Configuration Device",
 * docs/specs/fw_cfg of the QEMU project): selector 510h, data 511h, DMA
 * 514h-51Bh.
 *
 * All items are read-only for the guest and fixed before the machine runs (but
 * for one that the board brings up to date when it is selected), so the saved
 * state is the selector and position only.
 */
#include "fwcfg.h"
#include <stdlib.h>

#define KEY_SIGNATURE 0x00
#define KEY_ID 0x01
#define KEY_FILE_DIR 0x19
#define KEY_FIRST_FILE 0x20
#define KEY_MASK 0xbfff		/* bit 14: write access, which does not exist any more */
#define KEY_NONE 0xffff
#define ID_TRADITIONAL 1
#define ID_DMA 2

#define DMA_ERROR 1u
#define DMA_READ 2u
#define DMA_SKIP 4u
#define DMA_SELECT 8u
#define DMA_WRITE 16u
#define DMA_SIGNATURE 0x51454d5520434647ull	/* "QEMU CFG" */
#define DMA_MAX_PAST_END MiB(1)	/* zeroes handed out beyond an item's end */

#define MAX_ITEMS 64
#define DIR_ENTRY 64

struct fwcfg_item {
	uint16_t key;
	uint32_t len;
	uint8_t *data;
};

struct fwcfg {
	struct device dev;
	struct fwcfg_item items[MAX_ITEMS];	/* immutable after start */
	unsigned nitems, nfiles;
	uint8_t dir[4 + MAX_ITEMS * DIR_ENTRY];
	struct io_region port, dma;
	uint16_t hook_key;	/* hook() is called when it is selected */
	void (*hook)(void *opaque, uint8_t *data, size_t len);
	void *hook_opaque;
	uint16_t key;
	uint32_t pos;
	uint32_t dma_high;
};
DEVICE_CHECK(struct fwcfg);

static const struct state_field fwcfg_state[] = {
	STATE_U16(struct fwcfg, key),
	STATE_U32(struct fwcfg, pos),
	STATE_U32(struct fwcfg, dma_high),
	STATE_END
};

static struct fwcfg *to_fwcfg(struct device *d)
{
	return container_of(d, struct fwcfg, dev);
}

/* ---- Items ---- */

static const struct fwcfg_item *find(struct fwcfg *s, uint16_t key)
{
	for (unsigned i = 0; i < s->nitems; i++)
		if (s->items[i].key == key)
			return &s->items[i];
	return NULL;
}

void fwcfg_add_key(struct device *d, uint16_t key, const void *data, size_t len)
{
	struct fwcfg *s = to_fwcfg(d);
	struct fwcfg_item *it = &s->items[s->nitems];

	HV_BUG_ON(s->nitems == MAX_ITEMS || find(s, key) || len > UINT32_MAX);
	it->key = key;
	it->len = len;
	it->data = hv_zalloc(len ? len : 1);
	memcpy(it->data, data, len);
	s->nitems++;
}

void fwcfg_add_file(struct device *d, const char *name, const void *data, size_t len)
{
	struct fwcfg *s = to_fwcfg(d);
	uint8_t *ent = s->dir + 4 + s->nfiles * DIR_ENTRY;
	uint16_t key = KEY_FIRST_FILE + s->nfiles;

	HV_BUG_ON(strlen(name) > 55);
	fwcfg_add_key(d, key, data, len);
	st_be32(ent, len);
	st_be16(ent + 4, key);
	memcpy(ent + 8, name, strlen(name));
	st_be32(s->dir, ++s->nfiles);
}

static uint16_t file_key(const struct fwcfg *s, const char *name)
{
	for (unsigned i = 0; i < s->nfiles; i++)
		if (!strcmp((const char *)s->dir + 4 + i * DIR_ENTRY + 8, name))
			return KEY_FIRST_FILE + i;
	return KEY_NONE;
}

void fwcfg_on_select(struct device *d, const char *name,
		     void (*fn)(void *opaque, uint8_t *data, size_t len), void *opaque)
{
	struct fwcfg *s = to_fwcfg(d);

	s->hook_key = file_key(s, name);
	HV_BUG_ON(s->hook || s->hook_key == KEY_NONE);
	s->hook = fn;
	s->hook_opaque = opaque;
}

static void run_hook(struct fwcfg *s)
{
	const struct fwcfg_item *it = s->hook && s->key == s->hook_key ? find(s, s->key) : NULL;

	if (it)
		s->hook(s->hook_opaque, it->data, it->len);
}

/* The selected item's bytes; the directory grows until the machine starts. */
static const uint8_t *selected(struct fwcfg *s, uint32_t *len)
{
	const struct fwcfg_item *it;

	if (s->key == KEY_FILE_DIR) {
		*len = 4 + s->nfiles * DIR_ENTRY;
		return s->dir;
	}
	it = find(s, s->key);
	*len = it ? it->len : 0;
	return it ? it->data : NULL;
}

static void select_key(struct fwcfg *s, uint16_t key)
{
	s->key = key & KEY_MASK;
	s->pos = 0;
	run_hook(s);
}

static uint8_t next_byte(struct fwcfg *s)
{
	uint32_t len;
	const uint8_t *p = selected(s, &len);

	return s->pos < len ? p[s->pos++] : 0;
}

/* ---- Selector and data port ---- */

static uint64_t port_read(struct device *d, uint64_t off, unsigned size)
{
	struct fwcfg *s = to_fwcfg(d);

	return off == 1 ? next_byte(s) : 0;
}

static void port_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	if (off == 0 && size == 2)
		select_key(to_fwcfg(d), val);
}

static const struct io_ops port_io = {
	.read = port_read, .write = port_write, .min_size = 1, .max_size = 2,
};

/* ---- DMA ---- */

static bool dma_copy(struct fwcfg *s, gpa_t at, uint32_t want)
{
	static const uint8_t zero[4096];
	struct guest_mem *gm = dev_mem(&s->dev);
	uint32_t len, n;
	const uint8_t *p = selected(s, &len);

	n = s->pos < len ? MIN(want, len - s->pos) : 0;
	if (want - n > DMA_MAX_PAST_END)
		return false;
	if (n && !gm_write(gm, at, p + s->pos, n))
		return false;
	s->pos += n;
	at.v += n;
	for (want -= n; want; want -= n, at.v += n) {
		n = MIN(want, sizeof(zero));
		if (!gm_write(gm, at, zero, n))
			return false;
	}
	return true;
}

static void dma_run(struct fwcfg *s, gpa_t desc)
{
	struct guest_mem *gm = dev_mem(&s->dev);
	uint8_t raw[16], done[4] = { 0 };
	uint32_t ctl, want, len;
	bool ok = true;

	if (!gm_read(gm, desc, raw, sizeof(raw))) {
		dev_guest_error(&s->dev, "DMA descriptor at %#llx is not in RAM",
				(unsigned long long)desc.v);
		return;
	}
	ctl = ld_be32(raw);
	want = ld_be32(raw + 4);
	if (ctl & DMA_SELECT)
		select_key(s, ctl >> 16);
	if (ctl & DMA_READ) {
		ok = dma_copy(s, GPA(ld_be64(raw + 8)), want);
	} else if (ctl & DMA_WRITE) {
		ok = false;
	} else if (ctl & DMA_SKIP) {
		(void)selected(s, &len);
		s->pos = len - MIN(s->pos, len) < want ? len : s->pos + want;
	}
	st_be32(done, ok ? 0 : DMA_ERROR);
	if (!gm_write(gm, desc, done, sizeof(done)))
		dev_guest_error(&s->dev, "DMA descriptor is read-only");
}

static uint64_t dma_read(struct device *d, uint64_t off, unsigned size)
{
	/* The register is big-endian. */
	return __builtin_bswap32(off ? (uint32_t)DMA_SIGNATURE : DMA_SIGNATURE >> 32);
}

static void dma_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct fwcfg *s = to_fwcfg(d);
	uint32_t v = __builtin_bswap32(val), high = s->dma_high;

	if (!off) {
		s->dma_high = v;
		return;
	}
	s->dma_high = 0;
	dma_run(s, GPA((uint64_t)high << 32 | v));
}

static const struct io_ops dma_io = {
	.read = dma_read, .write = dma_write, .min_size = 4, .max_size = 4,
};

/* ---- Life ---- */

static bool fwcfg_realize(struct device *d, struct err *e)
{
	static const uint8_t id[4] = { ID_TRADITIONAL | ID_DMA };
	struct fwcfg *s = to_fwcfg(d);

	fwcfg_add_key(d, KEY_SIGNATURE, "QEMU", 4);
	fwcfg_add_key(d, KEY_ID, id, sizeof(id));
	s->port = (struct io_region){ .kind = BUS_PIO, .base = 0x510, .len = 2,
				      .ops = &port_io, .name = "fw_cfg" };
	s->dma = (struct io_region){ .kind = BUS_PIO, .base = 0x514, .len = 8,
				     .ops = &dma_io, .name = "fw_cfg-dma" };
	return dev_add_region(d, &s->port, e) && dev_add_region(d, &s->dma, e);
}

static void fwcfg_reset(struct device *d)
{
	struct fwcfg *s = to_fwcfg(d);

	s->key = KEY_NONE & KEY_MASK;
	s->pos = 0;
	s->dma_high = 0;
}

static void fwcfg_unrealize(struct device *d)
{
	struct fwcfg *s = to_fwcfg(d);

	for (unsigned i = 0; i < s->nitems; i++)
		free(s->items[i].data);
}

static bool fwcfg_post_load(struct device *d, struct err *e)
{
	run_hook(to_fwcfg(d));
	return true;
}

const struct device_ops fwcfg_ops = {
	.name = "fwcfg",
	.size = sizeof(struct fwcfg),
	.realize = fwcfg_realize,
	.reset = fwcfg_reset,
	.unrealize = fwcfg_unrealize,
	.state = fwcfg_state,
	.post_load = fwcfg_post_load,
	.state_version = 1,	/* pos is compared with the item's length at each use */
};
