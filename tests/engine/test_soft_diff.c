/* SPDX-License-Identifier: MIT */
/*
 * Every form of the instruction table, with random operands, on the host CPU
 * and in the interpreter: registers, RIP, flags, x87, MMX, XMM, MXCSR,
 * memory and the exception must be the same.
 *
 * HV_DIFF_CASES (default 2,000,000), HV_DIFF_SEED (number or "random"),
 * HV_DIFF_ROW (mnemonic), HV_DIFF_CASE (one number), HV_DIFF_JOBS (default 2),
 * HV_DIFF_MAX (differences to print, default 10).
 */
#include "../lib/diff.h"
#include "../lib/testvm.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint8_t pattern[DIFF_DATA_LEN];
static struct shared { _Atomic uint64_t cases, differences, by_vector[32]; } *shared;

static uint64_t env_number(const char *name, uint64_t def)
{
	const char *v = getenv(name);

	if (v && !strcmp(v, "random"))
		return (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	return v && *v ? strtoull(v, NULL, 0) : def;
}

/* Did the last instruction, or one before it, fault?  (A later fetch may.) */
static bool failed(const struct diff_case *c, const struct diff_out *h)
{
	uint64_t at = h->st.rip - c->in.rip;

	return h->vector != EXC_BP && !(h->vector == EXC_PF && h->error & 16 && at >= c->len);
}

static bool bad_address(unsigned v)
{
	return v == EXC_PF || v == EXC_GP || v == EXC_SS || v == EXC_AC;
}

/*
 * What the host shows that the architecture leaves open, or that is another
 * processor's or kernel's business: made equal before the comparison.
 */
static void known(const struct diff_case *c, struct diff_out *h, struct diff_out *g)
{
	const struct optable_row *r = &soft_optable[c->rows[c->nrows - 1]];

	bool fault = failed(c, h);
	bool mask_store = strstr(r->mnem, "maskmovq") || strstr(r->mnem, "maskmovdqu");
	uint8_t imm = c->code[c->len - 1];
	unsigned count = (strchr(r->operands, 'L') ? (uint8_t)c->in.gpr[R_RCX] : imm) & 31;

	/* SDM vol. 2 demands alignment of SHA operands, AMD's processors do not. */
	for (unsigned i = 0; i < c->nrows; i++)
		if (!strncmp(soft_optable[c->rows[i]].mnem, "sha", 3) && g->vector == EXC_GP) {
			*g = *h;
			memcpy(diff_guest_data, diff_native_data, DIFF_DATA_LEN);
		}
	/* The order of the parts of a wide access is not defined. */
	if (c->wide && bad_address(h->vector) && bad_address(g->vector)) {
		g->vector = h->vector;
		g->error = h->error;
		g->cr2 = h->cr2;
	}
	/* SDM vol. 2, FXSAVE: a misaligned operand may give #AC instead of #GP. */
	if (!strncmp(r->mnem, "fx", 2) && h->vector == EXC_AC && g->vector == EXC_GP)
		g->vector = h->vector;
	/* AMD wants the offset to be canonical even if FS or GS makes the linear address so. */
	if (c->seg != SEG_NUM && h->vector == EXC_GP && g->vector == EXC_PF) {
		g->vector = h->vector;
		g->error = h->error;
	}
	/* A target that is not canonical: checked before or after the push. */
	if (!strcmp(r->mnem, "call") && g->vector == EXC_GP &&
	    (h->vector == EXC_PF || h->vector == EXC_SS || h->vector == EXC_AC)) {
		g->vector = h->vector;
		g->error = h->error;
		g->cr2 = h->cr2;
	}
	/* SDM vol. 2, MASKMOVQ: bytes that are not selected may cause exceptions or not. */
	if (mask_store && fault) {
		*g = *h;
		memcpy(diff_guest_data, diff_native_data, DIFF_DATA_LEN);
	}
	/* Which of the two operands is read first is not defined. */
	if (!strcmp(r->mnem, "cmps") && fault && g->vector != EXC_BP) {
		g->vector = h->vector;
		g->error = h->error;
		g->cr2 = h->cr2;
	}
	/* SDM vol. 2, SHLD and SHRD: count greater than the operand size is undefined. */
	if ((!strcmp(r->mnem, "shld") || !strcmp(r->mnem, "shrd")) && c->osize == 2 &&
	    (count > 16 || c->nrows > 1) &&
	    !fault && !failed(c, g)) {
		memcpy(g->st.gpr, h->st.gpr, sizeof(g->st.gpr));
		g->st.rflags = h->st.rflags;
		memcpy(diff_guest_data, diff_native_data, DIFF_DATA_LEN);
	}
	/* SDM vol. 3, 5.3.1: wrapping around 4 GiB in flat segments is implementation specific. */
	if (c->bits == 32 && (h->vector == EXC_GP || h->vector == EXC_SS) && (g->vector == EXC_AC ||
	    (g->vector == EXC_PF && (uint32_t)(g->cr2 + 0x1000) < 0x1000 + 512))) {
		g->vector = h->vector;
		g->error = h->error;
	}
	/* Linux reports a user's access to the kernel half as a protection fault. */
	if (h->vector == EXC_PF && g->vector == EXC_PF && h->cr2 >= 0x7ffffffff000)
		h->error = (h->error & ~1u) | (g->error & 1);
	/* MXCSR_MASK: AMD has bit 17 (misaligned SSE), which we do not advertise. */
	if (!fault && (!strcmp(r->mnem, "fxsave") || !strncmp(r->mnem, "xsave", 5)))
		for (unsigned i = 0; i < DIFF_RW_LEN; i += 4)
			if (ld_le32(diff_native_data + i) == 0x2ffff &&
			    ld_le32(diff_guest_data + i) == 0xffff)
				diff_native_data[i + 2] = 0;
	/* AMD has moved some registers when a later one's access faults. */
	if ((!strcmp(r->mnem, "popa") || !strcmp(r->mnem, "pusha")) && fault &&
	    g->vector == h->vector) {
		memcpy(g->st.gpr, h->st.gpr, sizeof(g->st.gpr));
		memcpy(diff_guest_data, diff_native_data, DIFF_DATA_LEN);
	}
}

/* ---- comparison ----------------------------------------------------------------- */
/* Flags that the SDM leaves undefined only for some operands. */
static uint32_t undefined_flags(const struct diff_case *c, const struct diff_out *h)
{
	return !failed(c, h) ? c->undef : c->undef | c->undef_fault;
}

static void say(char *why, size_t n, const char *what, uint64_t host, uint64_t guest)
{
	size_t at = strlen(why);

	if (at + 1 < n)
		snprintf(why + at, n - at, "  %-8s host %016llx  interpreter %016llx\n", what,
			 (unsigned long long)host, (unsigned long long)guest);
}

static void compare_fx(const uint8_t *h, const uint8_t *g, char *why, size_t n, unsigned xmms)
{
	static const struct { uint8_t off, len; const char *name; } words[] = {
		{ 0, 2, "FCW" }, { 2, 2, "FSW" }, { 4, 1, "FTW" }, { 24, 4, "MXCSR" },
	};
	char name[16];
	uint64_t a, b;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		a = b = 0;
		memcpy(&a, h + words[i].off, words[i].len);
		memcpy(&b, g + words[i].off, words[i].len);
		if (a != b)
			say(why, n, words[i].name, a, b);
	}
	for (unsigned i = 0; i < 8 + xmms; i++)
		for (unsigned half = 0; half < 2; half++) {
			unsigned len = i < 8 && half ? 2 : 8;

			a = b = 0;
			memcpy(&a, h + 32 + 16 * i + 8 * half, len);
			memcpy(&b, g + 32 + 16 * i + 8 * half, len);
			snprintf(name, sizeof(name), "%s%u%s", i < 8 ? "ST" : "XMM",
				 i < 8 ? i : i - 8, half ? "h" : "l");
			if (a != b)
				say(why, n, name, a, b);
		}
	for (unsigned i = 0; i < 2 * xmms; i++) {
		memcpy(&a, h + DIFF_YMM + 8 * i, 8);
		memcpy(&b, g + DIFF_YMM + 8 * i, 8);
		snprintf(name, sizeof(name), "YMM%u%s", i / 2, i & 1 ? "h" : "l");
		if (a != b)
			say(why, n, name, a, b);
	}
}

