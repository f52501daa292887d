/* SPDX-License-Identifier: MIT */
/*
 * Parallel NOR flash with Intel's basic command set, one byte wide ("Intel
 * StrataFlash Memory (J3)" datasheet 290667, table 4 and section 4; CFI query
 * as in JEDEC JESD68.01): where UEFI firmware keeps its variables.
 *
 * In array mode the contents are a read-only memory slot, so reads and code
 * run at memory speed; guest writes to it arrive here.  In every other mode
 * the slot is off and reads arrive here too.  Contents go back to their file
 * when the guest returns to array mode.
 *
 * As on the flash that UEFI firmware was written against, the status register
 * reads 0 between "clear status" and the next operation; the J3 would show
 * its ready bit, and the firmware takes that for ROM.
 *
 * Left out: write buffer, block locks, OTP registers, suspend.
 */
#include "pflash.h"
#include "../src/block.h"
#include "../src/vm.h"
#include <stdlib.h>

enum {
	CMD_PROGRAM_ALT = 0x10,
	CMD_ERASE = 0x20,
	CMD_PROGRAM = 0x40,
	CMD_CLEAR_STATUS = 0x50,
	CMD_LOCK = 0x60,
	CMD_READ_STATUS = 0x70,
	CMD_READ_ID = 0x90,
	CMD_CFI = 0x98,
	CMD_CONFIRM = 0xd0,
	CMD_READ_ARRAY = 0xff,
};

#define SR_READY 0x80
#define SR_ERASE_FAIL 0x20
#define SR_PROGRAM_FAIL 0x10

struct pflash {
	struct device dev;
	uint64_t at, len;	/* immutable after realize */
	struct gm_block *mem;
	struct gm_slot *slot;
	struct io_region region;
	struct block *file;
	/* What reads show, and the first half of a two-cycle command (0: none). */
	uint8_t mode, setup, status;
	/* Write-behind: [dirty_from, dirty_to) is newer than the file. */
	uint64_t dirty_from, dirty_to;
	struct block_req req;
	struct iovec iov;
	uint8_t *buf;		/* copy being written */
	bool busy, unsynced;
	int io_error;
};
DEVICE_CHECK(struct pflash);

static const struct state_field pflash_state[] = {
	STATE_U8(struct pflash, mode),
	STATE_U8(struct pflash, setup),
	STATE_U8(struct pflash, status),
	STATE_END
};

static struct pflash *to_pflash(struct device *d)
{
	return container_of(d, struct pflash, dev);
}

/* ---- The file ---- */

static void write_behind(struct pflash *s);

static void io_done(struct block_req *r, int error)
{
	struct pflash *s = r->opaque;

	s->busy = false;
	if (error && !s->io_error)
		log_error("cannot keep the firmware's variables in %s: %s",
			  block_info(s->file)->path, strerror(error));
	s->io_error = error;
	if (!error)
		write_behind(s);
}

static void submit(struct pflash *s, enum block_op op, uint64_t off, uint64_t len)
{
	s->iov = (struct iovec){ s->buf, len };
	s->req = (struct block_req){ .op = op, .off = off, .len = len, .done = io_done,
				     .opaque = s, .iov = &s->iov, .niov = op != BLOCK_FLUSH };
	s->busy = true;
	block_submit(s->file, &s->req);
}

/* One write at a time, then a flush. */
static void write_behind(struct pflash *s)
{
	uint64_t from = s->dirty_from & ~(uint64_t)(BLOCK_SECTOR - 1);
	uint64_t to = (s->dirty_to + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);

	if (!s->file || s->busy)
		return;
	if (s->dirty_from < s->dirty_to) {
		HV_BUG_ON(!gm_block_read(s->mem, from, s->buf, to - from));
		s->dirty_from = s->len;
		s->dirty_to = 0;
		s->unsynced = true;
		submit(s, BLOCK_WRITE, from, to - from);
	} else if (s->unsynced) {
		s->unsynced = false;
		submit(s, BLOCK_FLUSH, 0, 0);
	}
}

