/* SPDX-License-Identifier: MIT */
/* The control socket of a running machine: what it answers, and to whom. */
#include "../../src/control.h"
#include "../../src/machine.h"
#include "../../src/session.h"
#include "../../src/vm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static char top[] = "/tmp/hvrun-control.XXXXXX";
static struct machine *m;
static char answer[600];

struct question {
	const char *text;
	bool ok;
};

static void *ask(void *opaque)
{
	struct question *q = opaque;

	q->ok = control_call(m, q->text, answer, sizeof(answer), NULL);
	return NULL;
}

/* What the session of @vm says to @text. */
static const char *told(struct session *s, const char *text)
{
	struct question q = { .text = text };
	pthread_t t;

	*answer = 0;
	assert_int_equal(pthread_create(&t, NULL, ask, &q), 0);
	while (pthread_tryjoin_np(t, NULL))
		session_step(s);
	assert_true(q.ok);
	return answer;
}

static void test_status(void **state)
{
	static const struct { enum vm_status is; const char *says; } rows[] = {
		{ VM_CREATED, "stopped" }, { VM_RUNNING, "running" }, { VM_PAUSED, "paused" },
		{ VM_STOPPED, "stopped" }, { VM_SUSPENDED, "asleep" },
	};
	struct err e = { 0 };
	struct vm *vm = vm_new(true, &e);
	struct config c;
	struct session *s;
	struct control *ctl;

	config_init(&c);
	s = session_new(vm, &c, NULL, &e);
	ctl = control_open(m, &e);
	assert_non_null(s);
	assert_non_null(ctl);
	session_set_control(s, ctl);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		vm->status = rows[i].is;
		assert_string_equal(told(s, "status"), rows[i].says);
	}
	vm->status = VM_CREATED;
	assert_string_equal(told(s, "what?"), "unknown command");
	assert_string_equal(told(s, "quit"), "ok");
	session_free(s);
	control_close(ctl);
	vm_free(vm);
}

/* The name of a process in the abstract space is anybody's to take. */
static void test_name_taken(void **state)
{
	struct err e = { 0 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "hvrun-%u-%d", (unsigned)getuid(),
			 (int)getpid());
	int other = socket(AF_UNIX, SOCK_STREAM, 0);
	struct vm *vm = vm_new(true, &e);
	struct config c;
	struct session *s;
	struct control *ctl;

	assert_int_equal(bind(other, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) +
			      (socklen_t)n), 0);
	assert_null(control_open(NULL, &e));
	config_init(&c);
	s = session_new(vm, &c, NULL, &e);
	ctl = control_open(m, &e);
	assert_non_null(s);
	assert_non_null(ctl);
	session_set_control(s, ctl);
	assert_string_equal(told(s, "status"), "stopped");
	session_free(s);
	control_close(ctl);
	vm_free(vm);
	close(other);
}

/* A machine that hangs, with others who wait for it: nobody waits for ever. */
static void test_nobody_answers(void **state)
{
	struct err e = { 0 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), waits = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(machine_path(m, "sock", a.sun_path, sizeof(a.sun_path), &e));
	unlink(a.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(connect(waits, (struct sockaddr *)&a, sizeof(a)), 0);
	alarm(60);
	assert_false(control_call(m, "status", answer, sizeof(answer), &e));
	alarm(0);
	assert_non_null(strstr(e.msg, "does not answer"));
	close(waits);
	close(listener);
	unlink(a.sun_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status), cmocka_unit_test(test_name_taken),
		cmocka_unit_test(test_nobody_answers),
	};
	char cmd[100];
	int rc;

	if (!mkdtemp(top))
		return 1;
	setenv("XDG_DATA_HOME", top, 1);
	setenv("XDG_CACHE_HOME", top, 1);
	setenv("XDG_RUNTIME_DIR", top, 1);
	m = machine_new("one", NULL);
	rc = m ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
	machine_free(m);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd) ? 1 : rc;
}