static bool pushes_error(unsigned v)
{
	return v == 8 || (v >= 10 && v <= 14) || v == 17;
}

static void compare(const struct diff_case *c, const struct diff_out *h, const struct diff_out *g,
		    char *why, size_t n)
{
	uint64_t mask = c->bits == 64 ? ~0ull : 0xffffffff;
	uint32_t flags = (0x200cd5 | FL_DF | 0x47000) & ~undefined_flags(c, h);
	char name[16];

	if (h->vector != g->vector)
		say(why, n, "vector", h->vector, g->vector);
	else if (pushes_error(h->vector) && h->error != g->error)
		say(why, n, "error", h->error, g->error);
	if (h->st.fsbase != g->st.fsbase)
		say(why, n, "FSBASE", h->st.fsbase, g->st.fsbase);
	if (h->st.gsbase != g->st.gsbase)
		say(why, n, "GSBASE", h->st.gsbase, g->st.gsbase);
	if (h->vector == EXC_PF && g->vector == EXC_PF && h->cr2 != g->cr2)
		say(why, n, "CR2", h->cr2, g->cr2);
	if (h->st.rip != g->st.rip)
		say(why, n, "RIP", h->st.rip, g->st.rip);
	for (unsigned i = 0; i < (c->bits == 64 ? 16 : 8); i++)
		if ((h->st.gpr[i] ^ g->st.gpr[i]) & mask) {
			snprintf(name, sizeof(name), "GPR%u", i);
			say(why, n, name, h->st.gpr[i] & mask, g->st.gpr[i] & mask);
		}
	if ((h->st.rflags ^ g->st.rflags) & flags)
		say(why, n, "FLAGS", h->st.rflags & flags, g->st.rflags & flags);
	compare_fx(h->st.fx, g->st.fx, why, n, c->bits == 64 ? 16 : 8);
	for (unsigned i = 0; i < DIFF_DATA_LEN; i += 8) {
		uint64_t a, b;

		memcpy(&a, diff_native_data + i, 8);
		memcpy(&b, diff_guest_data + i, 8);
		if (a != b) {
			snprintf(name, sizeof(name), "[%llx]", DIFF_DATA + i);
			say(why, n, name, a, b);
		}
	}
}

