/* SPDX-License-Identifier: MIT */
/* Character back ends: files, sockets, standard streams, the queue and the taps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../src/chardev.h"
#include "../../src/clock.h"
#include "../../src/loop.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vclock *clk;
static struct loop *loop;
static char dir[64], path[80], spec[160];

/* A device that takes @room bytes at a time. */
static char got[256];
static size_t got_len, room;

static size_t can_receive(void *dev) { return room; }

static void receive(void *dev, const uint8_t *buf, size_t len)
{
	assert_true(len <= room);
	memcpy(got + got_len, buf, len);
	got_len += len;
	room -= len;
}

static const struct char_sink sink = { .can_receive = can_receive, .receive = receive };

static int setup(void **state)
{
	struct err e;

	strcpy(dir, "/tmp/hv-chardev-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x", dir);
	clk = vclock_new(true);
	loop = loop_new(&lock, clk, &e);
	assert_non_null(loop);
	got_len = 0;
	room = 100;
	return 0;
}

static int teardown(void **state)
{
	loop_free(loop);
	vclock_free(clk);
	unlink(path);
	rmdir(dir);
	return 0;
}

static struct chardev *open_as(const char *kind)
{
	struct err e;
	struct chardev *c;

	snprintf(spec, sizeof(spec), "%s%s", kind, path);
	c = chardev_open(spec, loop, &e);
	if (!c)
		fail_msg("%s", e.msg);
	return c;
}

static void say(struct chardev *c, const char *s)
{
	chardev_write(c, (const uint8_t *)s, strlen(s));
}

