/* SPDX-License-Identifier: MIT */
/*
 * Lockstep: translated code against the interpreter.
 *
 * A unit is a chain of up to VERIFY_CHAIN translated blocks.  The interpreter
 * executes it first, on the guest's memory; no TLB entry has a write tag then,
 * so every store passes soft_verify_access(), which keeps the page
 * as it was, and soft_verify_stored(), which notes the bytes.  Then the
 * translated code executes it from the same registers on shadows of those
 * pages, as they were before; the TLB sends it there.  Registers, the result
 * (where it went on, which exception) and memory are compared; a store to any
 * other page or byte is a difference too.  What the interpreter did remains.
 *
 * A unit ends in front of instructions that cannot be repeated.  A device
 * access or a store into code that turns up in the middle ends the comparison
 * there: everything is taken back and done once more for good.
 *
 * Devices write memory meanwhile: a difference is only believed after the
 * unit was taken back and compared again several times.  vCPUs take turns.
 */
#include "fpu.h"
#include "jit.h"
#include "sys_int.h"
#include "verify.h"
#include "../../log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define VERIFY_CHAIN 6u
#define VERIFY_TRIES 5u
#define MAX_PAGES 64u
#define MAX_LINS 4u
#define MAX_PATCHES 1024u
#define MAX_TAGS 256u
#define TURN 64u		/* units between looks at who waits */

enum { IDLE, REF, NATIVE };
enum result { R_END, R_FAULT, R_EFFECT, R_TOO_MUCH };

struct vpage {
	uint8_t *host;			/* the guest's page */
	uint8_t *old, *shadow;		/* as it was; for translated code */
	uint64_t lin[MAX_LINS];
	unsigned nlin;
	bool fast;			/* a write tag would be allowed */
	bool table;			/* walked: A and D bits come and go */
	uint64_t mask[64];		/* bytes written by the interpreter */
};

#define SNAP_BYTES offsetof(struct soft, in_guest)

/* Everything that an instruction of a unit can change, memory aside. */
struct snap {
	uint8_t regs[SNAP_BYTES];
	uint8_t fx[sizeof(((struct soft *)0)->fx)];
	struct soft_fpu fpu;
	struct soft_exc exc;
	uint32_t flags;
	uint8_t delivering;
};

struct soft_verify {
	int phase;
	bool failed, stopped, skip;
	enum result ref, native;
	struct snap before, after, got;
	sigjmp_buf outer;
	/* The unit: its blocks, where they start. */
	unsigned n;
	struct block *blk[VERIFY_CHAIN];
	uint64_t rip[VERIFY_CHAIN];
	struct uop *patched;		/* a uop that stops the interpreter */
	uop_fn patched_fn;
	struct vpage page[MAX_PAGES];
	unsigned npages;
	uint8_t *space;			/* of old and shadow */
	struct { struct soft_tlbe *e, was, is; } patch[MAX_PATCHES];
	unsigned npatches;
	struct soft_tlbe *tag[MAX_TAGS];	/* write tags given between units */
	unsigned ntags;
	_Atomic uint32_t no_req;	/* nobody interrupts a unit */
	unsigned turn;
	uint64_t units, blocks, effects, skipped, retries;
};

/* ---- taking turns -------------------------------------------------------------- */
struct verify_turns {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned next, serving;
};

