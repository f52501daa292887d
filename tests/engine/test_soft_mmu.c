/* SPDX-License-Identifier: MIT */
/*
 * Paging of the software CPU (Intel SDM vol. 3 ch. 4): the rights of every
 * level against a model of its own, reserved bits, PDPTEs, PSE-36, global
 * pages and what drops translations, A20.
 */
#include "softsys.h"

#define P 1u
#define RW 2u
#define US 4u
#define NX 8u		/* in a mask of rights; bit 63 of the entry */
#define PHYS 0x200000u	/* what the tested address maps to */
#define USER64 0x10000000000ull

static struct svm t;
static struct soft *s;

static int setup(void **state)
{
	svm_init(&t);
	s = t.v->impl;
	return 0;
}

static int teardown(void **state)
{
	svm_free(&t);
	return 0;
}

/* ---- kinds of paging ------------------------------------------------------------- */
struct kind {
	const char *name;
	unsigned bits, levels, esize, cr4;
	uint64_t lin, user;	/* tested address; alias of low memory for CPL 3 */
	uint32_t at[4];		/* the tested entries */
	uint64_t base[4];	/* what they point to, with PS */
};

#define PS 0x80u
static const struct kind kinds[] = {
	{ "4-level 4K", 64, 4, 8, CR4_PAE, 0x8000200000, USER64,
	  { 0x100008, 0x105000, 0x106008, 0x107000 }, { 0x105000, 0x106000, 0x107000, PHYS } },
	{ "4-level 2M", 64, 3, 8, CR4_PAE, 0x8000200000, USER64,
	  { 0x100008, 0x105000, 0x106008 }, { 0x105000, 0x106000, PHYS | PS } },
	{ "4-level 1G", 64, 2, 8, CR4_PAE, 0x8000200000, USER64,
	  { 0x100008, 0x105000 }, { 0x105000, PS } },
	{ "PAE 4K", 32, 2, 8, CR4_PAE, 0x80200000, 0x40000000,
	  { 0x103008, 0x104000 }, { 0x104000, PHYS } },
	{ "PAE 2M", 32, 1, 8, CR4_PAE, 0x80200000, 0x40000000, { 0x103008 }, { PHYS | PS } },
	{ "32-bit 4K", 32, 2, 4, CR4_PSE, 0x80200000, 0x40000000,
	  { 0x100800, 0x101800 }, { 0x101000, PHYS } },
	{ "32-bit 4M", 32, 1, 4, CR4_PSE, 0x80200000, 0x40000000, { 0x100800 }, { PS } },
};

static void clear_tables(void)
{
	for (uint64_t a = 0x100000; a < 0x108000; a += 8)
		sys_put(&t, a, 0, 8);
}

/* Low memory for the supervisor at 0, for the user at k->user. */
static void low_memory(const struct kind *k)
{
	clear_tables();
	if (k->bits == 64) {
		sys_put(&t, 0x100000, 0x101003, 8);
		sys_put(&t, 0x101000, 0x102003, 8);
		sys_put(&t, 0x100010, 0x103007, 8);
		sys_put(&t, 0x103000, 0x104007, 8);
		for (unsigned i = 0; i < 2; i++) {
			sys_put(&t, 0x102000 + 8 * i, i << 21 | 0xe3, 8);
			sys_put(&t, 0x104000 + 8 * i, i << 21 | 0xe7, 8);
		}
	} else if (k->esize == 8) {
		for (unsigned i = 0; i < 3; i++)
			sys_put(&t, 0x100000 + 8 * i, 0x101001 + 0x1000 * i, 8);
		for (unsigned i = 0; i < 2; i++) {
			sys_put(&t, 0x101000 + 8 * i, i << 21 | 0xe3, 8);
			sys_put(&t, 0x102000 + 8 * i, i << 21 | 0xe7, 8);
		}
	} else {
		sys_put(&t, 0x100000, 0xe3, 4);
		sys_put(&t, 0x100400, 0xe7, 4);
	}
}

static void start(const struct kind *k)
{
	struct err e = { 0 };

	sys_start(&t, k->bits, 0);
	low_memory(k);
	t.st.cr3 = 0x100000;
	t.st.cr4 = k->cr4;
	t.st.cr0 |= 0x80000001;
	if (k->bits == 32)
		t.st.efer = 0;
	assert_true(t.v->ops->set_state(t.v, &t.st, &e));
	SYS_CODE(&t, 0x8a, 0x03, 0x0f, 0x0b,		/* mov al, [rbx]; ud2 */
		 0x88, 0x03, 0x0f, 0x0b,		/* mov [rbx], al; ud2 */
		 0xff, 0xe3);				/* jmp rbx */
	sys_put(&t, PHYS, 0x0b0f, 2);
}

