/* SPDX-License-Identifier: MIT */
/*
 * The check of a memory access against one remembered page.
 *
 * The TLB costs nine instructions, and the address waits for the entry.  Most
 * places in a program stay in one page for long, so each is given a slot that
 * holds the page last used through it: subtract, compare, and the way from
 * guest to host address does not depend on the address.  Places of a block
 * with the same registers share a slot, all through RSP have slots 0 and 1; which
 * others share one is left to chance.  A miss goes out of line to the TLB and
 * takes the page over (make_stub()).
 *
 * CPL 3 and the rest have slots of their own.  A slot vouches for what its
 * TLB entry did: whatever drops one of those drops it here (soft_slots_*()).
 * Kernel slots are only filled where SMAP is in force or not wanted, never
 * between STAC and CLAC.  An empty slot has the tag of a page, drawn at
 * random, that is not canonical.
 *
 * It pays where a few places are used over and over, not for long ways through
 * a kernel: blocks start with the TLB's check, are sampled, and those that are
 * executed very often within a short time are translated once more with slots.
 * Where misses are a noticeable part of the time, places with many of them
 * are translated once more with the TLB's check (soft_jit_review()).
 */
#include "jit_trans.h"
#include "sys_int.h"
#include <x86intrin.h>

#define READ_FIRST 2u
#define WRITE_FIRST 128u
#define PATIENCE 64
#define OFTEN_CYCLES 500u	/* between misses of one place, */
#define MISS_CYCLES 48		/* of the host's TSC, about */

/* ---- dropping ------------------------------------------------------------------ */
static void drop(struct soft *s, unsigned user, unsigned word, uint64_t bits)
{
	struct soft_slots *p = &s->slots[user];

	for (p->used[word] &= ~bits; bits; bits &= bits - 1)
		p->tag[word * 64 + (unsigned)__builtin_ctzll(bits)] = s->slot_none;
}

static void clear(struct soft *s, unsigned user)
{
	for (unsigned w = 0; w < SLOTS / 64; w++)
		drop(s, user, w, s->slots[user].used[w]);
}

void soft_slots_init(struct soft *s)
{
	uint64_t r = (__rdtsc() ^ (uintptr_t)s) * 0x9e3779b97f4a7c15ull;

	s->slot_none = (1ull << 62 | r >> 2) & ~0xfffull;	/* bits 63 and 62 differ */
	memset(s->slots[0].used, 0xff, sizeof(s->slots[0].used));
	memset(s->slots[1].used, 0xff, sizeof(s->slots[1].used));
	soft_slots_clear(s);
}

void soft_slots_clear(struct soft *s)
{
	clear(s, 0);
	clear(s, 1);
	s->slots_local = false;
}

void soft_slots_switch(struct soft *s)
{
	clear(s, 1);
	if (s->slots_local)
		clear(s, 0);
	s->slots_local = false;
}

static void drop_if(struct soft *s, const uint64_t *field, unsigned user, uint64_t v)
{
	for (unsigned w = 0; w < SLOTS / 64; w++)
		for (uint64_t b = s->slots[user].used[w]; b; b &= b - 1) {
			unsigned i = (unsigned)__builtin_ctzll(b);

			if (field[w * 64 + i] == v)
				drop(s, user, w, 1ull << i);
		}
}

void soft_slots_drop_page(struct soft *s, uint64_t lin)
{
	for (unsigned m = 0; m < 2; m++)
		drop_if(s, s->slots[m].tag, m, lin & ~0xfffull);
}

void soft_slots_protect(struct soft *s, const uint8_t *host)
{
	for (unsigned m = 0; m < 2; m++)
		drop_if(s, s->slots[m].host, m, (uintptr_t)host);
}

/* ---- emission ---------------------------------------------------------------------- */
bool jit_slot_ok(const struct trans *t)
{
	return t->word && (t->b->hot || t->s->jit->check) &&
	       !(t->b->plain[t->at / 64] >> (t->at & 63) & 1);
}

