/* SPDX-License-Identifier: MIT */
/*
 * The translator against the interpreter: random programs of several blocks
 * (loops, calls, branches, memory with page crossings, self-modification)
 * run in one machine with each; registers, flags and memory must agree.
 *
 * AF is left out where logic and shifts leave it undefined.  HV_JIT_CASES
 * (default 20000) and HV_JIT_SEED choose.
 */
#include "softvm.h"
#include <stdio.h>
#include <stdlib.h>

#define DATA_LEN 0x3000u

static struct svm ref, jit;
static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct prog {
	uint8_t b[4096];
	unsigned n;
	unsigned bits;
	unsigned imm[64], nimm;		/* places of 8-bit immediates: may be overwritten */
	bool imm_cmp[64];
};

static void put(struct prog *p, unsigned v)
{
	p->b[p->n++] = (uint8_t)v;
}

static void put32(struct prog *p, uint32_t v)
{
	memcpy(p->b + p->n, &v, 4);
	p->n += 4;
}

/* Registers: not RSP, RBP (data pointer), RCX (loop counter), RSI, RDI. */
static unsigned reg(const struct prog *p)
{
	static const uint8_t r64[] = { 0, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15 }, r32[] = { 0, 2, 3 };

	return p->bits == 64 ? r64[rnd() % sizeof(r64)] : r32[rnd() % sizeof(r32)];
}

static void rex(struct prog *p, bool w, unsigned r, unsigned b, bool force)
{
	unsigned v = 0x40 | (w ? 8u : 0) | (r & 8 ? 4u : 0) | (b & 8 ? 1u : 0);

	if (p->bits == 64 && (v != 0x40 || force))
		put(p, v);
}

/* ModRM with [rbp + disp32] anywhere in the data, or a register. */
static void modrm(struct prog *p, unsigned r, unsigned b, bool mem)
{
	if (mem) {
		put(p, 0x85 | (r & 7) << 3);
		put32(p, (uint32_t)(rnd() % 4 ? rnd() % 0x100 : rnd() % (DATA_LEN - 16)));
	} else {
		put(p, 0xc0 | (r & 7) << 3 | (b & 7));
	}
}

static void alu(struct prog *p)
{
	unsigned r = reg(p), b = reg(p), n = rnd() % 8, dir = rnd() % 2 ? 2 : 0;
	bool mem = rnd() % 3 == 0, w = rnd() % 2, byte = rnd() % 6 == 0;

	if (mem)
		b = 5;
	if (!byte && rnd() % 8 == 0)
		put(p, 0x66);
	rex(p, w, r, b, byte);
	put(p, n << 3 | dir | !byte);
	modrm(p, r, b, mem);
}

static void alu_imm(struct prog *p)
{
	unsigned n = rnd() % 8, b = reg(p);
	bool mem = rnd() % 4 == 0;

	if (mem)
		b = 5;
	rex(p, rnd() % 2, 0, b, false);
	put(p, 0x83);
	modrm(p, n, b, mem);
	if (p->nimm < ARRAY_SIZE(p->imm))
		p->imm[p->nimm++] = p->n;
	put(p, (uint8_t)rnd());
}

static void move(struct prog *p)
{
	static const uint8_t ext[] = { 0xb6, 0xb7, 0xbe, 0xbf };
	unsigned r = reg(p), b = reg(p);
	bool mem = rnd() % 2;

	if (mem)
		b = 5;
	rex(p, rnd() % 2, r, b, true);
	if (rnd() % 2) {
		put(p, rnd() % 2 ? 0x89 : 0x8b);
	} else {
		put(p, 0x0f);
		put(p, ext[rnd() % 4]);
	}
	modrm(p, r, b, mem);
}