void soft_verify_lock(struct soft *s)
{
	struct verify_turns *t = s->vcpu->vm->engine_data;
	unsigned mine;

	pthread_mutex_lock(&t->lock);
	mine = t->next++;
	while (t->serving != mine)
		pthread_cond_wait(&t->moved, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

void soft_verify_unlock(struct soft *s)
{
	struct verify_turns *t = s->vcpu->vm->engine_data;

	pthread_mutex_lock(&t->lock);
	t->serving++;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

void soft_verify_turn(struct soft *s)
{
	if (++s->vfy->turn < TURN || s->vcpu->vm->ncpus == 1)
		return;
	s->vfy->turn = 0;
	soft_guest_leave(s);
	soft_guest_enter(s);
}

bool soft_verify_vm_init(struct vm *vm)
{
	struct verify_turns *t = hv_zalloc(sizeof(*t));

	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->moved, NULL);
	vm->engine_data = t;
	return true;
}

void soft_verify_vm_free(struct vm *vm)
{
	struct verify_turns *t = vm->engine_data;

	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->moved);
	free(t);
	vm->engine_data = NULL;
}

/* ---- memory --------------------------------------------------------------------- */
static struct vpage *page_find(struct soft_verify *v, const uint8_t *host)
{
	for (unsigned i = 0; i < v->npages; i++)
		if (v->page[i].host == host)
			return &v->page[i];
	return NULL;
}

static struct vpage *page_add(struct soft *s, const struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p = &v->page[v->npages];
	const struct gm_code *c = pg->block->code;

	if (v->npages == MAX_PAGES)
		siglongjmp(s->fault_jmp, R_TOO_MUCH);
	*p = (struct vpage){ .host = pg->host, .old = v->space + v->npages * 8192 };
	p->shadow = p->old + 4096;
	p->fast = !pg->readonly && !(c && atomic_load(&c[pg->block_off >> 12].lines));
	memcpy(p->old, pg->host, 4096);
	v->npages++;
	return p;
}

bool soft_verify_access(struct soft *s, uint64_t lin, bool write, struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p;

	if (v->phase == IDLE || (v->phase == REF && !write))
		return false;
	p = page_find(v, pg->host);
	if (!p && !write)
		return false;
	if (!p) {		/* by translated code: the comparison will find it */
		p = page_add(s, pg);
		memcpy(p->shadow, p->old, 4096);
	}
	if (v->phase == NATIVE) {
		pg->host = p->shadow;
		return true;
	}
	lin &= ~0xfffull;
	for (unsigned i = 0; i < p->nlin; i++)
		if (p->lin[i] == lin)
			return false;
	if (p->nlin < MAX_LINS)
		p->lin[p->nlin++] = lin;
	return false;
}

void soft_verify_stored(struct soft *s, const uint8_t *host, size_t off, size_t len)
{
	struct vpage *p;

	if (s->vfy->phase != REF)
		return;
	p = page_find(s->vfy, host);
	HV_BUG_ON(!p);
	while (len) {
		size_t n = MIN(len, 64 - (off & 63));

		p->mask[off >> 6] |= ~0ull >> (64 - n) << (off & 63);
		off += n;
		len -= n;
	}
}

bool soft_verify_span(struct soft *s, const uint8_t *host, size_t off)
{
	const struct soft_verify *v = s->vfy;

	for (unsigned i = 0; v->phase != IDLE && i < v->npages; i++) {
		const struct vpage *p = &v->page[i];

		if (!p->fast || (v->phase == REF ? p->host : p->shadow) != host)
			continue;
		soft_verify_stored(s, host, off, 4096 - off);
		return true;
	}
	return false;
}

bool soft_verify_tag(struct soft *s, struct soft_tlbe *e)
{
	struct soft_verify *v = s->vfy;

	if (v->phase != IDLE || v->ntags == MAX_TAGS)
		return false;
	v->tag[v->ntags++] = e;
	return true;
}

static void drop_tags(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	soft_slots_clear(s);
	while (v->ntags)
		v->tag[--v->ntags]->tag_w = TLB_NONE;
}

void soft_verify_walk(struct soft *s, struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p = v->phase == IDLE ? NULL : page_find(v, pg->host);

	if (!p)
		return;
	p->table = true;
	if (v->phase == NATIVE) {
		pg->host = p->shadow;
		pg->readonly = true;	/* no A and D bits there */
	}
}

static void take_back(struct soft_verify *v)
{
	for (unsigned i = 0; i < v->npages; i++) {
		struct vpage *p = &v->page[i];

		for (unsigned off = 0; off < 4096; off++)
			if (!p->mask[off >> 6])
				off |= 63;
			else if (p->mask[off >> 6] >> (off & 63) & 1)
				p->host[off] = p->old[off];
	}
}

/* First byte in which the shadow is not as the interpreter left the page; 4096: none. */
static unsigned page_differs(const struct vpage *p)
{
	for (unsigned off = 0; off < 4096; off++) {
		uint64_t m = p->mask[off >> 6];

		if (!m && !(off & 63) && !memcmp(p->old + off, p->shadow + off, 64))
			off |= 63;
		else if (((m >> (off & 63) & 1 ? p->host : p->old)[off] ^ p->shadow[off]) &
			 (p->table && !(off & 7) ? ~(PTE_A | PTE_D) & 0xff : 0xff))
			return off;
	}
	return 4096;
}

/* ---- the TLB, for translated code -------------------------------------------------- */
static void patch_entry(struct soft_verify *v, struct soft_tlbe *e, const struct vpage *p)
{
	uint64_t lin = e->tag_r != TLB_NONE ? e->tag_r : e->tag_x;

	if (lin == TLB_NONE || v->npatches == MAX_PATCHES ||
	    (const uint8_t *)(uintptr_t)(lin + e->delta) != p->host)
		return;
	v->patch[v->npatches].e = e;
	v->patch[v->npatches].was = *e;
	e->delta = (uintptr_t)p->shadow - lin;
	if (p->fast && e->tag_r != TLB_NONE)
		e->tag_w = lin;
	v->patch[v->npatches++].is = *e;
}

static void shadow_table(struct soft_verify *v, struct soft_tlbe *table, const struct vpage *p,
			 bool all)
{
	for (unsigned k = 0; k < p->nlin; k++)
		patch_entry(v, &table[p->lin[k] >> 12 & (TLB_SIZE - 1)], p);
	for (unsigned k = 0; all && k < TLB_SIZE; k++)
		patch_entry(v, &table[k], p);
}

static void shadow_tlb(struct soft *s, bool all)
{
	struct soft_verify *v = s->vfy;

	v->npatches = 0;
	soft_slots_clear(s);
	if ((uint8_t *)s->tlb < (uint8_t *)s->tlbs ||
	    (uint8_t *)s->tlb >= (uint8_t *)s->tlbs + sizeof(s->tlbs))
		return;		/* the one that never hits */
	for (unsigned i = 0; i < v->npages; i++) {
		struct vpage *p = &v->page[i];

		memcpy(p->shadow, p->old, 4096);
		if (s->cpl) {
			shadow_table(v, s->tlb, p, all);
			continue;
		}
		/* STAC and CLAC go from the one to the other. */
		shadow_table(v, s->tlbs[TLB_KERN], p, all);
		shadow_table(v, s->tlbs[TLB_KERN_AC], p, all);
	}
}

static void restore_tlb(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	soft_slots_clear(s);
	while (v->npatches) {
		struct soft_tlbe *e = v->patch[--v->npatches].e;

		if (!memcmp(e, &v->patch[v->npatches].is, sizeof(*e)))
			*e = v->patch[v->npatches].was;
	}
}

/* ---- registers -------------------------------------------------------------------- */
static void save(struct soft *s, struct snap *p)
{
	soft_fpu_park(s);
	soft_fpu_sync_out(s);
	p->flags = soft_get_eflags(s);
	memcpy(p->regs, s, SNAP_BYTES);
	memcpy(p->fx, s->fx, sizeof(p->fx));
	p->fpu = *s->fpu;
	p->exc = s->exc;
	p->delivering = s->delivering;
}

static void load(struct soft *s, const struct snap *p)
{
	soft_fpu_park(s);
	memcpy((void *)s, p->regs, SNAP_BYTES);
	memcpy(s->fx, p->fx, sizeof(p->fx));
	*s->fpu = p->fpu;
	s->exc = p->exc;
	s->delivering = p->delivering;
	s->fp_fault = false;
	soft_jit_new_mode(s);	/* keys do not come back */
}

/* ---- execution --------------------------------------------------------------------- */
static HN(h_stop)
{
	s->rip = UOP_RIP(s, u);
	s->vfy->stopped = true;
	return NULL;
}

static void patch_stop(struct soft_verify *v, const struct block *b)
{
	v->patched = b->jit->stop;
	if (!v->patched)
		return;
	v->patched_fn = v->patched->fn;
	v->patched->fn = h_stop;
}

static void unpatch(struct soft_verify *v)
{
	if (v->patched)
		v->patched->fn = v->patched_fn;
	v->patched = NULL;
}

static void interpret(struct soft *s, struct block *b)
{
	const struct uop *u = b->u;

	s->gpr[GPR_RIP] = s->rip;
	s->cur = b;
	s->budget = -1;		/* to the end of the block */
	u = b->fn0(s, u);
	while (u)
		u = u->fn(s, u);
}

/* The block that follows, if it is translated. */
static struct block *next_block(struct soft *s)
{
	struct block *b;

	if (s->intr_shadow || s->halted || s->mode & (MODE_TF | MODE_CODE_BP))
		return NULL;
	s->gpr[GPR_RIP] = s->rip;
	b = soft_jc_find(s);
	if (!b)
		b = soft_block_ready(s);
	if (!b || !b->jit_entry || atomic_load(b->genp) != b->gen || b->cut)
		return NULL;
	if (!(b->mode & MODE_CS64) && (s->seg[SEG_CS].base || s->seg[SEG_CS].limit != 0xffffffff))
		return NULL;
	return b;
}

static void run_ref(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	struct block *b = v->blk[0];
	uint32_t undef = 0;

	v->n = 0;
	do {
		undef = (undef & ~b->jit->fl_kill) | b->jit->fl_undef;
		v->rip[v->n] = s->rip;
		v->blk[v->n++] = b;
		patch_stop(v, b);
		interpret(s, b);
		unpatch(v);
	} while (!v->stopped && v->n < VERIFY_CHAIN && (b = next_block(s)) &&
		 !(b->jit->fl_read & undef));
}

/* After JX_UOP: the unit ends here. */
static bool at_stop(const struct soft *s)
{
	return (struct uop *)(uintptr_t)s->jit_arg == s->cur->jit->stop;
}

/*
 * The interpreter's part: a branch whose operand missed the TLB, state that
 * cannot be in the host's registers.
 */
static void rest_of_block(struct soft *s, const struct uop *u)
{
	struct soft_verify *v = s->vfy;

	s->gpr[GPR_RIP] = s->rip - u->off;
	s->budget = -1;
	v->stopped = false;
	patch_stop(v, s->cur);
	u = u == s->cur->u ? s->cur->fn0(s, u) : u;
	while (u)
		u = u->fn(s, u);
	unpatch(v);
}

static void run_native(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	unsigned i = 0;

	s->jit_left = (int32_t)v->n;
	s->rip = v->rip[0];
	for (;;) {
		unsigned how, done;

		s->gpr[GPR_RIP] = s->rip;
		s->cur = v->blk[i];
		how = soft_jit_run(s, v->blk[i]);
		done = v->n - (unsigned)MAX(s->jit_left, 0);
		if (how == JX_UOP && !at_stop(s)) {
			rest_of_block(s, (const struct uop *)(uintptr_t)s->jit_arg);
			if (v->stopped)
				return;
		} else if (how == JX_LEAVE || how == JX_UOP) {
			return;
		}
		if (s->jit_left <= 0)
			return;
		if (how == JX_BLOCK && done == i) {	/* stale: a device wrote code */
			v->skip = true;
			return;
		}
		if (s->rip != v->rip[done])
			return;		/* the comparison will find it */
		i = done;
		s->gpr[GPR_RIP] = s->rip;
		soft_jit_arrived(s, how, v->blk[i]);
	}
}

void soft_verify_effect(struct soft *s)
{
	if (s->vfy->phase != IDLE)
		siglongjmp(s->fault_jmp, R_EFFECT);
}

static enum result guarded(struct soft *s, int phase, void (*run)(struct soft *s))
{
	enum result r = (enum result)sigsetjmp(s->fault_jmp, 0);

	if (r == R_END) {
		s->vfy->phase = phase;
		s->req = &s->vfy->no_req;
		run(s);
	}
	s->vfy->phase = IDLE;
	unpatch(s->vfy);
	if (s->split_locked)
		soft_split_unlock(s);
	return r;
}

/* ---- comparison ----------------------------------------------------------------------- */
static bool may_keep_flags(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (strstr(r->operands, "CL"))
		return true;
	return strstr(r->operands, "Ib") && (strchr("rs", r->mnem[0])) &&
	       !(u->imm8 & (u->osize == 8 ? 63 : 31));
}

static void step_undef(const struct uop *u, uint32_t *undef)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (!u->len)
		return;
	if (!may_keep_flags(u))
		*undef &= ~r->fout;
	*undef |= r->fundef;
}

