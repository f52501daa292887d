/* SPDX-License-Identifier: MIT */
/*
 * Save and load of the whole machine: a guest whose end state does not depend
 * on time is saved at 50 random points, each loaded in a fresh process and
 * continued to the same end state; the same with Debian's kernel and two CPUs,
 * disk and network; damaged streams are refused.
 */
#include "../lib/testvm.h"
#include "../../devices/pc.h"
#include "../../src/block.h"
#include "../../src/chardev.h"
#include "../../src/cpu/vcpu.h"
#include "../../src/net.h"
#include "../../src/snapshot.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POINTS 50
#define DEBIAN_POINTS 5
#define LIMIT_S 60
#define TIME_PAGE 0x7000u	/* see mb_save.S */

static char kernel[512], debian[512], initrd[512];
static const char *append;
static uint64_t ram = MiB(16);
static unsigned cpus = 1;
static const char *run_kernel = kernel, *run_initrd;
static char dir[] = "/tmp/hv-snap-XXXXXX";

struct machine {
	struct vm *vm;
	struct pc_config cfg;
	struct block *disk[2];
	struct net *net;
	char serial[64];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool over;
	unsigned value;
};

static void on_event(void *opaque, enum vm_event ev, unsigned arg)
{
	struct machine *m = opaque;

	pthread_mutex_lock(&m->lock);
	m->over = true;
	m->value = ev == VM_EV_DEBUG_EXIT ? arg : 1000 + ev;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static struct block *open_block(struct machine *m, const char *name)
{
	char path[128];
	struct err e = { 0 };
	struct block *b;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	b = block_open(path, "raw", BLOCK_THROWAWAY, m->vm->loop, &e);
	if (!b)
		fail_msg("%s", e.msg);
	return b;
}

/* A machine with every kind of device, COM1 into a file named by @serial. */
static void open_machine(struct machine *m, unsigned ncpus, const char *serial)
{
	struct net_user_config nc = { 0 };
	struct err e = { 0 };

	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
	m->vm = vm_new(false, &e);
	assert_true(vm_set_engine(m->vm, &soft_cpu_ops, ncpus, &e));
	m->disk[0] = open_block(m, "disk");
	m->disk[1] = open_block(m, "nvram");
	m->net = net_user_open(&nc, m->vm->loop, m->vm->clock, &e);
	snprintf(m->serial, sizeof(m->serial), "file:%s/%s", dir, serial);
	m->cfg = (struct pc_config){ .ram = ram, .kernel = run_kernel, .initrd = run_initrd,
				     .append = append, .display = true, .ndisks = 3,
				     .debug_exit = 0xf4 };
	m->cfg.disks[0] = (struct pc_disk){ .block = m->disk[0] };
	m->cfg.disks[1] = (struct pc_disk){ .block = m->disk[1], .bus = PC_DISK_IDE };
	m->cfg.disks[2] = (struct pc_disk){ .cdrom = true };
	m->cfg.serial[0] = chardev_open(m->serial, m->vm->loop, &e);
	m->cfg.nnics = m->net != NULL;
	m->cfg.nics[0].net = m->net;
	if (!m->cfg.serial[0] || !pc_create(m->vm, &m->cfg, &e))
		fail_msg("%s", e.msg);
	m->vm->notify = on_event;
	m->vm->notify_opaque = m;
}

static void close_machine(struct machine *m)
{
	vm_stop(m->vm);
	devices_free(m->vm);
	block_close(m->disk[0]);
	block_close(m->disk[1]);
	chardev_close(m->cfg.serial[0]);
	if (m->net)
		net_close(m->net);
	vm_free(m->vm);
}

static bool wait_over(struct machine *m, uint64_t ns)
{
	struct timespec ts;
	bool over;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	ns += (uint64_t)ts.tv_nsec;
	ts.tv_sec += (time_t)(ns / NS_PER_SEC);
	ts.tv_nsec = (long)(ns % NS_PER_SEC);
	pthread_mutex_lock(&m->lock);
	while (!m->over && !rc)
		rc = pthread_cond_timedwait(&m->cond, &m->lock, &ts);
	over = m->over;
	pthread_mutex_unlock(&m->lock);
	return over;
}

/* What must be equal: all memory but the page that time touches. */
static uint32_t end_hash(struct machine *m)
{
	static uint8_t page[GM_PAGE];
	uint32_t crc = 0;

	for (uint64_t at = 0; at < MiB(16); at += GM_PAGE)
		if (at != TIME_PAGE && gm_read(m->vm->mem, GPA(at), page, sizeof(page)))
			crc = crc32c(crc, page, sizeof(page));
	for (uint64_t at = 0xb8000; at < 0xb8000 + 80; at++)
		page[at & 127] = bus_read(m->vm->bus, BUS_MMIO, at, 1);
	return crc32c(crc, page, 128);
}

/* What a process tells its parent. */
struct report {
	uint32_t hash;
	unsigned value;
	uint64_t ns;
	bool over;
	char text[512];
};

static void say(struct report *r, const struct err *e)
{
	snprintf(r->text, sizeof(r->text), "%s", e->msg);
}

static void run_to_end(struct machine *m, struct report *r)
{
	uint64_t start = host_now_ns();
	struct err e = { 0 };

	if (!vm_start(m->vm, &e)) {
		say(r, &e);
		return;
	}
	r->over = wait_over(m, LIMIT_S * NS_PER_SEC);
	r->ns = host_now_ns() - start;
	vm_pause(m->vm);
	r->value = m->value;
	r->hash = end_hash(m);
}

static void child_whole(struct report *r, const char *name, uint64_t at)
{
	struct machine m;

	open_machine(&m, cpus, name);
	run_to_end(&m, r);
	close_machine(&m);
}

static FILE *open_state(const char *mode)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state", dir);
	return fopen(path, mode);
}

