/* SPDX-License-Identifier: MIT */
/*
 * The translator's run time: code memory (one memfd mapped twice, never
 * writable and executable at the same address), the common stubs, the way
 * into translated code and back, chaining.
 *
 * For tests: HV_JIT=0 in the environment turns translation off; HV_JIT=N: a
 * block is translated when it is executed for the Nth time (1: at once), and
 * emitted code is checked (jit_check.c).  HV_TEST_PLANT=01,29 under verify:
 * emit opcode 29 in place of 01, to see that it is found.
 * HV_JIT_MAP: see jit_map.c.
 */
#include "jit_trans.h"
#include "verify.h"
#include "../../log.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_THRESHOLD 16ul

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define CHECK_ALWAYS true
#else
#define CHECK_ALWAYS false
#endif

/* Host register of each guest register; the others live in memory. */
const int8_t jit_home[16] = {
	[R_RAX] = 8, [R_RCX] = 1, [R_RDX] = 2, [R_RBX] = 3, [R_RSP] = 12, [R_RBP] = 13,
	[R_RSI] = 6, [R_RDI] = 7, [8] = 9, [9] = NO_REG, [10] = NO_REG, [11] = NO_REG,
	[12] = 10, [13] = 11, [14] = NO_REG, [15] = NO_REG,
};

/* ---- flags ------------------------------------------------------------------- */
void soft_jit_flags_in(struct soft *s)
{
	uint32_t fl = soft_arith(s);

	s->jit_flags = (fl & 0xd5) << 8 | fl >> 11;
}

void soft_jit_flags_out(struct soft *s)
{
	uint64_t v = s->jit_flags;

	s->cc_op = CC(CC_EFLAGS, 0);
	s->cc_res = (v >> 8 & 0xd5) | (v & 1) << 11;
}

/* ---- called from translated code ------------------------------------------------ */
HN(soft_h_jit_return)
{
	return u;
}

static uint64_t block_rip(const struct soft *s, const struct block *b)
{
	return s->jit_page + (b->off & 4095);
}

/* True: leave, s->rip is set. */
static bool run_callout(struct soft *s, const struct jit_callout *c)
{
	uint64_t key = s->jit_key;

	s->cur = c->b;
	s->gpr[GPR_RIP] = block_rip(s, c->b);
	s->jit_cut = false;
	soft_jit_flags_out(s);
	if (!c->u.fn(s, &c->u))
		return true;
	/* Return frames are good for one key only. */
	if (unlikely(s->jit_cut || s->jit_key != key)) {
		s->rip = UOP_NEXT_RIP(s, &c->u);
		return true;
	}
	if (c->sets_flags)
		soft_jit_flags_in(s);
	return false;
}

/* ---- stubs --------------------------------------------------------------------- */
/* The guest's registers to memory: before C code. */
void jit_emit_spill(struct emit *e)
{
	for (int g = 0; g < 16; g++)
		if (jit_home[g] >= 0)
			em_store(e, hop_mem(H_STATE, STATE(gpr) + g * 8), jit_home[g]);
	em_store(e, hop_mem(H_STATE, STATE(jit_flags)), H_FLAGS);
}

static void spill(struct emit *e, const struct soft_jit *j)
{
	jit_emit_spill(e);
	jit_emit_store(e, j->fpu_store);
}

void jit_emit_reload_gprs(struct emit *e)
{
	for (int g = 0; g < 16; g++)
		if (jit_home[g] >= 0)
			em_load(e, jit_home[g], hop_mem(H_STATE, STATE(gpr) + g * 8));
	em_load(e, H_FLAGS, hop_mem(H_STATE, STATE(jit_flags)));
}

static const uint8_t saved[] = { 3, 5, 12, 13, 14, 15 };

/*
 * Below the saved registers lie the return frames: the guest's return address
 * and the host's (jit_ends.c).
 */
#define FRAMES 32768