/* Not those that a shift or rotate reads only to keep them when its count is 0. */
static uint32_t flags_used(const struct uop *u)
{
	static const uint16_t cond[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF,
		FL_SF | FL_OF | FL_ZF,
	};
	const struct optable_row *r = &soft_optable[u->row];

	if (r->fin && (r->mnem[0] == 'j' || !strncmp(r->mnem, "set", 3) ||
		       !strncmp(r->mnem, "cmov", 4)))
		return cond[r->opcode >> 1 & 7];
	if (!strncmp(r->mnem, "rc", 2) && r->mnem[3] == '\0')
		return FL_CF;
	return r->fout && r->fin & ~FL_CF && strchr("rs", r->mnem[0]) ? 0 : r->fin;
}

/* SDM vol. 2, SHLD and SHRD: counts above the operand size leave the result undefined. */
static bool undefined_result(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	return u->osize == 2 && (!strcmp(r->mnem, "shld") || !strcmp(r->mnem, "shrd")) &&
	       (strstr(r->operands, "CL") || (u->imm8 & 31) > 16);
}

bool soft_verify_stops(const struct uop *u, bool callout, uint32_t *undef)
{
	const struct optable_row *r = &soft_optable[u->row];
	bool once = r->attr & A_NOTEST && (callout || !strncmp(r->mnem, "rd", 2)) &&
		    u->fn != h_cld && u->fn != h_std;

	if (!u->len)
		return false;
	if (once || undefined_result(u) || flags_used(u) & *undef)
		return true;
	step_undef(u, undef);
	return false;
}

