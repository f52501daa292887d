/* SPDX-License-Identifier: MIT */
/*
 * Bytes to one struct uop, by the instruction table (Intel SDM vol. 2,
 * chapter 2 and appendix A).  Knows prefixes, REX, VEX, ModRM, SIB (also with
 * vector indices) and immediates; EVEX is not advertised and so does not exist.
 */
#include "soft.h"

struct dec {
	uint8_t b[40];		/* the bytes, padded with zeros */
	unsigned pos, n;
	unsigned mode;
	bool p66, p67, lock;
	uint8_t rep;		/* 0xf2, 0xf3 or 0 */
	int seg;		/* override or -1 */
	uint8_t rex;
	uint8_t map, opcode;
	uint8_t modrm;
	uint8_t osz;		/* effective operand size of v operands */
	uint8_t asz;
	bool rip_rel;
	bool peeked;		/* no row: looked at a byte that may not be there */
	uint8_t vex_v, vex_p;	/* VEX: vvvv as a register number, mandatory prefix P_* */
	bool vex_l, vex_w;
	bool vsib;
};

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1
#define MOD(m) ((m) >> 6)
#define REG(m) ((m) >> 3 & 7)
#define RM(m) ((m) & 7)

static int64_t get_imm(struct dec *d, unsigned size)
{
	const uint8_t *p = d->b + d->pos;

	d->pos += size;
	switch (size) {
	case 1:
		return (int8_t)*p;
	case 2:
		return (int16_t)ld_le16(p);
	case 4:
		return (int32_t)ld_le32(p);
	default:
		return (int64_t)ld_le64(p);
	}
}

/* True if @c is a legacy prefix. */
static bool legacy_prefix(struct dec *d, uint8_t c)
{
	switch (c) {
	case 0x26: case 0x2e: case 0x36: case 0x3e:
		d->seg = SEG_ES + (c >> 3 & 3);
		return true;
	case 0x64: case 0x65:
		d->seg = SEG_FS + (c & 1);
		return true;
	case 0x66:
		d->p66 = true;
		return true;
	case 0x67:
		d->p67 = true;
		return true;
	case 0xf0:
		d->lock = true;
		return true;
	case 0xf2: case 0xf3:
		d->rep = c;
		return true;
	default:
		return false;
	}
}

static void get_prefixes(struct dec *d)
{
	for (; d->pos < 15; d->pos++) {
		uint8_t c = d->b[d->pos];

		if (legacy_prefix(d, c)) {
			d->rex = 0;
			continue;
		}
		if (!(d->mode & MODE_CS64) || (c & 0xf0) != 0x40)
			break;
		d->rex = c;
	}
}

static void get_opcode(struct dec *d)
{
	d->map = M1;
	d->opcode = d->b[d->pos++];
	if (d->opcode != 0x0f)
		return;
	d->map = M0F;
	d->opcode = d->b[d->pos++];
	if (d->opcode != 0x38 && d->opcode != 0x3a)
		return;
	d->map = d->opcode == 0x38 ? M38 : M3A;
	d->opcode = d->b[d->pos++];
}

/*
 * SDM vol. 2, 2.3.5: C5 [R vvvv L pp], C4 [RXB mmmmm] [W vvvv L pp], with R, X, B
 * and vvvv inverted.  Outside 64-bit mode it takes ModRM.mod = 3 to be no LES or
 * LDS.  False: not VEX.
 */
