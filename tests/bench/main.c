/* SPDX-License-Identifier: MIT */
/*
 * The benchmark guest's frame: runs the rows named on the command line (all without
 * names) and prints for each
 *	begin NAME
 *	end NAME nanoseconds checksum
 * or "lacks NAME", then "bench done".  Time is CLOCK_MONOTONIC; the begin line has
 * left the serial port before the clock is read, so that whoever listens can check
 * this clock against its own.  As process 1 (Linux hands what follows "--" on its
 * command line to init) it mounts what the rows need and never returns.
 */
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

const char *self_path;

static const struct row *const tables[] = {
	int_rows, mem_rows, fp_rows, sys_rows, app_rows,
};

void die(const char *what)
{
	printf("failed: %s\n", what);
	fflush(stdout);
	if (getpid() == 1)
		for (;;)
			pause();
	exit(1);
}

static struct {
	void *p;
	size_t size;
} grabbed[8];
static unsigned grabs;

void *grab(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		       MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED || grabs == sizeof(grabbed) / sizeof(grabbed[0]))
		die("no memory");
	grabbed[grabs].p = p;
	grabbed[grabs++].size = size;
	return p;
}

static void let_go(void)
{
	while (grabs) {
		grabs--;
		munmap(grabbed[grabs].p, grabbed[grabs].size);
	}
}

uint64_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = n, v;

	for (; n >= 8; n -= 8, b += 8) {
		memcpy(&v, b, 8);
		h = mix(h, v);
	}
	while (n--)
		h = mix(h, *b++);
	return h;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void run_row(const struct row *r, double scale)
{
	uint64_t rounds = (uint64_t)((double)r->work * scale), t0, t1, sum;

	if (r->missing && r->missing()) {
		printf("lacks %s\n", r->name);
		fflush(stdout);
		return;
	}
	if (r->prepare)
		r->prepare();
	printf("begin %s\n", r->name);
	fflush(stdout);
	tcdrain(1);
	t0 = now_ns();
	sum = r->run(rounds ? rounds : 1);
	t1 = now_ns();
	printf("end %s %llu %016llx\n", r->name, (unsigned long long)(t1 - t0),
	       (unsigned long long)sum);
	fflush(stdout);
	tcdrain(1);
	let_go();
}

static const struct row *find(const char *name)
{
	const struct row *r;
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (r = tables[i]; r->name; r++)
			if (!strcmp(r->name, name))
				return r;
	return NULL;
}

static void run_all(double scale)
{
	const struct row *r;
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (r = tables[i]; r->name; r++)
			run_row(r, scale);
}

static void list(void)
{
	const struct row *r;
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (r = tables[i]; r->name; r++)
			printf("%s\n", r->name);
}

static void as_init(void)
{
	mkdir("/proc", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	self_path = "/init";
}

int main(int argc, char **argv)
{
	double scale = 1;
	int i, named = 0;

	if (argc == 2 && !strcmp(argv[1], "--exit"))
		return 0;
	self_path = argv[0];
	if (getpid() == 1)
		as_init();
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--list")) {
			list();
			return 0;
		}
		if (!strncmp(argv[i], "--work=", 7)) {
			scale = atof(argv[i] + 7) / 100;
			continue;
		}
		named = 1;
		if (!find(argv[i]))
			printf("unknown %s\n", argv[i]);
		else
			run_row(find(argv[i]), scale);
	}
	if (!named)
		run_all(scale);
	printf("bench done\n");
	fflush(stdout);
	while (getpid() == 1)
		pause();
	return 0;
}
