/* SPDX-License-Identifier: MIT */
/*
 * The PC's DMA: two 8237A controllers (Intel 231466-005), channels 0-3 for
 * bytes and 4-7 for words with 4 as cascade, and the 74LS612 page registers
 * (IBM PC AT Technical Reference 6280070, "DMA Page Registers"; PIIX3 data
 * sheet 290550-002, section 2.5.1).
 *
 * A granted device moves a block at a time instead of a byte a bus cycle, so
 * that single, block and demand mode differ only in when DREQ is looked at,
 * and priority only shows between devices that wait.  A software request
 * finds no device on the bus: it counts to the end and touches no memory.
 *
 * NOTYET(dma): memory-to-memory transfers (data sheet, "Memory-to-Memory"):
 * channel 0 and 1 as a pair never worked on the AT's bus, where 0 has no page
 * of its own for both; extended and compressed timing mean nothing here.
 */
#include "i8237.h"

#define CMD_DISABLE 0x04
#define MODE_DECREMENT 0x20
#define MODE_AUTOINIT 0x10
#define MODE_KIND 0xc0
#define MODE_CASCADE 0xc0
enum { XFER_VERIFY = 0, XFER_TO_MEM = 1, XFER_FROM_MEM = 2 };
#define CASCADE_CHAN 4

struct dma_chan {
	uint16_t base_addr, base_count, addr, count;
	uint8_t mode;
};

struct dma_chip {
	struct dma_chan chan[4];
	uint8_t command, mask, tc, dreq, soft;	/* low four bits each */
	uint8_t temporary;
	bool high_byte;				/* the flip-flop of all 16-bit registers */
};

struct i8237 {
	struct device dev;
	struct dma_chip chip[2];
	uint8_t page[16];
	bool serving;			/* a peer is being told; not saved: never between events */
	struct isa_dma_peer peer[8];
	struct io_region io[3];
};
DEVICE_CHECK(struct i8237);

static const struct state_field chan_fields[] = {
	STATE_U16(struct dma_chan, base_addr), STATE_U16(struct dma_chan, base_count),
	STATE_U16(struct dma_chan, addr), STATE_U16(struct dma_chan, count),
	STATE_U8(struct dma_chan, mode),
	STATE_END
};

static const struct state_field chip_fields[] = {
	STATE_STRUCTS(struct dma_chip, chan, chan_fields), STATE_U8(struct dma_chip, command),
	STATE_U8(struct dma_chip, mask), STATE_U8(struct dma_chip, tc),
	STATE_U8(struct dma_chip, dreq), STATE_U8(struct dma_chip, soft),
	STATE_U8(struct dma_chip, temporary), STATE_BOOL(struct dma_chip, high_byte),
	STATE_END
};

static const struct state_field i8237_fields[] = {
	STATE_STRUCTS(struct i8237, chip, chip_fields), STATE_U8S(struct i8237, page),
	STATE_END
};

static struct i8237 *to_dma(struct device *d)
{
	return (struct i8237 *)d;
}

static struct dma_chan *chan_of(struct i8237 *s, unsigned n)
{
	return &s->chip[n >> 2 & 1].chan[n & 3];
}

/* ---- Transfers ---- */

/* Is channel @n connected through to the CPU's bus, with somebody wanting it? */
static bool chan_serves(const struct i8237 *s, unsigned n)
{
	const struct dma_chip *c = &s->chip[n >> 2], *second = &s->chip[1];
	uint8_t bit = 1u << (n & 3);

	if (c->command & CMD_DISABLE || !((c->dreq & ~c->mask) & bit))
		return false;
	if ((c->chan[n & 3].mode & MODE_KIND) == MODE_CASCADE)
		return false;
	return n > 3 || (!(second->command & CMD_DISABLE) && !(second->mask & 1) &&
			 (second->chan[0].mode & MODE_KIND) == MODE_CASCADE);
}