static void condition(struct prog *p)
{
	static const uint8_t ccs[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	unsigned r = reg(p), b = reg(p), cc = ccs[rnd() % 16];
	bool mem = rnd() % 3 == 0, set = rnd() % 2;

	if (mem)
		b = 5;
	rex(p, !set && rnd() % 2, set ? 0 : r, b, set);
	put(p, 0x0f);
	put(p, (set ? 0x90 : 0x40) | cc);
	modrm(p, set ? 0 : r, b, mem);
}

static void one(struct prog *p)
{
	static const uint8_t f7[] = { 2, 3 }, sh[] = { 4, 5, 7, 2, 3 };
	unsigned r = reg(p), b = reg(p);
	bool mem = rnd() % 3 == 0;

	if (mem)
		b = 5;
	rex(p, rnd() % 2, 0, b, false);
	switch (rnd() % 3) {
	case 0:
		put(p, 0xff);
		modrm(p, rnd() % 2, b, mem);
		break;
	case 1:
		put(p, 0xf7);
		modrm(p, f7[rnd() % 2], b, mem);
		break;
	default:
		put(p, 0xd1);
		modrm(p, sh[rnd() % 5], b, mem);
	}
	(void)r;
}

static void locked(struct prog *p)
{
	static const uint8_t op[] = { 0xb1, 0xc1, 0x87 };
	unsigned r = reg(p), k = rnd() % 3, b = reg(p);
	bool mem = rnd() % 2;

	if (mem)
		b = 5;
	if (mem && k < 2 && rnd() % 2)
		put(p, 0xf0);
	rex(p, rnd() % 2, r, b, false);
	if (k < 2)
		put(p, 0x0f);
	put(p, op[k]);
	modrm(p, r, b, mem);
}

static void stack(struct prog *p)
{
	unsigned r = reg(p), b = reg(p);

	rex(p, false, 0, r, false);
	put(p, 0x50 | (r & 7));
	if (rnd() % 2)
		alu(p);
	rex(p, false, 0, b, false);
	put(p, 0x58 | (b & 7));
}

/* movs/stos/lods on RSI and RDI, put back each time. */
static void string(struct prog *p)
{
	static const uint8_t ops[] = { 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad };

	if (p->bits == 64)
		put(p, 0x48);
	put(p, 0x8d), put(p, 0xb5), put32(p, (uint32_t)(rnd() % 0x2ff0)); /* lea rsi, [rbp+..] */
	if (p->bits == 64)
		put(p, 0x48);
	put(p, 0x8d), put(p, 0xbd), put32(p, (uint32_t)(rnd() % 0x2ff0));
	if (rnd() % 8 == 0)
		put(p, 0xfd);
	put(p, ops[rnd() % sizeof(ops)]);
	put(p, 0xfc);
}

static void sse(struct prog *p)
{
	static const uint8_t op[] = { 0xfe, 0xef, 0xeb, 0xdb, 0x6c, 0x74, 0xd4, 0x61 };
	unsigned x = rnd() % 8, y = rnd() % 8, off = rnd() % 0x2f0 * 16;

	switch (rnd() % 4) {
	case 0:
		put(p, 0xf3), put(p, 0x0f), put(p, rnd() % 2 ? 0x6f : 0x7f);
		put(p, 0x85 | x << 3), put32(p, (uint32_t)(rnd() % (DATA_LEN - 16)));
		break;
	case 1:
		put(p, 0x66), put(p, 0x0f), put(p, op[rnd() % sizeof(op)]);
		put(p, 0x85 | x << 3), put32(p, off);
		break;
	case 2:
		put(p, 0x66), put(p, 0x0f), put(p, op[rnd() % sizeof(op)]);
		put(p, 0xc0 | x << 3 | y);
		break;
	default:		/* movd xmm, eax; pmovmskb edx, xmm */
		put(p, 0x66), put(p, 0x0f), put(p, 0x6e), put(p, 0xc0 | x << 3);
		put(p, 0x66), put(p, 0x0f), put(p, 0xd7), put(p, 0xd0 | y);
	}
}

/* CLC, STC, CMC, CLI; high byte registers; PUSHF; PUSH m; DIV; MUL. */
static void various(struct prog *p)
{
	static const uint8_t cf[] = { 0xf8, 0xf9, 0xf5, 0xfa }, high[] = { 4, 6, 7 };	/* not CH */
	unsigned b = reg(p);

	switch (rnd() % 7) {
	case 0:
		put(p, cf[rnd() % 4]);
		break;
	case 1:				/* op AH, DH or BH, imm8 */
		put(p, 0x80), put(p, 0xc0 | (rnd() % 8) << 3 | high[rnd() % 3]),
			put(p, (uint8_t)rnd());
		break;
	case 2:				/* test high, imm8; setcc al */
		put(p, 0xf6), put(p, 0xc4 + rnd() % 4), put(p, (uint8_t)rnd());
		put(p, 0x0f), put(p, 0x90 | rnd() % 16), put(p, 0xc0);
		break;
	case 3:				/* movzx edx, high */
		put(p, 0x0f), put(p, 0xb6), put(p, 0xd4 | rnd() % 4);
		break;
	case 4:				/* pushf; pop reg; AF may be undefined */
		put(p, 0x9c);
		rex(p, false, 0, b, false);
		put(p, 0x58 | (b & 7));
		rex(p, false, 0, b, false);
		put(p, 0x83), put(p, 0xe0 | (b & 7)), put(p, 0xef);
		break;
	case 5:
		put(p, 0xff), put(p, 0xb5), put32(p, (uint32_t)(rnd() % (DATA_LEN - 8)));
		rex(p, false, 0, b, false);
		put(p, 0x58 | (b & 7));
		break;
	default:			/* mov edx, 0..; or ebx, imm; div ebx or div [mem|high] */
		put(p, 0x31), put(p, 0xd2);
		rex(p, false, 0, 3, false);
		put(p, 0x81), put(p, 0xcb), put32(p, 1 + (uint32_t)(rnd() % 0x7fffffff));
		rex(p, rnd() % 2, 0, 3, false);
		put(p, 0xf7), put(p, 0xf3);
	}
}

/* Overwrite an immediate somewhere in the program with the low byte of a register. */
static void patch(struct prog *p)
{
	unsigned at;

	if (!p->nimm || rnd() % 4)
		return;
	at = SVM_CODE + p->imm[rnd() % p->nimm];
	put(p, 0x88);			/* mov [disp32], dl */
	if (p->bits == 64)
		put(p, 0x14), put(p, 0x25);
	else
		put(p, 0x15);
	put32(p, at);
}

static void straight(struct prog *p, unsigned n)
{
	static void (*const gen[])(struct prog *) = {
		alu, alu,    alu_imm, alu_imm, move, move,  condition,
		one, locked, stack,   string,  sse,  patch, various,
	};

	while (n--)
		gen[rnd() % ARRAY_SIZE(gen)](p);
}

/* A few blocks with forward branches, in a counted loop, calling one subroutine. */
static void program(struct prog *p)
{
	unsigned top, sub, rel, blocks = 1 + rnd() % 5;

	memset(p->b, 0x90, sizeof(p->b));
	p->n = p->nimm = 0;
	if (rnd() % 4 == 0)		/* near the end of a page: blocks and jumps across it */
		p->n = 0;
	put(p, 0xeb), put(p, 0);
	sub = 0;
	put(p, 0xe9);
	put32(p, 0);
	sub = p->n;
	straight(p, 1 + rnd() % 4);
	put(p, 0xc3);
	if (rnd() % 3 == 0)
		p->n = 0xf80 + rnd() % 0x60;
	rel = p->n - sub;
	memcpy(p->b + sub - 4, &rel, 4);
	top = p->n;
	while (blocks-- && p->n < 0xe00) {
		unsigned at;

		straight(p, rnd() % 5);
		put(p, 0x70 | rnd() % 16);
		at = p->n;
		put(p, 0);
		straight(p, 1 + rnd() % 3);
		p->b[at] = (uint8_t)(p->n - at - 1 < 128 ? p->n - at - 1 : 0);
		if (rnd() % 2) {
			put(p, 0xe8);
			put32(p, sub - (p->n + 4));
		}
	}
	if (p->bits == 64)
		put(p, 0x48);
	put(p, 0xff), put(p, 0xc9);		/* dec rcx */
	put(p, 0x0f), put(p, 0x85);
	put32(p, top - (p->n + 4));
	put(p, 0xf4);
}

static void start(struct svm *t, const struct prog *p, const struct x86_state *regs,
		  const uint8_t *data)
{
	svm_start(t, p->bits);
	memcpy(t->st.gpr, regs->gpr, sizeof(regs->gpr));
	memcpy(t->st.xsave + 160, regs->xsave + 160, 256);
	t->st.rflags = regs->rflags;
	svm_code(t, p->b, sizeof(p->b));
	assert_true(gm_write(t->vm->mem, GPA(SVM_DATA), data, DATA_LEN));
}

static void random_state(struct x86_state *st, uint8_t *data)
{
	memset(st, 0, sizeof(*st));
	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = rnd() >> rnd() % 64;
	for (unsigned i = 0; i < 256; i++)
		st->xsave[160 + i] = (uint8_t)rnd();
	st->gpr[R_RSP] = SVM_STACK;
	st->gpr[R_RBP] = SVM_DATA;
	st->gpr[R_RCX] = 1 + rnd() % 40;
	st->rflags = 2 | (rnd() & FL_ARITH);
	for (unsigned i = 0; i < DATA_LEN; i++)
		data[i] = (uint8_t)rnd();
}

static void compare(uint64_t n)
{
	static uint8_t a[DATA_LEN], b[DATA_LEN];

	for (unsigned i = 0; i < 16; i++)
		if (ref.st.gpr[i] != jit.st.gpr[i])
			fail_msg("case %llu, register %u: %llx, translated %llx",
				 (unsigned long long)n, i, (unsigned long long)ref.st.gpr[i],
				 (unsigned long long)jit.st.gpr[i]);
	if ((ref.st.rflags ^ jit.st.rflags) & ~(uint64_t)FL_AF)
		fail_msg("case %llu, flags: %llx, translated %llx", (unsigned long long)n,
			 (unsigned long long)ref.st.rflags, (unsigned long long)jit.st.rflags);
	if (ref.st.rip != jit.st.rip || memcmp(ref.st.xsave + 160, jit.st.xsave + 160, 256))
		fail_msg("case %llu, rip or XMM", (unsigned long long)n);
	assert_true(gm_read(ref.vm->mem, GPA(SVM_DATA), a, DATA_LEN));
	assert_true(gm_read(jit.vm->mem, GPA(SVM_DATA), b, DATA_LEN));
	for (unsigned i = 0; i < DATA_LEN; i++)
		if (a[i] != b[i])
			fail_msg("case %llu, data at %x: %x, translated %x", (unsigned long long)n,
				 i, a[i], b[i]);
}

static void test_programs(void **state)
{
	static uint8_t data[DATA_LEN];
	static struct x86_state st;
	static struct prog p;
	const char *c = getenv("HV_JIT_CASES"), *sd = getenv("HV_JIT_SEED");
	uint64_t cases = c ? strtoull(c, NULL, 0) : 20000, first = sd ? strtoull(sd, NULL, 0) : 1;

	for (uint64_t n = first; n < first + cases; n++) {
		enum vcpu_exit x, y;

		seed = n * 0x9e3779b97f4a7c15ull | 1;
		p.bits = n % 4 ? 64 : 32;
		program(&p);
		random_state(&st, data);
		if (p.bits == 32)
			for (unsigned i = 0; i < 16; i++)
				st.gpr[i] = (uint32_t)st.gpr[i];
		start(&ref, &p, &st, data);
		x = svm_run(&ref);
		start(&jit, &p, &st, data);
		y = svm_run(&jit);
		assert_int_equal(x, y);
		compare(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
	};
	bool verify = getenv("HV_VERIFY") != NULL;
	char old[16];
	int r;

	snprintf(old, sizeof(old), "%s", getenv("HV_JIT") ? getenv("HV_JIT") : "");
	setenv("HV_JIT", "0", 1);
	unsetenv("HV_VERIFY");
	svm_init(&ref);
	if (verify)
		setenv("HV_VERIFY", "1", 1);
	setenv("HV_JIT", atoi(old) > 0 ? old : "1", 1);
	svm_init(&jit);
	if (!((struct soft *)jit.v->impl)->jit) {
		printf("skip: no translator here\n");
		return 0;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	svm_free(&ref);
	svm_free(&jit);
	return r;
}