static bool vex_prefix(struct dec *d)
{
	uint8_t c = d->b[d->pos], b1 = d->b[d->pos + 1], last = b1;
	bool b64 = d->mode & MODE_CS64;

	if ((c & 0xfe) != 0xc4 || !(d->mode & MODE_PE) || d->mode & MODE_VM86 ||
	    (!b64 && MOD(b1) != 3))
		return false;
	/* A prefix before it: no such opcode map. */
	d->map = d->p66 || d->rep || d->lock || d->rex ? MAPS : V0F;
	d->rex = ~b1 & 0x80 ? REX_R : 0;
	d->pos += 2;
	if (c == 0xc4) {
		unsigned m = b1 & 31;

		if (d->map != MAPS)
			d->map = m >= 1 && m <= 3 ? (uint8_t)(V0F + m - 1) : MAPS;
		d->rex |= (~b1 & 0x40 ? REX_X : 0) | (~b1 & 0x20 ? REX_B : 0);
		last = d->b[d->pos++];
		d->vex_w = last >> 7;
		d->rex |= d->vex_w ? REX_W : 0;
	}
	d->vex_v = ~last >> 3 & 15;
	d->vex_l = last >> 2 & 1;
	d->vex_p = (uint8_t[]){ P_NP, P_66, P_F3, P_F2 }[last & 3];
	if (!b64)
		d->rex = 0;
	d->opcode = d->b[d->pos++];
	return true;
}

static bool vex_matches(const struct dec *d, uint32_t attr)
{
	bool w = attr & A_GPRW && !(d->mode & MODE_CS64) ? false : d->vex_w;

	return !(attr & (d->vex_l ? A_L0 : A_L1)) && !(attr & (w ? A_W0 : A_W1)) &&
	       !(attr & A_NOV && d->vex_v);
}

static bool ext_matches(int ext, uint8_t modrm)
{
	bool is_reg = MOD(modrm) == 3;

	if (ext == X_NONE)
		return true;
	if (ext & 0x100)
		return (ext & 0xff) == modrm;
	if (ext == X_MEM)
		return !is_reg;
	if (ext == X_REG)
		return is_reg;
	if ((ext & 7) != REG(modrm))
		return false;
	return ext < 8 || (ext & 0x10 ? !is_reg : is_reg);
}

static bool row_matches(const struct dec *d, const struct optable_row *r, uint32_t attr)
{
	unsigned legacy = d->rep == 0xf3 ? P_F3 : d->rep == 0xf2 ? P_F2 : d->p66 ? P_66 : P_NP;
	unsigned eff = d->map >= V0F ? d->vex_p : legacy;
	bool real = !(d->mode & MODE_PE) || d->mode & MODE_VM86;

	if (r->prefix != P_ANY && r->prefix != eff)
		return false;
	if (attr & (d->mode & MODE_CS64 ? A_NO64 : A_ONLY64))
		return false;
	if (real && attr & A_NOREAL)
		return false;
	if (d->map >= V0F && !vex_matches(d, attr))
		return false;
	/* 90 is NOP, but with REX.B it exchanges R8 and RAX. */
	if (r->map == M1 && r->opcode == 0x90 && d->opcode == 0x90)
		return !(d->rex & REX_B) == (r->operands[0] == 0);
	return ext_matches(r->ext, d->modrm);
}

static const struct optable_row *find_row(struct dec *d, unsigned *index)
{
	const uint16_t *list;

	if (d->map >= MAPS)
		return NULL;
	list = soft_opcode_rows(d->map, d->opcode);
	/* A peek: rows of an opcode that look at the byte all have a ModRM. */
	d->modrm = d->b[d->pos];
	for (; *list != ROW_END; list++)
		if (row_matches(d, &soft_optable[*list], soft_optable_info[*list].attr)) {
			*index = *list;
			return &soft_optable[*list];
		}
	return NULL;
}

static void set_sizes(struct dec *d, const struct optable_row *r, uint32_t attr)
{
	bool p66 = d->p66 && r->prefix != P_66 && !(attr & A_NO66);

	if (d->mode & MODE_CS64) {
		d->asz = d->p67 ? 4 : 8;
		if (attr & A_F64 || d->rex & REX_W)
			d->osz = 8;
		else if (p66)
			d->osz = 2;
		else
			d->osz = attr & A_D64 ? 8 : 4;
		return;
	}
	d->asz = !(d->mode & MODE_CS32) == d->p67 ? 4 : 2;
	d->osz = !(d->mode & MODE_CS32) == p66 ? 4 : 2;
}

