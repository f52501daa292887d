/* SPDX-License-Identifier: MIT */
/*
 * Generator of differential cases: random encodings of the rows of the
 * instruction table, with registers chosen so that most memory operands hit
 * the data pages, and values biased to edges.  A case depends only on the
 * seed and its number.
 */
#include "diff_gen.h"
#include <stdlib.h>

static void random_state(struct gen *g)
{
	struct diff_state *st = &g->c->in;

	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = g_value(g);
	st->gpr[R_RSP] =
		DIFF_DATA + 0x800 + 8 * g_below(g, 256) + (g_pct(g, 10) ? g_below(g, 8) : 0);
	st->rflags = 0x202 | (g_rnd(g) & FL_ARITH) | (g_pct(g, 40) ? FL_DF : 0) |
		     (g_pct(g, 3) ? FL_AC : 0);
	st->fsbase = DIFF_DATA - 0x100000 + g_below(g, 0x1000);
	st->gsbase = DIFF_DATA - 0x200000 + g_below(g, 0x1000);
}

static struct diff_patch *patch(struct gen *g, uint64_t at, unsigned len)
{
	struct diff_case *c = g->c;
	struct diff_patch *p;

	if (c->npatch == ARRAY_SIZE(c->patch) || at < DIFF_DATA)
		return NULL;
	if (at - DIFF_DATA + len > DIFF_DATA_LEN)
		return NULL;
	p = &c->patch[c->npatch++];
	p->at = at;
	p->len = len;
	return p;
}

static void patch64(struct gen *g, uint64_t at, uint64_t v, unsigned len)
{
	struct diff_patch *p = patch(g, at, len);

	if (p)
		memcpy(p->b, &v, len);
}

static void set_gpr(struct gen *g, unsigned n, uint64_t v)
{
	if (!(g->fixed >> n & 1))
		g->c->in.gpr[n] = v;
	g->fixed |= 1u << n;
}

/* A place for @len bytes of data. */
static uint64_t pick_target(struct gen *g, unsigned len)
{
	unsigned r = g_below(g, 100);

	if (r < 45)
		return DIFF_DATA + (g_below(g, DIFF_RW_LEN - 1024) & ~15u);
	if (r < 75)
		return DIFF_DATA + g_below(g, DIFF_RW_LEN - 1024);
	if (r < 83)
		return DIFF_DATA + 0x1000 - g_below(g, len + 2);
	if (r < 88)
		return DIFF_DATA + DIFF_RW_LEN + g_below(g, 0x800);
	if (r < 91)
		return DIFF_DATA + DIFF_RW_LEN - g_below(g, len + 2);
	if (r < 94)
		return DIFF_DATA + DIFF_DATA_LEN - g_below(g, len + 2);
	if (r < 96)
		return DIFF_DATA - g_below(g, len + 2);
	if (r < 97)
		return DIFF_CODE + g_below(g, 0x1000);
	if (r < 98 && g->c->bits == 64 && g->seg == SEG_NUM)
		return (g_pct(g, 50) ? 0x00007fffffffffffull : 0xffff800000000000ull) +
		       g_below(g, 16) - 8;
	if (r < 99 && g->c->bits == 64 && g->seg == SEG_NUM)
		return g_rnd(g) | 1ull << 63;	/* kernel half or not canonical */
	return DIFF_DATA + (g_below(g, DIFF_RW_LEN - 1024) & ~63u);
}

/* ---- bytes ---------------------------------------------------------------------- */
static void put(struct gen *g, uint64_t v, unsigned n)
{
	memcpy(g->p, &v, n);
	g->p += n;
}

static unsigned size_of(const struct gen *g, char letter)
{
	switch (letter) {
	case 'b': case 'B':
		return 1;
	case 'w': case 'W':
		return 2;
	case 'd':
		return 4;
	case 'q':
		return 8;
	case 'x':
		return g->vex_l ? 32 : 16;
	case 'o':
		return 16;
	case 'h':
		return g->vex_l ? 16 : 8;
	case 'f':
		return g->vex_l ? 8 : 4;
	case 'e':
		return g->vex_l ? 4 : 2;
	case 'y':
		return g->rexw ? 8 : 4;
	case 'z':
		return MIN(g->osize, 4u);
	default:
		return g->osize;
	}
}

static bool has_kind(const struct gen *g, unsigned kind)
{
	for (unsigned i = 0; i < g->inf->n; i++)
		if (g->inf->opd[i].kind == kind)
			return true;
	return false;
}

static bool is(const struct gen *g, const char *mnem)
{
	return !strcmp(g->row->mnem, mnem);
}

static bool starts(const struct gen *g, const char *mnem)
{
	return !strncmp(g->row->mnem, mnem, strlen(mnem));
}