/* The page register of each channel, as an index from port 80h. */
static uint64_t page_base(const struct i8237 *s, unsigned n)
{
	static const uint8_t reg[8] = { 7, 3, 1, 2, 0xf, 0xb, 9, 0xa };
	uint8_t page = s->page[reg[n]];

	return (uint64_t)(n > 3 ? page & 0xfe : page) << 16;
}

/* The count ran out (data sheet, "Autoinitialize", "Status Register"). */
static void terminal_count(struct dma_chip *c, unsigned i)
{
	struct dma_chan *ch = &c->chan[i];

	c->tc |= 1u << i;
	c->soft &= ~(1u << i);
	if (ch->mode & MODE_AUTOINIT) {
		ch->addr = ch->base_addr;
		ch->count = ch->base_count;
	} else {
		c->mask |= 1u << i;
	}
}

/* Units moved at once: to the end of the count, or of the page the address wraps in. */
static uint32_t run_length(const struct dma_chan *ch, uint32_t want)
{
	uint32_t n = MIN(want, ch->count + 1u);
	uint32_t to_wrap = ch->mode & MODE_DECREMENT ? ch->addr + 1u : 0x10000u - ch->addr;

	return MIN(n, to_wrap);
}

/* Downwards the first byte has the highest address. */
static bool copy_down(struct i8237 *s, uint64_t top, uint8_t *buf, uint32_t units, unsigned width,
		      bool to_mem)
{
	struct guest_mem *gm = dev_mem(&s->dev);
	bool ok = true;

	for (uint32_t i = 0; i < units; i++, top -= width, buf += width)
		ok = (to_mem ? gm_write(gm, GPA(top), buf, width) :
			       gm_read(gm, GPA(top), buf, width)) && ok;
	return ok;
}

static void copy(struct i8237 *s, unsigned n, uint8_t *buf, uint32_t units)
{
	const struct dma_chan *ch = chan_of(s, n);
	unsigned width = n > 3 ? 2 : 1, kind = ch->mode >> 2 & 3;
	uint64_t at = page_base(s, n) + (uint64_t)ch->addr * width;
	struct guest_mem *gm = dev_mem(&s->dev);
	size_t len = (size_t)units * width;
	bool ok = true;

	if (kind == XFER_VERIFY)
		return;
	if (ch->mode & MODE_DECREMENT)
		ok = copy_down(s, at, buf, units, width, kind == XFER_TO_MEM);
	else if (kind == XFER_TO_MEM)
		ok = gm_write(gm, GPA(at), buf, len);
	else
		ok = gm_read(gm, GPA(at), buf, len);
	if (ok)
		return;
	if (kind == XFER_FROM_MEM)
		memset(buf, 0xff, len);		/* nobody drives the bus */
	dev_guest_error(&s->dev, "DMA channel %u: no memory at %#llx", n, (unsigned long long)at);
}

static size_t transfer(struct i8237 *s, unsigned n, uint8_t *buf, size_t len, unsigned kind,
		       bool *tc)
{
	struct dma_chan *ch = chan_of(s, n);
	unsigned width = n > 3 ? 2 : 1;
	uint32_t want = (uint32_t)(MIN(len, 0x20000u) / width), done = 0;

	*tc = false;
	if (!chan_serves(s, n))
		return 0;
	if ((ch->mode >> 2 & 3) != kind && (ch->mode >> 2 & 3) != XFER_VERIFY)
		return 0;
	while (done < want && !*tc) {
		uint32_t run = run_length(ch, want - done);

		copy(s, n, buf + (size_t)done * width, run);
		done += run;
		ch->addr += ch->mode & MODE_DECREMENT ? -run : run;
		*tc = run == ch->count + 1u;
		ch->count -= run;
		if (*tc)
			terminal_count(&s->chip[n >> 2], n & 3);
	}
	return (size_t)done * width;
}

