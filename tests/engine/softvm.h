/* SPDX-License-Identifier: MIT */
/*
 * A machine with one software CPU, run on the test's own thread: code is
 * placed in RAM, registers are set through the engine's state, and the run
 * ends at HLT.
 */
#ifndef HV_TEST_SOFTVM_H
#define HV_TEST_SOFTVM_H

#include "../lib/testvm.h"
#include "../../src/cpu/soft/soft.h"

#define SVM_CODE 0x10000u	/* where svm_code() puts the program */
#define SVM_DATA 0x20000u
#define SVM_STACK 0x30000u	/* initial RSP */

struct svm {
	struct vm *vm;
	struct vcpu *v;
	struct x86_state st;	/* after svm_run(); before: what svm_start() prepared */
};

/* Code size 16 (real mode), 32 (flat protected, no paging) or 64 (identity map of 1 GiB). */
static inline void svm_segments(struct x86_state *st, unsigned bits)
{
	for (int i = 0; i < SEG_NUM; i++) {
		struct x86_seg *g = &st->seg[i];

		*g = (struct x86_seg){ .limit = bits == 16 ? 0xffff : 0xffffffff,
				       .attr = bits == 16 ? 0x93 : 0xc093, .sel = 0x10 };
		if (bits == 16)
			g->sel = 0;
	}
	st->seg[SEG_CS].attr = bits == 16 ? 0x93 : bits == 32 ? 0xc09b : 0xa09b;
	st->seg[SEG_CS].sel = bits == 16 ? 0 : 8;
	if (bits == 16) {
		st->seg[SEG_CS].sel = SVM_CODE >> 4;
		st->seg[SEG_CS].base = SVM_CODE;
	}
}

static inline void svm_paging(struct svm *t)
{
	assert_true(gm_write_le64(t->vm->mem, GPA(0x1000), 0x2007));
	assert_true(gm_write_le64(t->vm->mem, GPA(0x2000), 0x3007));
	for (unsigned i = 0; i < 512; i++)
		assert_true(gm_write_le64(t->vm->mem, GPA(0x3000 + 8 * i),
					  (uint64_t)i << 21 | 0x87));
	t->st.cr3 = 0x1000;
	t->st.cr4 = 0x20;
	t->st.efer = 0x500;
	t->st.cr0 |= 0x80000000;
}

static inline void svm_init(struct svm *t)
{
	struct err e = { 0 };

	memset(t, 0, sizeof(*t));
	t->vm = tvm_new(4 << 20);
	assert_true(vm_set_engine(t->vm, &soft_cpu_ops, 1, &e));
	t->v = t->vm->cpus[0];
}

static inline void svm_start(struct svm *t, unsigned bits)
{
	t->v->ops->reset(t->v);
	t->v->ops->get_state(t->v, &t->st);
	t->st.cr0 = bits == 16 ? 0x10 : 0x11;
	t->st.cr4 = 0x200;
	svm_segments(&t->st, bits);
	if (bits == 64)
		svm_paging(t);
	t->st.cr4 |= 0x200;
	memset(t->st.gpr, 0, sizeof(t->st.gpr));
	t->st.gpr[R_RSP] = bits == 16 ? 0x8000 : SVM_STACK;
	t->st.rip = bits == 16 ? 0 : SVM_CODE;
	t->st.rflags = 2;
	t->st.idt.limit = 0x3ff;
}

static inline void svm_code(struct svm *t, const void *code, size_t n)
{
	assert_true(gm_write(t->vm->mem, GPA(SVM_CODE), code, n));
}

/* Runs until HLT (or another exit), then fetches the state. */
static inline enum vcpu_exit svm_run(struct svm *t)
{
	struct err e = { 0 };
	enum vcpu_exit why;

	t->st.mp_state = MP_RUNNABLE;
	assert_true(t->v->ops->set_state(t->v, &t->st, &e));
	why = t->v->ops->run(t->v);
	t->v->ops->get_state(t->v, &t->st);
	return why;
}

static inline void svm_free(struct svm *t)
{
	tvm_free(t->vm);
}

/* A machine @t that is new in each test: setup() and teardown() for cmocka. */
#define SVM_EACH_TEST(t) \
	static struct svm t; \
	static int setup(void **state) \
	{ \
		svm_init(&t); \
		return 0; \
	} \
	static int teardown(void **state) \
	{ \
		svm_free(&t); \
		return 0; \
	}

#endif
