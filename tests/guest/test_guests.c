/* SPDX-License-Identifier: MIT */
/*
 * Every guest program under every engine that works here: the program's own
 * checks must pass, and both engines must leave the same registers and the
 * same result window.
 *
 * test_guests [NAME]...: only these programs, with their end states.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../lib/guestrun.h"
#include "../../src/cpu/engine_int.h"

enum {
	GF_TRIPLE = 1,
	GF_NO_COMPARE = 2,
	GF_HARDWARE = 4,	/* not under a KVM that interprets: it may hang there */
};

struct program {
	const char *name;
	unsigned ncpus;
	unsigned flags;
	const char *console;	/* expected; NULL: any */
};

static const struct program programs[] = {
	{ "real_arith", 1, 0, "" },
	{ "real_bcd", 1, 0, "" },
	{ "real_string", 1, 0, "" },
	{ "real_int", 1, 0, "hello, " },
	{ "real_to_long", 1, 0, "" },
	{ "prot_exc", 1, 0, "" },
	{ "prot_triple", 1, GF_TRIPLE, "" },
	{ "prot_pio", 1, 0, "string output, one exit or many\n" },
	{ "long_int", 1, 0, "" },
	{ "long_page", 1, 0, "" },
	{ "long_smc", 1, 0, "" },
	{ "long_sse", 1, 0, "" },
	{ "long_popcnt", 1, 0, "" },
	{ "long_user", 1, GF_HARDWARE, "" },
	{ "prot_task", 1, GF_HARDWARE, "" },
	{ "long_pit", 1, 0, "" },
	{ "long_lapic", 1, 0, "" },
	{ "long_ipi", 1, 0, "" },
	{ "long_ioapic", 1, 0, "" },
	{ "long_smp", 2, 0, "" },
};

static const struct cpu_ops *const engines[] = { &soft_cpu_ops, &kvm_cpu_ops };

