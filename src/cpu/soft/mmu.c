/* SPDX-License-Identifier: MIT */
/*
 * Page walks: 32-bit with 4 MiB pages (PSE-36), PAE, 4-level with 2 MiB and
 * 1 GiB pages (Intel SDM vol. 3 ch. 4).
 *
 * Accessed and dirty bits are set with compare-and-swap in guest memory, and
 * only for walks whose access is allowed.  Left out: 5-level paging,
 * protection keys.
 */
#include "sys_int.h"
#include "verify.h"

#define PF_P 0x1u
#define PF_W 0x2u
#define PF_U 0x4u
#define PF_RSVD 0x8u
#define PF_I 0x10u

#define PTE_ADDR (PHYS_MASK & ~0xfffull)
#define PTE_RSVD64 (0x000fffffffffffffull & ~PHYS_MASK)

/* One paging-structure entry as read, and where it is. */
struct entry {
	uint64_t v;
	uint8_t *host;		/* NULL: not RAM */
	struct gm_page pg;
	uint64_t off;
	unsigned size;
};

static uint64_t a20(const struct soft *s, uint64_t phys)
{
	return unlikely(s->mode & MODE_A20_OFF) ? phys & ~0x100000ull : phys;
}

static void entry_read(struct soft *s, struct entry *e, uint64_t phys, unsigned size)
{
	phys = a20(s, phys);
	e->size = size;
	e->off = phys & 0xfff;
	if (!soft_phys_page(s, phys, false, &e->pg)) {
		e->host = NULL;
		e->v = size == 8 ? UINT64_MAX : UINT32_MAX;
		return;
	}
	if (unlikely(s->vfy))
		soft_verify_walk(s, &e->pg);
	e->host = e->pg.host + e->off;
	if (size == 8)
		e->v = __atomic_load_n((uint64_t *)e->host, __ATOMIC_RELAXED);
	else
		e->v = __atomic_load_n((uint32_t *)e->host, __ATOMIC_RELAXED);
}