/* ---- the model --------------------------------------------------------------------- */
struct access {
	bool user, wp, smep, smap, ac, nxe;
	int acc;
};

/* -1: allowed, else the error code. */
static int model(const struct kind *k, const unsigned *r, const struct access *a)
{
	bool w = true, u = true, x = true;
	int code = (a->acc == ACC_W ? 2 : 0) | (a->user ? 4 : 0);

	if (a->acc == ACC_X && (a->smep || (a->nxe && k->esize == 8)))
		code |= 16;
	for (unsigned i = 0; i < k->levels; i++) {
		if (!(r[i] & P))
			return code;
		if (k->esize == 8 && r[i] & NX && !a->nxe)
			return code | 9;
		w &= !!(r[i] & RW);
		u &= !!(r[i] & US);
		x &= !(k->esize == 8 && r[i] & NX);
	}
	if (a->user)
		return u && (a->acc == ACC_R || (a->acc == ACC_W ? w : x)) ? -1 : code | 1;
	if (a->acc == ACC_X)
		return x && !(a->smep && u) ? -1 : code | 1;
	if (u && a->smap && !a->ac)
		return code | 1;
	return a->acc == ACC_R || w || !a->wp ? -1 : code | 1;
}

/* ---- one access on the CPU ------------------------------------------------------------ */
static void set_regs(const struct kind *k, const struct access *a)
{
	unsigned cs = k->bits == 64 ? (a->user ? U64 : K64) : a->user ? U32 : K32;

	sys_segs(&t, cs, a->user ? UDS : KDS);
	memcpy(s->seg, t.st.seg, sizeof(s->seg));
	s->cpl = a->user ? 3 : 0;
	s->cr0 = 0x80000011 | (a->wp ? CR0_WP : 0);
	s->cr4 = k->cr4 | CR4_PSE | (a->smep ? CR4_SMEP : 0) | (a->smap ? CR4_SMAP : 0);
	s->efer = (k->bits == 64 ? EFER_LMA | EFER_LME : 0) | (a->nxe ? EFER_NXE : 0);
	s->eflags = 2 | (a->ac ? FL_AC : 0);
	s->gpr[R_RBX] = k->lin;
	s->gpr[R_RSP] = SVM_STACK + (a->user ? k->user : 0);
	s->rip = SVM_CODE + 4 * (unsigned)a->acc + (a->user ? k->user : 0);
	s->cr2 = 0x1234;
	s->halted = false;
	soft_tlb_flush(s, false);
	soft_update_mode(s);
}

static uint64_t entry(const struct kind *k, unsigned i, unsigned r)
{
	return k->base[i] | (r & 7) | (k->esize == 8 && r & NX ? PTE_NX : 0);
}

static void check_one(const struct kind *k, const unsigned *r, const struct access *a)
{
	int want = model(k, r, a), vec;
	uint64_t ip, sp;
	const char *what = NULL;

	for (unsigned i = 0; i < k->levels; i++)
		sys_put(&t, k->at[i], entry(k, i, r[i]), k->esize);
	set_regs(k, a);
	ip = a->acc == ACC_X ? k->lin : s->rip + 2;
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	vec = (int)((s->rip - 1 - SYS_HAND) / 16);
	sp = s->gpr[R_RSP];
	if (vec != (want < 0 ? EXC_UD : EXC_PF))
		what = "vector";
	else if (want >= 0 && sys_get(&t, sp, 4) != (unsigned)want)
		what = "error code";
	else if (want >= 0 && s->cr2 != k->lin)
		what = "CR2";
	else if (want < 0 && sys_get(&t, sp, 4) != (uint32_t)ip)
		what = "where it went on";
	for (unsigned i = 0; i < k->levels && !what; i++) {
		uint64_t e = entry(k, i, r[i]);

		if (want < 0)
			e |= PTE_A | (i == k->levels - 1 && a->acc == ACC_W ? PTE_D : 0);
		if (sys_get(&t, k->at[i], k->esize) != e)
			what = "accessed and dirty bits";
	}
	if (what)
		fail_msg("%s: rights %x %x %x %x user %d wp %d smep %d smap %d ac %d nxe %d access "
			 "%d: "
			 "%s; want %d, vector %d code %#llx",
			 k->name, r[0], r[1], r[2], r[3], a->user, a->wp, a->smep, a->smap, a->ac,
			 a->nxe, a->acc, what, want, vec, (unsigned long long)sys_get(&t, sp, 4));
}

