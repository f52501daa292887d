/* SPDX-License-Identifier: MIT */
/*
 * Loops of one block (jit_loop.c): random bodies of vector, x87 and integer
 * instructions that walk through memory, in the translator against the
 * interpreter.  Registers, x87, YMM and memory must agree, also where a loop
 * runs into what is no RAM or into a page with code, or faults on the way.
 *
 * HV_LOOP_CASES (default 3000) and HV_LOOP_SEED choose.
 */
#include "softvm.h"
#include <stdio.h>
#include <stdlib.h>

#define DATA_LEN 0x10000u
#define RAM_END (4u << 20)

static struct svm ref, jit;
static uint64_t seed;
static bool avx;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 16) % n);
}

struct prog {
	uint8_t b[1024];
	unsigned n;
	bool down;		/* a pointer is decremented: keep them away from the code */
};

static void put(struct prog *p, uint64_t v, unsigned n)
{
	memcpy(p->b + p->n, &v, n);
	p->n += n;
}

/* ---- encoding ------------------------------------------------------------------- */
struct mem {
	unsigned base, index, scale;
	int32_t disp;
	bool rip;
};

/* Pointers: RBX, RSI, RDI, R9; indices: RDX, R10; none of them is changed but by step(). */
static struct mem operand(void)
{
	static const uint8_t bases[] = { R_RBX, R_RSI, R_RDI, 9 };
	struct mem m = { .base = bases[rnd(4)], .index = 4, .disp = (int32_t)rnd(16) * 8 - 32 };

	if (rnd(8) == 0)
		m.disp += (int32_t)rnd(7);
	if (rnd(4) == 0) {
		m.index = rnd(2) ? 10 : R_RDX;
		m.scale = rnd(4);
	}
	m.rip = rnd(12) == 0;
	return m;
}

static void modrm(struct prog *p, unsigned reg, const struct mem *m)
{
	if (m->rip) {
		put(p, (reg & 7) << 3 | 5, 1);
		put(p, 0x800 + (unsigned)m->disp, 4);
		return;
	}
	put(p, 0x84 | (reg & 7) << 3, 1);
	put(p, m->scale << 6 | (m->index & 7) << 3 | (m->base & 7), 1);
	put(p, (uint32_t)m->disp, 4);
}

static void legacy(struct prog *p, unsigned prefix, bool w, unsigned op, unsigned reg,
		   const struct mem *m)
{
	if (prefix)
		put(p, prefix, 1);
	put(p, 0x40 | (unsigned)w << 3 | (reg & 8) >> 1 |
	    (m->rip ? 0 : (m->index & 8) >> 2 | (m->base & 8) >> 3), 1);
	if (op >> 8)
		put(p, 0x0f, 1);
	put(p, op & 0xff, 1);
	modrm(p, reg, m);
}

