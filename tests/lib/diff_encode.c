/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a generated instruction: prefixes, VEX, ModRM, SIB and
 * displacement, with registers set so that the address comes out as wanted.
 */
#include "diff_gen.h"

void g_set_gpr(struct gen *g, unsigned n, uint64_t v)
{
	if (!(g->fixed >> n & 1))
		g->c->in.gpr[n] = v;
	g->fixed |= 1u << n;
}

void g_put(struct gen *g, uint64_t v, unsigned n)
{
	memcpy(g->p, &v, n);
	g->p += n;
}

unsigned g_size_of(const struct gen *g, char letter)
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

bool g_has_kind(const struct gen *g, unsigned kind)
{
	for (unsigned i = 0; i < g->inf->n; i++)
		if (g->inf->opd[i].kind == kind)
			return true;
	return false;
}

bool g_is(const struct gen *g, const char *mnem)
{
	return !strcmp(g->row->mnem, mnem);
}

bool g_starts(const struct gen *g, const char *mnem)
{
	return !strncmp(g->row->mnem, mnem, strlen(mnem));
}

unsigned g_memory_size(const struct gen *g)
{
	for (unsigned i = 0; i < g->inf->n; i++) {
		const struct opd *o = &g->inf->opd[i];

		if ((o->kind == K_E || o->kind == K_R || o->kind == K_M || o->kind == K_O ||
		     o->kind == K_W || o->kind == K_Q || o->kind == K_X || o->kind == K_Y ||
		     o->kind == K_T))
			return o->bytes ? o->bytes : o->size ? g_size_of(g, o->size) : 16;
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
	if (wrong && g_pct(g, 40) && !g_starts(g, "vpermp") && !g_is(g, "vpermq"))
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
		g_put(g, before[g_below(g, b64 ? 5 : 4)], 1);
	g->rex = (uint8_t)(high | (g->vex_w ? 8 : 0));
	last = (~g->vex_v & 15u) << 3 | (g->vex_l ? 4 : 0) | pp;
	if (r->map == V0F && !(high & 3) && !g->vex_w && g_pct(g, 60) &&
	    (b64 || g->vex_v < 8)) {
		g_put(g, 0xc5, 1);
		g_put(g, (high & 4 ? 0 : 0x80) | last, 1);
	} else {
		g_put(g, 0xc4, 1);
		g_put(g, (~high & 7) << 5 | (r->map - V0F + 1u), 1);
		g_put(g, (g->vex_w ? 0x80 : 0) | last, 1);
	}
	if (g->inf->attr & A_LIG)
		g->vex_l = false;
	g->vex_v &= b64 ? 15 : 7;
	g->rexw = b64 && g->vex_w;
	if (!b64)
		g->rex = 0;
	g->osize = g->rexw ? 8 : 4;
}

void g_prefixes(struct gen *g)
{
	const struct optable_row *r = g->row;
	bool b64 = g->c->bits == 64;
	bool branch = g_has_kind(g, K_J) || g_is(g, "call") || g_is(g, "jmp") || g_is(g, "ret");

	g->vex_l = g->vex_odd = false;
	if (r->map < V0F && (r->prefix == P_66 || (r->prefix == P_ANY && !branch && g_pct(g, 20)) ||
	    (r->map == M38 && r->prefix == P_F2 && g_pct(g, 30))))
		g->p66 = true;
	g->p67 = !g->plain && g_pct(g, b64 ? 8 : 2);
	if (g->p66)
		g_put(g, 0x66, 1);
	if (g->p67)
		g_put(g, 0x67, 1);
	g->seg = SEG_NUM;
	if (b64 && g_pct(g, 6)) {
		g->seg = g_below(g, SEG_NUM);
		g_put(g, g->seg < 4 ? 0x26 + 8 * g->seg : 0x64 + g->seg - 4, 1);
		if (g->seg < SEG_FS)
			g->seg = SEG_NUM;
	}
	g->asize = b64 ? g->p67 ? 4 : 8 : g->p67 ? 2 : 4;
	if (r->map >= V0F) {
		vex_prefix(g);
		return;
	}
	if (r->prefix == P_F3 || r->prefix == P_F2)
		g_put(g, r->prefix == P_F3 ? 0xf3 : 0xf2, 1);
	else if (r->prefix == P_ANY && (g->inf->attr & A_REPSTR ? g_pct(g, 60) :
					r->map == M1 && r->opcode != 0x90 &&
					(r->opcode & 0xfc) != 0xe0 && g_pct(g, 2)))
		g_put(g, g_pct(g, 50) ? 0xf3 : 0xf2, 1);
	if (b64 && g_pct(g, 55)) {
		g->rex = (uint8_t)(0x40 | (g_rnd(g) & (g_pct(g, 50) ? 15 : 7)));
		if (r->map == M1 && r->opcode == 0x90)
			g->rex &= (uint8_t)~1;
		g_put(g, g->rex, 1);
	}
	g->rexw = g->rex & 8;
	g->osize = g->rexw ? 8 : g->p66 && r->prefix != P_66 && !(g->inf->attr & A_NO66) ? 2 : 4;
	if (b64 && (g->inf->attr & A_F64 || (g->inf->attr & A_D64 && g->osize == 4)))
		g->osize = 8;
	switch (r->map) {
	case M0F:
		g_put(g, 0x0f, 1);
		break;
	case M38:
		g_put(g, 0x380f, 2);
		break;
	case M3A:
		g_put(g, 0x3a0f, 2);
		break;
	}
}

uint64_t g_ea_for(struct gen *g, uint64_t target)
{
	if (g->seg == SEG_FS)
		return target - g->c->in.fsbase;
	if (g->seg == SEG_GS)
		return target - g->c->in.gsbase;
	return target;
}

uint64_t g_ea_mask(const struct gen *g, uint64_t v)
{
	return g->asize == 8 ? v : g->asize == 4 ? (uint32_t)v : (uint16_t)v;
}

/* Value for a register that is to hold @ea; bits beyond the address size are random. */
uint64_t g_ea_reg(struct gen *g, uint64_t ea)
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
			g_set_gpr(g, xindex, g_ea_reg(g, idx));
			idx = g->c->in.gpr[xindex] << scale;
		} else {
			if (!(g->fixed >> xindex & 1) && g_pct(g, 70))
				g_set_gpr(g, xindex, g_below(g, 4096) - 2048ull);
			g->fixed |= 1u << xindex;
			idx = g->c->in.gpr[xindex] << scale;
		}
	}
	if (has_base)
		g_set_gpr(g, xbase, g_ea_reg(g, ea - disp - idx));
	else if (!has_index)
		disp = ea;
	g_put(g, mod << 6 | reg << 3 | 4, 1);
	g_put(g, scale << 6 | index << 3 | base, 1);
	if (mod == 1)
		g_put(g, disp, 1);
	else if (mod == 2 || !has_base)
		g_put(g, disp, 4);
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
		g_set_gpr(g, xbase, g_ea_reg(g, ea - disp));
	else
		disp = ea;
	for (unsigned i = 0; i < 32; i += isize) {
		int64_t v = g_pct(g, 3) ? (int64_t)g_rnd(g) >> g_below(g, 64)
					: (int64_t)g_below(g, 1024) - 300;

		memcpy(g->c->in.fx + (i < 16 ? 160 + i : DIFF_YMM + i - 16) + 16 * x, &v, isize);
	}
	g_put(g, mod << 6 | reg << 3 | 4, 1);
	g_put(g, scale << 6 | index << 3 | base, 1);
	g_put(g, disp, mod == 1 ? 1 : mod == 2 || !has_base ? 4 : 0);
}

