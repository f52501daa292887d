/* SPDX-License-Identifier: MIT */
/* Integer rows: plain instructions, branches, calls and dependent loads. */
#include "bench.h"

/* Five instructions, none touches memory. */
static uint64_t run_alu(uint64_t n)
{
	uint64_t a = 1, b = 3;

	__asm__ volatile("1: add %1, %0\n\txor %0, %1\n\trol $7, %0\n\tdec %2\n\tjnz 1b"
			 : "+r"(a), "+r"(b), "+r"(n) : : "cc");
	return a ^ b;
}

/* Seven instructions, one load and one store, in 32 KB. */
static uint64_t ldst_buf[4096];

static uint64_t run_ldst(uint64_t n)
{
	uint64_t i = 0, v, acc = 1;

	__asm__ volatile("1: mov (%4,%0,8), %1\n\tadd %1, %2\n\tmov %2, 8(%4,%0,8)\n\t"
			 "add $3, %0\n\tand $0xff7, %0\n\tdec %3\n\tjnz 1b"
			 : "+r"(i), "=&r"(v), "+r"(acc), "+r"(n) : "r"(ldst_buf)
			 : "cc", "memory");
	return acc ^ hash_bytes(ldst_buf, sizeof(ldst_buf));
}

/* Lists, a small matrix, a state machine and a CRC: what control software does. */
struct node {
	struct node *next;
	int16_t key, val;
};
static struct node nodes[200];
static int16_t mat_a[12 * 12], mat_b[12 * 12];
static int32_t mat_c[12 * 12];

static NOINLINE uint16_t crc16(uint16_t crc, uint32_t v)
{
	int i;

	for (i = 0; i < 16; i++, v >>= 1)
		crc = (uint16_t)((crc >> 1) ^ (((crc ^ v) & 1) ? 0xa001 : 0));
	return crc;
}

static struct node *merge(struct node *a, struct node *b, int by_key)
{
	struct node head, *t = &head;

	while (a && b) {
		int first = by_key ? a->key <= b->key : a->val <= b->val;
		struct node **from = first ? &a : &b;

		t->next = *from;
		t = *from;
		*from = t->next;
	}
	t->next = a ? a : b;
	return head.next;
}

static NOINLINE struct node *sort(struct node *l, int by_key)
{
	struct node *slow = l, *fast, *rest;

	if (!l || !l->next)
		return l;
	for (fast = l->next; fast && fast->next; fast = fast->next->next)
		slow = slow->next;
	rest = slow->next;
	slow->next = NULL;
	return merge(sort(l, by_key), sort(rest, by_key), by_key);
}

static NOINLINE uint16_t list_part(uint64_t *seed, uint16_t crc)
{
	struct node *l, *n, *prev = NULL, *next;
	int i;

	for (i = 0; i < 200; i++) {
		nodes[i].key = (int16_t)rnd(seed);
		nodes[i].val = (int16_t)i;
		nodes[i].next = i < 199 ? &nodes[i + 1] : NULL;
	}
	l = sort(nodes, 1);
	for (n = l, i = 0; n; n = n->next, i++)
		if (!(i % 16))
			crc = crc16(crc, (uint16_t)n->val);
	for (n = l; n; n = next) {
		next = n->next;
		n->next = prev;
		prev = n;
	}
	for (l = sort(prev, 0), i = 0; l; l = l->next)
		i += l->key * (l->val & 3);
	return crc16(crc, (uint32_t)i);
}

static NOINLINE uint16_t matrix_part(uint64_t *seed, uint16_t crc)
{
	int i, j, k;
	int32_t s;

	for (i = 0; i < 12 * 12; i++) {
		mat_a[i] = (int16_t)(rnd(seed) & 0xff);
		mat_b[i] = (int16_t)(rnd(seed) & 0xff);
	}
	for (i = 0; i < 12; i++)
		for (j = 0; j < 12; j++) {
			for (s = 0, k = 0; k < 12; k++)
				s += mat_a[i * 12 + k] * mat_b[k * 12 + j];
			mat_c[i * 12 + j] = s;
		}
	for (i = 0, s = 0; i < 12 * 12; i++)
		s += (mat_c[i] >> 2 & 15) * (mat_c[i] >> 5 & 127);
	return crc16(crc, (uint32_t)s);
}

