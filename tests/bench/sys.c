/* SPDX-License-Identifier: MIT */
/* Rows that live in the guest's kernel: calls, processes, page faults, switches. */
#include "bench.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t run_getppid(uint64_t n)
{
	long first = syscall(SYS_getppid);
	uint64_t same = 0;

	while (n--)
		same += syscall(SYS_getppid) == first;
	return same;
}

static uint64_t run_forkexec(uint64_t n)
{
	uint64_t ok = 0;
	int status;
	pid_t p;

	while (n--) {
		p = fork();
		if (p == 0) {
			execl(self_path, "bench", "--exit", (char *)NULL);
			_exit(1);
		}
		if (p < 0 || waitpid(p, &status, 0) != p)
			die("fork");
		ok += status == 0;
	}
	return ok;
}

/* First touch of fresh anonymous memory, page by page. */
static uint64_t run_fault(uint64_t n)
{
	size_t size = 16 << 20, i;
	uint64_t sum = 0;
	uint8_t *p;

	while (n--) {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			die("no memory");
		madvise(p, size, MADV_NOHUGEPAGE);
		for (i = 0; i < size; i += 4096)
			p[i] = (uint8_t)(p[i] + (i >> 12) + 1);
		for (i = 0; i < size; i += 65536)
			sum = mix(sum, p[i]);
		munmap(p, size);
	}
	return sum;
}

/* Two processes on one processor hand a byte to and fro. */
static uint64_t run_pipe(uint64_t n)
{
	int there[2], back[2], status;
	uint64_t sum = 0, i;
	uint8_t c = 1;
	cpu_set_t set, old;
	pid_t p;

	sched_getaffinity(0, sizeof(old), &old);
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu() < 0 ? 0 : sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (pipe(there) || pipe(back))
		die("pipe");
	p = fork();
	if (p < 0)
		die("fork");
	if (p == 0) {
		close(there[1]);
		while (read(there[0], &c, 1) == 1) {
			c = (uint8_t)(c * 5 + 1);
			if (write(back[1], &c, 1) != 1)
				break;
		}
		_exit(0);
	}
	for (i = 0; i < n; i++) {
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			die("pipe");
		sum = mix(sum, c);
	}
	close(there[1]);
	waitpid(p, &status, 0);
	close(there[0]);
	close(back[0]);
	close(back[1]);
	sched_setaffinity(0, sizeof(old), &old);
	return sum;
}

const struct row sys_rows[] = {
	{ "getppid", 600000, NULL, run_getppid, NULL },
	{ "forkexec", 100, NULL, run_forkexec, NULL },
	{ "fault", 8, NULL, run_fault, NULL },
	{ "pipe", 20000, NULL, run_pipe, NULL },
	{ NULL, 0, NULL, NULL, NULL },
};