static void make_enter(struct emit *e, uint8_t **underflow)
{
	for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
		em_push(e, saved[i]);
	em_lea(e, H_STATE, hop_mem(7, STATE_BIAS));
	em_mov_rr(e, H_T0, 6);
	em_alu_imm(e, EM_W, 5, hop_reg(4), 8);
	em8(e, 0x6a);				/* push -1 */
	em8(e, 0xff);
	em8(e, 0x4c);				/* lea r15, [rip + underflow] */
	em8(e, 0x8d);
	em8(e, 0x3d);
	*underflow = e->p;
	em32(e, 0);
	em8(e, 0x41);				/* push r15 */
	em8(e, 0x57);
	em_store(e, hop_mem(H_STATE, STATE(jit_sp)), 4);
	em_lea(e, H_T1, hop_mem(4, -FRAMES));
	em_store(e, hop_mem(H_STATE, STATE(jit_lim)), H_T1);
	jit_emit_reload_gprs(e);
	em_op(e, 0, 0xff, 4, hop_reg(H_T0));
}

/* T0 = enum jit_exit, T1 = argument. */
static void make_exit(struct emit *e, const struct soft_jit *j, uint8_t **bare)
{
	spill(e, j);
	*bare = e->p;
	em_store(e, hop_mem(H_STATE, STATE(jit_arg)), H_T1);
	em_mov_rr(e, 0, H_T0);
	em_load(e, 4, hop_mem(H_STATE, STATE(jit_sp)));
	em_alu_imm(e, EM_W, 0, hop_reg(4), 24);
	for (unsigned i = ARRAY_SIZE(saved); i-- > 0;)
		em_pop(e, saved[i]);
	em8(e, 0xc3);
}

/* Called with T1 = struct jit_callout. */
static void make_callout(struct emit *e, const struct soft_jit *j, const uint8_t *bare)
{
	uint8_t *stay;

	spill(e, j);
	em_lea(e, 7, hop_mem(H_STATE, -STATE_BIAS));
	em_mov_rr(e, 6, H_T1);
	em_alu_imm(e, EM_W, 5, hop_reg(4), 8);
	em_mov_imm64(e, 0, (uintptr_t)run_callout);
	em_op(e, 0, 0xff, 2, hop_reg(0));
	em_alu_imm(e, EM_W, 0, hop_reg(4), 8);
	em_op(e, EM_8, 0x84, 0, hop_reg(0));
	stay = em_jcc(e, 4);
	em_mov_imm64(e, H_T0, JX_LEAVE);
	em_fix(em_jmp(e), bare);
	em_fix(stay, e->p);
	jit_emit_reload_gprs(e);
	em8(e, 0xc3);
}

/* T0 = guest RIP to go to. */
static void make_lookup(struct emit *e, struct soft_jit *j)
{
	uint8_t *miss = jit_emit_probe(e);

	jit_emit_page(e, H_T0, STATE(jit_page));
	em_op(e, 0, 0xff, 4, hop_sib(H_STATE, H_T1, 0, STATE(jit_tab) + 8));
	em_fix(miss, e->p);
	j->missed = e->p;
	em_op(e, EM_W, 0x2b, H_T0, hop_mem(H_STATE, STATE(jit_key)));
	em_mov_rr(e, H_T1, H_T0);
	em_mov_imm64(e, H_T0, JX_GOTO);
	em_fix(em_jmp(e), j->exit);
	j->missed_call = e->p;
	em_load(e, H_T1, hop_mem(H_STATE, STATE(jit_next)));
	em_mov_imm64(e, H_T0, JX_GOTO);
	em_fix(em_jmp(e), j->exit);
}

/* The outermost frame: a return that meets its tag comes here. */
static uint8_t *make_underflow(struct emit *e, const uint8_t *lookup)
{
	uint8_t *at = e->p;

	em_load(e, 4, hop_mem(H_STATE, STATE(jit_sp)));
	em_fix(em_jmp(e), lookup);
	return at;
}

static void make_stubs(struct soft_jit *j)
{
	struct emit e = { j->rw, j->rw + j->size, j->rx - j->rw };
	uint8_t *bare, *underflow;

	j->enter = (uint64_t (*)(struct soft *, const void *))em_rx(&e, e.p);
	make_enter(&e, &underflow);
	j->fpu_load = jit_make_load(&e);
	j->fpu_store = jit_make_store(&e);
	j->loop_try = jit_make_try(&e);
	jit_make_slot_stubs(&e, j);
	j->exit = e.p;
	make_exit(&e, j, &bare);
	j->callout = e.p;
	make_callout(&e, j, bare);
	j->tail = e.p;
	spill(&e, j);
	jit_make_tail(&e, bare);
	j->lookup = e.p;
	make_lookup(&e, j);
	em_fix(underflow, make_underflow(&e, j->lookup));
	j->used = j->stubs = ((size_t)(e.p - j->rw) + 63) & ~(size_t)63;
}