/* What the block does to flags: read as they were before; surely replaced; left undefined. */
void soft_verify_translated(struct block *b)
{
	uint32_t read = 0, kill = 0, undef = 0;

	for (unsigned i = 0; i < b->nuops && &b->u[i] != b->jit->stop; i++) {
		const struct uop *u = &b->u[i];
		const struct optable_row *r = &soft_optable[u->row];

		if (!u->len)
			continue;
		read |= flags_used(u) & ~kill;
		if (!may_keep_flags(u))
			kill |= r->fout | r->fundef;
		step_undef(u, &undef);
	}
	b->jit->fl_read = (uint16_t)read;
	b->jit->fl_kill = (uint16_t)kill;
	b->jit->fl_undef = (uint16_t)undef;
}

/* Flags that are undefined where the unit ended. */
static uint32_t undefined_flags(const struct soft_verify *v)
{
	const struct soft *end = (const void *)v->after.regs;
	uint32_t undef = 0, any = 0;

	for (unsigned i = 0; i < v->n; i++) {
		const struct block *b = v->blk[i];
		bool last = i + 1 == v->n;

		for (unsigned k = 0; k < b->nuops; k++) {
			if (last && (&b->u[k] == b->jit->stop ||
				     (v->ref == R_FAULT && v->rip[i] + b->u[k].off == end->rip)))
				return undef;
			step_undef(&b->u[k], &undef);
			if (last && v->ref == R_EFFECT)	/* where is not known */
				any |= undef;
		}
	}
	return undef | any;
}