static void bin_path(char *out, size_t len, const char *name)
{
	char exe[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	assert_true(n > 0);
	exe[n] = 0;
	*strrchr(exe, '/') = 0;
	snprintf(out, len, "%s/%s.bin", exe, name);
}

/*
 * Instructions that some hosts' KVM cannot emulate (interpreted KVM): not a
 * fault of ours.  Matched against the bytes in the engine's text.
 */
static const char *const kvm_lacks[] = {
	"instruction cc", "instruction 27", "instruction f0 48 0f c7", "instruction 0f ae",
	"instruction f3 0f b8", "instruction f2 0f 2a", "instruction d9", "instruction db e3",
};

static bool known_lack(const struct guest_result *r)
{
	for (unsigned i = 0; r->end == GUEST_FAIL && i < ARRAY_SIZE(kvm_lacks); i++)
		if (strstr(r->text, "cannot emulate") && strstr(r->text, kvm_lacks[i]))
			return true;
	return false;
}

static bool interpreted(void)
{
	static double rate;

	return !rate && !kvm_measure(&rate, NULL) ? true : rate < 2e7;
}

static bool usable(const struct program *p, const struct cpu_ops *ops)
{
	static bool told;
	struct err e = { 0 };

	if (ops->probe(&e)) {
		if (ops != &kvm_cpu_ops || !(p->flags & GF_HARDWARE) || !interpreted())
			return true;
		printf("skipped: %s: the KVM of this host interprets, and may hang\n", p->name);
		return false;
	}
	if (!told)
		printf("skipped: %s: %s\n", ops->name, e.msg);
	told = true;
	return false;
}

static void check_end(const struct program *p, const struct cpu_ops *ops,
		      const struct guest_result *r)
{
	enum guest_end want = p->flags & GF_TRIPLE ? GUEST_TRIPLE : GUEST_EXIT;

	if (r->end != want || (want == GUEST_EXIT && r->value != 1))
		fail_msg("%s under %s: %s, value %u, rip %#llx; %s", p->name, ops->name,
			 guest_end_name(r->end), r->value, (unsigned long long)r->state.rip,
			 r->text);
	if (p->console)
		assert_string_equal(r->console, p->console);
}

static void same(const char *prog, const char *what, uint64_t a, uint64_t b)
{
	if (a != b)
		fail_msg("%s: %s differs: %#llx and %#llx", prog, what, (unsigned long long)a,
			 (unsigned long long)b);
}

#define RFLAGS_MASK 0x247fd7u	/* all but RF and VM */

static void compare_segs(const char *prog, const struct x86_state *a, const struct x86_state *b)
{
	for (int i = 0; i < SEG_NUM; i++) {
		char what[32];

		snprintf(what, sizeof(what), "segment %d", i);
		same(prog, what, a->seg[i].sel, b->seg[i].sel);
		same(prog, what, a->seg[i].base, b->seg[i].base);
		same(prog, what, a->seg[i].limit, b->seg[i].limit);
		if (!((a->seg[i].attr | b->seg[i].attr) & 1 << 16))
			same(prog, what, a->seg[i].attr, b->seg[i].attr);
	}
}

static void compare(const struct program *p, const struct guest_result *ra,
		    const struct guest_result *rb)
{
	const struct x86_state *a = &ra->state, *b = &rb->state;

	for (int i = 0; i < 16; i++) {
		char what[32];

		snprintf(what, sizeof(what), "register %d", i);
		same(p->name, what, a->gpr[i], b->gpr[i]);
	}
	same(p->name, "rflags", a->rflags & RFLAGS_MASK, b->rflags & RFLAGS_MASK);
	same(p->name, "cr0", a->cr0, b->cr0);
	same(p->name, "cr2", a->cr2, b->cr2);
	same(p->name, "cr3", a->cr3, b->cr3);
	same(p->name, "cr4", a->cr4, b->cr4);
	same(p->name, "efer", a->efer, b->efer);
	same(p->name, "gdt", a->gdt.base, b->gdt.base);
	same(p->name, "idt", a->idt.base, b->idt.base);
	compare_segs(p->name, a, b);
	if (ra->hash != rb->hash)
		for (unsigned i = 0; i < sizeof(ra->window); i++)
			same(p->name, "window byte", (uint64_t)i << 8 | ra->window[i],
			     (uint64_t)i << 8 | rb->window[i]);
	same(p->name, "window", ra->hash, rb->hash);
}

static void run_program(void **state)
{
	const struct program *p = *state;
	static struct guest_result r[ARRAY_SIZE(engines)];
	const struct guest_result *first = NULL;
	unsigned ran = 0;
	char path[600];

	bin_path(path, sizeof(path), p->name);
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!usable(p, engines[i]))
			continue;
		guest_run(engines[i], path, p->ncpus, 10000, &r[i]);
		if (engines[i] == &kvm_cpu_ops && known_lack(&r[i])) {
			printf("skipped: %s: %s\n", p->name, r[i].text);
			continue;
		}
		check_end(p, engines[i], &r[i]);
		ran++;
		if (first && !(p->flags & (GF_NO_COMPARE | GF_TRIPLE)))
			compare(p, first, &r[i]);
		first = &r[i];
	}
	if (!ran)
		skip();
}

static void show(const struct program *p)
{
	struct guest_result r;
	char path[600];

	bin_path(path, sizeof(path), p->name);
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!usable(p, engines[i]))
			continue;
		guest_run(engines[i], path, p->ncpus, 10000, &r);
		printf("%s %s: %s %u, %.3f s, rip %#llx cr2 %#llx hash %#llx console \"%s\" %s\n",
		       p->name, engines[i]->name, guest_end_name(r.end), r.value, r.seconds,
		       (unsigned long long)r.state.rip, (unsigned long long)r.state.cr2,
		       (unsigned long long)r.hash, r.console, r.text);
		for (unsigned k = 0; k < 16; k++)
			printf("%016llx%c", (unsigned long long)r.state.gpr[k],
			       k % 4 == 3 ? '\n' : ' ');
		for (unsigned k = 0; k < sizeof(r.window); k++)
			printf("%02x%s", r.window[k], k % 32 == 31 ? "\n" : " ");
	}
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[ARRAY_SIZE(programs)];

	for (unsigned i = 0; i < ARRAY_SIZE(programs); i++) {
		tests[i] = (struct CMUnitTest){ .name = programs[i].name, .test_func = run_program,
						.initial_state = (void *)&programs[i] };
		for (int a = 1; a < argc; a++)
			if (!strcmp(argv[a], programs[i].name))
				show(&programs[i]);
	}
	if (argc > 1)
		return 0;
	return cmocka_run_group_tests_name("guests", tests, NULL, NULL);
}