static void vex(struct prog *p, unsigned pp, bool l, unsigned v, unsigned op, unsigned reg,
		const struct mem *m)
{
	unsigned x = m->rip ? 0 : m->index & 8, b = m->rip ? 0 : m->base & 8;

	put(p, 0xc4, 1);
	put(p, (reg & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | 1, 1);
	put(p, (~v & 15) << 3 | (unsigned)l << 2 | pp, 1);
	put(p, op, 1);
	modrm(p, reg, m);
}

/* ---- instructions ----------------------------------------------------------------- */
static void sse(struct prog *p, bool flags)
{
	static const struct { uint8_t prefix, op; } k[] = {
		{ 0, 0x10 }, { 0, 0x11 }, { 0, 0x11 }, { 0xf2, 0x10 }, { 0xf2, 0x11 },
		{ 0xf2, 0x58 }, { 0xf2, 0x59 }, { 0xf3, 0x6f }, { 0xf3, 0x7f }, { 0x66, 0xd6 },
		{ 0, 0x28 }, { 0, 0x29 }, { 0, 0x58 }, { 0x66, 0xfe }, { 0x66, 0x2f },
		{ 0xf2, 0x2a }, { 0xf2, 0x2d },
	};
	unsigned i = rnd(ARRAY_SIZE(k) - (rnd(4) ? 7 : 0));
	struct mem m = operand();

	if (i == 14 && !flags)
		i = 1;
	if (i >= 10 && i < 14 && rnd(16)) {	/* aligned ones */
		m.disp &= ~15;
		m.scale = 3;
		m.rip = false;
		if (m.index != 4)
			m.index = 4;
	}
	legacy(p, k[i].prefix, rnd(2), 0x100 | k[i].op, i == 16 ? R_RAX : rnd(16), &m);
}

static void avx_op(struct prog *p)
{
	static const struct { uint8_t pp, op; } k[] = {
		{ 0, 0x10 }, { 0, 0x11 }, { 2, 0x6f }, { 2, 0x7f }, { 0, 0x58 }, { 1, 0x59 },
		{ 1, 0xfe }, { 1, 0xef },
	};
	unsigned i = rnd(ARRAY_SIZE(k));
	struct mem m = operand();

	vex(p, k[i].pp, rnd(2), i < 4 ? 0 : rnd(16), k[i].op, rnd(16), &m);
}

static void x87(struct prog *p)
{
	struct mem m = operand();

	legacy(p, 0, false, 0xdd, 0, &m);		/* fld qword */
	if (rnd(2))
		put(p, 0xc1d8, 2);			/* fadd st, st(1) */
	m = operand();
	if (rnd(3))
		legacy(p, 0, false, 0xdc, rnd(2), &m);	/* fadd, fmul qword */
	m = operand();
	legacy(p, 0, false, 0xdd, 3, &m);		/* fstp qword */
}

/* Results in RAX, R8, R11. */
static void integer(struct prog *p)
{
	static const uint8_t regs[] = { R_RAX, 8, 11 };
	static const uint16_t ops[] = { 0x8b, 0x89, 0x01, 0x03, 0x31, 0x3b, 0x11, 0x1b6, 0x14f };
	struct mem m = operand();

	switch (rnd(6)) {
	case 0:
		put(p, 0xc0014c, 3);			/* add rax, r8 */
		break;
	case 1:
		put(p, 0xc0920f, 3);			/* setb al */
		break;
	case 2:
		put(p, 0x6e0f4866, 4);			/* movq xmm0, rax */
		put(p, 0xc0, 1);
		break;
	default:
		legacy(p, 0, rnd(2), ops[rnd(ARRAY_SIZE(ops))], regs[rnd(3)], &m);
	}
}

/* A pointer or an index goes on. */
static void step(struct prog *p)
{
	static const uint8_t regs[] = { R_RBX, R_RSI, R_RDI, 9, R_RDX, 10 };
	static const int8_t by[] = { 8, 16, 32, 64, 24, 1, -16, -8, 96, 127, 12 };
	unsigned r = regs[rnd(6)];
	int v = r == R_RDX || r == 10 ? (int)rnd(3) : by[rnd(ARRAY_SIZE(by))];

	switch (rnd(8)) {
	case 0:						/* lea */
		put(p, 0x48 | (r & 8 ? 5 : 0), 1);
		put(p, 0x8d, 1);
		put(p, 0x40 | (r & 7) << 3 | (r & 7), 1);
		put(p, (uint8_t)v, 1);
		break;
	case 1:						/* inc */
		put(p, 0x48 | (r & 8) >> 3, 1);
		put(p, 0xc0ff | (r & 7) << 8, 2);
		break;
	default:					/* add, sub */
		put(p, 0x48 | (r & 8) >> 3, 1);
		put(p, 0x83, 1);
		put(p, (rnd(4) ? 0xc0u : 0xe8u) | (r & 7), 1);
		put(p, (uint8_t)v, 1);
		p->down |= p->b[p->n - 2] >= 0xe8;
	}
	p->down |= v < 0;
}

static void loop_end(struct prog *p, unsigned top)
{
	unsigned cc = 0x75;

	switch (rnd(4)) {
	case 0:
		put(p, 0x01e98348, 4);			/* sub rcx, 1 */
		break;
	case 1:
		put(p, 0xc9ff48, 3);			/* dec rcx */
		break;
	case 2:
		put(p, 0xff498d48, 4);			/* lea rcx, [rcx - 1] */
		put(p, 0xc98548, 3);			/* test rcx, rcx */
		break;
	case 3:
		put(p, 0x01c58348, 4);			/* add rbp, 1 */
		put(p, 0xcd3948, 3);			/* cmp rbp, rcx */
		cc = 0x72;
		break;
	}
	if (rnd(3) == 0)
		sse(p, false);				/* behind what sets the flags */
	put(p, 0x0f, 1);
	put(p, cc + 0x10, 1);
	put(p, top - (p->n + 4), 4);
}

static void program(struct prog *p)
{
	unsigned n = 1 + rnd(8), top;

	memset(p->b, 0x90, sizeof(p->b));
	p->n = rnd(32);
	p->down = false;
	top = p->n;
	while (n--) {
		unsigned k = rnd(10);

		if (k < 4)
			sse(p, true);
		else if (k < 5)
			integer(p);
		else if (k < 7 && avx)
			avx_op(p);
		else if (k < 8)
			x87(p);
		else
			step(p);
	}
	step(p);
	loop_end(p, top);
	put(p, 0xf4, 1);
}

/* ---- running ------------------------------------------------------------------------ */
static void random_state(struct x86_state *st, const struct prog *p, uint8_t *data)
{
	static const uint8_t pointers[] = { R_RBX, R_RSI, R_RDI, 9 };
	uint16_t fcw = 0x37f;
	uint32_t mxcsr = 0x1f80 | rnd(4) << 13;

	memset(st, 0, sizeof(*st));
	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = seed >> rnd(64), rnd(2);
	for (unsigned i = 160; i < 416; i++)
		st->xsave[i] = (uint8_t)rnd(256);
	for (unsigned i = 576; avx && i < 832; i++)
		st->xsave[i] = (uint8_t)rnd(256);
	memcpy(st->xsave, &fcw, 2);
	memcpy(st->xsave + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 4; i++) {
		unsigned r = rnd(40);

		st->gpr[pointers[i]] = r == 0 ? RAM_END - rnd(4096) :
			r == 1 && !p->down ? SVM_CODE + 0x600 + rnd(0x800) :
			SVM_DATA + 0x2000 + rnd(0x6000);
		if (rnd(8))
			st->gpr[pointers[i]] &= ~15ull;
	}
	st->gpr[R_RDX] = rnd(64);
	st->gpr[10] = rnd(64);
	st->gpr[R_RCX] = 1 + rnd(rnd(4) ? 200 : 20);
	st->gpr[R_RBP] = 0;
	st->rflags = 2 | (seed & FL_ARITH);
	for (unsigned i = 0; i < DATA_LEN; i++)
		data[i] = (uint8_t)rnd(256);
}

static void start(struct svm *t, const struct prog *p, const struct x86_state *regs,
		  const uint8_t *data)
{
	svm_start(t, 64);
	memcpy(t->st.gpr, regs->gpr, sizeof(regs->gpr));
	memcpy(t->st.xsave, regs->xsave, sizeof(regs->xsave));
	t->st.xsave[512] = avx ? 7 : 3;
	t->st.rflags = regs->rflags;
	t->st.cr4 |= avx ? 0x40000 : 0;
	t->st.xcr0 = avx ? 7 : 3;
	t->st.gpr[R_RSP] = SVM_STACK + DATA_LEN;
	svm_code(t, p->b, sizeof(p->b));
	assert_true(gm_write(t->vm->mem, GPA(SVM_DATA), data, DATA_LEN));
	assert_true(gm_write(t->vm->mem, GPA(RAM_END - 4096), data, 4096));
}

static void same(uint64_t n, const char *what, const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < len; i++)
		if (x[i] != y[i])
			fail_msg("case %llu, %s at %#zx: %02x, translated %02x",
				 (unsigned long long)n, what, i, x[i], y[i]);
}