static unsigned letter_size(const struct dec *d, char letter)
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
	case 'z':
		return MIN(d->osz, 4);
	case 'y':
		return d->rex & REX_W ? 8 : 4;
	default:
		return d->osz;
	}
}

static uint8_t gpr_off(const struct dec *d, unsigned n, bool byte)
{
	if (byte && !d->rex && n >= 4)
		return (uint8_t)((n - 4) * 8 + 1);
	return (uint8_t)(n * 8);
}

/* 16-bit addressing, SDM vol. 2 table 2-1. */
static void mem16(struct dec *d, struct uop *u)
{
	static const uint8_t base[8] = { R_RBX, R_RBX, R_RBP, R_RBP, R_RSI, R_RDI, R_RBP, R_RBX };
	static const uint8_t index[8] = { R_RSI, R_RDI, R_RSI, R_RDI, GPR_ZERO, GPR_ZERO, GPR_ZERO,
					  GPR_ZERO };
	unsigned mod = MOD(d->modrm), rm = RM(d->modrm);

	u->base = base[rm];
	u->index = index[rm];
	if (mod == 0 && rm == 6) {
		u->base = GPR_ZERO;
		u->disp = get_imm(d, 2);
		return;
	}
	u->seg = u->base == R_RBP ? SEG_SS : SEG_DS;
	if (mod)
		u->disp = get_imm(d, mod);
}

/* Tables 2-2 and 2-3, and REX. */
static void mem32(struct dec *d, struct uop *u)
{
	unsigned mod = MOD(d->modrm), rm = RM(d->modrm);
	bool none = mod == 0 && rm == 5;

	if (rm == 4) {
		uint8_t sib = d->b[d->pos++];
		unsigned index = REG(sib) | (d->rex & REX_X ? 8 : 0);

		if (d->vsib)
			u->rm = (uint8_t)index;
		else if (index != 4)
			u->index = (uint8_t)index;
		u->scale = sib >> 6;
		rm = RM(sib);
		none = mod == 0 && rm == 5;
	} else if (none && d->mode & MODE_CS64) {
		d->rip_rel = true;
	}
	if (!none) {
		u->base = (uint8_t)(rm | (d->rex & REX_B ? 8 : 0));
		u->seg = u->base == R_RSP || u->base == R_RBP ? SEG_SS : SEG_DS;
	} else if (d->rip_rel) {
		u->base = GPR_RIP;
	}
	if (mod == 1)
		u->disp = get_imm(d, 1);
	else if (mod == 2 || none)
		u->disp = get_imm(d, 4);
}

static void set_seg(struct dec *d, struct uop *u)
{
	if (d->seg >= 0) {
		u->flags |= UOP_SEGOVR;
		if (!(d->mode & MODE_CS64) || d->seg >= SEG_FS)
			u->seg = (uint8_t)d->seg;
	}
	if (d->mode & MODE_CS64 ? u->seg < SEG_FS : d->mode & MODE_FLAT && u->seg < SEG_FS &&
	    u->seg != SEG_CS)
		u->flags |= UOP_FLATSEG;
}

static bool modrm_operand(struct dec *d, const struct opd *o, struct uop *u)
{
	unsigned reg = REG(d->modrm) | (d->rex & REX_R ? 8 : 0);
	unsigned rm = RM(d->modrm) | (d->rex & REX_B ? 8 : 0);
	bool is_reg = u->flags & UOP_MOD3;

	switch (o->kind) {
	case K_G:
		u->reg = gpr_off(d, reg, o->size == 'b');
		return true;
	case K_E:
	case K_R:
		if (is_reg)
			u->rm = gpr_off(d, rm, o->size == 'b' && o->kind == K_E);
		return true;
	case K_M:
		return !is_reg;
	case K_S:
		u->reg = REG(d->modrm);
		return u->reg <= SEG_GS;
	case K_C:		/* CR0, 2, 3, 4, 8: before the privilege check */
		u->reg = (uint8_t)reg;
		return reg < 16 && 0x11d >> reg & 1;
	case K_D:
		u->reg = (uint8_t)reg;
		return reg < 8;
	case K_V:
		u->reg = (uint8_t)reg;
		return true;
	case K_P:
		u->reg = REG(d->modrm);
		return true;
	case K_U:
	case K_W:
		u->rm = (uint8_t)rm;
		return is_reg || o->kind == K_W;
	case K_T:		/* takes a SIB byte */
		return !is_reg && RM(d->modrm) == 4 && d->asz != 2;
	case K_L:		/* SDM vol. 2: bit 7 counts in 64-bit mode only */
		u->imm8 = (uint8_t)get_imm(d, 1);
		u->imm = u->imm8;
		return true;
	case K_N:
	case K_Q:
		u->rm = RM(d->modrm);
		return is_reg || o->kind == K_Q;
	case K_STI:
		u->rm = RM(d->modrm);
		return true;
	default:
		return true;
	}
}

