/* SPDX-License-Identifier: MIT */
/*
 * Litmus tests of the x86 memory model (TSO), run inside a guest with two or
 * more CPUs by scripts/test-long: outcomes that Intel SDM vol. 3, 8.2.3 and
 * AMD APM vol. 2, 7.2 forbid must not be seen.  Also locked operations, on
 * lines of their own, across lines (split locks) and of 16 bytes.
 *
 * Usage: litmus SECONDS.  Exit status 0: nothing forbidden was seen.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 20u		/* of a test before the next one */
#define SLOTS 4096u		/* variables in flight, so that threads need not meet at each */
#define THREADS 4u

struct slot {
	_Alignas(64) volatile uint64_t x;
	_Alignas(64) volatile uint64_t y;
	_Alignas(64) volatile uint64_t r[8];
};

static struct slot slots[SLOTS];
static pthread_barrier_t barrier;
static const struct test *running;
static volatile bool stop;
static volatile unsigned ready;

#define BARRIER() __asm__ volatile("" ::: "memory")
#define MFENCE() __asm__ volatile("mfence" ::: "memory")

static void sb0(struct slot *s) { s->x = 1; s->r[0] = s->y; }
static void sb1(struct slot *s) { s->y = 1; s->r[1] = s->x; }
static void sbf0(struct slot *s) { s->x = 1; MFENCE(); s->r[0] = s->y; }
static void sbf1(struct slot *s) { s->y = 1; MFENCE(); s->r[1] = s->x; }
static uint64_t exchange(volatile uint64_t *p, uint64_t v)
{
	__asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(*p) : : "memory");
	return v;
}
static void sbx0(struct slot *s) { exchange(&s->x, 1); s->r[0] = s->y; }
static void sbx1(struct slot *s) { exchange(&s->y, 1); s->r[1] = s->x; }
static void mp0(struct slot *s) { s->x = 1; s->y = 1; }
static void mp1(struct slot *s) { s->r[0] = s->y; s->r[1] = s->x; }
static void lb0(struct slot *s) { s->r[0] = s->x; s->y = 1; }
static void lb1(struct slot *s) { s->r[1] = s->y; s->x = 1; }
static void w0(struct slot *s) { s->x = 1; }
static void w1(struct slot *s) { s->y = 1; }
static void iriw2(struct slot *s) { s->r[0] = s->x; s->r[1] = s->y; }
static void iriw3(struct slot *s) { s->r[2] = s->y; s->r[3] = s->x; }
static void wrc1(struct slot *s) { s->r[0] = s->x; s->y = s->r[0] ? 1 : 2; }
static void wrc2(struct slot *s) { s->r[1] = s->y; s->r[2] = s->x; }
static void ww0(struct slot *s) { s->x = 1; s->y = 2; }
static void ww1(struct slot *s) { s->y = 1; s->x = 2; }
static void own0(struct slot *s) { s->x = 1; s->r[0] = s->x; s->r[1] = s->y; }
static void own1(struct slot *s) { s->y = 1; s->r[2] = s->y; s->r[3] = s->x; }

static bool bad_sb(const struct slot *s) { return !s->r[0] && !s->r[1]; }
static bool never(const struct slot *s) { return false; }
static bool bad_mp(const struct slot *s) { return s->r[0] && !s->r[1]; }
static bool bad_lb(const struct slot *s) { return s->r[0] && s->r[1]; }
static bool bad_iriw(const struct slot *s)
{
	return s->r[0] && !s->r[1] && s->r[2] && !s->r[3];
}
static bool bad_wrc(const struct slot *s) { return s->r[0] && s->r[1] == 1 && !s->r[2]; }
static bool bad_ww(const struct slot *s) { return s->x == 1 && s->y == 1; }
static bool bad_own(const struct slot *s) { return !s->r[0] || !s->r[2]; }