static void mark_dirty(struct pflash *s, uint64_t off, uint64_t len)
{
	s->dirty_from = MIN(s->dirty_from, off);
	s->dirty_to = MAX(s->dirty_to, off + len);
}

static bool read_file(struct pflash *s, struct err *e)
{
	submit(s, BLOCK_READ, 0, s->len);
	block_drain(s->file);
	if (s->io_error)
		return err_errno(e, HV_EXIT_IMAGE, s->io_error, "cannot read %s",
				 block_info(s->file)->path);
	return gm_block_write(s->mem, 0, s->buf, s->len);
}

/* ---- Commands (4.0) ---- */

static void set_mode(struct pflash *s, uint8_t mode)
{
	bool array = mode == CMD_READ_ARRAY;

	s->mode = mode;
	HV_BUG_ON(!gm_slot_set(dev_mem(&s->dev), s->slot, GPA(s->at), s->mem, 0,
			       GM_RESERVED | GM_READONLY | (array ? 0 : GM_DISABLED)));
	if (array)
		write_behind(s);
}

/* 4.6: programming can only clear bits. */
static void program(struct pflash *s, uint64_t off, uint8_t val)
{
	uint8_t old;

	HV_BUG_ON(!gm_block_read(s->mem, off, &old, 1));
	old &= val;
	HV_BUG_ON(!gm_block_write(s->mem, off, &old, 1));
	mark_dirty(s, off, 1);
	s->status |= SR_READY;
}

static void erase(struct pflash *s, uint64_t off)
{
	uint8_t ones[PFLASH_ERASE_BLOCK];

	off &= ~(uint64_t)(PFLASH_ERASE_BLOCK - 1);
	memset(ones, 0xff, sizeof(ones));
	HV_BUG_ON(!gm_block_write(s->mem, off, ones, sizeof(ones)));
	mark_dirty(s, off, sizeof(ones));
	s->status |= SR_READY;
}

static void second_cycle(struct pflash *s, uint64_t off, uint8_t val)
{
	uint8_t setup = s->setup;

	s->setup = 0;
	if (setup == CMD_PROGRAM || setup == CMD_PROGRAM_ALT)
		program(s, off, val);
	else if (setup == CMD_ERASE && val == CMD_CONFIRM)
		erase(s, off);
	else if (setup == CMD_ERASE)	/* 4.5: a wrong sequence sets both bits */
		s->status |= SR_READY | SR_ERASE_FAIL | SR_PROGRAM_FAIL;
	else
		s->status |= SR_READY;	/* block locks: accepted, none exist */
}

static void first_cycle(struct pflash *s, uint8_t cmd)
{
	switch (cmd) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
	case CMD_ERASE:
	case CMD_LOCK:
		s->setup = cmd;
		set_mode(s, CMD_READ_STATUS);
		break;
	case CMD_READ_STATUS:
	case CMD_READ_ID:
	case CMD_CFI:
		set_mode(s, cmd);
		break;
	case CMD_CLEAR_STATUS:
		s->status = 0;
		break;
	case CMD_READ_ARRAY:
	default:	/* 4.1: an unknown command resets to array mode */
		set_mode(s, CMD_READ_ARRAY);
		break;
	}
}

static void flash_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct pflash *s = to_pflash(d);

	if (s->setup)
		second_cycle(s, off, val);
	else
		first_cycle(s, val);
}

/* JESD68.01: "QRY", Intel basic command set, no alternate, then timing and geometry. */
static uint8_t cfi(const struct pflash *s, unsigned off)
{
	unsigned blocks = s->len / PFLASH_ERASE_BLOCK - 1, log2 = 0;
	uint8_t table[0x31 - 0x10] = { 'Q', 'R', 'Y', 1, 0, 0x31, 0 };

	while (2ull << log2 <= s->len)
		log2++;
	table[0x1b - 0x10] = 0x45;	/* 4.5 to 5.5 V */
	table[0x1c - 0x10] = 0x55;
	table[0x1f - 0x10] = 7;		/* typical program 2^7 us, erase 2^10 ms */
	table[0x21 - 0x10] = 10;
	table[0x23 - 0x10] = 4;
	table[0x25 - 0x10] = 4;
	table[0x27 - 0x10] = log2;
	table[0x2c - 0x10] = 1;		/* one region of equal blocks */
	st_le16(table + 0x2d - 0x10, blocks);
	st_le16(table + 0x2f - 0x10, PFLASH_ERASE_BLOCK / 256);
	return off >= 0x10 && off < 0x31 ? table[off - 0x10] : 0;
}