/* Run for @at ns, save, and stop for good. */
static void child_save(struct report *r, const char *name, uint64_t at)
{
	FILE *f = open_state("wb");
	struct machine m;
	struct err e = { 0 };

	open_machine(&m, cpus, name);
	if (!vm_start(m.vm, &e)) {
		say(r, &e);
		return;
	}
	r->over = wait_over(&m, at);
	vm_pause(m.vm);
	if (!snapshot_save(m.vm, f, &e))
		say(r, &e);
	fclose(f);
	close_machine(&m);
}

static void child_load(struct report *r, const char *name, uint64_t at)
{
	FILE *f = open_state("rb");
	struct machine m;
	struct err e = { 0 };

	open_machine(&m, cpus, name);
	if (!snapshot_load(m.vm, f, &e))
		say(r, &e);
	else
		run_to_end(&m, r);
	fclose(f);
	close_machine(&m);
}

static struct report in_process(void (*fn)(struct report *r, const char *name, uint64_t at),
				const char *name, uint64_t at)
{
	struct report *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0), out;
	int status = 0;
	pid_t pid;

	assert_true(r != MAP_FAILED);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		fn(r, name, at);
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	out = *r;
	munmap(r, sizeof(*r));
	if (status)
		fail_msg("the process ended with status %#x", status);
	if (*out.text)
		fail_msg("%s", out.text);
	return out;
}

static void read_serial(const char *name, char *buf, size_t len)
{
	char path[128];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f) {
		n = fread(buf, 1, len - 1, f);
		fclose(f);
	}
	buf[n] = 0;
}

static void test_points(void **st)
{
	unsigned late = 0, points = getenv("HV_SNAP_POINTS") ? atoi(getenv("HV_SNAP_POINTS"))
							      : POINTS;
	struct report whole = in_process(child_whole, "whole", 0), r;
	char want[128], one[128], two[128], both[256];
	unsigned seed = (unsigned)time(NULL);

	assert_true(whole.over);
	assert_int_equal(whole.value, 1);
	read_serial("whole", want, sizeof(want));
	assert_int_equal(strlen(want), 40);
	print_message("undisturbed: %.2f s, seed %u\n", (double)whole.ns / 1e9, seed);
	for (unsigned i = 0; i < points; i++) {
		uint64_t at = whole.ns / 1000 * ((unsigned)rand_r(&seed) % 900) / 1000 * 1000;

		r = in_process(child_save, "one", at);
		if (r.over) {		/* the computer was faster this time */
			late++;
			continue;
		}
		r = in_process(child_load, "two", 0);
		if (!r.over || r.value != 1 || r.hash != whole.hash)
			fail_msg("saved after %llu us: over %d, value %u, hash %08x, not %08x",
				 (unsigned long long)at / 1000, r.over, r.value, r.hash,
				 whole.hash);
		read_serial("one", one, sizeof(one));
		read_serial("two", two, sizeof(two));
		snprintf(both, sizeof(both), "%s%s", one, two);
		assert_string_equal(both, want);
	}
	assert_true(late < points / 2);
}