/* Numbers as text: counts which kind each is. */
static NOINLINE uint16_t state_part(uint64_t *seed, uint16_t crc)
{
	static const char alphabet[] = "0123456789+-.eEx,, 10";
	enum { START, SIGN, INT, DOT, EXP, EXPINT, BAD } st = START;
	unsigned count[7] = { 0 };
	int i;

	for (i = 0; i < 400; i++) {
		char c = alphabet[rnd(seed) % (sizeof(alphabet) - 1)];

		count[st]++;
		if (c == ',') {
			st = START;
			continue;
		}
		switch (st) {
		case START:
			st = c >= '0' && c <= '9' ? INT : c == '+' || c == '-' ? SIGN :
			     c == '.' ? DOT : BAD;
			break;
		case SIGN:
			st = c >= '0' && c <= '9' ? INT : c == '.' ? DOT : BAD;
			break;
		case INT:
			st = c >= '0' && c <= '9' ? INT : c == '.' ? DOT :
			     c == 'e' || c == 'E' ? EXP : BAD;
			break;
		case DOT:
			st = c >= '0' && c <= '9' ? DOT : c == 'e' || c == 'E' ? EXP : BAD;
			break;
		case EXP:
			st = (c >= '0' && c <= '9') || c == '-' || c == '+' ? EXPINT : BAD;
			break;
		case EXPINT:
			st = c >= '0' && c <= '9' ? EXPINT : BAD;
			break;
		case BAD:
			st = c == ' ' ? START : BAD;
			break;
		}
	}
	for (i = 0; i < 7; i++)
		crc = crc16(crc, count[i]);
	return crc;
}

static uint64_t run_core(uint64_t n)
{
	uint64_t seed = 42, h = 0;
	uint16_t crc = 0;

	while (n--) {
		crc = list_part(&seed, crc);
		crc = matrix_part(&seed, crc);
		crc = state_part(&seed, crc);
		h = mix(h, crc);
	}
	return h;
}

/* A bytecode interpreter (one switch) that runs a sieve of primes and Collatz chains. */
enum { LDI, MOV, ADD, SUB, SHR, AND, MUL, LOAD, STORE, JZ, JNZ, JLT, JMP, HALT };
struct insn {
	uint8_t op, a, b, c;
	int32_t imm;
};
static uint32_t vm_mem[4096];

static const struct insn program[] = {
	/*  0 */ { LDI, 1, 0, 0, 2 }, { LDI, 2, 0, 0, 4096 }, { LDI, 7, 0, 0, 1 },
	/*  3 */ { JLT, 0, 1, 2, 5 }, { JMP, 0, 0, 0, 16 },
	/*  5 */ { LOAD, 3, 1, 0, 0 }, { JNZ, 0, 3, 0, 14 }, { ADD, 6, 6, 7, 0 },
	/*  8 */ { ADD, 4, 1, 1, 0 },
	/*  9 */ { JLT, 0, 4, 2, 11 }, { JMP, 0, 0, 0, 14 },
	/* 11 */ { STORE, 7, 4, 0, 0 }, { ADD, 4, 4, 1, 0 }, { JMP, 0, 0, 0, 9 },
	/* 14 */ { ADD, 1, 1, 7, 0 }, { JMP, 0, 0, 0, 3 },
	/* 16 */ { LDI, 1, 0, 0, 2 }, { LDI, 5, 0, 0, 3 }, { LDI, 2, 0, 0, 300 },
	/* 19 */ { MOV, 3, 1, 0, 0 },
	/* 20 */ { SUB, 4, 3, 7, 0 }, { JZ, 0, 4, 0, 29 }, { AND, 4, 3, 7, 0 },
	/* 23 */ { ADD, 6, 6, 7, 0 }, { JNZ, 0, 4, 0, 27 },
	/* 25 */ { SHR, 3, 3, 7, 0 }, { JMP, 0, 0, 0, 20 },
	/* 27 */ { MUL, 3, 3, 5, 0 }, { JMP, 0, 0, 0, 32 },
	/* 29 */ { ADD, 1, 1, 7, 0 }, { JLT, 0, 1, 2, 19 }, { HALT, 0, 0, 0, 0 },
	/* 32 */ { ADD, 3, 3, 7, 0 }, { JMP, 0, 0, 0, 20 },
};