/* ---- coming back ------------------------------------------------------------------ */
static uint64_t exit_rip(struct soft *s, enum jit_exit how)
{
	const void *arg = (const void *)(uintptr_t)s->jit_arg;
	const struct jit_link *l = arg;
	const struct uop *u = arg;
	uint64_t rip;

	switch (how) {
	case JX_GOTO:
		return s->jit_arg;
	case JX_BLOCK:
	case JX_HOT:
		return block_rip(s, arg);
	case JX_LINK:
		rip = block_rip(s, l->from) + (uint64_t)(int64_t)l->delta;
		return l->from->mode & MODE_CS64 ? rip : (uint32_t)rip;
	default:
		return block_rip(s, s->cur) + u->off;
	}
}

enum jit_exit soft_jit_run(struct soft *s, struct block *b)
{
	enum jit_exit how;

	s->jit_page = s->gpr[GPR_RIP] - (b->off & 4095);
	soft_jit_flags_in(s);
	while ((how = (enum jit_exit)s->jit->enter(s, b->jit_entry)) == JX_HOT) {
		b = (struct block *)(uintptr_t)s->jit_arg;
		soft_jit_resample(s);
	}
	if (how == JX_WINDOW) {
		s->jit_arg = (uintptr_t)((const struct jit_window *)(uintptr_t)s->jit_arg)->u;
		how = JX_UOP;
	}
	if (how != JX_LEAVE) {
		soft_jit_flags_out(s);
		s->rip = exit_rip(s, how);
	}
	return how;
}

static const struct uop *go_hot(struct soft *s, struct block *b)
{
	unsigned flushes = s->blocks->flushes;

	s->gpr[GPR_RIP] = block_rip(s, b);
	soft_jit_sampled(s, b);
	if (flushes == s->blocks->flushes)
		return soft_goto_uop(s, &b);
	s->rip = s->gpr[GPR_RIP];
	return NULL;
}

static HN(h_jit)
{
	struct block *b = s->cur;
	uint64_t how;

	if (unlikely(s->jit_bad)) {
		s->rip = s->gpr[GPR_RIP];
		return NULL;		/* the run loop looks at it */
	}

	/* 32-bit code: only in a flat segment, which the block's key does not tell. */
	if (!(b->mode & MODE_CS64) && (s->seg[SEG_CS].base || s->seg[SEG_CS].limit != 0xffffffff))
		return b->fn0(s, u);
	if (unlikely(s->vfy))
		return soft_verify_unit(s);
	s->jit_page = s->gpr[GPR_RIP] - (b->off & 4095);
	soft_jit_flags_in(s);
	how = s->jit->enter(s, b->jit_entry);
	if (how == JX_LEAVE)
		return NULL;
	soft_jit_flags_out(s);
	switch (how) {
	case JX_GOTO:
		return soft_jit_go_rip(s);
	case JX_BLOCK:
		b = (struct block *)(uintptr_t)s->jit_arg;
		s->gpr[GPR_RIP] = block_rip(s, b);
		return soft_goto_uop(s, &b);
	case JX_HOT:
		return go_hot(s, (struct block *)(uintptr_t)s->jit_arg);
	case JX_WINDOW:
		return soft_jit_go_window(s, (const struct jit_window *)(uintptr_t)s->jit_arg);
	case JX_LINK:
		return soft_jit_go_link(s, (struct jit_link *)(uintptr_t)s->jit_arg);
	default:
		u = (const struct uop *)(uintptr_t)s->jit_arg;
		s->gpr[GPR_RIP] = block_rip(s, s->cur);
		return u == s->cur->u ? s->cur->fn0(s, u) : u;
	}
}

