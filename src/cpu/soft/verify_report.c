/* SPDX-License-Identifier: MIT */
/*
 * Lockstep, comparison: the registers and memory that the interpreter and
 * translated code left, and the report of a difference with both codes.
 */
#include "verify_int.h"
#include "../../log.h"
#include <stdarg.h>
#include <stdio.h>

static __attribute__((format(printf, 2, 3))) void say(struct verify_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (r->n < sizeof(r->text))
		r->n += (size_t)vsnprintf(r->text + r->n, sizeof(r->text) - r->n, fmt, ap);
	va_end(ap);
}

static void differ(struct verify_report *r, const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		say(r, "  %-8s interpreter %016llx  translated %016llx\n", name,
		    (unsigned long long)a, (unsigned long long)b);
}

static const char *const reg_names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

static void compare_fx(struct verify_report *r, const uint8_t *a, const uint8_t *b)
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

static void compare_memory(struct verify_report *r, const struct soft_verify *v)
{
	for (unsigned i = 0; i < v->npages; i++) {
		const struct vpage *p = &v->page[i];
		unsigned off = verify_page_differs(p);
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

void verify_compare(struct soft_verify *v, struct verify_report *r)
{
	const struct soft *a = (const void *)v->after.regs, *b = (const void *)v->got.regs;
	const size_t sys = offsetof(struct soft, seg);
	uint32_t undef = 0;

	r->n = 0;
	r->text[0] = '\0';
	differ(r, "result", v->ref, v->native);
	if (v->ref != VFY_EFFECT)
		differ(r, "rip", a->rip, b->rip);
	if (v->ref == VFY_FAULT) {
		differ(r, "vector", v->after.exc.vector, v->got.exc.vector);
		differ(r, "error", v->after.exc.has_code ? v->after.exc.code : 0,
		       v->got.exc.has_code ? v->got.exc.code : 0);
	}
	for (unsigned i = 0; i < 16; i++)
		differ(r, reg_names[i], a->gpr[i], b->gpr[i]);
	if (v->after.flags != v->got.flags)
		undef = verify_undefined_flags(v);
	differ(r, "flags", v->after.flags & ~undef, v->got.flags & ~undef);
	differ(r, "mode", a->mode, b->mode);
	if (memcmp(v->after.regs + sys, v->got.regs + sys, SNAP_BYTES - sys))
		say(r, "  system registers\n");
	if (memcmp(v->after.fx, v->got.fx, sizeof(v->after.fx)))
		compare_fx(r, v->after.fx, v->got.fx);
	compare_memory(r, v);
}

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

void verify_report(struct soft *s, const struct verify_report *r)
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
