/* SPDX-License-Identifier: MIT */
/*
 * String instructions.  With REP, upward and on plain memory, they run by
 * chunks that end at page ends, at the segment limit and where the index
 * registers wrap; the registers are brought up to date after each chunk, so
 * that a fault or an interrupt finds the state after a whole number of
 * elements.  Everything else goes element by element.
 */
#include "intops.h"

#define BATCH 1024u		/* elements between looks at the request word */

struct str {
	unsigned n;		/* element size */
	unsigned asize;
	uint64_t amask;
	int64_t step;
	bool rep;
};

static struct str str_begin(const struct soft *s, const struct uop *u)
{
	return (struct str){
		.n = u->osize, .asize = u->asize, .amask = ~0ull >> (64 - u->asize * 8),
		.step = s->eflags & FL_DF ? -(int64_t)u->osize : (int64_t)u->osize,
		.rep = u->flags & (UOP_REP | UOP_REPNE),
	};
}

static inline uint64_t idx(const struct soft *s, const struct str *st, unsigned reg)
{
	return s->gpr[reg] & st->amask;
}

static inline void idx_add(struct soft *s, const struct str *st, unsigned reg, int64_t d)
{
	soft_wr_gpr(s, reg * 8, st->asize, s->gpr[reg] + (uint64_t)d);
}

static inline uint64_t src_lin(struct soft *s, const struct uop *u, const struct str *st)
{
	return ea_lin(s, u, idx(s, st, R_RSI), st->n, false);
}

static inline uint64_t dst_lin(struct soft *s, const struct uop *u, const struct str *st,
			       bool write)
{
	uint64_t ea = idx(s, st, R_RDI);

	if (s->mode & (MODE_CS64 | MODE_FLAT))
		return ea;
	return soft_seg_lin(s, u, SEG_ES, ea, st->n, write);
}

/* Bytes from @ea upward that need no further segment check or index wrap. */
static uint64_t room(const struct soft *s, const struct str *st, unsigned seg, uint64_t ea)
{
	const struct x86_seg *g = &s->seg[seg];
	uint64_t r = st->amask - ea;

	if (s->mode & MODE_CS64)
		return r;
	if ((g->attr & 0x1c) == 0x14 || ea > g->limit)	/* expand-down data */
		return 0;
	return MIN(r, (uint64_t)g->limit - ea + 1);
}

/* Elements that a chunk at @lin in @seg may have, with its host address; 0: go by element. */
static uint64_t chunk(struct soft *s, const struct uop *u, const struct str *st, unsigned seg,
		      uint64_t ea, uint64_t lin, bool write, void **host)
{
	uint64_t bytes = room(s, st, seg, ea);
	size_t page;

	if (bytes < st->n || (lin & 4095) + st->n > 4096)
		return 0;
	*host = soft_host_ptr(s, u, lin, write, &page);
	if (!*host)
		return 0;
	return MIN(bytes, page) / st->n;
}

static uint64_t src_chunk(struct soft *s, const struct uop *u, const struct str *st, void **host)
{
	return chunk(s, u, st, u->seg, idx(s, st, R_RSI), src_lin(s, u, st), false, host);
}

static uint64_t dst_chunk(struct soft *s, const struct uop *u, const struct str *st, bool write,
			  void **host)
{
	return chunk(s, u, st, SEG_ES, idx(s, st, R_RDI), dst_lin(s, u, st, write), write, host);
}

/* After a chunk or batch: go on with the instruction, or leave with it to be resumed. */
static bool must_leave(struct soft *s, const struct uop *u)
{
	if (!(s->mode & (MODE_TF | MODE_CODE_BP)) &&
	    !atomic_load_explicit(s->req, memory_order_relaxed))
		return false;
	s->rip = UOP_RIP(s, u);
	return true;
}

/* ---- element work: returns true when a REPE/REPNE condition ends the instruction -- */
typedef bool (*elem_fn)(struct soft *s, const struct uop *u, const struct str *st);
/* Chunk work: up to @max elements done; 0: use elem. */
typedef uint64_t (*chunk_fn)(struct soft *s, const struct uop *u, const struct str *st,
			     uint64_t max, bool *stop);