static bool same(const struct diff_case *c, const struct diff_out *h, const struct diff_out *g)
{
	return h->vector == g->vector && h->st.rip == g->st.rip && c->bits == 64 &&
	       !memcmp(h->st.gpr, g->st.gpr, sizeof(h->st.gpr)) &&
	       !((h->st.rflags ^ g->st.rflags) & 0xcd5 & ~undefined_flags(c, h)) &&
	       h->st.fsbase == g->st.fsbase && h->st.gsbase == g->st.gsbase &&
	       h->vector == EXC_BP && !memcmp(h->st.fx, g->st.fx, 5) &&
	       !memcmp(h->st.fx + 24, g->st.fx + 24, 4) &&
	       !memcmp(h->st.fx + 32, g->st.fx + 32, 384) &&
	       !memcmp(h->st.fx + DIFF_YMM, g->st.fx + DIFF_YMM, 256) &&
	       !memcmp(diff_native_data, diff_guest_data, DIFF_DATA_LEN);
}

/* ---- report ------------------------------------------------------------------------ */
__attribute__((weak)) unsigned soft_disas(const uint8_t *bytes, size_t n, unsigned bits,
					  uint64_t rip, char *out, size_t out_len);

static void print_code(const struct diff_case *c)
{
	char text[128];
	unsigned at = 0;

	for (unsigned i = 0; i < c->nrows; i++)
		printf("  %s %s;", soft_optable[c->rows[i]].mnem,
		       soft_optable[c->rows[i]].operands);
	printf("\n  bytes");
	for (unsigned i = 0; i < c->len; i++)
		printf(" %02x", c->code[i]);
	printf("\n");
	while (soft_disas && at < c->len) {
		unsigned n = soft_disas(c->code + at, c->len - at, c->bits, c->in.rip + at, text,
					sizeof(text));

		printf("  %llx: %s\n", (unsigned long long)c->in.rip + at, n ? text : "(bad)");
		if (!n)
			break;
		at += n;
	}
}