static void immediate(struct dec *d, const struct opd *o, struct uop *u, bool second)
{
	unsigned size = letter_size(d, o->size);
	int64_t v = get_imm(d, size);

	if (second) {
		u->imm8 = (uint8_t)v;
		return;
	}
	u->imm = o->size == 'w' ? (uint16_t)v : (uint64_t)v;
	u->imm8 = (uint8_t)v;
}

/* AL, rAX...: the partner of a memory or register operand, else in rm's place. */
static void fixed_operand(const struct optable_info *inf, const struct opd *o, struct uop *u)
{
	for (unsigned i = 0; i < inf->n; i++)	/* SHLD Ev,Gv,CL */
		if (inf->opd[i].kind == K_G)
			return;
	for (unsigned i = 0; i < inf->n; i++)
		if (inf->opd[i].kind == K_O || inf->opd[i].kind == K_E || inf->opd[i].kind == K_Z ||
		    inf->opd[i].kind == K_X || inf->opd[i].kind == K_Y) {
			u->reg = (uint8_t)(o->num * 8);
			return;
		}
	if (o == inf->opd || inf->opd[0].kind == K_I || o->size != 'B') {
		if (o->size == 'W' || o->size == 'B')	/* DX, CL are never the data operand */
			return;
		u->rm = (uint8_t)(o->num * 8);
		u->flags |= UOP_MOD3;
	}
}

static bool operands(struct dec *d, const struct optable_info *inf, struct uop *u)
{
	bool had_imm = false;

	for (unsigned i = 0; i < inf->n; i++) {
		const struct opd *o = &inf->opd[i];

		switch (o->kind) {
		case K_I:
			immediate(d, o, u, had_imm);
			had_imm = true;
			break;
		case K_J:
			u->imm = (uint64_t)get_imm(d, o->size == 'b' ? 1 : d->osz == 2 ? 2 : 4);
			u->disp = d->osz == 8 ? -1ll : d->osz == 4 ? 0xffffffffll : 0xffffll;
			break;
		case K_A:
			u->imm = (uint64_t)get_imm(d, letter_size(d, 'z')) & (d->osz == 2 ? 0xffff :
									       0xffffffff);
			u->imm |= (uint64_t)(uint16_t)get_imm(d, 2) << 32;
			break;
		case K_O:
			u->disp = get_imm(d, d->asz);
			break;
		case K_Z:
			u->rm = gpr_off(d, (d->opcode & 7) | (d->rex & REX_B ? 8 : 0),
					o->size == 'b');
			u->flags |= UOP_MOD3;
			break;
		case K_FIX:
			fixed_operand(inf, o, u);
			break;
		case K_ONE:
			u->imm = u->imm8 = 1;
			break;
		default:
			if (!modrm_operand(d, o, u))
				return false;
		}
	}
	return true;
}

static uint8_t uop_osize(const struct dec *d, const struct optable_info *inf)
{
	for (unsigned i = 0; i < inf->n; i++) {
		const struct opd *o = &inf->opd[i];

		switch (o->kind) {
		case K_E: case K_G: case K_M: case K_R: case K_Z: case K_O: case K_X:
		case K_Y: case K_FIX: case K_B:
			if (o->size && strchr("bwdqvyz", o->size))
				return (uint8_t)letter_size(d, o->size);
		}
	}
	return d->osz;
}