static const struct uop *str_run(struct soft *s, const struct uop *u, const struct str *st,
				 elem_fn elem, chunk_fn by_chunk)
{
	unsigned batch = 0;

	if (!st->rep) {
		elem(s, u, st);
		return u + 1;
	}
	for (;;) {
		uint64_t count = idx(s, st, R_RCX), done = 0;
		bool stop = false;

		if (!count)
			return u + 1;
		if (by_chunk && st->step > 0 && !(s->mode & (MODE_TF | MODE_CODE_BP)))
			done = by_chunk(s, u, st, count, &stop);
		if (!done) {
			stop = elem(s, u, st);
			done = 1;
		} else {
			batch = BATCH;
		}
		idx_add(s, st, R_RCX, -(int64_t)done);
		if (stop || done == count)
			return u + 1;
		if ((++batch >= BATCH || s->mode & (MODE_TF | MODE_CODE_BP)) && must_leave(s, u))
			return NULL;
		if (batch >= BATCH)
			batch = 0;
	}
}

/* ---- MOVS ---------------------------------------------------------------------- */
static bool movs_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	uint64_t v = soft_ld(s, u, src_lin(s, u, st), st->n);

	soft_st(s, u, dst_lin(s, u, st, true), st->n, v);
	idx_add(s, st, R_RSI, st->step);
	idx_add(s, st, R_RDI, st->step);
	return false;
}

/* Element order is visible when the destination starts inside the source. */
static void copy_up(uint8_t *dst, const uint8_t *src, size_t bytes, unsigned n)
{
	if (dst <= src || dst >= src + bytes) {
		memmove(dst, src, bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i += n) {
		uint64_t v;

		memcpy(&v, src + i, n);
		memcpy(dst + i, &v, n);
	}
}

static uint64_t movs_chunk(struct soft *s, const struct uop *u, const struct str *st, uint64_t max,
			   bool *stop)
{
	void *src, *dst;
	uint64_t n = src_chunk(s, u, st, &src);

	if (n)
		n = MIN(n, dst_chunk(s, u, st, true, &dst));
	n = MIN(n, max);
	if (!n)
		return 0;
	copy_up(dst, src, n * st->n, st->n);
	idx_add(s, st, R_RSI, (int64_t)n * st->n);
	idx_add(s, st, R_RDI, (int64_t)n * st->n);
	return n;
}

HN(h_movs)
{
	struct str st = str_begin(s, u);

	return str_run(s, u, &st, movs_elem, movs_chunk);
}

/* ---- STOS ---------------------------------------------------------------------- */
static bool stos_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	soft_st(s, u, dst_lin(s, u, st, true), st->n, soft_rd_gpr(s, R_RAX * 8, st->n));
	idx_add(s, st, R_RDI, st->step);
	return false;
}

static uint64_t stos_chunk(struct soft *s, const struct uop *u, const struct str *st, uint64_t max,
			   bool *stop)
{
	void *dst;
	uint64_t n = dst_chunk(s, u, st, true, &dst);
	uint64_t v = soft_rd_gpr(s, R_RAX * 8, st->n);

	n = MIN(n, max);
	if (!n)
		return 0;
	if (st->n == 1 || v == 0)
		memset(dst, (int)(v & 0xff), n * st->n);
	else
		for (uint64_t i = 0; i < n; i++)
			memcpy((uint8_t *)dst + i * st->n, &v, st->n);
	idx_add(s, st, R_RDI, (int64_t)n * st->n);
	return n;
}

HN(h_stos)
{
	struct str st = str_begin(s, u);

	return str_run(s, u, &st, stos_elem, stos_chunk);
}

/* ---- LODS ---------------------------------------------------------------------- */
static bool lods_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	soft_wr_gpr(s, R_RAX * 8, st->n, soft_ld(s, u, src_lin(s, u, st), st->n));
	idx_add(s, st, R_RSI, st->step);
	return false;
}

HN(h_lods)
{
	struct str st = str_begin(s, u);

	return str_run(s, u, &st, lods_elem, NULL);
}

/* ---- SCAS, CMPS ------------------------------------------------------------------ */
/* F3 goes on while equal, F2 while different. */
static inline bool str_ends(const struct uop *u, bool equal)
{
	return u->flags & UOP_REPNE ? equal : !equal;
}

static inline void str_flags(struct soft *s, const struct str *st, uint64_t a, uint64_t b)
{
	cc_set(s, CC(CC_SUB, lg_size(st->n)), sext(a - b, st->n), a, b);
}