static void compare(uint64_t n)
{
	static uint8_t a[DATA_LEN], b[DATA_LEN];
	const struct x86_state *x = &ref.st, *y = &jit.st;

	same(n, "registers", x->gpr, y->gpr, sizeof(x->gpr));
	same(n, "RIP", &x->rip, &y->rip, 8);
	same(n, "flags", &x->rflags, &y->rflags, 8);
	same(n, "FCW to FTW", x->xsave, y->xsave, 5);
	same(n, "MXCSR", x->xsave + 24, y->xsave + 24, 4);
	for (unsigned i = 0; i < 8; i++)
		same(n, "ST", x->xsave + 32 + 16 * i, y->xsave + 32 + 16 * i, 10);
	same(n, "XMM", x->xsave + 160, y->xsave + 160, 256);
	same(n, "YMM", x->xsave + 576, y->xsave + 576, 256);
	for (unsigned i = 0; i < 2; i++) {
		gpa_t at = i ? GPA(RAM_END - 4096) : GPA(SVM_DATA);
		size_t len = i ? 4096 : DATA_LEN;

		assert_true(gm_read(ref.vm->mem, at, a, len));
		assert_true(gm_read(jit.vm->mem, at, b, len));
		same(n, "memory", a, b, len);
	}
	assert_true(gm_read(ref.vm->mem, GPA(SVM_CODE - 1024), a, 4096));
	assert_true(gm_read(jit.vm->mem, GPA(SVM_CODE - 1024), b, 4096));
	same(n, "code", a, b, 4096);
}

static void test_loops(void **state)
{
	static uint8_t data[DATA_LEN];
	static struct x86_state st;
	static struct prog p;
	const char *c = getenv("HV_LOOP_CASES"), *sd = getenv("HV_LOOP_SEED");
	uint64_t cases = c ? strtoull(c, NULL, 0) : 3000, first = sd ? strtoull(sd, NULL, 0) : 1;

	avx = soft_has_feat(F_AVX);
	for (uint64_t n = first; n < first + cases; n++) {
		enum vcpu_exit x, y;

		seed = n * 0x9e3779b97f4a7c15ull | 1;
		program(&p);
		random_state(&st, &p, data);
		start(&ref, &p, &st, data);
		x = svm_run(&ref);
		start(&jit, &p, &st, data);
		y = svm_run(&jit);
		if (x != y)
			fail_msg("case %llu: exit %d, translated %d", (unsigned long long)n, x, y);
		compare(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loops),
	};
	int r;

	setenv("HV_JIT", "0", 1);
	svm_init(&ref);
	setenv("HV_JIT", "2", 1);
	svm_init(&jit);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	svm_free(&ref);
	svm_free(&jit);
	return r;
}