static void inject(struct chardev *c, const char *s)
{
	chardev_inject(c, (const uint8_t *)s, strlen(s));
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

static int dial(void)
{
	struct sockaddr_un sa = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void test_bad_specs(void **state)
{
	static const char *const bad[] = { "", "file:", "unix:", "tty", "file:/no/such/dir/x",
		"file:/tmp", "stdio:" };
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(chardev_open(bad[i], loop, &e));
	snprintf(spec, sizeof(spec), "unix:/tmp/%0120d", 0);
	assert_null(chardev_open(spec, loop, &e));
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
}

static void test_file(void **state)
{
	struct chardev *c = open_as("file:");
	char buf[32] = "";
	int fd;

	say(c, "one ");
	say(c, "two");
	chardev_flush(c);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 7);
	assert_string_equal(buf, "one two");
	say(c, "!");
	chardev_close(c);			/* closing writes the rest */
	assert_int_equal(read(fd, buf, sizeof(buf)), 1);
	close(fd);
}

/* The loop writes a batch without being asked. */
static void test_batch(void **state)
{
	struct chardev *c = open_as("file:");
	struct stat st = { 0 };

	say(c, "x");
	for (unsigned i = 0; i < 100 && !st.st_size; i++) {
		loop_poll(loop, 100);
		assert_int_equal(stat(path, &st), 0);
	}
	assert_int_equal(st.st_size, 1);
	chardev_close(c);
}

struct tapped {
	struct char_tap t;
	size_t n;
};

static void count(void *opaque, const uint8_t *buf, size_t len)
{
	((struct tapped *)opaque)->n += len;
}

static void test_null_and_taps(void **state)
{
	struct err e;
	struct chardev *c = chardev_open("null", loop, &e);
	struct tapped a = { .t = { .output = count, .opaque = &a } };
	struct tapped b = { .t = { .output = count, .opaque = &b } };

	chardev_add_tap(c, &a.t);
	say(c, "12");
	chardev_add_tap(c, &b.t);
	say(c, "3");
	assert_int_equal(a.n, 3);
	assert_int_equal(b.n, 1);
	chardev_close(c);
	chardev_write(NULL, (const uint8_t *)"x", 1);
}

/* Injected bytes wait for a device and for its room, in order. */
static void test_inject(void **state)
{
	struct err e;
	struct chardev *c = chardev_open("null", loop, &e);

	inject(c, "abc");
	room = 2;
	chardev_attach(c, &sink);
	assert_int_equal(got_len, 2);
	inject(c, "de");
	assert_int_equal(got_len, 2);
	room = 10;
	chardev_accept_input(c);
	assert_int_equal(got_len, 5);
	assert_memory_equal(got, "abcde", 5);
	chardev_close(c);
}

static void pass(unsigned n)
{
	while (n--)
		loop_poll(loop, 20);
}

/* One client at a time; what was printed before it came is there; reconnecting works. */
static void test_socket(void **state)
{
	struct chardev *c = open_as("unix:");
	struct sockaddr_un sa = address();
	char buf[32] = "";
	struct stat st;
	int fd, second;

	chardev_attach(c, &sink);
	assert_int_equal(stat(sa.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	say(c, "early");
	fd = dial();
	pass(2);
	assert_int_equal(read(fd, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "early");
	second = dial();
	assert_int_equal(write(fd, "in", 2), 2);
	pass(2);
	assert_int_equal(got_len, 2);
	close(fd);
	pass(3);
	say(c, "next");
	chardev_flush(c);
	assert_int_equal(read(second, buf, sizeof(buf)), 4);
	close(second);
	pass(2);
	say(c, "nobody");
	chardev_close(c);
	assert_int_equal(stat(sa.sun_path, &st), -1);
}

/* Input waits in the socket while the device has no room. */
static void test_socket_backpressure(void **state)
{
	struct chardev *c = open_as("unix:");
	int fd;

	room = 3;
	chardev_attach(c, &sink);
	fd = dial();
	assert_int_equal(write(fd, "abcdef", 6), 6);
	pass(4);
	assert_int_equal(got_len, 3);
	room = 100;
	chardev_accept_input(c);
	pass(2);
	assert_int_equal(got_len, 6);
	assert_memory_equal(got, "abcdef", 6);
	close(fd);
	chardev_close(c);
}

/* A client that does not read costs the oldest bytes, not the machine. */
static void test_slow_reader(void **state)
{
	struct chardev *c = open_as("unix:");
	static char line[1024], buf[4096];
	int fd = dial();
	size_t total = 0;
	ssize_t n;

	pass(2);
	memset(line, '.', sizeof(line) - 1);
	for (unsigned i = 0; i < 2000; i++)
		say(c, line);
	say(c, "END");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < 2000; i++) {
		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			total += (size_t)n;
		else
			loop_poll(loop, 1);
		if (n > 3 && !memcmp(buf + n - 3, "END", 3))
			break;
	}
	assert_true(n > 3 && !memcmp(buf + n - 3, "END", 3));
	assert_true(total < 2000 * 1023);
	close(fd);
	chardev_close(c);
}

/* A socket in use is refused, a stale one replaced, another file left alone. */
static void test_socket_in_use(void **state)
{
	struct chardev *c = open_as("unix:");
	struct sockaddr_un sa = address();
	struct err e;
	int fd, waits;

	assert_null(chardev_open(spec, loop, &e));
	assert_int_equal(e.exit_code, HV_EXIT_LOCKED);
	chardev_close(c);
	/* One whose callers wait already: asking does not wait with them. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 0), 0);
	waits = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(waits, (struct sockaddr *)&sa, sizeof(sa)), 0);
	alarm(10);
	assert_null(chardev_open(spec, loop, &e));
	alarm(0);
	assert_int_equal(e.exit_code, HV_EXIT_LOCKED);
	close(waits);
	close(fd);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);				/* nobody listens: stale */
	chardev_close(open_as("unix:"));
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_null(chardev_open(spec, loop, &e));
	assert_int_equal(access(path, F_OK), 0);
}

/* Standard streams: pipes in and out, end of input, a reader that goes away. */
static void test_stdio_pipes(void **state)
{
	int in[2], out[2], old0 = dup(0), old1 = dup(1);
	struct chardev *c;
	struct err e;
	char buf[8];

	assert_int_equal(pipe(in) | pipe(out), 0);
	fflush(stdout);
	dup2(in[0], 0);
	dup2(out[1], 1);
	close(out[1]);
	c = chardev_open("stdio", loop, &e);
	room = 2;
	chardev_attach(c, &sink);
	assert_int_equal(write(in[1], "xyz", 3), 3);
	pass(2);
	assert_int_equal(got_len, 2);
	close(in[1]);
	room = 10;
	chardev_accept_input(c);
	pass(3);
	assert_int_equal(got_len, 3);
	say(c, "out");
	chardev_flush(c);
	assert_int_equal(read(out[0], buf, sizeof(buf)), 3);
	close(out[0]);
	say(c, "lost");
	chardev_flush(c);
	say(c, "more");
	chardev_close(c);
	dup2(old0, 0);
	dup2(old1, 1);
	close(old0);
	close(old1);
	close(in[0]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_bad_specs), T(test_file), T(test_batch), T(test_null_and_taps),
		T(test_inject), T(test_socket), T(test_socket_backpressure), T(test_slow_reader),
		T(test_socket_in_use), T(test_stdio_pipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