static void report(const struct diff_case *c, uint64_t seed, uint64_t n, const struct diff_out *h,
		   const char *why)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	uint16_t fcw, fsw;
	uint32_t mxcsr;

	memcpy(&fcw, c->in.fx, 2);
	memcpy(&fsw, c->in.fx + 2, 2);
	memcpy(&mxcsr, c->in.fx + 24, 4);
	printf("DIFFERENCE seed %#llx case %llu, %u-bit code\n", (unsigned long long)seed,
	       (unsigned long long)n, c->bits);
	print_code(c);
	for (unsigned i = 0; i < 16; i++)
		printf("  %s=%016llx%s", names[i], (unsigned long long)c->in.gpr[i],
		       i % 4 == 3 ? "\n" : "");
	printf("  rip=%llx rflags=%llx fs=%llx gs=%llx fcw=%04x fsw=%04x ftw=%02x mxcsr=%04x\n",
	       (unsigned long long)c->in.rip, (unsigned long long)c->in.rflags,
	       (unsigned long long)c->in.fsbase, (unsigned long long)c->in.gsbase, fcw, fsw,
	       c->in.fx[4], mxcsr);
	for (unsigned i = 0; i < c->npatch; i++) {
		printf("  memory %llx:", (unsigned long long)c->patch[i].at);
		for (unsigned k = 0; k < MIN(c->patch[i].len, 32u); k++)
			printf(" %02x", c->patch[i].b[k]);
		printf("\n");
	}
	printf("  host: vector %u error %x rip %llx cr2 %llx\n%s", h->vector, h->error,
	       (unsigned long long)h->st.rip, (unsigned long long)h->cr2, why);
	if (env_number("HV_DIFF_CASE", 0)) {
		for (unsigned i = 0; i < 8; i++)
			printf("  st%u %04x %016llx\n", i, *(uint16_t *)(c->in.fx + 40 + 16 * i),
			       *(unsigned long long *)(c->in.fx + 32 + 16 * i));
		for (unsigned i = 0; i < 16; i++)
			printf("  ymm%u %016llx %016llx %016llx %016llx\n", i,
			       (unsigned long long)ld_le64(c->in.fx + DIFF_YMM + 8 + 16 * i),
			       (unsigned long long)ld_le64(c->in.fx + DIFF_YMM + 16 * i),
			       (unsigned long long)ld_le64(c->in.fx + 168 + 16 * i),
			       (unsigned long long)ld_le64(c->in.fx + 160 + 16 * i));
	}
	fflush(stdout);
}

#define STACK_GROWS GiB(1)	/* at most: an access below the stack makes it larger */

/*
 * The guest met a page fault where this process has memory of its own, or its
 * stack gets some by the access: the host would read or overwrite that.  With
 * a sanitizer's shadow this is common.
 */
static bool ours(const struct diff_out *g)
{
	unsigned char v;
	uint64_t below = (uint64_t)(uintptr_t)&v - STACK_GROWS;

	for (unsigned page = 0; page < 2; page++) {
		uint64_t at = (g->cr2 & ~0xfffull) + page * 0x1000;

		if (g->vector == EXC_PF && at < 1ull << 47 &&
		    (at < DIFF_CODE || at >= DIFF_DATA + DIFF_DATA_LEN) &&
		    (at >= below || !mincore((void *)(uintptr_t)at, 1, &v)))
			return true;
	}
	return false;
}

