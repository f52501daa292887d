/* SPDX-License-Identifier: MIT */
/* The instruction table in memory, and its operand strings parsed once. */
#include "soft.h"
#include <pthread.h>
#include <stdlib.h>

const struct optable_row soft_optable[] = {
#define OP(map, prefix, opcode, ext, mnem, operands, attr, feat, fin, fout, fundef, handler) \
	{ map, prefix, opcode, ext, mnem, operands, attr, feat, fin, fout, fundef, handler },
#include "optable.def"
#undef OP
	{ .map = MAPS },
};
const unsigned soft_optable_rows = ARRAY_SIZE(soft_optable) - 1;
static struct optable_info infos[ARRAY_SIZE(soft_optable)];
struct optable_info *soft_optable_info = infos;

static const struct {
	char name[8];
	struct opd opd;
} fixed[] = {
	{ "AL", { K_FIX, 'b', 0, 0 } },
	{ "CL", { K_FIX, 'B', 1, 0 } },
	{ "AX", { K_FIX, 'w', 0, 0 } },
	{ "DX", { K_FIX, 'W', 2, 0 } },
	{ "eAX", { K_FIX, 'z', 0, 0 } },
	{ "rAX", { K_FIX, 'v', 0, 0 } },
	{ "1", { K_ONE, 0, 0, 0 } },
	{ "ST", { K_ST, 0, 0, 0 } },
	{ "STi", { K_STI, 0, 0, 0 } },
};

static const char kind_letters[] = "EGIJMOASCDZVWUPQNXYRHBLT";
static const uint8_t kind_values[] = {
	K_E, K_G, K_I, K_J, K_M, K_O, K_A, K_S, K_C, K_D, K_Z, K_V, K_W, K_U, K_P, K_Q, K_N,
	K_X, K_Y,
	K_R, K_H, K_B, K_L, K_T,
};

/* "m80fp", "m512": memory operand of so many bits; Eb, Gv, Mx, M: letter and size. */
static struct opd parse_operand(const char *p, size_t n)
{
	struct opd o = { 0 };
	const char *k;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (strlen(fixed[i].name) == n && !memcmp(fixed[i].name, p, n))
			return fixed[i].opd;
	if (*p == 'm') {
		o.kind = K_M;
		o.bytes = (uint16_t)(strtoul(p + 1, NULL, 10) / 8);
		return o;
	}
	k = strchr(kind_letters, *p);
	HV_BUG_ON(!k || n > 2);
	o.kind = kind_values[k - kind_letters];
	o.size = n == 2 ? p[1] : 0;
	return o;
}

static bool has_modrm(unsigned kind)
{
	switch (kind) {
	case K_E: case K_G: case K_M: case K_S: case K_C: case K_D: case K_V: case K_W: case K_U:
	case K_P: case K_Q: case K_N: case K_R: case K_STI: case K_T:
		return true;
	default:
		return false;
	}
}

static void parse_row(const struct optable_row *r, struct optable_info *inf)
{
	const char *p = r->operands;

	inf->attr = r->attr | (r->ext >= 0 ? A_MODRM : 0);
	while (*p) {
		size_t n = strcspn(p, ", ");

		HV_BUG_ON(inf->n == 4);
		inf->opd[inf->n] = parse_operand(p, n);
		if (has_modrm(inf->opd[inf->n].kind))
			inf->attr |= A_MODRM;
		/* VPEXTRQ and VPINSRQ do not exist outside 64-bit mode, whatever W. */
		if (r->map >= V0F && !(r->attr & A_IMM) &&
		    (inf->opd[inf->n].kind == K_E || inf->opd[inf->n].kind == K_G))
			inf->attr |= A_GPRW;
		inf->n++;
		p += n + strspn(p + n, ", ");
	}
	if (r->attr & A_Y2 && !soft_has_feat(F_AVX2))
		inf->attr |= A_L0;
}

/* Vector forms of AES and PCLMULQDQ with VEX need AVX too. */
static bool row_exists(const struct optable_row *r)
{
	return soft_has_feat(r->feat) && (!(r->attr & A_AVX) || soft_has_feat(F_AVX));
}

/* ---- rows by opcode -------------------------------------------------------- */
static uint16_t first[MAPS][256];		/* start of the opcode's list in lists[] */
static uint16_t lists[MAPS * 256 + 8 * ARRAY_SIZE(soft_optable)];

const uint16_t *soft_opcode_rows(unsigned map, uint8_t opcode)
{
	return &lists[first[map][opcode]];
}

/* How many opcodes from its own on: eight if they name a register. */
static unsigned row_span(unsigned i)
{
	for (unsigned k = 0; k < infos[i].n; k++)
		if (infos[i].opd[k].kind == K_Z)
			return 8;
	return 1;
}

#define RANKS 16u

/* Lower is tried first. */
static unsigned row_rank(const struct optable_row *r)
{
	unsigned rank = r->prefix == P_ANY ? 8 : 0;

	if (r->ext & 0x100 && r->ext != X_NONE)
		return rank;
	if (r->ext == X_NONE)
		return rank + 4;
	if (r->ext == X_MEM || r->ext == X_REG)
		return rank + 3;
	return rank + (r->ext < 8 ? 2 : 1);
}

/* Row @i into its opcodes' lists, where @fill[][] tells, or only counted there. */
static void list_row(unsigned i, uint16_t fill[MAPS][256], bool count)
{
	const struct optable_row *r = &soft_optable[i];

	for (unsigned op = r->opcode; op < r->opcode + row_span(i); op++) {
		if (!count)
			lists[fill[r->map][op]] = (uint16_t)i;
		fill[r->map][op]++;
	}
}

static void list_rows(uint16_t fill[MAPS][256], bool count)
{
	for (unsigned rank = 0; rank < RANKS; rank++)
		for (unsigned i = 0; i < soft_optable_rows; i++)
			if (row_rank(&soft_optable[i]) == rank && row_exists(&soft_optable[i]))
				list_row(i, fill, count);
}

static void init_once(void)
{
	static uint16_t fill[MAPS][256];
	unsigned pos = 0, n;

	for (unsigned i = 0; i < soft_optable_rows; i++) {
		parse_row(&soft_optable[i], &infos[i]);
		HV_BUG_ON(soft_optable[i].map >= MAPS ||
			  soft_optable[i].opcode + row_span(i) > 256);
	}
	list_rows(fill, true);
	for (unsigned map = 0; map < MAPS; map++)
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			n = fill[map][opcode];
			HV_BUG_ON(pos + n + 1 > ARRAY_SIZE(lists));
			first[map][opcode] = fill[map][opcode] = (uint16_t)pos;
			lists[pos + n] = ROW_END;
			pos += n + 1;
		}
	list_rows(fill, false);
}

void soft_optable_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_once);
}

unsigned soft_vex_bytes(const struct opd *o, const struct uop *u)
{
	switch (o->size) {
	case 'b':
		return 1;
	case 'w':
		return 2;
	case 'd':
		return 4;
	case 'q':
		return 8;
	case 'y':
		return u->osize;
	case 'o':
		return 16;
	case 'e':
		return VEX_LEN(u) / 8;
	case 'f':
		return VEX_LEN(u) / 4;
	case 'h':
		return VEX_LEN(u) / 2;
	default:
		return VEX_LEN(u);
	}
}