static unsigned pick(struct trans *t, unsigned base, unsigned index, bool write)
{
	struct soft_jit *j = t->s->jit;
	struct slot_pick *p;

	if (base == R_RSP)
		return write ? 0 : 1;
	for (unsigned i = 0; i < t->npicks; i++) {
		p = &t->picks[i];
		if (p->base == base && p->index == index && p->write == write)
			return p->slot;
	}
	p = &t->picks[t->npicks < ARRAY_SIZE(t->picks) ? t->npicks++ : 0];
	*p = (struct slot_pick){ (uint8_t)base, (uint8_t)index, write, 0 };
	if (write)
		p->slot = (uint8_t)(WRITE_FIRST + j->slot_next[1]++ % (SLOTS - WRITE_FIRST));
	else
		p->slot = (uint8_t)(READ_FIRST + j->slot_next[0]++ % (WRITE_FIRST - READ_FIRST));
	return p->slot;
}

static struct hop field(const struct trans *t, size_t array, unsigned slot)
{
	bool user = t->b->mode & MODE_CPL3;

	return hop_mem(H_STATE, STATE(slots) + (int32_t)(user * sizeof(struct soft_slots) + array +
							  slot * 8));
}

void jit_slot_check(struct trans *t, const struct slot_access *a)
{
	unsigned slot = pick(t, a->base, a->index, a->write);
	int32_t last = 4096 - (int32_t)a->span;
	struct jit_place *pl = soft_arena_alloc(t->s, sizeof(*pl));
	struct emit *e = &t->e;
	struct miss *m;

	if (!pl) {
		e->p = e->end;	/* give up */
		return;
	}
	HV_BUG_ON(t->nmisses == ARRAY_SIZE(t->misses));
	m = &t->misses[t->nmisses++];
	*pl = (struct jit_place){ .b = t->b, .uop = (uint16_t)t->at, .left = PATIENCE,
				  .since = __rdtsc(),
				  .off = slot * 8, .last = a->span - 1 };
	em_op(e, EM_W, 0x2b, H_T0, field(t, offsetof(struct soft_slots, tag), slot));
	if (a->align) {		/* what is not aligned becomes large */
		em_op(e, EM_W, 0xc1, 1, hop_reg(H_T0));		/* ror */
		em8(e, a->align);
	}
	em_alu_imm(e, EM_W, 7, hop_reg(H_T0), last >> a->align);
	*m = (struct miss){ .place = pl, .slow = t->cur, .align = a->align, .write = a->write,
			    .slot = (uint8_t)slot };
	m->from = em_jcc(e, 7);
	if (a->align && a->by_host) {
		em_op(e, EM_W, 0xc1, 0, hop_reg(H_T0));		/* rol */
		em8(e, a->align);
	}
	em_load(e, H_T1, field(t, a->by_host ? offsetof(struct soft_slots, host) :
					       offsetof(struct soft_slots, delta), slot));
	m->back = e->p;
	t->win.open = false;
	t->in_efl = false;
}

/* T0 = address - tag -> T0 = address, T1 = delta, and the slot is new; or the uop's slow way. */
static void slow_unless(struct emit *e, const struct miss *m)
{
	HV_BUG_ON(m->slow->n == ARRAY_SIZE(m->slow->from));
	m->slow->from[m->slow->n++] = em_jcc(e, 5);
}

void jit_emit_miss(struct trans *t, const struct miss *m)
{
	bool user = t->b->mode & MODE_CPL3;
	struct emit *e = &t->e;

	em_fix(m->from, e->p);
	if (m->align) {
		em_op(e, EM_W, 0xc1, 0, hop_reg(H_T0));
		em8(e, m->align);
	}
	em_op(e, EM_W, 0x03, H_T0, field(t, offsetof(struct soft_slots, tag), m->slot));
	if (m->align) {
		em_op(e, EM_8, 0xf6, 0, hop_reg(H_T0));		/* test */
		em8(e, (1u << m->align) - 1);
		slow_unless(e, m);
	}
	em_mov_imm64(e, H_T1, (uintptr_t)m->place);
	em_fix(em_call(e), t->s->jit->slot_miss[user][m->write]);
	slow_unless(e, m);
	em_fix(em_jmp(e), m->back);
}