static uint8_t read_byte(const struct pflash *s, uint64_t off)
{
	uint8_t v = 0xff;

	switch (s->mode) {
	case CMD_READ_ARRAY:	/* the slot answers; only loads of its edge come here */
		return gm_block_read(s->mem, off, &v, 1) ? v : 0xff;
	case CMD_READ_ID:	/* table 5: manufacturer, device, then lock bits */
		return (off & 0xff) == 0 ? 0x89 : (off & 0xff) == 1 ? 0x18 : 0;
	case CMD_CFI:
		return cfi(s, off & 0xff);
	default:
		return s->status;
	}
}

static uint64_t flash_read(struct device *d, uint64_t off, unsigned size)
{
	return read_byte(to_pflash(d), off);
}

static const struct io_ops flash_io = {
	.read = flash_read, .write = flash_write, .min_size = 1, .max_size = 1,
};

/* ---- Life ---- */

void pflash_wire(struct device *d, gpa_t at, uint64_t len, struct block *file)
{
	struct pflash *s = to_pflash(d);

	HV_BUG_ON(at.v % PFLASH_ERASE_BLOCK || len % PFLASH_ERASE_BLOCK || !len);
	s->at = at.v;
	s->len = len;
	s->file = file;
}

static bool pflash_realize(struct device *d, struct err *e)
{
	struct pflash *s = to_pflash(d);

	s->mem = gm_block_new(dev_mem(d), "nvram", s->len, e);
	if (!s->mem)
		return false;
	s->dirty_from = s->len;
	s->buf = hv_zalloc(s->len);
	if (!s->file) {
		memset(s->buf, 0xff, s->len);
		HV_BUG_ON(!gm_block_write(s->mem, 0, s->buf, s->len));
	} else if (!read_file(s, e)) {
		return false;
	}
	s->mode = CMD_READ_ARRAY;
	s->slot = gm_slot_add(dev_mem(d), GPA(s->at), s->len, s->mem, 0,
			      GM_RESERVED | GM_READONLY, e);
	s->region = (struct io_region){ .kind = BUS_MMIO, .base = s->at, .len = s->len,
					.ops = &flash_io, .name = "pflash" };
	return s->slot && dev_add_region(d, &s->region, e);
}

/* RP# pulse (3.5): array mode, status clear; contents stay. */
static void pflash_reset(struct device *d)
{
	struct pflash *s = to_pflash(d);

	s->setup = s->status = 0;
	set_mode(s, CMD_READ_ARRAY);
}

static void pflash_unrealize(struct device *d)
{
	struct pflash *s = to_pflash(d);

	if (s->file) {
		write_behind(s);
		block_drain(s->file);
	}
	free(s->buf);
}

/* The contents were loaded with the memory: the file must follow. */
static bool pflash_post_load(struct device *d, struct err *e)
{
	static const uint8_t modes[] = { CMD_READ_ARRAY, CMD_READ_STATUS, CMD_READ_ID, CMD_CFI };
	static const uint8_t setups[] = { CMD_PROGRAM, CMD_PROGRAM_ALT, CMD_ERASE, CMD_LOCK };
	struct pflash *s = to_pflash(d);

	if (!memchr(modes, s->mode, sizeof(modes)) ||
	    (s->setup && !memchr(setups, s->setup, sizeof(setups))))
		return err_set(e, HV_EXIT_IMAGE, "impossible flash mode");
	mark_dirty(s, 0, s->len);
	set_mode(s, s->mode);
	return true;
}

const struct device_ops pflash_ops = {
	.name = "pflash",
	.size = sizeof(struct pflash),
	.realize = pflash_realize,
	.reset = pflash_reset,
	.unrealize = pflash_unrealize,
	.state = pflash_state,
	.state_version = 1,
	.post_load = pflash_post_load,
};