struct report {
	char text[4096];
	size_t n;
};

static __attribute__((format(printf, 2, 3))) void say(struct report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (r->n < sizeof(r->text))
		r->n += (size_t)vsnprintf(r->text + r->n, sizeof(r->text) - r->n, fmt, ap);
	va_end(ap);
}

static void differ(struct report *r, const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		say(r, "  %-8s interpreter %016llx  translated %016llx\n", name,
		    (unsigned long long)a, (unsigned long long)b);
}

static const char *const reg_names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

static void compare_fx(struct report *r, const uint8_t *a, const uint8_t *b)
{
	static const struct { uint16_t off, len; const char *name; } words[] = {
		{ 0, 2, "fcw" }, { 2, 2, "fsw" }, { 4, 1, "ftw" }, { 24, 4, "mxcsr" },
	};
	char name[16];

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		uint64_t x = 0, y = 0;

		memcpy(&x, a + words[i].off, words[i].len);
		memcpy(&y, b + words[i].off, words[i].len);
		differ(r, words[i].name, x, y);
	}
	for (unsigned i = 0; i < 96; i++) {
		unsigned at = i < 64 ? 32 + 8 * i : 576 + 8 * (i - 64), k = i / 2;

		if (at >= 416 && at < 576)
			continue;
		if (k < 8 && i % 2)	/* exponent of an x87 register: two bytes */
			differ(r, "st", ld_le16(a + at), ld_le16(b + at));
		else if (memcmp(a + at, b + at, 8)) {
			snprintf(name, sizeof(name), "%s%u.%u", k < 8 ? "st" : i < 64 ? "xmm" :
				 "ymmh", k < 8 ? k : i < 64 ? k - 8 : k - 32, i % 2);
			differ(r, name, ld_le64(a + at), ld_le64(b + at));
		}
	}
}