static NOINLINE uint32_t interpret(const struct insn *code)
{
	uint32_t r[8] = { 0 };
	const struct insn *p = code;

	for (;;) {
		switch (p->op) {
		case LDI: r[p->a] = (uint32_t)p->imm; p++; break;
		case MOV: r[p->a] = r[p->b]; p++; break;
		case ADD: r[p->a] = r[p->b] + r[p->c]; p++; break;
		case SUB: r[p->a] = r[p->b] - r[p->c]; p++; break;
		case SHR: r[p->a] = r[p->b] >> r[p->c]; p++; break;
		case AND: r[p->a] = r[p->b] & r[p->c]; p++; break;
		case MUL: r[p->a] = r[p->b] * r[p->c]; p++; break;
		case LOAD: r[p->a] = vm_mem[r[p->b] & 4095]; p++; break;
		case STORE: vm_mem[r[p->b] & 4095] = r[p->a]; p++; break;
		case JZ: p = r[p->b] ? p + 1 : code + p->imm; break;
		case JNZ: p = r[p->b] ? code + p->imm : p + 1; break;
		case JLT: p = r[p->b] < r[p->c] ? code + p->imm : p + 1; break;
		case JMP: p = code + p->imm; break;
		default: return r[6];
		}
	}
}

static uint64_t run_interp(uint64_t n)
{
	uint64_t h = 0;
	size_t i;

	while (n--) {
		for (i = 0; i < 4096; i++)
			vm_mem[i] = 0;
		h = mix(h, interpret(program));
	}
	return h;
}

/* Indirect calls: eight targets in an order that repeats. */
#define TARGET(n, expr) static NOINLINE uint64_t target_##n(uint64_t x) { return expr; }
TARGET(0, x + 1) TARGET(1, x ^ 0x55) TARGET(2, x * 3) TARGET(3, x - 7)
TARGET(4, x >> 1) TARGET(5, x | 16) TARGET(6, ~x) TARGET(7, x + (x << 3))
static uint64_t (*const targets[8])(uint64_t) = {
	target_0, target_1, target_2, target_3, target_4, target_5, target_6, target_7,
};
static uint8_t order[16];

static uint64_t run_icall(uint64_t n)
{
	uint64_t seed = 7, x = 1, i;

	for (i = 0; i < 16; i++)
		order[i] = rnd(&seed) & 7;
	for (i = 0; i < n; i++)
		x = targets[order[i & 15]](x);
	return x;
}

__attribute__((noinline, noclone, optimize("no-inline", "no-optimize-sibling-calls")))
static uint64_t fib(uint64_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t run_fib(uint64_t n)
{
	return n >= 1000 ? fib(38) : fib(20);
}

/* One load after the other, each address from the last: a random cycle. */
static void **cycle;

static void *make_cycle(size_t bytes)
{
	size_t n = bytes / sizeof(void *), i, j;
	void **p = grab(bytes);
	uint32_t *perm = grab(n * sizeof(*perm)), t;
	uint64_t seed = 99;

	for (i = 0; i < n; i++)
		perm[i] = (uint32_t)i;
	for (i = n - 1; i; i--) {
		j = rnd(&seed) % i;
		t = perm[i];
		perm[i] = perm[j];
		perm[j] = t;
	}
	for (i = 0; i < n; i++)
		p[i] = &p[perm[i]];
	return p;
}

static void prepare_16k(void) { cycle = make_cycle(16 << 10); }
static void prepare_32m(void) { cycle = make_cycle(32 << 20); }

static uint64_t run_chase(uint64_t n)
{
	void **p = cycle;

	while (n--)
		p = *p;
	return (uint64_t)(p - cycle);
}

const struct row int_rows[] = {
	{ "alu", 150000000, NULL, run_alu, NULL },
	{ "ldst", 100000000, NULL, run_ldst, NULL },
	{ "core", 3000, NULL, run_core, NULL },
	{ "interp", 500, NULL, run_interp, NULL },
	{ "icall", 15000000, NULL, run_icall, NULL },
	{ "fib38", 1000, NULL, run_fib, NULL },
	{ "chase16k", 100000000, prepare_16k, run_chase, NULL },
	{ "chase32m", 2000000, prepare_32m, run_chase, NULL },
	{ NULL, 0, NULL, NULL, NULL },
};
