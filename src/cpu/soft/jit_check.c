/* SPDX-License-Identifier: MIT */
/*
 * Emitted code is decoded again and judged, in test builds and under verify:
 * only user-level opcodes; the host's stack pointer only for
 * calls and return frames; no segment registers; memory only in struct soft
 * ([rbp + disp]) or through an address that was checked ([r14], [r15], rax,
 * alone or with another register); direct jumps only to an instruction of the block
 * or into the stubs, indirect ones only through struct soft.
 */
#include "jit.h"
#include "../../log.h"
#include <stdio.h>

#define CHECK_MODE (MODE_CS64 | MODE_SS32 | MODE_PE | MODE_FLAT | MODE_LMA)
#define MAX_INSNS 8192u

struct check {
	const struct soft_jit *j;
	const uint8_t *code;
	size_t len;
	uint8_t starts[24576 / 8 + 1];	/* bit: an instruction begins here */
	struct { uint32_t at, to; } jump[MAX_INSNS];
	unsigned njumps;
	const char *why;
};

/* Those that load or store the whole state show the host's instruction pointers. */
static bool whole_state(const char *mnem)
{
	static const char *const names[] = {
		"fx", "xs", "xr", "fnst", "fnsa", "fsave", "fstenv", "fldenv", "frstor",
	};

	if (!strncmp(mnem, "fxch", 4) || !strncmp(mnem, "fxam", 4) || !strncmp(mnem, "fxtr", 4) ||
	    !strncmp(mnem, "fnstsw", 6) || !strncmp(mnem, "fnstcw", 6))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(mnem, names[i], strlen(names[i])))
			return true;
	return false;
}

/* No system, string or serialising instruction; of those that end a block, the near branches. */
static bool known(const struct optable_row *r)
{
	static const char *const ends[] = { "jmp", "call", "ret" };

	if (r->attr & (A_NOTEST | A_PRIV | A_REPSTR | A_SERIAL) || whole_state(r->mnem))
		return false;
	if (!(r->attr & A_END) || (r->mnem[0] == 'j' && r->operands[0] == 'J'))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (!strcmp(r->mnem, ends[i]))
			return true;
	return false;
}

static bool has_memory(const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	return inf->attr & A_MODRM && !(u->flags & UOP_MOD3) &&
	       strcmp(soft_optable[u->row].mnem, "lea") != 0;
}

/* Does an operand of the instruction name the host's stack pointer? */
static bool names_rsp(const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	for (unsigned i = 0; i < inf->n; i++) {
		unsigned kind = inf->opd[i].kind;

		if (kind == K_G && u->reg >> 3 == R_RSP && !(u->reg & 7))
			return true;
		if ((kind == K_E || kind == K_R) && u->flags & UOP_MOD3 &&
		    u->rm >> 3 == R_RSP && !(u->rm & 7))
			return true;
		if (kind == K_Z && (u->rm >> 3 == R_RSP || u->reg >> 3 == R_RSP) &&
		    !(u->rm & 7) && u->flags & UOP_MOD3)
			return true;
	}
	return false;
}

static bool scratch(unsigned gpr)
{
	return gpr == H_T0 || gpr == H_T1 || gpr == H_FLAGS;
}

/* Return frames: lea rsp, [rsp + n]; mov rsp, [rbp + n]; cmp rsp, [rbp + n]; cmp r14, [rsp + 8]. */
static bool stack_ok(const struct uop *u)
{
	const char *m = soft_optable[u->row].mnem;
	bool mem = !(u->flags & UOP_MOD3) && soft_optable_info[u->row].attr & A_MODRM;

	if (!mem || u->osize != 8)
		return false;
	if (u->reg >> 3 == R_RSP)
		return (!strcmp(m, "lea") && u->base == R_RSP && u->index == GPR_ZERO) ||
		       ((!strcmp(m, "mov") || !strcmp(m, "cmp")) && u->base == H_STATE);
	return !strcmp(m, "cmp") && u->base == R_RSP && u->index == GPR_ZERO && u->disp == 8;
}

static const char *judge_memory(const struct uop *u)
{
	if (u->base == H_STATE && u->index == GPR_ZERO)
		return u->disp >= -STATE_BIAS && u->disp < (int64_t)sizeof(struct soft) -
		       STATE_BIAS ? NULL : "outside struct soft";
	if (u->asize == 8 && (scratch(u->base) || scratch(u->index)))
		return NULL;
	return "memory operand of another shape";
}

static const char *judge(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	bool ea = soft_optable_info[u->row].attr & A_MODRM && !(u->flags & UOP_MOD3);

	if (!known(r))
		return "not an opcode that is emitted";
	if (u->flags & UOP_SEGOVR)
		return "segment prefix";
	if (names_rsp(u) || (ea && (u->base == R_RSP || u->index == R_RSP)))
		return stack_ok(u) ? NULL : "host stack pointer";
	if (has_memory(u))
		return judge_memory(u);
	if (!strcmp(r->mnem, "push") && u->flags & UOP_MOD3 && u->rm != H_T0 * 8)
		return "pushes something else than a return frame";
	if ((!strcmp(r->mnem, "jmp") || !strcmp(r->mnem, "call")) && r->operands[0] == 'E' &&
	    u->base != H_STATE)
		return "indirect jump";
	return NULL;
}

/* Notes where an instruction begins and where a direct jump goes. */
static bool note(struct check *c, size_t at, const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	c->starts[at >> 3] |= (uint8_t)(1u << (at & 7));
	if (!inf->n || inf->opd[0].kind != K_J)
		return true;
	if (c->njumps == MAX_INSNS)
		return false;
	c->jump[c->njumps].at = (uint32_t)at;
	c->jump[c->njumps++].to = (uint32_t)u->imm;
	return true;
}

static bool judge_jumps(struct check *c, size_t *at)
{
	for (unsigned i = 0; i < c->njumps; i++) {
		int64_t to = (int32_t)c->jump[i].to;
		int64_t off = c->code - c->j->rw + to;

		*at = c->jump[i].at;
		if (to >= 0 && to < (int64_t)c->len && c->starts[to >> 3] >> (to & 7) & 1)
			continue;
		if (off < 0 || off >= (int64_t)c->j->stubs)
			return false;
	}
	return true;
}

static bool check(struct check *c, size_t *at)
{
	struct uop u;
	int n;

	for (*at = 0; *at < c->len; *at += (size_t)n) {
		n = soft_decode(c->code + *at, c->len - *at, CHECK_MODE, (unsigned)*at, &u);
		if (n <= 0) {
			c->why = "cannot be decoded";
			return false;
		}
		c->why = judge(&u);
		if (c->why)
			return false;
		if (!note(c, *at, &u)) {
			c->why = "too many jumps";
			return false;
		}
	}
	c->why = "jump out of the block";
	return judge_jumps(c, at);
}

void soft_jit_check(const struct soft_jit *j, const uint8_t *code, size_t len)
{
	static __thread struct check c;
	size_t at = 0;
	char text[128];

	c = (struct check){ .j = j, .code = code, .len = len };
	if (check(&c, &at))
		return;
	soft_disas(code + at, len - at, 64, at, text, sizeof(text));
	log_error("emitted code: %s, at %zu of %zu: %s (%02x %02x %02x %02x %02x)", c.why, at, len,
		  text, code[at], code[at + 1], code[at + 2], code[at + 3], code[at + 4]);
	HV_BUG_ON(true);
}