static unsigned memory_size(const struct gen *g)
{
	for (unsigned i = 0; i < g->inf->n; i++) {
		const struct opd *o = &g->inf->opd[i];

		if ((o->kind == K_E || o->kind == K_R || o->kind == K_M || o->kind == K_O ||
		     o->kind == K_W || o->kind == K_Q || o->kind == K_X || o->kind == K_Y ||
		     o->kind == K_T))
			return o->bytes ? o->bytes : o->size ? size_of(g, o->size) : 16;
	}
	return 8;
}

/* L and W as the row wants them, now and then otherwise; vvvv is random where it is used. */
static void vex_fields(struct gen *g)
{
	uint32_t attr = g->inf->attr;
	bool wrong = g->vex_odd = g_pct(g, 2);

	g->vex_l = attr & A_L1 ? true : attr & A_L0 ? false : g_pct(g, 50);
	g->vex_w = attr & A_W1 ? true : attr & A_W0 ? false : g_pct(g, 40);
	g->vex_v = (uint8_t)(attr & A_NOV && !(wrong && g_pct(g, 30)) ? 0 : g_below(g, 16));
	if (wrong && g_pct(g, 40))
		g->vex_l = !g->vex_l;
	if (wrong && g_pct(g, 40) && !starts(g, "vpermp") && !is(g, "vpermq"))
		g->vex_w = !g->vex_w;	/* AMD ignores it in VPERMQ and VPERMPD */
}

static void vex_prefix(struct gen *g)
{
	static const uint8_t before[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x48 };
	const struct optable_row *r = g->row;
	bool b64 = g->c->bits == 64, wrong = g_pct(g, 1);
	unsigned pp = r->prefix == P_66 ? 1 : r->prefix == P_F3 ? 2 : r->prefix == P_F2 ? 3 : 0;
	unsigned last, high = (unsigned)(b64 ? g_rnd(g) & (g_pct(g, 50) ? 7 : 5) : 0);

	vex_fields(g);
	g->vex_odd |= wrong;
	if (wrong)
		put(g, before[g_below(g, b64 ? 5 : 4)], 1);
	g->rex = (uint8_t)(high | (g->vex_w ? 8 : 0));
	last = (~g->vex_v & 15u) << 3 | (g->vex_l ? 4 : 0) | pp;
	if (r->map == V0F && !(high & 3) && !g->vex_w && g_pct(g, 60) &&
	    (b64 || g->vex_v < 8)) {
		put(g, 0xc5, 1);
		put(g, (high & 4 ? 0 : 0x80) | last, 1);
	} else {
		put(g, 0xc4, 1);
		put(g, (~high & 7) << 5 | (r->map - V0F + 1u), 1);
		put(g, (g->vex_w ? 0x80 : 0) | last, 1);
	}
	if (g->inf->attr & A_LIG)
		g->vex_l = false;
	g->vex_v &= b64 ? 15 : 7;
	g->rexw = b64 && g->vex_w;
	if (!b64)
		g->rex = 0;
	g->osize = g->rexw ? 8 : 4;
}

static void prefixes(struct gen *g)
{
	const struct optable_row *r = g->row;
	bool b64 = g->c->bits == 64, branch = has_kind(g, K_J) || is(g, "call") || is(g, "jmp") ||
		   is(g, "ret");

	g->vex_l = g->vex_odd = false;
	if (r->map < V0F && (r->prefix == P_66 || (r->prefix == P_ANY && !branch && g_pct(g, 20)) ||
	    (r->map == M38 && r->prefix == P_F2 && g_pct(g, 30))))
		g->p66 = true;
	g->p67 = !g->plain && g_pct(g, b64 ? 8 : 2);
	if (g->p66)
		put(g, 0x66, 1);
	if (g->p67)
		put(g, 0x67, 1);
	g->seg = SEG_NUM;
	if (b64 && g_pct(g, 6)) {
		g->seg = g_below(g, SEG_NUM);
		put(g, g->seg < 4 ? 0x26 + 8 * g->seg : 0x64 + g->seg - 4, 1);
		if (g->seg < SEG_FS)
			g->seg = SEG_NUM;
	}
	g->asize = b64 ? g->p67 ? 4 : 8 : g->p67 ? 2 : 4;
	if (r->map >= V0F) {
		vex_prefix(g);
		return;
	}
	if (r->prefix == P_F3 || r->prefix == P_F2)
		put(g, r->prefix == P_F3 ? 0xf3 : 0xf2, 1);
	else if (r->prefix == P_ANY && (g->inf->attr & A_REPSTR ? g_pct(g, 60) :
					r->map == M1 && r->opcode != 0x90 &&
					(r->opcode & 0xfc) != 0xe0 && g_pct(g, 2)))
		put(g, g_pct(g, 50) ? 0xf3 : 0xf2, 1);
	if (b64 && g_pct(g, 55)) {
		g->rex = (uint8_t)(0x40 | (g_rnd(g) & (g_pct(g, 50) ? 15 : 7)));
		if (r->map == M1 && r->opcode == 0x90)
			g->rex &= (uint8_t)~1;
		put(g, g->rex, 1);
	}
	g->rexw = g->rex & 8;
	g->osize = g->rexw ? 8 : g->p66 && r->prefix != P_66 && !(g->inf->attr & A_NO66) ? 2 : 4;
	if (b64 && (g->inf->attr & A_F64 || (g->inf->attr & A_D64 && g->osize == 4)))
		g->osize = 8;
	switch (r->map) {
	case M0F:
		put(g, 0x0f, 1);
		break;
	case M38:
		put(g, 0x380f, 2);
		break;
	case M3A:
		put(g, 0x3a0f, 2);
		break;
	}
}