size_t isa_dma_to_memory(struct device *dma, unsigned chan, const void *buf, size_t len, bool *tc)
{
	return transfer(to_dma(dma), chan & 7, (uint8_t *)buf, len, XFER_TO_MEM, tc);
}

size_t isa_dma_from_memory(struct device *dma, unsigned chan, void *buf, size_t len, bool *tc)
{
	return transfer(to_dma(dma), chan & 7, buf, len, XFER_FROM_MEM, tc);
}

/*
 * Tell the devices whose channels have become ready, by priority, each once;
 * what they write back does not come here again.
 */
static void serve(struct i8237 *s)
{
	if (s->serving)
		return;
	s->serving = true;
	for (unsigned n = 0; n < 8; n++)
		if (n != CASCADE_CHAN && s->peer[n].granted && chan_serves(s, n))
			s->peer[n].granted(s->peer[n].opaque);
	s->serving = false;
}

void isa_dma_request(struct device *dma, unsigned chan, bool level)
{
	struct i8237 *s = to_dma(dma);
	struct dma_chip *c;

	HV_BUG_ON(chan > 7 || chan == CASCADE_CHAN);
	c = &s->chip[chan >> 2];
	c->dreq = (c->dreq & ~(1u << (chan & 3))) | (unsigned)level << (chan & 3);
	if (level)
		serve(s);
}

/* ---- Registers ---- */

static void master_clear(struct dma_chip *c)
{
	c->command = c->tc = c->soft = c->temporary = 0;
	c->high_byte = false;
	c->mask = 0x0f;
}

/* Nobody answers a software request: the channel counts to its end. */
static void software_request(struct dma_chip *c, uint8_t val)
{
	unsigned i = val & 3;

	if (!(val & 4)) {
		c->soft &= ~(1u << i);
		return;
	}
	if (c->command & CMD_DISABLE || (c->chan[i].mode & MODE_KIND) == MODE_CASCADE) {
		c->soft |= 1u << i;
		return;
	}
	c->chan[i].addr += c->chan[i].mode & MODE_DECREMENT ? -(c->chan[i].count + 1u) :
			   c->chan[i].count + 1u;
	c->chan[i].count = 0xffff;
	terminal_count(c, i);
}

static uint8_t word_read(struct dma_chip *c, uint16_t v)
{
	c->high_byte = !c->high_byte;
	return (uint8_t)(c->high_byte ? v : v >> 8);
}

/* A write goes to the base and the current register. */
static void word_write(struct dma_chip *c, uint16_t *base, uint16_t *cur, uint8_t val)
{
	if (c->high_byte)
		*base = (uint16_t)((*base & 0x00ff) | val << 8);
	else
		*base = (*base & 0xff00) | val;
	*cur = c->high_byte ? (uint16_t)((*cur & 0x00ff) | val << 8) : (*cur & 0xff00) | val;
	c->high_byte = !c->high_byte;
}

static uint8_t chip_read(struct dma_chip *c, unsigned reg)
{
	struct dma_chan *ch = &c->chan[reg >> 1 & 3];
	uint8_t v;

	if (reg < 8)
		return word_read(c, reg & 1 ? ch->count : ch->addr);
	switch (reg) {
	case 0x8:				/* status: reading clears the TC bits */
		v = (uint8_t)(c->tc | (c->dreq | c->soft) << 4);
		c->tc = 0;
		return v;
	case 0xd:
		return c->temporary;
	case 0xf:				/* PIIX: the mask register can be read */
		return 0xf0 | c->mask;
	default:
		return 0xff;
	}
}