static void one_of(const struct kind *k, uint32_t n)
{
	struct access a = { .acc = (int)(n % 3) };
	unsigned r[4] = { 0 };

	n /= 3;
	a.user = n & 1, a.wp = n & 2, a.smep = n & 4, a.smap = n & 8, a.ac = n & 16, a.nxe = n & 32;
	n >>= 6;
	for (unsigned i = 0; i < k->levels; i++, n >>= 4)
		r[i] = n & 15;
	check_one(k, r, &a);
}

/* All where they are few, else a fixed sample, and each level alone. */
static void matrix(const struct kind *k)
{
	uint64_t total = 192ull << 4 * k->levels, lcg = 1;

	start(k);
	if (total <= 50000) {
		for (uint32_t n = 0; n < total; n++)
			one_of(k, n);
		return;
	}
	for (unsigned i = 0; i < k->levels; i++)
		for (uint32_t n = 0; n < 192 * 16; n++)
			one_of(k, n % 192 + 192 * ((0x7777u & ~(15u << 4 * i)) |
						  (n / 192) << 4 * i));
	for (unsigned i = 0; i < 40000; i++) {
		lcg = lcg * 6364136223846793005ull + 1442695040888963407ull;
		one_of(k, (uint32_t)((lcg >> 20) % total));
	}
}

static void test_rights(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		matrix(&kinds[i]);
}

/* ---- reserved bits ------------------------------------------------------------------- */
static void rsvd(const struct kind *k, unsigned level, uint64_t bits, bool fault)
{
	const struct access a = { .acc = ACC_R, .nxe = true };
	int vec;

	for (unsigned i = 0; i < k->levels; i++)
		sys_put(&t, k->at[i], k->base[i] | 7 | (i == level ? bits : 0), k->esize);
	set_regs(k, &a);
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	vec = (int)((s->rip - 1 - SYS_HAND) / 16);
	if (vec != (fault ? EXC_PF : EXC_UD) || (fault && sys_get(&t, s->gpr[R_RSP], 4) != 9))
		fail_msg("%s: level %u bits %#llx: vector %d", k->name, level,
			 (unsigned long long)bits, vec);
}

static void test_reserved(void **state)
{
	const struct kind *k = &kinds[0];

	start(k);
	rsvd(k, 0, PS, true);		/* PML4E */
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned b = 40; b < 52; b++)
			rsvd(k, i, 1ull << b, true);
		for (unsigned b = 52; b < 63; b++)
			rsvd(k, i, 1ull << b, false);
		rsvd(k, i, 0xe00 | 0x18, false);	/* ignored, PWT, PCD */
	}
	start(&kinds[1]);
	for (unsigned b = 13; b < 21; b++)
		rsvd(&kinds[1], 2, 1u << b, true);
	rsvd(&kinds[1], 2, 0x1000, false);		/* PAT */
	start(&kinds[2]);
	for (unsigned b = 13; b < 30; b++)
		rsvd(&kinds[2], 1, 1u << b, true);
	rsvd(&kinds[2], 1, 0x1000, false);
	start(&kinds[3]);
	for (unsigned b = 40; b < 63; b++)
		rsvd(&kinds[3], 1, 1ull << b, true);
	start(&kinds[4]);
	for (unsigned b = 13; b < 21; b++)
		rsvd(&kinds[4], 0, 1u << b, true);
	start(&kinds[6]);
	rsvd(&kinds[6], 0, 0x200000, true);		/* PSE-36: bit 21 */
	rsvd(&kinds[6], 0, 0x1000, false);
}

/* ---- programs ---------------------------------------------------------------------------- */
/* [rbx] by the TLB as it is: mov eax, [rbx]; hlt */
static uint64_t load_at(uint64_t lin)
{
	static const uint8_t code[] = { 0x8b, 0x03, 0xf4 };

	svm_code(&t, code, sizeof(code));
	s->gpr[R_RBX] = lin;
	s->gpr[R_RAX] = 0;
	s->rip = SVM_CODE;
	s->halted = false;
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	return s->gpr[R_RAX];
}