/* ---- memory operand ----------------------------------------------------------------- */
static uint64_t ea_for(struct gen *g, uint64_t target)
{
	if (g->seg == SEG_FS)
		return target - g->c->in.fsbase;
	if (g->seg == SEG_GS)
		return target - g->c->in.gsbase;
	return target;
}

static uint64_t ea_mask(const struct gen *g, uint64_t v)
{
	return g->asize == 8 ? v : g->asize == 4 ? (uint32_t)v : (uint16_t)v;
}

/* Value for a register that is to hold @ea; bits beyond the address size are random. */
static uint64_t ea_reg(struct gen *g, uint64_t ea)
{
	if (g->asize == 4 && g->c->bits == 64)
		return (uint32_t)ea | g_rnd(g) << 32;
	return ea;
}

static void mem_sib(struct gen *g, unsigned reg, uint64_t ea)
{
	unsigned mod = g_below(g, 3), scale = g_below(g, 4), base = g_below(g, 8),
		 index = g_below(g, 8);
	unsigned xbase = base | (g->rex & 1) << 3, xindex = index | (g->rex & 2) << 2;
	bool has_base = mod || base != 5, has_index = xindex != 4;
	uint64_t disp = mod == 1 ? (uint64_t)(int64_t)(int8_t)g_rnd(g)
			: mod == 2 || !has_base
				? (uint64_t)(int64_t)(int32_t)(g_rnd(g) >> g_below(g, 32))
				: 0;
	uint64_t idx = 0;

	if (has_base && has_index && xbase == xindex) {
		index = g->rex & 2 ? base ^ 1 : 4;
		xindex = index | (g->rex & 2) << 2;
		has_index = xindex != 4;
	}
	if (has_index) {
		if (!has_base) {
			disp &= ~7ull;
			disp |= ea & ((1u << scale) - 1);
			idx = (ea - disp) >> scale;
			if (mod == 0 && (int64_t)disp != (int32_t)disp)
				disp = 0;
			set_gpr(g, xindex, ea_reg(g, idx));
			idx = g->c->in.gpr[xindex] << scale;
		} else {
			if (!(g->fixed >> xindex & 1) && g_pct(g, 70))
				set_gpr(g, xindex, g_below(g, 4096) - 2048ull);
			g->fixed |= 1u << xindex;
			idx = g->c->in.gpr[xindex] << scale;
		}
	}
	if (has_base)
		set_gpr(g, xbase, ea_reg(g, ea - disp - idx));
	else if (!has_index)
		disp = ea;
	put(g, mod << 6 | reg << 3 | 4, 1);
	put(g, scale << 6 | index << 3 | base, 1);
	if (mod == 1)
		put(g, disp, 1);
	else if (mod == 2 || !has_base)
		put(g, disp, 4);
}

/*
 * A gather: the base register at the target, indices that stay near it, and
 * now and then one that does not.
 */
static void mem_vsib(struct gen *g, unsigned reg, uint64_t ea)
{
	unsigned mod = g_below(g, 3), base = g_below(g, 8), index = g_below(g, 8),
		 scale = g_below(g, 4), xbase = base | (g->rex & 1) << 3,
		 x = index | (g->rex & 2) << 2, isize = g->row->opcode & 1 ? 8 : 4;
	uint64_t disp = mod == 1 ? (uint64_t)(int64_t)(int8_t)g_rnd(g) : g_rnd(g) & 0x3ff;
	bool has_base = mod || base != 5;

	if (mod == 0 && has_base)
		disp = 0;
	if (has_base)
		set_gpr(g, xbase, ea_reg(g, ea - disp));
	else
		disp = ea;
	for (unsigned i = 0; i < 32; i += isize) {
		int64_t v = g_pct(g, 3) ? (int64_t)g_rnd(g) >> g_below(g, 64)
					: (int64_t)g_below(g, 1024) - 300;

		memcpy(g->c->in.fx + (i < 16 ? 160 + i : DIFF_YMM + i - 16) + 16 * x, &v, isize);
	}
	put(g, mod << 6 | reg << 3 | 4, 1);
	put(g, scale << 6 | index << 3 | base, 1);
	put(g, disp, mod == 1 ? 1 : mod == 2 || !has_base ? 4 : 0);
}