static const struct test {
	const char *name;
	void (*run[THREADS])(struct slot *s);
	bool (*bad)(const struct slot *s);
	bool (*relaxed)(const struct slot *s);	/* allowed, and good to see */
} tests[] = {
	{ "SB", { sb0, sb1 }, never, bad_sb },
	{ "SB+mfence", { sbf0, sbf1 }, bad_sb, never },
	{ "SB+xchg", { sbx0, sbx1 }, bad_sb, never },
	{ "MP", { mp0, mp1 }, bad_mp, never },
	{ "LB", { lb0, lb1 }, bad_lb, never },
	{ "2+2W", { ww0, ww1 }, bad_ww, never },
	{ "WRC", { w0, wrc1, wrc2 }, bad_wrc, never },
	{ "IRIW", { w0, w1, iriw2, iriw3 }, bad_iriw, never },
	{ "store forwarding", { own0, own1 }, bad_own, bad_sb },
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

static uint64_t seen_bad[TESTS], seen_relaxed[TESTS];

static unsigned participants(const struct test *t)
{
	unsigned n = 0;

	while (n < THREADS && t->run[n])
		n++;
	return n;
}

static struct { _Alignas(64) volatile unsigned at; } pos[THREADS];

/* Wait a little for the others to come to slot @i. */
static void pace(unsigned me, unsigned n, unsigned i)
{
	unsigned behind = 1;

	pos[me].at = i + 1;
	for (unsigned spins = 0; behind && spins < 300; spins++) {
		behind = 0;
		for (unsigned k = 0; k < n; k++)
			behind |= pos[k].at < i + 1;
	}
}

/* Start together, as nearly as can be. */
static void meet(unsigned n)
{
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	for (unsigned spins = 0; ready < n; spins++) {
		if (spins % 20000 == 19999)
			sched_yield();
		__builtin_ia32_pause();
	}
}

static void *runner(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (;;) {
		pthread_barrier_wait(&barrier);
		if (stop)
			return NULL;
		if (running->run[me])
			meet(participants(running));
		for (unsigned i = 0; running->run[me] && i < SLOTS; i++) {
			pace(me, participants(running), i);
			running->run[me](&slots[i]);
			BARRIER();
		}
		pthread_barrier_wait(&barrier);
	}
}

static void one_round(unsigned t)
{
	memset(slots, 0, sizeof(slots));
	running = &tests[t];
	ready = 0;
	memset((void *)pos, 0, sizeof(pos));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < SLOTS; i++) {
		seen_bad[t] += tests[t].bad(&slots[i]);
		seen_relaxed[t] += tests[t].relaxed(&slots[i]);
	}
}

/* ---- locked operations --------------------------------------------------------------- */
#define COUNT 20000u
static struct {
	_Alignas(64) volatile uint64_t add, cas, bits, inc;
	_Alignas(64) uint8_t pad[60];
	volatile uint64_t split __attribute__((packed));	/* across two lines */
	_Alignas(64) volatile unsigned __int128 wide;
	_Alignas(64) volatile uint64_t lock;
	volatile uint64_t guarded;
} locked;

static void *locker(void *arg)
{
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t old = locked.cas, a = 1;
		bool ok;

		__asm__ volatile("lock xadd %0, %1" : "+r"(a), "+m"(locked.add) : : "memory");
		__asm__ volatile("lock incq %0" : "+m"(locked.inc) : : "memory");
		__asm__ volatile("lock addq $1, %0" : "+m"(locked.split) : : "memory");
		__asm__ volatile("lock btcq %1, %0" : "+m"(locked.bits) : "r"((uint64_t)(i & 31))
				 : "memory");
		while (!__atomic_compare_exchange_n(&locked.cas, &old, old + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		do {
			uint64_t lo = (uint64_t)locked.wide, hi = (uint64_t)(locked.wide >> 64);

			__asm__ volatile("lock cmpxchg16b %0; setz %1"
					 : "+m"(locked.wide), "=q"(ok), "+a"(lo), "+d"(hi)
					 : "b"(lo + 1), "c"(hi + 3) : "memory", "cc");
		} while (!ok);
		while (exchange(&locked.lock, 1))
			sched_yield();
		locked.guarded++;
		BARRIER();
		locked.lock = 0;
	}
	return NULL;
}

static bool locked_ok(unsigned n)
{
	pthread_t th[THREADS];
	uint64_t want = (uint64_t)COUNT * n;

	memset(&locked, 0, sizeof(locked));
	for (unsigned i = 0; i < n; i++)
		pthread_create(&th[i], NULL, locker, NULL);
	for (unsigned i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	if (locked.add == want && locked.inc == want && locked.cas == want &&
	    locked.split == want && locked.guarded == want && !locked.bits &&
	    locked.wide == (((unsigned __int128)want * 3) << 64) + want)
		return true;
	printf("locked: want %llu: xadd %llu inc %llu cas %llu split %llu guarded %llu bits %llx\n",
	       (unsigned long long)want, (unsigned long long)locked.add,
	       (unsigned long long)locked.inc, (unsigned long long)locked.cas,
	       (unsigned long long)locked.split, (unsigned long long)locked.guarded,
	       (unsigned long long)locked.bits);
	return false;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	pthread_t th[THREADS];
	bool ok = true;
	uint64_t rounds = 0, locks = 0;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&th[i], NULL, runner, (void *)(uintptr_t)i);
	do {
		for (unsigned t = 0; t < TESTS; t++)
			for (unsigned i = 0; i < ROUNDS && time(NULL) < end; i++)
				one_round(t);
		rounds++;
		ok &= locked_ok(2);
		locks++;
	} while (time(NULL) < end);
	stop = true;
	pthread_barrier_wait(&barrier);
	for (unsigned t = 0; t < TESTS; t++) {
		printf("%-18s forbidden %llu, relaxed %llu\n", tests[t].name,
		       (unsigned long long)seen_bad[t], (unsigned long long)seen_relaxed[t]);
		ok &= !seen_bad[t];
	}
	printf("litmus: %llu rounds, %llu times locked operations: %s\n",
	       (unsigned long long)rounds, (unsigned long long)locks, ok ? "ok" : "FAILED");
	return ok ? 0 : 1;
}
