/* SPDX-License-Identifier: MIT */
/*
 * 82077AA: the commands with data (Intel 290166-007, sections 5.1 and 6).
 *
 * A command works in spans: the sectors from the next one to the last one it
 * wants of this side of the track.  A span is read from the image, then taken
 * by the host (DMA or byte by byte), or given by the host, then written.
 * Terminal count, the end of the track or an error end the command; without
 * terminal count the end of the track is an error, as in the chip.
 */
#include "fdc_int.h"
#include "i8237.h"
#include <errno.h>

#define OVERRUN_NS (500 * NS_PER_MS)	/* nobody programmed the DMA channel */

const struct state_field fdc_xfer_state[] = {
	STATE_U8(struct fdc_xfer, kind), STATE_U8(struct fdc_xfer, c),
	STATE_U8(struct fdc_xfer, h), STATE_U8(struct fdc_xfer, r),
	STATE_U8(struct fdc_xfer, n), STATE_U8(struct fdc_xfer, eot),
	STATE_U8(struct fdc_xfer, head), STATE_BOOL(struct fdc_xfer, multi),
	STATE_BOOL(struct fdc_xfer, skip), STATE_BOOL(struct fdc_xfer, tc),
	STATE_BOOL(struct fdc_xfer, to_host), STATE_BOOL(struct fdc_xfer, data),
	STATE_U32(struct fdc_xfer, pos), STATE_U32(struct fdc_xfer, len),
	STATE_U16(struct fdc_xfer, left), STATE_U8(struct fdc_xfer, st0),
	STATE_U8(struct fdc_xfer, st1), STATE_U8(struct fdc_xfer, st2),
	STATE_END
};

static void next_span(struct fdc *s);

static bool is_scan(const struct fdc *s)
{
	return s->x.kind >= K_SCAN_EQ;
}

static uint8_t *window_buf(struct fdc *s)
{
	return is_scan(s) ? s->host : s->buf;
}

/* ---- Ends ---- */

static void close_window(struct fdc *s)
{
	s->x.data = false;
	vtimer_cancel(&s->overrun);
	isa_dma_request(s->dma, FDC_DMA, false);
	if (s->hlt_nd & HLT_ND)
		fdc_set_irq(s, false);
}

static void finish(struct fdc *s)
{
	const struct fdc_xfer *x = &s->x;
	uint8_t r[7] = { x->st0, x->st1, x->st2, x->c, x->h, x->r, x->n };

	close_window(s);
	fdc_result(s, r, sizeof(r), true);
}

static void fail(struct fdc *s, uint8_t st1, uint8_t st2)
{
	s->x.st0 |= ST0_ABNORMAL;
	s->x.st1 |= st1;
	s->x.st2 |= st2;
	finish(s);
}

void fdc_overrun(void *opaque)
{
	struct fdc *s = opaque;

	if (s->x.data)
		fail(s, ST1_OR, 0);
}

/* ---- Sectors ---- */

/* Where the next sector is in the image; false: the command has ended. */
static bool locate(struct fdc *s, const struct fdc_format **f, uint64_t *off)
{
	struct fdc_xfer *x = &s->x;

	x->st0 = (uint8_t)((x->st0 & ~4) | x->head << 2);
	*f = fdc_readable(s, s->cmd[0] & MFM_BIT, x->head);
	if (!*f) {
		fail(s, ST1_MA, 0);
		return false;
	}
	if (x->c != fdc_selected(s)->pos) {
		fail(s, ST1_ND, ST2_WC);
		return false;
	}
	if (x->h != x->head || x->n != 2 || !x->r || x->r > (*f)->spt) {
		fail(s, ST1_ND, 0);
		return false;
	}
	*off = ((uint64_t)(x->c * (*f)->heads + x->head) * (*f)->spt + x->r - 1) * FDC_SECTOR;
	return true;
}

/* @k sectors are done: on to the one after them (table 6-3), or the end. */
static void span_done(struct fdc *s, uint32_t k)
{
	struct fdc_xfer *x = &s->x;
	bool end = x->r + k - 1 == x->eot, over = x->tc;

	x->r = (uint8_t)(x->r + k);
	if (x->kind == K_READ_DELETED) {	/* a sector without that mark was read */
		x->st2 |= ST2_CM;
		over = true;
	}
	if (end) {
		x->r = 1;
		if (x->multi && x->head == 0) {
			x->head = x->h = 1;
			end = false;
		} else {
			x->c++;
			x->head = x->multi ? 0 : x->head;
			x->h = x->multi ? 0 : x->h;
		}
	}
	if (x->kind == K_VERIFY) {
		x->left -= (uint16_t)MIN(x->left, k);
		over = !x->left || end;
	}
	if (over)
		finish(s);
	else if (end)
		fail(s, ST1_EN, 0);
	else
		next_span(s);
}

/* The host may move @len bytes. */
static void open_window(struct fdc *s, bool to_host, uint32_t len)
{
	s->x.to_host = to_host;
	s->x.pos = 0;
	s->x.len = len;
	s->x.data = true;
	if (s->hlt_nd & HLT_ND) {
		fdc_set_irq(s, true);
		return;
	}
	vtimer_arm(&s->overrun, vclock_now(dev_clock(&s->dev)) + OVERRUN_NS);
	isa_dma_request(s->dma, FDC_DMA, true);
}