static void exec(const uint8_t *code, size_t n)
{
	svm_code(&t, code, n);
	s->rip = SVM_CODE;
	s->halted = false;
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	assert_true(s->rip >= SVM_CODE);	/* no exception */
}
#define EXEC(...) \
	do { \
		static const uint8_t c_[] = { __VA_ARGS__, 0xf4 }; \
		exec(c_, sizeof(c_)); \
	} while (0)

static void map64(const struct kind *k, uint64_t leaf)
{
	for (unsigned i = 0; i < k->levels; i++)
		sys_put(&t, k->at[i], i + 1 < k->levels ? k->base[i] | 0x27 : leaf, 8);
}

/* A stale translation may stay until it is dropped; after the drop it must be gone. */
static void test_drop(void **state)
{
	static const uint64_t g_bits[] = { 0, PTE_G };
	const struct kind *k = &kinds[0];

	for (unsigned g = 0; g < 2; g++) {
		const struct access a = { 0 };

		start(k);
		set_regs(k, &a);
		s->cr4 |= CR4_PGE | CR4_PCIDE;
		sys_put(&t, 0x200000, 0x11111111, 4);
		sys_put(&t, 0x201000, 0x22222222, 4);
		map64(k, 0x200067 | g_bits[g]);
		assert_true(load_at(k->lin) == 0x11111111);
		map64(k, 0x201067 | g_bits[g]);
		EXEC(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);	/* mov rax, cr3; mov cr3, rax */
		assert_true(load_at(k->lin) == (g ? 0x11111111 : 0x22222222));
		s->gpr[R_RBX] = k->lin;
		EXEC(0x0f, 0x01, 0x3b);				/* invlpg [rbx] */
		assert_true(load_at(k->lin) == 0x22222222);
		map64(k, 0x200067 | g_bits[g]);
		EXEC(0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xf0, 7, 0x0f, 0x22, 0xe0,	/* CR4.PGE off */
		     0x0f, 0xba, 0xe8, 7, 0x0f, 0x22, 0xe0);			/* and on */
		assert_true(load_at(k->lin) == 0x11111111);
		/* invpcid eax, [rbx]: types 0 to 3 */
		for (unsigned type = 0; type < 4; type++) {
			map64(k, (type & 1 ? 0x200067 : 0x201067) | g_bits[g]);
			sys_put(&t, SVM_DATA, 0, 8);
			sys_put(&t, SVM_DATA + 8, k->lin, 8);
			s->gpr[R_RBX] = SVM_DATA;
			s->gpr[R_RAX] = type;
			EXEC(0x66, 0x0f, 0x38, 0x82, 0x03);
			if (g && (type == 1 || type == 3))
				s->gpr[R_RAX] = 2, s->gpr[R_RBX] = SVM_DATA, exec((const uint8_t[]){
					0x66, 0x0f, 0x38, 0x82, 0x03, 0xf4 }, 6);
			assert_true(load_at(k->lin) == (type & 1 ? 0x11111111 : 0x22222222));
		}
	}
}

/* INVLPG of any address in a large page drops all of it: SDM vol. 3, 4.10.2.3. */
static void test_drop_large(void **state)
{
	const struct kind *k = &kinds[1];
	const struct access a = { 0 };

	start(k);
	set_regs(k, &a);
	for (unsigned i = 0; i < 4; i++) {
		sys_put(&t, 0x200000 + 0x10000 * i, 0x11111111, 4);
		sys_put(&t, 0x10000 * i + 0x60000, 0, 4);
	}
	map64(k, 0x2000e7);
	for (unsigned i = 0; i < 4; i++)
		assert_true(load_at(k->lin + 0x10000 * i) == 0x11111111);
	map64(k, 0x2000e6);		/* not present */
	s->gpr[R_RBX] = k->lin + 0x123456;
	EXEC(0x0f, 0x01, 0x3b);
	for (unsigned i = 0; i < 4; i++) {
		load_at(k->lin + 0x10000 * i);
		assert_int_equal((s->rip - 1 - SYS_HAND) / 16, EXC_PF);
	}
}

static void load_cr3(unsigned pcid, bool keep)
{
	s->gpr[R_RAX] = (s->cr3 & ~0xfffull) | pcid | (uint64_t)keep << 63;
	EXEC(0x0f, 0x22, 0xd8);				/* mov cr3, rax */
}