static void mem_plain(struct gen *g, unsigned reg, uint64_t ea)
{
	unsigned mod = g_below(g, 3), rm = g_below(g, 8);
	uint64_t disp;

	if (rm == 4)
		rm = 3;
	if (mod == 0 && rm == 5) {
		put(g, reg << 3 | 5, 1);
		if (g->c->bits == 64)
			g->rip_disp = g->p;
		put(g, ea, 4);
		return;
	}
	disp = mod == 1 ? (uint64_t)(int64_t)(int8_t)g_rnd(g) :
	       mod == 2 ? (uint64_t)(int64_t)(int32_t)g_rnd(g) : 0;
	set_gpr(g, rm | (g->rex & 1) << 3, ea_reg(g, ea - disp));
	put(g, mod << 6 | reg << 3 | rm, 1);
	put(g, disp, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

static void memory(struct gen *g, unsigned reg)
{
	uint64_t ea = ea_mask(g, ea_for(g, g->target));

	if (g->asize == 2) {
		unsigned mod = g_below(g, 3), rm = g_below(g, 8);

		put(g, mod << 6 | reg << 3 | rm, 1);
		put(g, g_rnd(g), mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
		g->target = 0;
	} else if (has_kind(g, K_T) && !g_pct(g, 2)) {
		mem_vsib(g, reg, ea);
	} else if (g_pct(g, 40)) {
		mem_sib(g, reg, ea);
	} else {
		mem_plain(g, reg, ea);
	}
}

static void modrm(struct gen *g)
{
	const struct optable_row *r = g->row;
	int ext = r->ext;
	unsigned reg = g_below(g, 8), rm = g_below(g, 8);
	bool must_mem = has_kind(g, K_M) || has_kind(g, K_T) || ext == X_MEM ||
			(ext >= 0x10 && ext < 0x18);
	bool must_reg = has_kind(g, K_U) || has_kind(g, K_N) || ext == X_REG ||
			(ext >= 0x20 && ext < 0x28) || (has_kind(g, K_STI) && !must_mem);

	if (ext >= 0x100) {
		put(g, (unsigned)ext & 0xff, 1);
		return;
	}
	if (ext >= 0 && ext < 0x28)
		reg = (unsigned)ext & 7;
	g->is_mem = must_mem || (!must_reg && !g->plain && g_pct(g, 60));
	if (has_kind(g, K_G))
		g->reg = (int)(reg | (g->rex & 4) << 1);
	if (g->is_mem) {
		memory(g, reg);
		return;
	}
	if (has_kind(g, K_E))
		g->rm = (int)(rm | (g->rex & 1) << 3);
	put(g, 0xc0 | reg << 3 | rm, 1);
}

/* ---- what particular instructions want -------------------------------------------------- */
static uint64_t code_target(struct gen *g)
{
	if (g_pct(g, 80))
		return DIFF_CODE + 0x100 + g_below(g, 0x600);
	return g_pct(g, 50) ? DIFF_DATA + g_below(g, 0x1000) : 0x2f000000 + g_below(g, 0x1000);
}

static void string_operands(struct gen *g)
{
	uint64_t t = pick_target(g, 16);

	if (has_kind(g, K_X))
		set_gpr(g, R_RSI, ea_reg(g, ea_mask(g, ea_for(g, t))));
	t = g_pct(g, 20) ? t + g_below(g, 32) : pick_target(g, 16);
	if (has_kind(g, K_Y))
		set_gpr(g, R_RDI, ea_reg(g, ea_mask(g, t)));
	set_gpr(g, R_RCX, g_pct(g, 85) ? g_below(g, 40) : g_below(g, 2500));
	if (g->asize == 4 && g->c->bits == 64)
		g->c->in.gpr[R_RCX] |= g_rnd(g) << 32;
}

static void stack_operands(struct gen *g)
{
	if (g_pct(g, 10))
		g->c->in.gpr[R_RSP] = pick_target(g, 8);
	if (is(g, "leave") || is(g, "enter"))
		set_gpr(g, R_RBP,
			g_pct(g, 80) ? DIFF_DATA + 0x400 + g_below(g, 0x800) : pick_target(g, 8));
	if (is(g, "ret"))
		patch64(g, g->c->in.gpr[R_RSP], code_target(g), g->osize);
	if (is(g, "popf")) {
		if (g->c->in.gpr[R_RSP] - DIFF_DATA > DIFF_DATA_LEN - 64)
			g->c->in.gpr[R_RSP] = DIFF_DATA + 0x800;
		patch64(g, g->c->in.gpr[R_RSP] & ~7ull, g_rnd(g) & ~0x0100010001000100ull, 8);
		patch64(g, (g->c->in.gpr[R_RSP] & ~7ull) + 8, g_rnd(g) & ~0x0100010001000100ull, 8);
	}
}

static void indirect_target(struct gen *g)
{
	uint64_t t = code_target(g);

	if (g->is_mem)
		patch64(g, g->target, t, g->osize);
	else if (g->rm >= 0)
		set_gpr(g, (unsigned)g->rm, t);
}

static void divide(struct gen *g)
{
	if (g->is_mem && g_pct(g, 70))
		patch64(g, g->target, g_value(g), 8);
	if (g_pct(g, 70))
		set_gpr(g, R_RDX, g_pct(g, 50) ? 0 : g_below(g, 100));
	else if (g_pct(g, 50))
		set_gpr(g, R_RDX, (uint64_t)((int64_t)g->c->in.gpr[R_RAX] >> 63));
	if (g->row->opcode == 0xf6 && g_pct(g, 70))
		set_gpr(g, R_RAX, g_value(g) & 0xfff);
}

static void state_operand(struct gen *g)
{
	struct diff_patch *p = patch(g, g->target, g->mem_len);
	uint8_t fx[DIFF_FX_LEN];
	uint32_t v;

	if (!p)
		return;
	memset(p->b, 0, sizeof(p->b));
	g_fx_state(g, fx, true);
	if (is(g, "fxrstor") || is(g, "xrstor")) {
		memcpy(p->b, fx, DIFF_FX_LEN);
		p->len = is(g, "xrstor") ? DIFF_FX_LEN : 512;
		if (is(g, "xrstor")) {
			memset(p->b + 512, 0, 64);
			p->b[512] = (uint8_t)g_below(g, 8);
			if (g_pct(g, 40)) {
				p->b[520] = (uint8_t)(p->b[512] | g_below(g, 8));
				p->b[527] = 0x80;
				if (g_pct(g, 10))
					p->b[521 + g_below(g, 55)] ^= (uint8_t)(4 << g_below(g, 6));
			} else if (g_pct(g, 10))
				p->b[514 + 8 * g_below(g, 3) + g_below(g, 5)] |=
					(uint8_t)(8 << g_below(g, 5));
		}
		if (g_pct(g, 10))
			p->b[26 + g_below(g, 2)] |= (uint8_t)(1 << g_below(g, 8)) & (uint8_t)~2;
	} else if (strstr(g->row->mnem, "ldmxcsr")) {
		memcpy(&v, fx + 24, 4);
		if (g_pct(g, 10))
			v |= 1u << g_below(g, 32);
		v &= ~0x20000u;		/* AMD's MM bit */
		memcpy(p->b, &v, 4);
	} else if (is(g, "fldcw")) {
		memcpy(p->b, fx, 2);
	} else {		/* FLDENV, FRSTOR */
		unsigned step = g->osize == 2 ? 2 : 4;
		uint16_t tags = (uint16_t)g_rnd(g);

		memcpy(p->b, fx, 2);
		memcpy(p->b + step, fx + 2, 2);
		memcpy(p->b + 2 * step, &tags, 2);
		for (unsigned i = 0; i < 8; i++)
			g_float80(g, p->b + 7 * step + 10 * i);
	}
}

static void special(struct gen *g)
{
	const struct optable_row *r = g->row;
	struct diff_patch *p;

	if (g->inf->attr & A_REPSTR)
		string_operands(g);
	if (is(g, "call") || is(g, "jmp"))
		indirect_target(g);
	if (starts(g, "bt") && g->is_mem && g->reg >= 0 && g_pct(g, 90))
		set_gpr(g, (unsigned)g->reg, (uint64_t)((int64_t)g_below(g, 16384) - 8192));
	if (is(g, "div") || is(g, "idiv"))
		divide(g);
	if (is(g, "xlat"))
		set_gpr(g, R_RBX, ea_reg(g, ea_mask(g, ea_for(g, pick_target(g, 1)))));
	if (starts(g, "maskmov"))
		set_gpr(g, R_RDI, ea_reg(g, ea_mask(g, ea_for(g, pick_target(g, 16)))));
	if (starts(g, "xsave") || is(g, "xrstor")) {
		set_gpr(g, R_RAX, g_below(g, 8) | (g_pct(g, 20) ? g_rnd(g) << 32 : 0));
		set_gpr(g, R_RDX, g_pct(g, 20) ? g_rnd(g) << 32 : 0);
	}
	if (starts(g, "xsave"))
		patch64(g, g->target + 512, g_pct(g, 50) ? 7 : 0, 8);
	else if (is(g, "fxrstor") || is(g, "xrstor") || strstr(r->mnem, "ldmxcsr") ||
		 is(g, "fldcw") || is(g, "fldenv") || is(g, "frstor"))
		state_operand(g);
	else if (r->map == M1 && r->opcode == 0x62 && g_pct(g, 60))
		patch64(g, g->target, (uint64_t)100 << 32 | (g_rnd(g) & 0x80000000), 8);
	else if (g->is_mem && g->target && !is(g, "call") && !is(g, "jmp") && g->mem_len <= 32) {
		p = patch(g, g->target, g->mem_len);
		if (p) {
			g_fill(g, p->b, g->mem_len);
			if (g->mem_len == 10 && g_pct(g, 80))
				g_float80(g, p->b);
			if (is(g, "fbld") && g_pct(g, 90))
				for (unsigned i = 0; i < 10; i++)
					p->b[i] = (uint8_t)(g_below(g, 10) | g_below(g, 10) << 4);
		}
	}
	if (starts(g, "cmpxchg") && g_pct(g, 50)) {
		set_gpr(g, R_RAX, g->rm >= 0 ? g->c->in.gpr[g->rm & 15] : g_value(g));
		if (g->is_mem)
			patch64(g, g->target, g->c->in.gpr[R_RAX] & (r->opcode == 0xc7 && !g->rexw ?
								  0xffffffff : ~0ull), 8);
		if (r->opcode == 0xc7) {
			uint64_t hi = g->c->in.gpr[R_RDX];

			patch64(g, g->target + (g->rexw ? 8 : 4), hi, g->rexw ? 8 : 4);
		}
	}
	if (starts(g, "pcmpestr") && g_pct(g, 80)) {
		set_gpr(g, R_RAX, g_below(g, 40) - 20ull);
		set_gpr(g, R_RDX, g_below(g, 40) - 20ull);
	}
	stack_operands(g);
}

static void immediates(struct gen *g)
{
	for (unsigned i = 0; i < g->inf->n; i++) {
		const struct opd *o = &g->inf->opd[i];
		unsigned n = size_of(g, o->size);

		if (o->kind == K_I) {
			uint64_t v = g_value(g);

			if (is(g, "enter") && n == 1 && g_pct(g, 80))
				v &= 3;
			if ((is(g, "ret") || is(g, "enter")) && n == 2)
				v &= g_pct(g, 90) ? 0x1f8 : 0xffff;
			put(g, v, n);
		} else if (o->kind == K_O) {
			put(g, ea_mask(g, ea_for(g, g->target)), g->asize);
			g->is_mem = true;
		} else if (o->kind == K_J) {
			uint64_t here = (uint64_t)(g->p - g->c->code) + g->c->in.rip;

			if (o->size == 'b')
				put(g,
				    g_pct(g, 50) ? 2 + g_below(g, 0x70) : -(64ull + g_below(g, 60)),
				    1);
			else
				put(g, code_target(g) - here - 4, 4);
		}
	}
}

/* ---- one instruction --------------------------------------------------------------------- */
static void emit(struct gen *g, unsigned row)
{
	struct diff_case *c = g->c;
	uint8_t *start = g->p;

	g->row = &soft_optable[row];
	g->inf = &soft_optable_info[row];
	g->p66 = g->p67 = g->rexw = g->is_mem = false;
	g->rex = 0;
	g->reg = g->rm = -1;
	g->rip_disp = NULL;
	prefixes(g);
	g->mem_len = memory_size(g);
	if (starts(g, "fnsave") || is(g, "frstor"))
		g->mem_len = g->osize == 2 ? 94 : 108;
	else if (starts(g, "fnstenv") || is(g, "fldenv"))
		g->mem_len = g->osize == 2 ? 14 : 28;
	g->target = pick_target(g, g->mem_len);
	if (starts(g, "sha1") || starts(g, "sha256"))	/* AMD does not check it */
		g->target &= ~15ull;
	if (g->mem_len >= 512 && g_pct(g, 90))
		g->target = DIFF_DATA + (g_below(g, 0x1800) & ~(g->mem_len == 512 ? 15u : 63u));
	put(g, g->row->opcode + (has_kind(g, K_Z) ? g_below(g, 8) : 0), 1);
	if (g->inf->attr & A_MODRM)
		modrm(g);
	immediates(g);
	if (g->rip_disp) {
		uint64_t next = c->in.rip + (uint64_t)(g->p - c->code);
		uint32_t disp = (uint32_t)(ea_for(g, g->target) - next);

		memcpy(g->rip_disp, &disp, 4);
	}
	if (!g->plain)
		special(g);
	/* LOCK goes in front, sometimes where it is not allowed (AMD: LOCK MOV CR0 is MOV CR8). */
	if (!g->plain && (g->inf->attr & A_LOCK && g->is_mem ? g_pct(g, 20) : g_pct(g, 1)) &&
	    !g->rip_disp && !has_kind(g, K_J) && !has_kind(g, K_C)) {
		memmove(start + 1, start, (size_t)(g->p - start));
		*start = 0xf0;
		g->vex_odd |= g->row->map >= V0F;
		g->p++;
	}
	c->mem_len = g->mem_len;
	c->wide |= g->mem_len == 10 || g->mem_len == 14 || g->mem_len > 16;
	if (g->seg != SEG_NUM)
		c->seg = g->seg;
	c->target = g->target;
	c->rows[c->nrows++] = row;
	c->undef_fault = c->undef;
	c->undef = (c->undef & ~g->row->fout) | g->row->fundef;
	c->osize = g->osize;
	c->len = (unsigned)(g->p - c->code);
}

static unsigned *rows64, *rows32, *plain64, *fpu64, n64, n32, np64, nf64;

bool diff_row_testable(unsigned row, unsigned bits)
{
	/* Answers differ by processor, or the kernel has a hand in it. */
	static const char *const never[] = {
		"syscall", "sysret",   "sysenter", "sysexit", "int",	 "int3",    "int1",
		"into",	   "cpuid",    "rdtsc",	   "rdtscp",  "rdpmc",	 "rdrand",  "rdseed",
		"xgetbv",  "iret",     "retf",	   "sgdt",    "sidt",	 "sldt",    "smsw",
		"str",	   "call far", "jmp far",  "lar",     "lsl",	 "verr",    "verw",
		"lds",	   "les",      "lss",	   "lfs",     "lgs",	 "arpl",    "pop es",
		"pop ss",  "pop ds",   "pop fs",   "pop gs",  "push cs", "push ss", "push ds",
		"push es", "push fs",  "push gs",
	};
	/* Marked as system instructions, but the same in ring 3 everywhere. */
	static const char *const always[] = {
		"cld",	    "std",	"pushf",   "popf",  "cli",   "sti",	 "hlt",
		"in",	    "out",	"ins",	   "outs",  "lgdt",  "lidt",	 "lldt",
		"ltr",	    "lmsw",	"invlpg",  "clac",  "stac",  "xsetbv",	 "swapgs",
		"clts",	    "invd",	"wbinvd",  "rdmsr", "wrmsr", "rdfsbase", "rdgsbase",
		"wrfsbase", "wrgsbase", "invpcid",
	};
	const struct optable_row *r = &soft_optable[row];

	if (soft_optable_info[row].attr & (bits == 64 ? A_NO64 : A_ONLY64) ||
	    !soft_has_feat(r->feat))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (!strcmp(always[i], r->mnem))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (!strcmp(never[i], r->mnem))
			return false;
	if (!strcmp(r->mnem, "mov") && strpbrk(r->operands, "CD"))
		return true;
	return !(r->attr & A_NOTEST);
}

/* Vector, MMX and x87, but for whole states and what stores instruction pointers. */
static bool fpu_row(unsigned row)
{
	const struct optable_row *r = &soft_optable[row];
	static const char *const never[] = { "fxsave", "fxrstor", "fnstenv", "fldenv", "fnsave",
					     "frstor", "maskmovq", "maskmovdqu",
					     "vmaskmovdqu" };

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (!strcmp(never[i], r->mnem) || r->attr & A_IS4)
			return false;
	return soft_optable_info[row].attr & (A_FPU | A_SSE | A_MMX | A_AVX) ||
	       !strcmp(r->mnem, "fwait");
}

/* Stores x87 instruction and data pointers, of which the translator keeps no account. */
static bool stores_pointers(const char *mnem)
{
	return !strncmp(mnem, "fnst", 4) || !strcmp(mnem, "fnsave") || strstr(mnem, "xsave");
}

void diff_gen_init(void)
{
	soft_optable_init();
	rows64 = calloc(soft_optable_rows, sizeof(unsigned));
	rows32 = calloc(soft_optable_rows, sizeof(unsigned));
	plain64 = calloc(soft_optable_rows, sizeof(unsigned));
	fpu64 = calloc(soft_optable_rows, sizeof(unsigned));
	for (unsigned i = 0; i < soft_optable_rows; i++) {
		const struct optable_info *inf = &soft_optable_info[i];
		bool reg_only = soft_optable[i].map <= M0F && soft_optable[i].fout &&
				!(inf->attr & (A_END | A_REPSTR | A_FPU | A_SSE | A_MMX)) &&
				inf->n && (inf->opd[0].kind == K_E || inf->opd[0].kind == K_G);

		if (diff_row_testable(i, 64))
			rows64[n64++] = i;
		if (diff_row_testable(i, 32))
			rows32[n32++] = i;
		if (diff_row_testable(i, 64) && diff_row_testable(i, 32) && reg_only &&
		    !strstr(soft_optable[i].mnem, "div") &&
		    strncmp(soft_optable[i].mnem, "bs", 2) &&
		    strcmp(soft_optable[i].mnem, "shld") && strcmp(soft_optable[i].mnem, "shrd"))
			plain64[np64++] = i;
		if (diff_row_testable(i, 64) && diff_row_testable(i, 32) && fpu_row(i))
			fpu64[nf64++] = i;
	}
}

/*
 * Up to 6 vector, MMX and x87 instructions (integer ones between them) in
 * front of the last one, so that the translator has them in one block.  The
 * later ones find the state that the earlier ones left, or never run.
 */
static void fpu_sequence(struct gen *g)
{
	struct diff_case *c = g->c;

	for (unsigned n = 1 + g_below(g, 6); n; n--) {
		bool integer = g_pct(g, 15);
		unsigned i = integer ? plain64[g_below(g, np64)] : fpu64[g_below(g, nf64)];

		g->plain = integer;
		if (!integer || (!soft_optable[i].fundef && !(soft_optable[i].fin & c->undef)))
			emit(g, i);
		g->fixed |= c->nrows > 2 ? 0xffff : 0;
	}
}

void diff_generate(struct diff_case *c, uint64_t seed, uint64_t n, int row)
{
	struct gen g = { .c = c, .rng = seed * 0x2545f4914f6cdd1dull + n };
	unsigned inner = 0;

	c->npatch = c->nrows = c->len = 0;
	c->wide = false;
	c->seg = SEG_NUM;
	c->undef = 0;
	(void)g_rnd(&g);
	c->bits = g_pct(&g, 85) ? 64 : 32;
	if (row >= 0 && !diff_row_testable((unsigned)row, c->bits))
		c->bits ^= 96;
	g.p = c->code;
	random_state(&g);
	c->in.rip = DIFF_CODE + 0x800 + g_below(&g, 64);
	if (row < 0)
		row = (int)(c->bits == 64 ? rows64[g_below(&g, n64)] : rows32[g_below(&g, n32)]);
	g_fx_state(&g, c->in.fx, soft_optable[row].attr & (A_FPU | A_SSE | A_MMX | A_AVX) &&
		   g_pct(&g, 60));
	if (!strcmp(soft_optable[row].mnem, "fwait"))
		g_fx_state(&g, c->in.fx, true);
	if (g_pct(&g, 20))
		inner = 1 + g_below(&g, 2);
	if (g_pct(&g, fpu_row((unsigned)row) ? 40 : 10) &&
	    !stores_pointers(soft_optable[row].mnem)) {
		g_fx_state(&g, c->in.fx, g_pct(&g, 50));
		fpu_sequence(&g);
		inner = 0;
	}
	g.plain = true;
	while (inner--) {
		unsigned i = plain64[g_below(&g, np64)];

		if (!(soft_optable[i].fin & c->undef))
			emit(&g, i);
	}
	g.plain = c->nrows && g_pct(&g, 70) && strcmp(soft_optable[row].mnem, "popf");
	g.fixed = c->nrows ? 0xffff : 0;	/* earlier ones may have changed any register */
	if (c->nrows && soft_optable[row].fin & c->undef)
		return;
	emit(&g, (unsigned)row);
	/* State components that only the host has. */
	if (strstr(soft_optable[row].mnem, "xsave") || is(&g, "xrstor"))
		if ((c->in.gpr[R_RAX] & 0xfffffff8) || (uint32_t)c->in.gpr[R_RDX] || c->nrows > 1)
			c->len = 0;
	/* Sometimes at the end of the page, or running out of it. */
	if (g_pct(&g, 4) && !g.rip_disp && !has_kind(&g, K_J) && c->nrows == 1 && !g.vex_odd &&
	    !is(&g, "ud1")) {
		c->in.rip = DIFF_CODE + 0x1000 - c->len;
		if (g_pct(&g, 40))
			c->in.rip += 1 + g_below(&g, c->len);
	}
}