static HN(h_count)
{
	struct block *b = s->cur;
	unsigned flushes = s->blocks->flushes;

	if (likely(++b->heat < s->jit->threshold))
		return b->fn0(s, u);
	if (soft_jit_translate(s, b)) {
		b->jit_entry = em_rx(&(struct emit){ .rx_off = s->jit->rx - s->jit->rw },
				     b->jit->poll);
		b->u[0].fn = h_jit;
		return u;
	}
	if (flushes != s->blocks->flushes) {
		s->rip = s->gpr[GPR_RIP];
		return NULL;
	}
	b->u[0].fn = b->fn0;
	return u;
}

void soft_jit_watch(struct soft *s, struct block *b)
{
	const uint32_t flat32 = MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLAT;

	if (b->mode & (MODE_TF | MODE_CODE_BP | MODE_VM86 | MODE_A20_OFF) ||
	    (b->transient && !b->cross))
		return;
	if (!(b->mode & MODE_CS64) && (b->mode & flat32) != flat32)
		return;
	b->fn0 = b->u[0].fn;
	b->u[0].fn = h_count;
}

/* ---- life ------------------------------------------------------------------------- */
void soft_jit_flush(struct soft *s)
{
	s->jit->emptied += s->jit->used > s->jit->stubs;
	s->jit->used = s->jit->stubs;
	memset(s->jit_tab, 0, sizeof(s->jit_tab));
	s->jit_bad = 0;
	soft_jit_unmap(s, false);
}

static bool map_code(struct soft_jit *j)
{
	int fd = memfd_create("hvrun-code", MFD_CLOEXEC);

	if (fd < 0)
		return false;
	if (ftruncate(fd, (off_t)j->size)) {
		close(fd);
		return false;
	}
	j->rw = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	j->rx = mmap(NULL, j->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	return j->rw != MAP_FAILED && j->rx != MAP_FAILED;
}

static void say_stats(const struct soft *s)
{
	const struct soft_jit *j = s->jit;

	log_info("CPU %u: translated %llu blocks in %llu ns each, "
		 "%llu instructions natively, %llu by handler; "
		 "code cache %zu of %zu KiB, emptied %u times; "
		 "%llu slot misses, %u blocks hot, %u places without slot", s->vcpu->index,
		 (unsigned long long)j->blocks,
		 (unsigned long long)(j->ns / MAX(j->timed, 1)), (unsigned long long)j->native,
		 (unsigned long long)j->called, j->used >> 10, j->size >> 10, j->emptied,
		 (unsigned long long)s->jit_misses, j->hot, j->plain);
}

void soft_jit_free(struct soft *s)
{
	struct soft_jit *j = s->jit;

	if (!j)
		return;
	if (s->vcpu->vm->soft.stats)
		say_stats(s);
	soft_jit_map_close(j);
	if (j->rw && j->rw != MAP_FAILED)
		munmap(j->rw, j->size);
	if (j->rx && j->rx != MAP_FAILED)
		munmap(j->rx, j->size);
	free(j);
	s->jit = NULL;
}

static void plant(struct soft_jit *j)
{
	const char *v = getenv("HV_TEST_PLANT");
	char *end;

	if (!v)
		return;
	j->plant = (unsigned)strtoul(v, &end, 16);
	if (*end == ',')
		j->planted = (unsigned)strtoul(end + 1, NULL, 16);
}

bool soft_jit_init(struct soft *s)
{
	const char *v = getenv("HV_JIT");
	unsigned long n = v && *v ? strtoul(v, NULL, 0) : s->vfy ? 1 : DEFAULT_THRESHOLD;
	const struct vm *vm = s->vcpu->vm;
	uint64_t cache = vm->soft.jit_cache ? vm->soft.jit_cache : JIT_CACHE_DEFAULT;

	if (!n || vm->soft.no_jit)
		return false;
	s->jit = hv_zalloc(sizeof(*s->jit));
	s->jit->size = (size_t)MAX(cache / vm->ncpus, JIT_CACHE_MIN) & ~(size_t)4095;
	s->jit->threshold = (unsigned)MIN(n, 1000000ul);
	s->jit->check = CHECK_ALWAYS || v || s->vfy;
	if (!map_code(s->jit)) {
		soft_jit_free(s);
		return false;
	}
	if (s->vfy)
		plant(s->jit);
	soft_jit_rows_init();
	make_stubs(s->jit);
	soft_jit_resample(s);
	soft_jit_map_open(s->jit, s->vcpu->index);
	soft_jit_unmap(s, false);
	return true;
}
