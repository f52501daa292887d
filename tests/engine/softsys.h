/* SPDX-License-Identifier: MIT */
/*
 * System-level programs on the software CPU: a GDT, an IDT whose every
 * handler is one HLT, a TSS, and what an exception left on the handler's
 * stack.  The test sets registers, runs, and looks where the CPU stopped.
 */
#ifndef HV_TEST_SOFTSYS_H
#define HV_TEST_SOFTSYS_H

#include "softvm.h"
#include "../../src/cpu/soft/sys_int.h"

#define SYS_IDT 0x5000u
#define SYS_GDT 0x6000u
#define SYS_LDT 0x6800u
#define SYS_TSS 0x7000u
#define SYS_HAND 0x8000u	/* handler of vector n: SYS_HAND + 16 n */
#define SYS_STACK0 0x3f000u	/* inner stack: TSS SS0:ESP0, RSP0 */
#define SYS_USER_END 0x80	/* INT 80h: how programs at CPL 3 end */

/* Selectors. */
enum { K32 = 0x08, KDS = 0x10, K64 = 0x18, U32 = 0x23, UDS = 0x2b, U64 = 0x33, K16 = 0x38,
       KD16 = 0x40, TSS = 0x48, LDT = 0x58, FREE = 0x68 };

#define V86 86		/* for sys_start() */