/* Debian's kernel hashes its disk and powers off, whenever it is interrupted. */
static void test_debian(void **st)
{
	static char one[400000], two[400000];
	struct report whole, r;
	unsigned seed = (unsigned)time(NULL);
	const char *sum, *done, *trace;
	char want[65];

	if (access(debian, R_OK)) {
		print_message("skipped: no build/guest/vmlinuz (scripts/make-initramfs)\n");
		skip();
	}
	run_kernel = debian;
	run_initrd = initrd;
	append = "console=ttyS0 run=sha256sum%20/dev/vda;poweroff%20-f";
	ram = MiB(256);
	cpus = 2;
	whole = in_process(child_whole, "whole", 0);
	read_serial("whole", one, sizeof(one));
	sum = strstr(one, "  /dev/vda");
	if (!whole.over || whole.value != 1000 + VM_EV_POWEROFF || !sum || sum - one < 64)
		fail_msg("undisturbed: over %d, value %u: %s", whole.over, whole.value, one);
	snprintf(want, sizeof(want), "%s", sum - 64);
	print_message("undisturbed: %.2f s, seed %u\n", (double)whole.ns / 1e9, seed);
	for (unsigned i = 0; i < DEBIAN_POINTS; i++) {
		uint64_t at = whole.ns / 1000 * ((unsigned)rand_r(&seed) % 950);

		r = in_process(child_save, "one", at);
		if (r.over)
			continue;
		r = in_process(child_load, "two", 0);
		read_serial("one", one, sizeof(one));
		read_serial("two", two, sizeof(two));
		strncat(one, two, sizeof(one) - strlen(one) - 1);
		/* At power-off this kernel's balloon may warn of its own race: after the sum. */
		done = strstr(one, want);
		trace = strstr(one, "Call Trace");
		if (!r.over || r.value != 1000 + VM_EV_POWEROFF || !done || (trace && trace < done))
			fail_msg("saved after %llu ms: over %d, value %u: %s",
				 (unsigned long long)at / 1000000, r.over, r.value,
				 one + (strlen(one) > 3000 ? strlen(one) - 3000 : 0));
	}
	run_kernel = kernel;
	run_initrd = append = NULL;
	ram = MiB(16);
	cpus = 1;
}

/* ---- Streams that are wrong ---- */

static bool load_bytes(const uint8_t *p, size_t n, unsigned ncpus, struct err *e)
{
	FILE *f = fmemopen((void *)(uintptr_t)p, n ? n : 1, "rb");
	struct machine m;
	bool ok;

	open_machine(&m, ncpus, "bad");
	ok = n && snapshot_load(m.vm, f, e);
	close_machine(&m);
	fclose(f);
	return ok;
}

static void test_damaged(void **st)
{
	struct machine m;
	struct err e = { 0 };
	char *data;
	size_t len;
	FILE *f = open_memstream(&data, &len);
	unsigned seed = 7;

	open_machine(&m, 1, "bad");
	assert_true(vm_start(m.vm, &e));
	vm_pause(m.vm);
	assert_true(snapshot_save(m.vm, f, &e));
	fclose(f);
	close_machine(&m);
	assert_true(load_bytes((uint8_t *)data, len, 1, &e));
	assert_false(load_bytes((uint8_t *)data, len, 2, &e));
	assert_non_null(strstr(e.msg, "other memory, processors or devices"));
	for (unsigned i = 0; i < 40; i++) {
		size_t at = i < 20 ? (size_t)rand_r(&seed) % MIN(len, 4000) :
				     (size_t)rand_r(&seed) % len;

		data[at] ^= 1 << (i & 7);
		if (load_bytes((uint8_t *)data, len, 1, &e))
			fail_msg("bit %u of byte %zu of %zu turned: accepted", i & 7, at, len);
		data[at] ^= 1 << (i & 7);
		if (load_bytes((uint8_t *)data, at, 1, &e))
			fail_msg("cut to %zu of %zu bytes: accepted", at, len);
	}
	free(data);
}

static int make_files(void **st)
{
	static const char *const names[] = { "disk", "nvram" };
	ssize_t n = readlink("/proc/self/exe", kernel, sizeof(kernel) - 40);
	char path[128];

	assert_true(n > 0);
	kernel[n] = 0;
	for (unsigned i = 0; i < 2; i++)	/* build/release/tests/engine/test_snapshot */
		*strrchr(kernel, '/') = 0;
	snprintf(debian, sizeof(debian), "%.400s/../../guest/vmlinuz", kernel);
	snprintf(initrd, sizeof(initrd), "%.400s/../../guest/initrd.gz", kernel);
	strcat(kernel, "/guest/mb_save.bin");
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		FILE *f = fopen(path, "wb");

		fprintf(f, "something to hash\n");
		assert_int_equal(ftruncate(fileno(f), MiB(i ? 1 : 24)), 0);
		fclose(f);
	}
	return 0;
}

static int remove_files(void **st)
{
	static const char *const names[] = { "disk", "nvram", "whole", "one", "two", "bad",
					     "state" };
	char path[128];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_points), cmocka_unit_test(test_debian),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