/* ---- the stub ---------------------------------------------------------------------- */
#define RCX 1
#define RDX 2
#define RBX 3

static struct hop slot_at(unsigned user, size_t array)
{
	return hop_sib(H_STATE, RBX, 0, STATE(slots) + (int32_t)(user * sizeof(struct soft_slots) +
								  array));
}

static void note_place(struct emit *e, uint8_t *expired, const uint8_t *back)
{
	uint8_t *taken;

	em_fix(expired, e->p);
	em_op(e, 0, 0xc7, 0, hop_mem(H_T1, offsetof(struct jit_place, left)));
	em32(e, PATIENCE);
	em_alu_imm(e, 0, 0, hop_mem(H_T1, offsetof(struct jit_place, times)), 1);
	em_alu_imm(e, EM_W, 7, hop_mem(H_STATE, STATE(jit_bad)), 0);
	taken = em_jcc(e, 5);
	em_store(e, hop_mem(H_STATE, STATE(jit_bad)), H_T1);
	em_fix(taken, back);
	em_fix(em_jmp(e), back);
}

static void take_over(struct emit *e, unsigned user)
{
	uint8_t *global;

	em_op(e, 0, 0x8b, RBX, hop_mem(H_T1, offsetof(struct jit_place, off)));
	em_load(e, H_T1, hop_mem(RDX, offsetof(struct soft_tlbe, delta)));
	em_store(e, slot_at(user, offsetof(struct soft_slots, tag)), RCX);
	em_store(e, slot_at(user, offsetof(struct soft_slots, delta)), H_T1);
	em_op(e, EM_W, 0x03, RCX, hop_reg(H_T1));
	em_store(e, slot_at(user, offsetof(struct soft_slots, host)), RCX);
	em_op(e, 0, 0xc1, 5, hop_reg(RBX));
	em8(e, 3);
	em_op(e, EM_W, OPF(0xab), RBX,				/* bts */
	      hop_mem(H_STATE, STATE(slots) + (int32_t)(user * sizeof(struct soft_slots) +
							offsetof(struct soft_slots, used))));
	if (user)
		return;
	em_lea(e, RCX, hop_mem(H_STATE, STATE(tlbs)));
	em_op(e, EM_W, 0x2b, RDX, hop_reg(RCX));
	em_op(e, EM_W, 0xc1, 5, hop_reg(RDX));
	em8(e, 5);
	em_op(e, EM_W, OPF(0xa3), RDX, hop_mem(H_STATE, STATE(tlb_global)));	/* bt */
	global = em_jcc(e, 2);
	em_op(e, 0, 0xc6, 0, hop_mem(H_STATE, STATE(slots_local)));
	em8(e, 1);
	em_fix(global, e->p);
}

/* T0 = address, T1 = struct jit_place -> T1 = delta and "zero", or "not zero". */
static uint8_t *make_stub(struct emit *e, unsigned user, bool write)
{
	uint8_t *start = e->p, *expired, *out, *not, *done, *go;

	em_push(e, RCX);
	em_push(e, RDX);
	em_push(e, RBX);
	em_alu_imm(e, EM_W, 0, hop_mem(H_STATE, STATE(jit_misses)), 1);
	em_alu_imm(e, 0, 5, hop_mem(H_T1, offsetof(struct jit_place, left)), 1);
	expired = em_jcc(e, 8);
	go = e->p;
	em_op(e, 0, 0x8b, RCX, hop_mem(H_T1, offsetof(struct jit_place, last)));
	em_op(e, EM_W, 0x03, RCX, hop_reg(H_T0));
	em_op(e, 0, 0x8b, RDX, hop_reg(H_T0));
	em_op(e, 0, 0xc1, 5, hop_reg(RDX));
	em8(e, 12 - 5);
	em_alu_imm(e, 0, 4, hop_reg(RDX), (TLB_SIZE - 1) << 5);
	em_op(e, EM_W, 0x03, RDX, hop_mem(H_STATE, STATE(tlb)));
	em_alu_imm(e, EM_W, 4, hop_reg(RCX), -4096);
	em_op(e, EM_W, 0x3b, RCX, hop_mem(RDX, write ? offsetof(struct soft_tlbe, tag_w) :
							offsetof(struct soft_tlbe, tag_r)));
	out = em_jcc(e, 5);
	em_op(e, 0, 0x80, 7, hop_mem(H_STATE, STATE(slots_ok)));
	em8(e, 0);
	not = em_jcc(e, 4);
	take_over(e, user);
	done = em_jmp(e);
	em_fix(not, e->p);
	em_load(e, H_T1, hop_mem(RDX, offsetof(struct soft_tlbe, delta)));
	em_fix(done, e->p);
	em_op(e, 0, 0x3b, RCX, hop_reg(RCX));		/* "zero" */
	em_fix(out, e->p);
	em_pop(e, RBX);
	em_pop(e, RDX);
	em_pop(e, RCX);
	em8(e, 0xc3);
	note_place(e, expired, go);
	return start;
}