static void compare_memory(struct report *r, const struct soft_verify *v)
{
	for (unsigned i = 0; i < v->npages; i++) {
		const struct vpage *p = &v->page[i];
		unsigned off = page_differs(p);
		bool own;

		if (off == 4096)
			continue;
		own = p->mask[off >> 6] >> (off & 63) & 1;
		say(r, "  memory at %llx: interpreter %02x%s  translated %02x (was %02x)\n",
		    (unsigned long long)(p->nlin ? p->lin[0] + off : 0),
		    own ? p->host[off] : p->old[off], own ? "" : " (not written)",
		    p->shadow[off], p->old[off]);
	}
}

static void compare(struct soft_verify *v, struct report *r)
{
	const struct soft *a = (const void *)v->after.regs, *b = (const void *)v->got.regs;
	const size_t sys = offsetof(struct soft, seg);
	uint32_t undef = 0;

	r->n = 0;
	r->text[0] = '\0';
	differ(r, "result", v->ref, v->native);
	if (v->ref != R_EFFECT)
		differ(r, "rip", a->rip, b->rip);
	if (v->ref == R_FAULT) {
		differ(r, "vector", v->after.exc.vector, v->got.exc.vector);
		differ(r, "error", v->after.exc.has_code ? v->after.exc.code : 0,
		       v->got.exc.has_code ? v->got.exc.code : 0);
	}
	for (unsigned i = 0; i < 16; i++)
		differ(r, reg_names[i], a->gpr[i], b->gpr[i]);
	if (v->after.flags != v->got.flags)
		undef = undefined_flags(v);
	differ(r, "flags", v->after.flags & ~undef, v->got.flags & ~undef);
	differ(r, "mode", a->mode, b->mode);
	if (memcmp(v->after.regs + sys, v->got.regs + sys, SNAP_BYTES - sys))
		say(r, "  system registers\n");
	if (memcmp(v->after.fx, v->got.fx, sizeof(v->after.fx)))
		compare_fx(r, v->after.fx, v->got.fx);
	compare_memory(r, v);
}

/* ---- report ------------------------------------------------------------------------------ */
static void list(const uint8_t *p, size_t n, unsigned bits, uint64_t rip)
{
	size_t at = 0;

	while (at < n) {
		char text[160], hex[48] = "";
		unsigned len = soft_disas(p + at, n - at, bits, rip + at, text, sizeof(text));

		for (unsigned i = 0; i < MAX(len, 1u) && i < 15; i++)
			snprintf(hex + 3 * i, sizeof(hex) - 3 * i, "%02x ", p[at + i]);
		log_error("  %12llx: %-31s %s", (unsigned long long)rip + at, hex,
			  len ? text : "(bad)");
		at += MAX(len, 1u);
	}
}

static void list_lines(const char *text)
{
	while (*text) {
		int n = (int)strcspn(text, "\n");

		log_error("%.*s", n, text);
		text += n + (text[n] == '\n');
	}
}

static void report(struct soft *s, const struct report *r)
{
	const struct soft_verify *v = s->vfy;
	const struct soft *b = (const void *)v->before.regs;

	log_error("verify: translated code differs from the interpreter, CPU %u, %u block%s at rip "
		  "%llx, mode %#x, after %llu units", s->vcpu->index, v->n, v->n == 1 ? "" : "s",
		  (unsigned long long)v->rip[0], b->mode, (unsigned long long)v->units);
	list_lines(r->text);
	log_error("before: flags %08x", v->before.flags);
	for (unsigned i = 0; i < 16; i += 2)
		log_error("  %-4s %016llx  %-4s %016llx", reg_names[i],
			  (unsigned long long)b->gpr[i], reg_names[i + 1],
			  (unsigned long long)b->gpr[i + 1]);
	for (unsigned i = 0; i < v->n; i++) {
		const struct block *k = v->blk[i];

		log_error("guest code:");
		list(k->copy, k->bytes, k->mode & MODE_CS64 ? 64 : 32, v->rip[i]);
		log_error("host code:");
		list(k->jit->poll, k->jit->len, 64, (uintptr_t)k->jit_entry);
	}
	snprintf(s->vcpu->fail, sizeof(s->vcpu->fail),
		 "verify: translated code at guest address %llx differs from the interpreter; "
		 "the report is above", (unsigned long long)v->rip[0]);
}