/* The host took AMD's MXCSR.MM (misaligned SSE), a reserved bit in the guest's processor. */
static bool misaligned(const struct diff_out *h)
{
	return ld_le32(h->st.fx + 24) & (1u << 17);
}

static void put_back(void)
{
	memcpy(diff_native_data, pattern, DIFF_DATA_LEN);
	memcpy(diff_guest_data, pattern, DIFF_DATA_LEN);
}

/* ---- running ------------------------------------------------------------------------- */
static bool one(uint64_t seed, uint64_t n, int row)
{
	static struct diff_case c;
	static struct diff_out h, g;
	static char why[8192];

	diff_generate(&c, seed, n, row);
	if (!c.len)
		return true;
	diff_guest_run(&c, &g);
	if (ours(&g)) {
		put_back();
		return true;
	}
	diff_native_run(&c, &h);
	if (misaligned(&h)) {
		put_back();
		return true;
	}
	atomic_fetch_add(&shared->by_vector[h.vector & 31], 1);
	why[0] = 0;
	known(&c, &h, &g);
	if (!same(&c, &h, &g))
		compare(&c, &h, &g, why, sizeof(why));
	put_back();
	if (!why[0])
		return true;
	if (atomic_fetch_add(&shared->differences, 1) < env_number("HV_DIFF_MAX", 10))
		report(&c, seed, n, &h, why);
	return false;
}

static void setup(void)
{
	uint64_t x = 1;

	for (unsigned i = 0; i < DIFF_DATA_LEN; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		pattern[i] = (uint8_t)(x >> 56);
	}
	diff_guest_init(pattern);
	assert_true(diff_native_init(pattern));
	diff_gen_init();
}

/* Rows whose mnemonic is HV_DIFF_ROW, in turn. */
static int wanted_row(uint64_t n)
{
	const char *want = getenv("HV_DIFF_ROW");
	static int rows[64];
	static unsigned count;

	if (!want)
		return -1;
	for (unsigned i = 0; !count && i < soft_optable_rows; i++)
		if (!strcmp(soft_optable[i].mnem, want) && count < ARRAY_SIZE(rows) &&
		    (diff_row_testable(i, 64) || diff_row_testable(i, 32)))
			rows[count++] = (int)i;
	if (!count)
		fail_msg("no testable row %s", want);
	return rows[n % count];
}

static void worker(uint64_t seed, uint64_t cases, unsigned id, unsigned jobs)
{
	setup();
	for (uint64_t n = id; n < cases; n += jobs) {
		one(seed, n, wanted_row(n));
		atomic_fetch_add(&shared->cases, 1);
		if (atomic_load(&shared->differences) > 20000)
			break;
	}
}

static void test_random(void **state)
{
	uint64_t seed = env_number("HV_DIFF_SEED", 0x5eed),
		 cases = env_number("HV_DIFF_CASES", 2000000);
	unsigned jobs = (unsigned)env_number("HV_DIFF_JOBS", 2), bad = 0;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_true(shared != MAP_FAILED);
	if (getenv("HV_DIFF_CASE")) {
		uint64_t n = env_number("HV_DIFF_CASE", 0);

		setup();
		assert_true(one(seed, n, wanted_row(n)));
		return;
	}
	fflush(stdout);
	for (unsigned i = 0; i < jobs; i++)
		if (!fork()) {
			worker(seed, cases, i, jobs);
			_exit(0);
		}
	for (unsigned i = 0; i < jobs; i++) {
		int st;

		if (wait(&st) < 0 || !WIFEXITED(st) || WEXITSTATUS(st))
			bad++;
	}
	printf("differential: seed %#llx, %llu cases, %llu differences; ended by",
	       (unsigned long long)seed, (unsigned long long)shared->cases,
	       (unsigned long long)shared->differences);
	for (unsigned i = 0; i < 32; i++)
		if (shared->by_vector[i])
			printf(" #%u: %llu", i, (unsigned long long)shared->by_vector[i]);
	printf("\n");
	assert_int_equal(bad, 0);
	assert_int_equal(shared->differences, 0);
	assert_true(shared->cases >= cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