static void chip_write(struct dma_chip *c, unsigned reg, uint8_t val)
{
	struct dma_chan *ch = &c->chan[reg >> 1 & 3];

	switch (reg) {
	case 0x8:
		c->command = val;
		break;
	case 0x9:
		software_request(c, val);
		break;
	case 0xa:
		c->mask = (c->mask & ~(1u << (val & 3))) | (val >> 2 & 1u) << (val & 3);
		break;
	case 0xb:
		c->chan[val & 3].mode = val & 0xfc;
		break;
	case 0xc:
		c->high_byte = false;
		break;
	case 0xd:
		master_clear(c);
		break;
	case 0xe:
		c->mask = 0;
		break;
	case 0xf:
		c->mask = val & 0x0f;
		break;
	default:
		if (reg & 1)
			word_write(c, &ch->base_count, &ch->count, val);
		else
			word_write(c, &ch->base_addr, &ch->addr, val);
	}
}

static uint64_t first_read(struct device *d, uint64_t off, unsigned size)
{
	return chip_read(&to_dma(d)->chip[0], off & 15);
}

static void first_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	chip_write(&to_dma(d)->chip[0], off & 15, (uint8_t)val);
	serve(to_dma(d));
}

/* The second one is wired to address lines 1-4: every register shows twice. */
static uint64_t second_read(struct device *d, uint64_t off, unsigned size)
{
	return chip_read(&to_dma(d)->chip[1], off >> 1 & 15);
}

static void second_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	chip_write(&to_dma(d)->chip[1], off >> 1 & 15, (uint8_t)val);
	serve(to_dma(d));
}

static uint64_t page_read(struct device *d, uint64_t off, unsigned size)
{
	return to_dma(d)->page[off & 15];
}

static void page_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	to_dma(d)->page[off & 15] = (uint8_t)val;
}

static const struct io_ops first_io = { first_read, first_write, 1, 1 };
static const struct io_ops second_io = { second_read, second_write, 1, 1 };
static const struct io_ops page_io = { page_read, page_write, 1, 1 };

/* ---- Life ---- */

static bool i8237_realize(struct device *d, struct err *e)
{
	static const struct { uint16_t base, len; const struct io_ops *ops; const char *name; }
	rows[] = {
		{ 0x00, 16, &first_io, "dma1" },
		{ 0xc0, 32, &second_io, "dma2" },
		{ 0x80, 16, &page_io, "dma-page" },
	};
	struct i8237 *s = to_dma(d);

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		s->io[i] = (struct io_region){ .kind = BUS_PIO, .base = rows[i].base,
			.len = rows[i].len, .ops = rows[i].ops, .name = rows[i].name };
		if (!dev_add_region(d, &s->io[i], e))
			return false;
	}
	return true;
}

/* DREQ belongs to the devices: each lowers its own at reset. */
static void i8237_reset(struct device *d)
{
	struct i8237 *s = to_dma(d);

	for (unsigned i = 0; i < 2; i++) {
		memset(s->chip[i].chan, 0, sizeof(s->chip[i].chan));
		master_clear(&s->chip[i]);
	}
	memset(s->page, 0, sizeof(s->page));
}

static bool i8237_post_load(struct device *d, struct err *e)
{
	struct i8237 *s = to_dma(d);

	for (unsigned i = 0; i < 2; i++) {
		struct dma_chip *c = &s->chip[i];

		if ((c->mask | c->tc | c->dreq | c->soft) & 0xf0)
			return err_set(e, HV_EXIT_IMAGE, "8237: channel bits out of range");
		for (unsigned k = 0; k < 4; k++)
			c->chan[k].mode &= 0xfc;
	}
	return true;
}

void isa_dma_attach(struct device *dma, unsigned chan, struct isa_dma_peer peer)
{
	HV_BUG_ON(chan > 7 || chan == CASCADE_CHAN || to_dma(dma)->peer[chan].granted);
	to_dma(dma)->peer[chan] = peer;
}

const struct device_ops i8237_ops = {
	.name = "i8237",
	.size = sizeof(struct i8237),
	.realize = i8237_realize,
	.reset = i8237_reset,
	.state = i8237_fields,
	.state_version = 1,
	.post_load = i8237_post_load,
};