static void mem_plain(struct gen *g, unsigned reg, uint64_t ea)
{
	unsigned mod = g_below(g, 3), rm = g_below(g, 8);
	uint64_t disp;

	if (rm == 4)
		rm = 3;
	if (mod == 0 && rm == 5) {
		g_put(g, reg << 3 | 5, 1);
		if (g->c->bits == 64)
			g->rip_disp = g->p;
		g_put(g, ea, 4);
		return;
	}
	disp = mod == 1 ? (uint64_t)(int64_t)(int8_t)g_rnd(g) :
	       mod == 2 ? (uint64_t)(int64_t)(int32_t)g_rnd(g) : 0;
	g_set_gpr(g, rm | (g->rex & 1) << 3, g_ea_reg(g, ea - disp));
	g_put(g, mod << 6 | reg << 3 | rm, 1);
	g_put(g, disp, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

static void memory(struct gen *g, unsigned reg)
{
	uint64_t ea = g_ea_mask(g, g_ea_for(g, g->target));

	if (g->asize == 2) {
		unsigned mod = g_below(g, 3), rm = g_below(g, 8);

		g_put(g, mod << 6 | reg << 3 | rm, 1);
		g_put(g, g_rnd(g), mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
		g->target = 0;
	} else if (g_has_kind(g, K_T) && !g_pct(g, 2)) {
		mem_vsib(g, reg, ea);
	} else if (g_pct(g, 40)) {
		mem_sib(g, reg, ea);
	} else {
		mem_plain(g, reg, ea);
	}
}

void g_modrm(struct gen *g)
{
	const struct optable_row *r = g->row;
	int ext = r->ext;
	unsigned reg = g_below(g, 8), rm = g_below(g, 8);
	bool must_mem = g_has_kind(g, K_M) || g_has_kind(g, K_T) || ext == X_MEM ||
			(ext >= 0x10 && ext < 0x18);
	bool must_reg = g_has_kind(g, K_U) || g_has_kind(g, K_N) || ext == X_REG ||
			(ext >= 0x20 && ext < 0x28) || (g_has_kind(g, K_STI) && !must_mem);

	if (ext >= 0x100) {
		g_put(g, (unsigned)ext & 0xff, 1);
		return;
	}
	if (ext >= 0 && ext < 0x28)
		reg = (unsigned)ext & 7;
	g->is_mem = must_mem || (!must_reg && !g->plain && g_pct(g, 60));
	if (g_has_kind(g, K_G))
		g->reg = (int)(reg | (g->rex & 4) << 1);
	if (g->is_mem) {
		memory(g, reg);
		return;
	}
	if (g_has_kind(g, K_E))
		g->rm = (int)(rm | (g->rex & 1) << 3);
	g_put(g, 0xc0 | reg << 3 | rm, 1);
}