static inline uint64_t host_elem(const uint8_t *p, unsigned n)
{
	switch (n) {
	case 1:
		return *p;
	case 2:
		return ld_le16(p);
	case 4:
		return ld_le32(p);
	default:
		return ld_le64(p);
	}
}

static bool scas_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	uint64_t a = soft_rd_gpr(s, R_RAX * 8, st->n);
	uint64_t b = soft_ld(s, u, dst_lin(s, u, st, false), st->n);

	idx_add(s, st, R_RDI, st->step);
	str_flags(s, st, a, b);
	return str_ends(u, a == b);
}

static uint64_t scas_chunk(struct soft *s, const struct uop *u, const struct str *st, uint64_t max,
			   bool *stop)
{
	uint64_t a = soft_rd_gpr(s, R_RAX * 8, st->n), b = 0, i = 0;
	void *p;
	uint64_t n = dst_chunk(s, u, st, false, &p);

	n = MIN(n, max);
	while (i < n && !*stop) {
		b = host_elem((const uint8_t *)p + i++ * st->n, st->n);
		*stop = str_ends(u, a == b);
	}
	if (!n)
		return 0;
	idx_add(s, st, R_RDI, (int64_t)i * st->n);
	str_flags(s, st, a, b);
	return i;
}

HN(h_scas)
{
	struct str st = str_begin(s, u);

	return str_run(s, u, &st, scas_elem, scas_chunk);
}

static bool cmps_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	uint64_t a = soft_ld(s, u, src_lin(s, u, st), st->n);
	uint64_t b = soft_ld(s, u, dst_lin(s, u, st, false), st->n);

	idx_add(s, st, R_RSI, st->step);
	idx_add(s, st, R_RDI, st->step);
	str_flags(s, st, a, b);
	return str_ends(u, a == b);
}

static uint64_t cmps_chunk(struct soft *s, const struct uop *u, const struct str *st, uint64_t max,
			   bool *stop)
{
	void *p, *q;
	uint64_t n = src_chunk(s, u, st, &p);
	uint64_t a = 0, b = 0, i = 0;

	if (n)
		n = MIN(n, dst_chunk(s, u, st, false, &q));
	n = MIN(n, max);
	while (i < n && !*stop) {
		a = host_elem((const uint8_t *)p + i * st->n, st->n);
		b = host_elem((const uint8_t *)q + i++ * st->n, st->n);
		*stop = str_ends(u, a == b);
	}
	if (!n)
		return 0;
	idx_add(s, st, R_RSI, (int64_t)i * st->n);
	idx_add(s, st, R_RDI, (int64_t)i * st->n);
	str_flags(s, st, a, b);
	return i;
}

HN(h_cmps)
{
	struct str st = str_begin(s, u);

	return str_run(s, u, &st, cmps_elem, cmps_chunk);
}

/* ---- INS, OUTS -------------------------------------------------------------------- */
/* The port is read only when the store cannot fault. */
static bool ins_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	uint16_t port = rd16(s, R_RDX * 8);
	uint64_t lin, v;

	soft_check_io(s, u, port, st->n);
	lin = dst_lin(s, u, st, true);
	if (!tlb_w(s, lin, st->n))
		soft_probe_write(s, u, lin, st->n);
	v = soft_bus_read(s, BUS_PIO, port, st->n);
	soft_st(s, u, lin, st->n, v);
	idx_add(s, st, R_RDI, st->step);
	return false;
}

/* The port is checked even if the count is zero. */
HN(h_ins)
{
	struct str st = str_begin(s, u);

	soft_check_io(s, u, rd16(s, R_RDX * 8), st.n);
	return str_run(s, u, &st, ins_elem, NULL);
}

static bool outs_elem(struct soft *s, const struct uop *u, const struct str *st)
{
	uint16_t port = rd16(s, R_RDX * 8);
	uint64_t v;

	soft_check_io(s, u, port, st->n);
	v = soft_ld(s, u, src_lin(s, u, st), st->n);
	soft_bus_write(s, BUS_PIO, port, st->n, v);
	idx_add(s, st, R_RSI, st->step);
	return false;
}

HN(h_outs)
{
	struct str st = str_begin(s, u);

	soft_check_io(s, u, rd16(s, R_RDX * 8), st.n);
	return str_run(s, u, &st, outs_elem, NULL);
}