static void invpcid(unsigned type, unsigned pcid, uint64_t lin)
{
	sys_put(&t, SVM_DATA, pcid, 8);
	sys_put(&t, SVM_DATA + 8, lin, 8);
	s->gpr[R_RBX] = SVM_DATA;
	s->gpr[R_RAX] = type;
	EXEC(0x66, 0x0f, 0x38, 0x82, 0x03);		/* invpcid rax, [rbx] */
}

/* Translations of another PCID stay until somebody drops them (SDM vol. 3, 4.10.4). */
static void test_pcid(void **state)
{
	const struct kind *k = &kinds[0];

	for (unsigned how = 0; how < 8; how++) {
		const struct access a = { 0 };

		start(k);
		set_regs(k, &a);
		s->cr4 |= CR4_PGE | CR4_PCIDE;
		invpcid(2, 0, 0);
		sys_put(&t, 0x200000, 0x11111111, 4);
		sys_put(&t, 0x201000, 0x22222222, 4);
		load_cr3(1, false);
		map64(k, 0x200067);
		assert_true(soft_ld_as(s, NULL, k->lin, 4, true) == 0x11111111);
		load_cr3(2, true);
		map64(k, 0x201067);
		assert_true(soft_ld_as(s, NULL, k->lin, 4, true) == 0x22222222);
		if (how < 4) {
			invpcid(how, 1, k->lin);
		} else if (how == 4) {
			load_cr3(1, false);
		} else if (how == 5) {			/* nothing, and nothing of another */
			invpcid(0, 2, k->lin);
			invpcid(0, 1, k->lin + 0x1000);
			invpcid(1, 2, 0);
		} else if (how == 6) {			/* more spaces than are kept */
			for (unsigned i = 3; i < 12; i++)
				load_cr3(i, true);
		} else {
			s->gpr[R_RAX] = s->cr4 & ~CR4_PGE;
			EXEC(0x0f, 0x22, 0xe0);		/* mov cr4, rax */
		}
		load_cr3(1, true);
		assert_int_equal(soft_ld_as(s, NULL, k->lin, 4, true),
				 how == 5 ? 0x11111111 : 0x22222222);
	}
}

/* Code whose page is remapped, with INVLPG between. */
static void test_drop_code(void **state)
{
	const struct kind *k = &kinds[0];
	const struct access a = { 0 };
	static const uint8_t call[] = { 0xff, 0xd3, 0xf4 };		/* call rbx; hlt */

	start(k);
	set_regs(k, &a);
	sys_put(&t, 0x200000, 0xc300000001b8, 8);	/* mov eax, 1; ret */
	sys_put(&t, 0x201000, 0xc300000002b8, 8);
	for (unsigned i = 0; i < 60; i++) {
		map64(k, i & 1 ? 0x201067 : 0x200067);
		s->gpr[R_RBX] = k->lin;
		EXEC(0x0f, 0x01, 0x3b);
		exec(call, sizeof(call));
		assert_int_equal(s->gpr[R_RAX], i & 1 ? 2 : 1);
	}
}

/* PDPTEs are loaded by MOV CR3, not by the walk; reserved bits there raise #GP. */
static void test_pdpte(void **state)
{
	const struct kind *k = &kinds[3];
	const struct access a = { 0 };
	struct frame f;

	start(k);
	set_regs(k, &a);
	sys_put(&t, PHYS, 0x11111111, 4);
	map64(k, 0x200067);
	assert_true(load_at(k->lin) == 0x11111111);
	sys_put(&t, 0x100010, 0, 8);		/* the cached PDPTE stays in force */
	soft_tlb_flush(s, false);
	assert_true(load_at(k->lin) == 0x11111111);
	EXEC(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);	/* mov cr3, eax */
	load_at(k->lin);
	assert_int_equal((s->rip - 1 - SYS_HAND) / 16, EXC_PF);
	for (unsigned b = 1; b < 64; b++) {
		bool bad = b < 3 || (b >= 5 && b < 9) || b >= 40;

		t.v->ops->get_state(t.v, &t.st);
		t.st.rip = SVM_CODE;
		t.st.gpr[R_RSP] = SVM_STACK;
		sys_put(&t, 0x100010, 0x103001, 8);
		SYS_CODE(&t, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xf4);
		sys_put(&t, 0x100018, 1 | 1ull << b, 8);
		f = sys_run(&t);
		assert_int_equal(f.vec, bad ? EXC_GP : -1);
		if (bad)
			assert_int_equal(f.err, 0);
		sys_put(&t, 0x100018, 0, 8);
	}
}

/* PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32: nothing is there, so all ones. */
static void test_pse36(void **state)
{
	const struct kind *k = &kinds[6];
	const struct access a = { 0 };

	start(k);
	set_regs(k, &a);
	sys_put(&t, PHYS, 0x11111111, 4);
	sys_put(&t, k->at[0], 0xe7, 4);
	assert_true(load_at(k->lin) == 0x11111111);
	for (unsigned b = 13; b < 21; b++) {
		sys_put(&t, k->at[0], 0xe7 | 1u << b, 4);
		soft_tlb_flush(s, false);
		assert_true(load_at(k->lin) == 0xffffffff);
	}
	sys_put(&t, k->at[0], 0x1010e7, 4);	/* without CR4.PSE it points to a table */
	sys_put(&t, 0x101800, 0x200067, 4);
	sys_put(&t, 0x100000, 0x102067, 4);
	for (unsigned i = 0; i < 1024; i++)
		sys_put(&t, 0x102000 + 4 * i, i << 12 | 0x67, 4);
	s->cr4 &= ~CR4_PSE;
	soft_tlb_flush(s, false);
	assert_true(load_at(k->lin) == 0x11111111);
}

/* ---- A20 ------------------------------------------------------------------------------------- */
static void test_a20(void **state)
{
	sys_start(&t, 32, 0);
	sys_put(&t, 0x20000, 0x11111111, 4);
	sys_put(&t, 0x120000, 0x22222222, 4);
	(void)svm_run(&t);
	assert_true(load_at(0x120000) == 0x22222222);
	t.v->ops->set_a20(t.vm, false);
	assert_true(load_at(0x120000) == 0x11111111);
	t.v->ops->set_a20(t.vm, true);
	assert_true(load_at(0x120000) == 0x22222222);
}

/* An access over a page border: the second page faults, nothing was written. */
static void test_crossing(void **state)
{
	const struct kind *k = &kinds[0];
	const struct access a = { 0 };
	static const uint8_t st[] = { 0x48, 0x89, 0x03, 0xf4 };

	start(k);
	set_regs(k, &a);
	map64(k, 0x200067);
	sys_put(&t, 0x200ff8, 0, 8);
	svm_code(&t, st, sizeof(st));
	s->gpr[R_RAX] = ~0ull;
	s->gpr[R_RBX] = k->lin + 0xffc;
	s->rip = SVM_CODE;
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	assert_int_equal((s->rip - 1 - SYS_HAND) / 16, EXC_PF);
	assert_true(s->cr2 == k->lin + 0x1000);
	assert_true(sys_get(&t, 0x200ff8, 8) == 0);
	sys_put(&t, k->at[3] + 8, 0x201065, 8);		/* present, read-only, WP on */
	s->cr0 |= CR0_WP;
	s->gpr[R_RSP] = SVM_STACK;
	s->gpr[R_RBX] = k->lin + 0xffc;
	s->rip = SVM_CODE;
	s->halted = false;
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	assert_true(s->cr2 == k->lin + 0x1000);
	assert_int_equal(sys_get(&t, s->gpr[R_RSP], 4), 3);
	assert_true(sys_get(&t, 0x200ff8, 8) == 0);
}

/* Descriptor tables, IDT and TSS are read with supervisor rights at CPL 3 and under SMAP. */
static void test_implicit(void **state)
{
	const struct kind *k = &kinds[0];
	struct access a = { .user = true, .smap = true, .ac = true };

	start(k);
	set_regs(k, &a);
	for (unsigned i = 0; i < 4; i++)
		sys_put(&t, k->at[i], k->base[i] | 7, 8);
	s->gdt.base = k->lin;		/* a user page: SMAP counts for it, AC or not */
	s->gpr[R_RBX] = 0x10;
	SYS_CODE(&t, 0x8e, 0xe3);	/* mov fs, ebx */
	s->rip = SVM_CODE + k->user;
	(void)t.v->ops->run(t.v);
	/* Delivery of #PF needs the GDT as well: nothing is left. */
	assert_true(s->cr2 == k->lin + 0x18 || s->cr2 == k->lin + 0x10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pcid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_code, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pdpte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pse36, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a20, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crossing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_implicit, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-mmu", tests, NULL, NULL);
}