/* Control and debug register moves ignore mod: always a register. */
static bool forced_reg(const struct optable_info *inf)
{
	for (unsigned i = 0; i < inf->n; i++)
		if (inf->opd[i].kind == K_C || inf->opd[i].kind == K_D)
			return true;
	return false;
}

static void get_modrm(struct dec *d, const struct optable_info *inf, struct uop *u)
{
	d->pos++;
	if (MOD(d->modrm) == 3 || forced_reg(inf)) {
		u->flags |= UOP_MOD3;
		u->rm = RM(d->modrm) | (d->rex & REX_B ? 8 : 0);
		return;
	}
	for (unsigned i = 0; i < inf->n; i++)
		d->vsib |= inf->opd[i].kind == K_T;
	if (d->asz == 2) {
		mem16(d, u);
	} else {
		mem32(d, u);
	}
}

/* PUSH, POP, CALL, RET... without a memory operand: faults are of the stack segment. */
static bool only_stack(const struct optable_row *r, uint32_t attr, const struct uop *u)
{
	if (r->map != M1 || (attr & A_MODRM && !(u->flags & UOP_MOD3)))
		return false;
	return attr & A_D64 || (r->opcode & 0xfe) == 0xc2 || r->opcode == 0xe8 ||
	       (r->opcode == 0xff && r->ext == X_(2));
}

static int decode(struct dec *d, unsigned off, struct uop *u)
{
	const struct optable_row *r;
	const struct optable_info *inf;
	unsigned index;

	get_prefixes(d);
	if (!vex_prefix(d))
		get_opcode(d);
	r = find_row(d, &index);
	if (!r) {
		d->peeked = true;
		return -EXC_UD;
	}
	inf = &soft_optable_info[index];
	set_sizes(d, r, inf->attr);
	*u = (struct uop){
		.fn = r->fn, .row = (uint16_t)index, .off = (uint16_t)off, .base = GPR_ZERO,
		.index = GPR_ZERO, .seg = SEG_DS, .asize = d->asz, .imm8 = d->opcode,
		.flags = (uint8_t)((d->lock ? UOP_LOCK : 0) | (d->rep == 0xf3 ? UOP_REP : 0) |
				   (d->rep == 0xf2 ? UOP_REPNE : 0) | (d->p66 ? UOP_P66 : 0) |
				   (d->rex & REX_W ? UOP_REXW : 0)),
	};
	if (d->map >= V0F)
		u->vex = (d->vex_v & (d->mode & MODE_CS64 ? 15 : 7)) |
			 (d->vex_l && !(inf->attr & A_LIG) ? VEX_L : 0) |
			 (d->vex_w ? VEX_W : 0);
	if (inf->attr & A_MODRM)
		get_modrm(d, inf, u);
	set_seg(d, u);
	if (!operands(d, inf, u))
		return -EXC_UD;
	if (only_stack(r, inf->attr, u))
		u->seg = SEG_SS;
	u->osize = uop_osize(d, inf);
	if (d->lock && (!(inf->attr & A_LOCK) || u->flags & UOP_MOD3))
		return -EXC_UD;
	u->len = (uint8_t)d->pos;
	if (d->rip_rel)
		u->disp += off + d->pos;
	if (inf->n && inf->opd[0].kind == K_J)
		u->imm += off + d->pos;
	return (int)d->pos;
}

int soft_decode(const uint8_t *p, size_t n, unsigned mode, unsigned off, struct uop *u)
{
	struct dec d = { .mode = mode, .n = (unsigned)MIN(n, 15u), .seg = -1 };
	int r;

	memcpy(d.b, p, d.n);
	r = decode(&d, off, u);
	/* An opcode that needs its ModRM byte to be told apart was peeked at d.pos. */
	if (d.pos > d.n || (d.peeked && d.pos >= d.n))
		return n >= 15 ? -EXC_GP : 0;
	return r;
}