void jit_make_slot_stubs(struct emit *e, struct soft_jit *j)
{
	for (unsigned user = 0; user < 2; user++)
		for (unsigned write = 0; write < 2; write++)
			j->slot_miss[user][write] = make_stub(e, user, write);
}

/* ---- hot blocks --------------------------------------------------------------------- */
#define SAMPLE 8192
#define SAMPLES 3u
/* Of the host's TSC, between executions of a hot block: a kernel's are in more places. */
#define HOT_CYCLES 150u
#define HOT_CYCLES_USER 2000u

uint8_t *jit_emit_sample(struct trans *t)
{
	const struct plan *p = t->plan;
	bool memory = false;

	for (unsigned i = 0; i < t->nplan; i++)
		memory |= p[i].faults && p[i].kind != JK_CALLOUT && p[i].kind != JK_JMP;
	if (!memory || !t->word || t->b->hot || t->s->jit->check)
		return NULL;
	em_alu_imm(&t->e, 0, 5, hop_mem(H_STATE, STATE(jit_count) +
					(int32_t)(4 * (t->s->jit->blocks % SAMPLERS))), 1);
	return em_jcc(&t->e, 8);
}

void soft_jit_resample(struct soft *s)
{
	for (unsigned i = 0; i < SAMPLERS; i++)
		if (s->jit_count[i] <= 0)
			s->jit_count[i] = SAMPLE;
}

void soft_jit_sampled(struct soft *s, struct block *b)
{
	uint64_t now = __rdtsc(), passed = now - b->sampled;
	unsigned hot = b->mode & MODE_CPL3 ? HOT_CYCLES_USER : HOT_CYCLES;

	soft_jit_resample(s);
	if (++b->samples < SAMPLES)
		return;
	b->samples = 0;
	b->sampled = now;
	if (b->hot || passed > (uint64_t)SAMPLE * SAMPLES * hot)
		return;
	b->hot = true;
	s->jit->hot++;
	soft_jit_again(s, b);
}

/* ---- review ------------------------------------------------------------------------ */
void soft_jit_review(struct soft *s)
{
	struct jit_place *p = (struct jit_place *)(uintptr_t)s->jit_bad;
	uint64_t now = __rdtsc(), passed = now - s->jit->reviewed;
	uint64_t misses = s->jit_misses - s->jit->misses_then, place;

	s->jit_bad = 0;
	s->jit->reviewed = now;
	s->jit->misses_then = s->jit_misses;
	place = (now - p->since) / (PATIENCE * MAX(p->times, 1u));
	p->since = now;
	p->times = 0;
	if (place > OFTEN_CYCLES &&
	    (misses * MISS_CYCLES < passed / 8 || place > 40 * OFTEN_CYCLES))
		return;
	p->b->plain[p->uop / 64] |= 1ull << (p->uop & 63);
	s->jit->plain++;
	soft_jit_again(s, p->b);
}
