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

	if (g_has_kind(g, K_X))
		g_set_gpr(g, R_RSI, g_ea_reg(g, g_ea_mask(g, g_ea_for(g, t))));
	t = g_pct(g, 20) ? t + g_below(g, 32) : pick_target(g, 16);
	if (g_has_kind(g, K_Y))
		g_set_gpr(g, R_RDI, g_ea_reg(g, g_ea_mask(g, t)));
	g_set_gpr(g, R_RCX, g_pct(g, 85) ? g_below(g, 40) : g_below(g, 2500));
	if (g->asize == 4 && g->c->bits == 64)
		g->c->in.gpr[R_RCX] |= g_rnd(g) << 32;
}

static void stack_operands(struct gen *g)
{
	if (g_pct(g, 10))
		g->c->in.gpr[R_RSP] = pick_target(g, 8);
	if (g_is(g, "leave") || g_is(g, "enter"))
		g_set_gpr(g, R_RBP,
			g_pct(g, 80) ? DIFF_DATA + 0x400 + g_below(g, 0x800) : pick_target(g, 8));
	if (g_is(g, "ret"))
		patch64(g, g->c->in.gpr[R_RSP], code_target(g), g->osize);
	if (g_is(g, "popf")) {
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
		g_set_gpr(g, (unsigned)g->rm, t);
}

static void divide(struct gen *g)
{
	if (g->is_mem && g_pct(g, 70))
		patch64(g, g->target, g_value(g), 8);
	if (g_pct(g, 70))
		g_set_gpr(g, R_RDX, g_pct(g, 50) ? 0 : g_below(g, 100));
	else if (g_pct(g, 50))
		g_set_gpr(g, R_RDX, (uint64_t)((int64_t)g->c->in.gpr[R_RAX] >> 63));
	if (g->row->opcode == 0xf6 && g_pct(g, 70))
		g_set_gpr(g, R_RAX, g_value(g) & 0xfff);
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
	if (g_is(g, "fxrstor") || g_is(g, "xrstor")) {
		memcpy(p->b, fx, DIFF_FX_LEN);
		p->len = g_is(g, "xrstor") ? DIFF_FX_LEN : 512;
		if (g_is(g, "xrstor")) {
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
	} else if (g_is(g, "fldcw")) {
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
	if (g_is(g, "call") || g_is(g, "jmp"))
		indirect_target(g);
	if (g_starts(g, "bt") && g->is_mem && g->reg >= 0 && g_pct(g, 90))
		g_set_gpr(g, (unsigned)g->reg, (uint64_t)((int64_t)g_below(g, 16384) - 8192));
	if (g_is(g, "div") || g_is(g, "idiv"))
		divide(g);
	if (g_is(g, "xlat"))
		g_set_gpr(g, R_RBX, g_ea_reg(g, g_ea_mask(g, g_ea_for(g, pick_target(g, 1)))));
	if (g_starts(g, "maskmov"))
		g_set_gpr(g, R_RDI, g_ea_reg(g, g_ea_mask(g, g_ea_for(g, pick_target(g, 16)))));
	if (g_starts(g, "xsave") || g_is(g, "xrstor")) {
		g_set_gpr(g, R_RAX, g_below(g, 8) | (g_pct(g, 20) ? g_rnd(g) << 32 : 0));
		g_set_gpr(g, R_RDX, g_pct(g, 20) ? g_rnd(g) << 32 : 0);
	}
	if (g_starts(g, "xsave"))
		patch64(g, g->target + 512, g_pct(g, 50) ? 7 : 0, 8);
	else if (g_is(g, "fxrstor") || g_is(g, "xrstor") || strstr(r->mnem, "ldmxcsr") ||
		 g_is(g, "fldcw") || g_is(g, "fldenv") || g_is(g, "frstor"))
		state_operand(g);
	else if (r->map == M1 && r->opcode == 0x62 && g_pct(g, 60))
		patch64(g, g->target, (uint64_t)100 << 32 | (g_rnd(g) & 0x80000000), 8);
	else if (g->is_mem && g->target && !g_is(g, "call") && !g_is(g, "jmp") &&
		 g->mem_len <= 32) {
		p = patch(g, g->target, g->mem_len);
		if (p) {
			g_fill(g, p->b, g->mem_len);
			if (g->mem_len == 10 && g_pct(g, 80))
				g_float80(g, p->b);
			if (g_is(g, "fbld") && g_pct(g, 90))
				for (unsigned i = 0; i < 10; i++)
					p->b[i] = (uint8_t)(g_below(g, 10) | g_below(g, 10) << 4);
		}
	}
	if (g_starts(g, "cmpxchg") && g_pct(g, 50)) {
		g_set_gpr(g, R_RAX, g->rm >= 0 ? g->c->in.gpr[g->rm & 15] : g_value(g));
		if (g->is_mem)
			patch64(g, g->target, g->c->in.gpr[R_RAX] & (r->opcode == 0xc7 && !g->rexw ?
								  0xffffffff : ~0ull), 8);
		if (r->opcode == 0xc7) {
			uint64_t hi = g->c->in.gpr[R_RDX];

			patch64(g, g->target + (g->rexw ? 8 : 4), hi, g->rexw ? 8 : 4);
		}
	}
	if (g_starts(g, "pcmpestr") && g_pct(g, 80)) {
		g_set_gpr(g, R_RAX, g_below(g, 40) - 20ull);
		g_set_gpr(g, R_RDX, g_below(g, 40) - 20ull);
	}
	stack_operands(g);
}

static void immediates(struct gen *g)
{
	for (unsigned i = 0; i < g->inf->n; i++) {
		const struct opd *o = &g->inf->opd[i];
		unsigned n = g_size_of(g, o->size);

		if (o->kind == K_I) {
			uint64_t v = g_value(g);

			if (g_is(g, "enter") && n == 1 && g_pct(g, 80))
				v &= 3;
			if ((g_is(g, "ret") || g_is(g, "enter")) && n == 2)
				v &= g_pct(g, 90) ? 0x1f8 : 0xffff;
			g_put(g, v, n);
		} else if (o->kind == K_O) {
			g_put(g, g_ea_mask(g, g_ea_for(g, g->target)), g->asize);
			g->is_mem = true;
		} else if (o->kind == K_J) {
			uint64_t here = (uint64_t)(g->p - g->c->code) + g->c->in.rip;

			if (o->size == 'b')
				g_put(g,
				    g_pct(g, 50) ? 2 + g_below(g, 0x70) : -(64ull + g_below(g, 60)),
				    1);
			else
				g_put(g, code_target(g) - here - 4, 4);
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
	g_prefixes(g);
	g->mem_len = g_memory_size(g);
	if (g_starts(g, "fnsave") || g_is(g, "frstor"))
		g->mem_len = g->osize == 2 ? 94 : 108;
	else if (g_starts(g, "fnstenv") || g_is(g, "fldenv"))
		g->mem_len = g->osize == 2 ? 14 : 28;
	g->target = pick_target(g, g->mem_len);
	if (g_starts(g, "sha1") || g_starts(g, "sha256"))	/* AMD does not check it */
		g->target &= ~15ull;
	if (g->mem_len >= 512 && g_pct(g, 90))
		g->target = DIFF_DATA + (g_below(g, 0x1800) & ~(g->mem_len == 512 ? 15u : 63u));
	g_put(g, g->row->opcode + (g_has_kind(g, K_Z) ? g_below(g, 8) : 0), 1);
	if (g->inf->attr & A_MODRM)
		g_modrm(g);
	immediates(g);
	if (g->rip_disp) {
		uint64_t next = c->in.rip + (uint64_t)(g->p - c->code);
		uint32_t disp = (uint32_t)(g_ea_for(g, g->target) - next);

		memcpy(g->rip_disp, &disp, 4);
	}
	if (!g->plain)
		special(g);
	/* LOCK goes in front, sometimes where it is not allowed (AMD: LOCK MOV CR0 is MOV CR8). */
	if (!g->plain && (g->inf->attr & A_LOCK && g->is_mem ? g_pct(g, 20) : g_pct(g, 1)) &&
	    !g->rip_disp && !g_has_kind(g, K_J) && !g_has_kind(g, K_C)) {
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
	if (strstr(soft_optable[row].mnem, "xsave") || g_is(&g, "xrstor"))
		if ((c->in.gpr[R_RAX] & 0xfffffff8) || (uint32_t)c->in.gpr[R_RDX] || c->nrows > 1)
			c->len = 0;
	/* Sometimes at the end of the page, or running out of it. */
	if (g_pct(&g, 4) && !g.rip_disp && !g_has_kind(&g, K_J) && c->nrows == 1 && !g.vex_odd &&
	    !g_is(&g, "ud1")) {
		c->in.rip = DIFF_CODE + 0x1000 - c->len;
		if (g_pct(&g, 40))
			c->in.rip += 1 + g_below(&g, c->len);
	}
}