/* Program text as bytes: CODE(name, "32", "mov ..."); */
#define CODE(name, bits, text) \
	__asm__(".pushsection .rodata\n.code" bits "\n" #name ":\n" text "\n" #name "_end:\n" \
		".code64\n.popsection\n"); \
	extern const uint8_t name[] __asm__(#name), name##_end[] __asm__(#name "_end")
#define LOAD(t, name) svm_code(t, name, (size_t)(name##_end - name))

struct frame {
	int vec;		/* -1: HLT in the program, -2: triple fault, -3: something else */
	uint32_t err;
	uint64_t ip, flags, sp;
	uint16_t cs, ss;
};

static inline void sys_put(struct svm *t, uint64_t at, uint64_t v, unsigned size)
{
	uint8_t b[8];

	st_le64(b, v);
	assert_true(gm_write(t->vm->mem, GPA(at), b, size));
}

static inline uint64_t sys_get(struct svm *t, uint64_t at, unsigned size)
{
	uint8_t b[8] = { 0 };

	assert_true(gm_read(t->vm->mem, GPA(at), b, size));
	return ld_le64(b);
}

static inline uint64_t sys_desc(uint32_t base, uint32_t limit, uint32_t attr)
{
	if (attr & SA_G)
		limit >>= 12;
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

/* A gate of @type in the table at @base, entry size by @size. */
static inline void sys_gate(struct svm *t, uint64_t base, unsigned n, unsigned size, unsigned attr,
			    uint16_t sel, uint64_t off, unsigned low)
{
	sys_put(t, base + n * size, (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)low << 32 |
		(uint64_t)attr << 40 | (off >> 16 & 0xffff) << 48, 8);
	if (size == 16)
		sys_put(t, base + n * size + 8, off >> 32, 8);
}

static inline void sys_tables(struct svm *t, bool lm)
{
	static const uint64_t gdt[] = {
		0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff,
		0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,
		0x00009b000000ffff, 0x000093000000ffff,
	};

	for (unsigned i = 0; i < 64; i++)
		sys_put(t, SYS_GDT + 8 * i, i < ARRAY_SIZE(gdt) ? gdt[i] : 0, 8);
	sys_put(t, SYS_GDT + TSS, sys_desc(SYS_TSS, 0xfff, lm ? 0x8b : 0x8b), 8);
	sys_put(t, SYS_GDT + LDT, sys_desc(SYS_LDT, 0xff, 0x82), 8);
	for (unsigned i = 0; i < 0x1000; i += 8)
		sys_put(t, SYS_TSS + i, 0, 8);
	sys_put(t, SYS_TSS + 4, SYS_STACK0, lm ? 8 : 4);
	if (!lm)
		sys_put(t, SYS_TSS + 8, KDS, 2);
	sys_put(t, SYS_TSS + 0x66, 0x1000, 2);
	for (unsigned i = 0; i < 256; i++) {
		sys_put(t, SYS_HAND + 16 * i, 0xf4, 1);
		sys_gate(t, SYS_IDT, i, lm ? 16 : 8, 0xee, lm ? K64 : K32, SYS_HAND + 16 * i, 0);
	}
}

static inline void sys_segs(struct svm *t, unsigned cs, unsigned ds)
{
	for (int i = 0; i < SEG_NUM; i++) {
		unsigned sel = i == SEG_CS ? cs : ds;
		struct desc d = { .raw = sys_get(t, SYS_GDT + (sel & ~7u), 8) };

		soft_seg_from_desc(&t->st.seg[i], (uint16_t)sel, &d);
	}
}

static inline void sys_start(struct svm *t, unsigned bits, unsigned cpl)
{
	svm_start(t, bits == V86 ? 32 : bits);
	if (bits == 16) {
		for (unsigned i = 0; i < 256; i++) {
			sys_put(t, SYS_HAND + 16 * i, 0xf4, 1);
			sys_put(t, 4 * i, SYS_HAND + 16 * i, 4);
		}
		return;
	}
	sys_tables(t, bits == 64);
	sys_segs(t, bits == 64 ? (cpl ? U64 : K64) : (cpl ? U32 : K32), cpl ? UDS : KDS);
	t->st.gdt = (struct x86_dtable){ .base = SYS_GDT, .limit = 0x1ff };
	t->st.idt = (struct x86_dtable){ .base = SYS_IDT, .limit = bits == 64 ? 0xfff : 0x7ff };
	t->st.tr = (struct x86_seg){ .base = SYS_TSS, .limit = 0xfff, .attr = 0x8b, .sel = TSS };
	t->st.ldt = (struct x86_seg){ .base = SYS_LDT, .limit = 0xff, .attr = 0x82, .sel = LDT };
	t->st.rflags = 2;
	if (bits != V86)
		return;
	t->st.rflags |= FL_VM;
	for (int i = 0; i < SEG_NUM; i++)
		t->st.seg[i] = (struct x86_seg){ .base = 0x20000, .sel = 0x2000, .limit = 0xffff,
						 .attr = 0xf3 };
	t->st.seg[SEG_CS].base = SVM_CODE;
	t->st.seg[SEG_CS].sel = SVM_CODE >> 4;
	t->st.rip = 0;
	t->st.gpr[R_RSP] = 0x8000;
}

static inline bool sys_has_code(int vec)
{
	return vec == 8 || (vec >= 10 && vec <= 14) || vec == 17;
}

/* The frame of the handler that HLT stopped in, pushed by a gate of @n-byte slots. */
static inline void sys_frame(struct svm *t, struct frame *f, unsigned n)
{
	uint64_t sp = t->st.gpr[R_RSP], lin = sp + t->st.seg[SEG_SS].base;
	uint64_t v[6];

	if (n == 8)
		lin = sp;
	if (n > 2 && sys_has_code(f->vec)) {
		f->err = (uint32_t)sys_get(t, lin, 4);
		lin += n;
	} else if (sys_has_code(f->vec) && t->st.cr0 & 1) {
		f->err = (uint32_t)sys_get(t, lin, 2);
		lin += n;
	}
	for (unsigned i = 0; i < 5; i++)
		v[i] = sys_get(t, lin + i * n, n);
	f->ip = v[0];
	f->cs = (uint16_t)v[1];
	f->flags = v[2];
	f->sp = v[3];
	f->ss = (uint16_t)v[4];
}

static inline struct frame sys_run_n(struct svm *t, unsigned n)
{
	struct frame f = { .vec = -3 };
	enum vcpu_exit why = svm_run(t);
	uint64_t at = t->st.rip - 1 + (t->st.efer & EFER_LMA ? 0 : t->st.seg[SEG_CS].base);

	if (why == EXIT_TRIPLE_FAULT)
		f.vec = -2;
	else if (why == EXIT_HLT && (at < SYS_HAND || at >= SYS_HAND + 0x1000))
		f.vec = -1;
	if (why != EXIT_HLT || f.vec != -3)
		return f;
	f.vec = (int)(at - SYS_HAND) / 16;
	sys_frame(t, &f, n);
	return f;
}

/* @n by mode. */
static inline struct frame sys_run(struct svm *t)
{
	return sys_run_n(t, t->st.efer & EFER_LMA ? 8 : t->st.cr0 & 1 ? 4 : 2);
}

#define SYS_CODE(t, ...) do { \
	static const uint8_t code_[] = { __VA_ARGS__ }; \
	svm_code(t, code_, sizeof(code_)); \
} while (0)

#endif