/* ---- The image ---- */

static void request_done(struct block_req *r, int error)
{
	struct fdc *s = r->opaque;

	s->inflight = false;
	if (s->aborting)
		return;
	if (error)
		fail(s, error == EROFS ? ST1_NW : ST1_DE, error == EROFS ? 0 : ST2_DD);
	else if (s->x.kind == K_FORMAT)
		finish(s);
	else if (s->x.kind == K_WRITE || s->x.kind == K_VERIFY)
		span_done(s, s->span / FDC_SECTOR);
	else if (is_scan(s))
		open_window(s, false, FDC_SECTOR);
	else
		open_window(s, true, s->span);
}

static void submit(struct fdc *s, enum block_op op, uint64_t off, uint32_t len)
{
	struct block *b = fdc_selected(s)->block;
	uint64_t have = block_info(b)->size & ~(uint64_t)(FDC_SECTOR - 1);

	HV_BUG_ON(s->inflight || len > sizeof(s->buf));
	s->span = len;
	if (op == BLOCK_READ && off + len > have) {	/* an image cut short: zeros follow */
		len = off < have ? (uint32_t)(have - off) : 0;
		memset(s->buf + len, 0, s->span - len);
		off = len ? off : 0;
	}
	s->inflight = true;
	s->iov = (struct iovec){ s->buf, len };
	s->req = (struct block_req){ .op = op, .off = off, .len = len, .iov = &s->iov, .niov = 1,
				     .done = request_done, .opaque = s };
	block_submit(b, &s->req);
}

static void next_span(struct fdc *s)
{
	struct fdc_xfer *x = &s->x;
	const struct fdc_format *f;
	uint32_t k, last;
	uint64_t off;

	if (!locate(s, &f, &off))
		return;
	last = x->r <= x->eot ? MIN(x->eot, f->spt) : f->spt;
	k = last - x->r + 1;
	if (x->kind == K_VERIFY)
		k = MIN(k, MAX(x->left, 1u));
	if (is_scan(s) || (x->kind == K_READ_DELETED && !x->skip))
		k = 1;
	if (x->kind == K_READ_DELETED && x->skip) {	/* all are passed over */
		x->kind = K_READ;
		span_done(s, k);
	} else if (x->kind == K_WRITE) {
		open_window(s, false, k * FDC_SECTOR);
	} else {
		submit(s, BLOCK_READ, off, k * FDC_SECTOR);
	}
}

/* The rest of a sector that terminal count cut off is zeros (6.1, "Write Data"). */
static void write_span(struct fdc *s)
{
	uint32_t k = (s->x.pos + FDC_SECTOR - 1) / FDC_SECTOR;
	const struct fdc_format *f;
	uint64_t off;

	if (!locate(s, &f, &off))
		return;
	if (k > (uint32_t)f->spt - s->x.r + 1) {	/* another disk came meanwhile */
		fail(s, ST1_ND, 0);
		return;
	}
	memset(s->buf + s->x.pos, 0, k * FDC_SECTOR - s->x.pos);
	submit(s, BLOCK_WRITE, off, k * FDC_SECTOR);
}

/* ---- SCAN (section 5.1.7): the host's bytes against the disk's; FFh fits all ---- */

static int scan_compare(const struct fdc *s)
{
	for (uint32_t i = 0; i < s->x.pos; i++)
		if (s->host[i] != 0xff && s->buf[i] != 0xff && s->buf[i] != s->host[i])
			return s->buf[i] < s->host[i] ? -1 : 1;
	return 0;
}

static void scan_sector(struct fdc *s)
{
	struct fdc_xfer *x = &s->x;
	int cmp = scan_compare(s);
	unsigned step = s->cmd[8] == 2 ? 2 : 1;

	if (cmp == 0)
		x->st2 = ST2_SH;
	else if ((x->kind == K_SCAN_LE && cmp < 0) || (x->kind == K_SCAN_GE && cmp > 0))
		x->st2 = 0;
	else
		x->st2 = ST2_SN;
	if (!(x->st2 & ST2_SN) || x->tc || x->r + step - 1u >= x->eot)
		finish(s);
	else
		span_done(s, step);
}

/* ---- FORMAT TRACK (5.1.6) ---- */

static void format_start(struct fdc *s)
{
	const struct fdc_format *f = fdc_readable(s, s->cmd[0] & MFM_BIT, s->x.head);

	if (!f || s->x.n != 2 || s->cmd[3] != f->spt) {	/* the image has another layout */
		s->x.st0 |= ST0_EC;
		fail(s, 0, 0);
		return;
	}
	open_window(s, false, f->spt * 4u);
}