/* ---- a unit --------------------------------------------------------------------------------- */
static void attempt(struct soft *s, unsigned n)
{
	struct soft_verify *v = s->vfy;

	drop_tags(s);
	v->npages = 0;
	v->stopped = v->skip = false;
	v->ref = guarded(s, REF, run_ref);
	save(s, &v->after);
	if (v->ref == R_TOO_MUCH) {
		v->skip = true;
		return;
	}
	load(s, &v->before);
	soft_fpu_sync_in(s);
	shadow_tlb(s, n > 0);
	v->native = guarded(s, NATIVE, run_native);
	restore_tlb(s);
	save(s, &v->got);
}

static bool verified(struct soft *s)
{
	static __thread struct report r;
	struct soft_verify *v = s->vfy;

	for (unsigned n = 0; n < VERIFY_TRIES; n++) {
		attempt(s, n);
		if (v->skip || v->native == R_TOO_MUCH) {
			v->skipped++;
			return true;
		}
		compare(v, &r);
		if (!r.n)
			return true;
		v->retries++;
		if (n + 1 < VERIFY_TRIES) {
			take_back(v);
			load(s, &v->before);
			soft_fpu_sync_in(s);
		}
	}
	report(s, &r);
	v->failed = true;
	return false;
}

/*
 * The unit's first block as if nothing had happened, once.  By translated
 * code, since the interpreter's own form would be cut by a store into code.
 */
static void do_once(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	take_back(v);
	load(s, &v->before);
	soft_fpu_sync_in(s);
	memcpy(&s->fault_jmp, &v->outer, sizeof(v->outer));
	s->req = &s->vcpu->req;
	s->gpr[GPR_RIP] = s->rip;
	s->cur = v->blk[0];
	s->jit_left = 1;
	if (soft_jit_run(s, v->blk[0]) == JX_UOP && !at_stop(s))
		rest_of_block(s, (const struct uop *)(uintptr_t)s->jit_arg);
}

static void finish(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	load(s, &v->after);
	soft_fpu_sync_in(s);
	memcpy(&s->fault_jmp, &v->outer, sizeof(v->outer));
	s->req = &s->vcpu->req;
	if (v->ref == R_FAULT)
		siglongjmp(s->fault_jmp, 1);
}

const struct uop *soft_verify_unit(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	int64_t budget = s->budget;
	struct block *b = s->cur;

	if (v->failed)
		return NULL;
	if (b->cut)	/* by an interpreted execution, before it was translated */
		return b->fn0(s, b->u);
	v->blk[0] = b;
	s->rip = s->gpr[GPR_RIP];
	memcpy(&v->outer, &s->fault_jmp, sizeof(v->outer));
	save(s, &v->before);
	v->units++;
	s->budget = budget;
	verified(s);
	v->blocks += v->n;
	s->budget = budget;
	if (v->ref == R_EFFECT || v->ref == R_TOO_MUCH) {
		v->effects += v->ref == R_EFFECT;
		do_once(s);
	} else {
		finish(s);
	}
	s->budget = budget;
	return NULL;
}

bool soft_verify_failed(const struct soft *s)
{
	return s->vfy->failed;
}

/* ---- life ------------------------------------------------------------------------------------ */
bool soft_verify_init(struct soft *s)
{
	struct soft_verify *v = hv_zalloc(sizeof(*v));

	v->space = mmap(NULL, MAX_PAGES * 8192, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (v->space == MAP_FAILED) {
		free(v);
		return false;
	}
	s->vfy = v;
	return true;
}

void soft_verify_free(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	if (!v)
		return;
	log_info("CPU %u: %llu runs of %llu translated blocks compared with the interpreter, "
		 "%llu not to the end for device accesses, %llu not at all, %llu repeated",
		 s->vcpu->index, (unsigned long long)v->units, (unsigned long long)v->blocks,
		 (unsigned long long)v->effects, (unsigned long long)v->skipped,
		 (unsigned long long)v->retries);
	munmap(v->space, MAX_PAGES * 8192);
	free(v);
	s->vfy = NULL;
}