/* Set @bits; false when the entry is no longer what we read: walk again. */
static bool entry_mark(struct entry *e, uint64_t bits)
{
	uint64_t v64 = e->v;
	uint32_t v32 = (uint32_t)e->v;
	bool ok;

	if ((e->v & bits) == bits || !e->host || e->pg.readonly)
		return true;
	if (e->size == 8)
		ok = __atomic_compare_exchange_n((uint64_t *)e->host, &v64, v64 | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		ok = __atomic_compare_exchange_n((uint32_t *)e->host, &v32, v32 | (uint32_t)bits,
						 false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (e->pg.block->code)
		gm_code_written(e->pg.block, e->pg.block_off + e->off, e->size);
	if (e->pg.dirty_log)
		gm_mark_dirty(e->pg.block, e->pg.block_off);
	return ok;
}

uint64_t soft_mmu_read_phys(struct soft *s, uint64_t phys, unsigned size)
{
	struct entry e;

	entry_read(s, &e, phys, size);
	return e.v;
}

bool soft_mmu_allowed(const struct soft *s, uint64_t perm, enum soft_access acc, unsigned table)
{
	if (TLB_IS_USER(table)) {
		if (!(perm & PTE_US))
			return false;
		return acc == ACC_R || (acc == ACC_W ? perm & PTE_RW : !(perm & PTE_NX));
	}
	if (acc == ACC_X)
		return !(perm & PTE_NX) && !((perm & PTE_US) && (s->cr4 & CR4_SMEP));
	if ((perm & PTE_US) && table == TLB_KERN && (s->cr4 & CR4_SMAP))
		return false;
	return acc == ACC_R || (perm & PTE_RW) || !(s->cr0 & CR0_WP);
}

static uint32_t fault_code(const struct soft *s, enum soft_access acc, unsigned table)
{
	uint32_t c = acc == ACC_W ? PF_W : 0;

	if (TLB_IS_USER(table))
		c |= PF_U;
	if (acc == ACC_X && ((s->cr4 & CR4_SMEP) ||
			     ((s->cr4 & CR4_PAE) && (s->efer & EFER_NXE))))
		c |= PF_I;
	return c;
}

/* A levels of a finished walk and the leaf; false: an entry changed meanwhile. */
static bool finish(struct entry *e, unsigned n, enum soft_access acc)
{
	for (unsigned i = 0; i + 1 < n; i++)
		if (!entry_mark(&e[i], PTE_A))
			return false;
	return entry_mark(&e[n - 1], PTE_A | (acc == ACC_W ? PTE_D : 0));
}

/* Reserved bits of an 8-byte entry at @level (1 = PTE). */
static bool rsvd64(const struct soft *s, uint64_t v, unsigned level, bool four)
{
	uint64_t r = PTE_RSVD64;

	if (!(s->efer & EFER_NXE))
		r |= PTE_NX;
	if (!four)
		r |= 0x7ff0000000000000ull;
	if (level == 4)
		r |= PTE_PS;
	else if (level == 3 && (v & PTE_PS))
		r |= 0x3fffe000;
	else if (level == 2 && (v & PTE_PS))
		r |= 0x1fe000;
	return v & r;
}

/* Levels @level .. 1 from the table at @table_pa.  1: translated, 0: fault, -1: walk again. */
static int walk64(struct soft *s, uint64_t lin, enum soft_access acc, unsigned table,
		  unsigned level, uint64_t table_pa, struct soft_walk *w, uint32_t *code)
{
	const bool four = level == 4;
	struct entry e[4];
	unsigned n = 0;
	uint64_t v;

	w->perm = PTE_RW | PTE_US;
	for (;; level--) {
		unsigned shift = 3 + 9 * level;

		entry_read(s, &e[n++], table_pa + (lin >> shift & 0x1ff) * 8, 8);
		v = e[n - 1].v;
		if (!(v & PTE_P)) {
			*code = fault_code(s, acc, table);
			return 0;
		}
		if (rsvd64(s, v, level, four)) {
			*code = fault_code(s, acc, table) | PF_P | PF_RSVD;
			return 0;
		}
		w->perm &= v | ~(PTE_RW | PTE_US);
		w->perm |= v & PTE_NX;
		table_pa = v & PTE_ADDR;
		if (level == 1 || (level < 4 && (v & PTE_PS))) {
			uint64_t in = (1ull << shift) - 1;

			w->phys = (table_pa & ~in) | (lin & in);
			w->large = level > 1;
			break;
		}
	}
	if (!soft_mmu_allowed(s, w->perm, acc, table)) {
		*code = fault_code(s, acc, table) | PF_P;
		return 0;
	}
	w->perm |= (v & PTE_D) | (acc == ACC_W ? PTE_D : 0);
	w->global = v & PTE_G;
	return finish(e, n, acc) ? 1 : -1;
}

static int walk32(struct soft *s, uint64_t lin, enum soft_access acc, unsigned table,
		  struct soft_walk *w, uint32_t *code)
{
	struct entry e[2];
	unsigned n = 1;
	bool big;

	entry_read(s, &e[0], (s->cr3 & 0xfffff000u) + (lin >> 22 & 0x3ff) * 4, 4);
	*code = fault_code(s, acc, table);
	if (!(e[0].v & PTE_P))
		return 0;
	w->perm = e[0].v & (PTE_RW | PTE_US);
	big = (e[0].v & PTE_PS) && (s->cr4 & CR4_PSE);
	w->large = big;
	if (big) {
		if (e[0].v & 0x200000) {	/* bits 20:13 are address bits 39:32, 21 reserved */
			*code |= PF_P | PF_RSVD;
			return 0;
		}
		w->phys = (e[0].v & 0xffc00000u) | (e[0].v >> 13 & 0xff) << 32 | (lin & 0x3fffff);
	} else {
		entry_read(s, &e[n++], (e[0].v & 0xfffff000u) + (lin >> 12 & 0x3ff) * 4, 4);
		if (!(e[1].v & PTE_P))
			return 0;
		w->perm &= e[1].v;
		w->phys = (e[1].v & 0xfffff000u) | (lin & 0xfff);
	}
	if (!soft_mmu_allowed(s, w->perm, acc, table)) {
		*code |= PF_P;
		return 0;
	}
	w->perm |= (e[n - 1].v & PTE_D) | (acc == ACC_W ? PTE_D : 0);
	w->global = e[n - 1].v & PTE_G;
	return finish(e, n, acc) ? 1 : -1;
}

static int walk_pae(struct soft *s, uint64_t lin, enum soft_access acc, unsigned table,
		    struct soft_walk *w, uint32_t *code)
{
	uint64_t pdpte = s->pdpte[lin >> 30 & 3];

	if (!(pdpte & PTE_P)) {
		*code = fault_code(s, acc, table);
		return 0;
	}
	return walk64(s, lin, acc, table, 2, pdpte & PTE_ADDR, w, code);
}

bool soft_mmu_walk(struct soft *s, uint64_t lin, enum soft_access acc, unsigned table,
		   struct soft_walk *w, uint32_t *code)
{
	int r;

	if (!(s->cr0 & CR0_PG)) {
		w->phys = a20(s, lin);
		w->perm = PTE_RW | PTE_D | (TLB_IS_USER(table) ? PTE_US : 0);
		w->global = w->large = false;
		return true;
	}
	do {
		if (soft_lma(s))
			r = walk64(s, lin, acc, table, 4, s->cr3 & PTE_ADDR, w, code);
		else if (s->cr4 & CR4_PAE)
			r = walk_pae(s, lin, acc, table, w, code);
		else
			r = walk32(s, lin, acc, table, w, code);
	} while (r < 0);
	if (!r)
		return false;
	w->global = w->global && (s->cr4 & CR4_PGE);
	w->phys = a20(s, w->phys);
	return true;
}

bool soft_mmu_load_pdptes(struct soft *s, uint64_t cr3)
{
	uint64_t p[4];

	for (unsigned i = 0; i < 4; i++) {
		p[i] = soft_mmu_read_phys(s, (cr3 & 0xffffffe0u) + i * 8, 8);
		if ((p[i] & PTE_P) && (p[i] & (0xfff0000000000000ull | PTE_RSVD64 | 0x1e6)))
			return false;
	}
	memcpy(s->pdpte, p, sizeof(p));
	return true;
}

void soft_mmu_state_loaded(struct soft *s)
{
	if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !soft_lma(s))
		(void)soft_mmu_load_pdptes(s, s->cr3);
}