/* Four bytes a sector, in any order (interleave), each sector once. */
static void format_write(struct fdc *s)
{
	const struct fdc_format *f = fdc_readable(s, true, s->x.head);
	uint64_t seen = 0, all;

	for (uint32_t i = 0; f && i + 4 <= s->x.pos; i += 4) {
		const uint8_t *id = s->buf + i;

		if (id[0] == fdc_selected(s)->pos && id[1] == s->x.head && id[2] - 1u < f->spt &&
		    id[3] == 2)
			seen |= 1ull << (id[2] - 1);
	}
	all = f ? (1ull << f->spt) - 1 : 1;
	if (seen != all) {
		dev_guest_error(&s->dev, "format: the image cannot hold such a track");
		s->x.st0 |= ST0_EC;
		fail(s, 0, 0);
		return;
	}
	memset(s->buf, s->cmd[5], sizeof(s->buf));
	submit(s, BLOCK_WRITE, (uint64_t)(fdc_selected(s)->pos * f->heads + s->x.head) * f->spt *
	       FDC_SECTOR, f->spt * FDC_SECTOR);
}

/* ---- The host's side ---- */

static void window_done(struct fdc *s)
{
	close_window(s);
	if (s->x.kind == K_FORMAT)
		format_write(s);
	else if (s->x.kind == K_WRITE)
		write_span(s);
	else if (is_scan(s))
		scan_sector(s);
	else
		span_done(s, (s->x.pos + FDC_SECTOR - 1) / FDC_SECTOR);
}

void fdc_dma_granted(void *opaque)
{
	struct fdc *s = opaque;
	struct fdc_xfer *x = &s->x;
	uint8_t *p = window_buf(s) + x->pos;
	bool tc;
	size_t n;

	if (!x->data || s->hlt_nd & HLT_ND || !(s->dor & DOR_DMAGATE))
		return;
	n = x->to_host ? isa_dma_to_memory(s->dma, FDC_DMA, p, x->len - x->pos, &tc) :
			 isa_dma_from_memory(s->dma, FDC_DMA, p, x->len - x->pos, &tc);
	if (!n)
		return;
	x->pos += (uint32_t)n;
	x->tc = tc;
	if (tc || x->pos == x->len)
		window_done(s);
}

/* Without FIFO every byte asks for itself. */
static void pio_moved(struct fdc *s)
{
	if (s->x.pos == s->x.len) {
		window_done(s);
	} else if (s->config & CONF_NOFIFO) {
		fdc_set_irq(s, false);
		fdc_set_irq(s, true);
	}
}

uint8_t fdc_pio_read(struct fdc *s)
{
	uint8_t v = s->buf[s->x.pos++];

	pio_moved(s);
	return v;
}

void fdc_pio_write(struct fdc *s, uint8_t v)
{
	window_buf(s)[s->x.pos++] = v;
	pio_moved(s);
}

/* ---- Start and end ---- */

void fdc_data_command(struct fdc *s, enum fdc_kind kind)
{
	const uint8_t *c = s->cmd;
	struct fdc_xfer *x = &s->x;

	*x = (struct fdc_xfer){ .kind = (uint8_t)kind, .st0 = c[1] & 7, .head = c[1] >> 2 & 1 };
	if (kind == K_FORMAT) {
		x->n = c[2];
		s->sc_eot = c[3];
		return;
	}
	x->c = c[2];
	x->h = c[3];
	x->r = kind == K_READ_TRACK ? 1 : c[4];
	x->n = c[5];
	x->eot = s->sc_eot = c[6];
	x->multi = c[0] & 0x80 && kind != K_READ_TRACK;
	x->skip = c[0] & 0x20;
	x->left = kind == K_VERIFY && c[1] & 0x80 ? c[8] : UINT16_MAX;
}

void fdc_data_start(struct fdc *s)
{
	struct fdc_drive *dr = fdc_selected(s);
	unsigned unit = s->cmd[1] & 3;

	if (dr && s->config & CONF_EIS && s->x.kind != K_FORMAT) {
		fdc_step_to(s, dr, unit, s->x.c);
		s->pcn[unit] = s->x.c;
		s->x.st0 |= ST0_SEEK_END;
	}
	if (dr && dr->readonly && (s->x.kind == K_WRITE || s->x.kind == K_FORMAT))
		fail(s, ST1_NW, 0);
	else if (s->x.kind == K_FORMAT)
		format_start(s);
	else
		next_span(s);
}

void fdc_data_abort(struct fdc *s)
{
	s->aborting = true;
	if (s->inflight)
		block_drain(s->req.block);
	s->aborting = false;
	close_window(s);
	s->x = (struct fdc_xfer){ 0 };
	memset(s->buf, 0, sizeof(s->buf));
	memset(s->host, 0, sizeof(s->host));
}

void fdc_data_drain(struct fdc *s)
{
	while (s->inflight)
		block_drain(s->req.block);
}

bool fdc_data_valid(const struct fdc *s)
{
	const struct fdc_xfer *x = &s->x;
	uint32_t max = is_scan(s) ? sizeof(s->host) : sizeof(s->buf);

	if (x->kind >= K_MAX || x->head > 1 || x->len > max || x->pos > x->len)
		return false;
	return !x->data || (s->phase == PH_EXEC && x->pos < x->len && x->to_host ==
			    (x->kind == K_READ || x->kind == K_READ_DELETED ||
			     x->kind == K_READ_TRACK));
}
