/* SPDX-License-Identifier: MIT */
/* virtio-console through a driver, with sockets at the other end; sections of VIRTIO 1.2. */
#include "../../src/chardev.h"
#include "../../src/loop.h"
#include "../lib/vguest.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RX 0x80000u
#define TX 0x90000u
#define MULTIPORT 2u
#define EMERG_WRITE 4u

static struct vm *vm;
static struct vguest g;
static struct vgq q[8];		/* port 0, control, ports 1 and 2 */
static struct chardev *chr[3];
static char dir[32], spec[3][64];
static char said[4096];
static size_t said_len;

static void heard(void *opaque, const uint8_t *buf, size_t len)
{
	assert_true(said_len + len < sizeof(said));
	memcpy(said + said_len, buf, len);
	said_len += len;
	said[said_len] = '\0';
}

static struct char_tap tap = { .output = heard };

static void wire(struct device *d)
{
	static const char *const names[] = { "", "org.one", "two" };
	struct err e = { 0 };

	vg_give_bus(d);
	for (unsigned i = 0; i < 3; i++) {
		chr[i] = chardev_open(spec[i], d->vm->loop, &e);
		if (!chr[i])
			fail_msg("%s", e.msg);
		virtio_console_set_port(d, i, names[i], chr[i]);
	}
	said_len = 0;
	said[0] = '\0';
	tap.next = NULL;
	chardev_add_tap(chr[0], &tap);
}

static int setup(void **st)
{
	strcpy(dir, "/tmp/hv-con-XXXXXX");
	assert_non_null(mkdtemp(dir));
	strcpy(spec[0], "null");
	snprintf(spec[1], sizeof(spec[1]), "unix:%s/one", dir);
	strcpy(spec[2], "null");
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, &virtio_console_ops, "dut", wire));
	return 0;
}

static void close_all(void)
{
	for (unsigned i = 0; i < 3; i++) {
		chardev_close(chr[i]);
		chr[i] = NULL;
	}
}

static int teardown(void **st)
{
	vm_lock(vm);
	devices_free(vm);
	close_all();
	vm_unlock(vm);
	tvm_free(vm);
	vg_buses_free();
	rmdir(dir);
	return 0;
}

static void turn(unsigned n)
{
	while (n--)
		loop_poll(vm->loop, 2);
}

static void give(struct vgq *vq, uint64_t at, uint32_t len)
{
	vg_add(vq, &(struct vgbuf){ at, len }, 0, 1);
	vg_kick(vq);
}

static void say(struct vgq *vq, const void *p, uint32_t len)
{
	static uint32_t at;

	at = (at + 0x2000) & 0x1ffff;
	vg_put(&g, TX + at, p, len);
	vg_add(vq, &(struct vgbuf){ TX + at, len }, 1, 0);
	vg_kick(vq);
}

static void control(uint32_t id, uint16_t event, uint16_t value)
{
	uint8_t m[8];

	st_le32(m, id);
	st_le16(m + 4, event);
	st_le16(m + 6, value);
	say(&q[3], m, 8);
}

/* The next message: its length is that of what was written. */
static uint32_t expect_control(uint32_t id, uint16_t event, uint16_t value, const char *name)
{
	static uint32_t slot;
	uint8_t m[80];
	uint16_t head;
	uint32_t len = 0;

	give(&q[2], RX + 0x8000 + (slot++ & 63) * 128, 128);
	assert_true(vg_used(&q[2], &head, &len));
	vg_get(&g, RX + 0x8000 + ((slot - 1) & 63) * 128, m, sizeof(m));
	assert_int_equal(ld_le32(m), id);
	assert_int_equal(ld_le16(m + 4), event);
	assert_int_equal(ld_le16(m + 6), value);
	if (name)
		assert_memory_equal(m + 8, name, strlen(name));
	assert_int_equal(len, 8 + (name ? strlen(name) : 0));
	return len;
}

static void start(void)
{
	vg_start(&g, MULTIPORT, q, 8);
	control(0, 0, 1);			/* DEVICE_READY */
	for (unsigned i = 0; i < 3; i++)
		expect_control(i, 1, 1, NULL);	/* PORT_ADD */
	control(0, 3, 1);			/* PORT_READY */
	expect_control(0, 4, 1, NULL);		/* CONSOLE_PORT */
	expect_control(0, 6, 1, NULL);		/* PORT_OPEN */
	control(1, 3, 1);
	expect_control(1, 7, 1, "org.one");
	expect_control(1, 6, 0, NULL);		/* nobody at the socket */
	control(2, 3, 1);
	expect_control(2, 7, 1, "two");
	expect_control(2, 6, 1, NULL);
	control(0, 6, 1);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/one", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	turn(3);
	return fd;
}

/* 5.3.4: number of ports; 5.3.6.2: the messages, in order, and none lost without buffers */
static void test_handshake(void **st)
{
	uint16_t head;
	uint32_t len;

	assert_int_equal(vg_rd(&g, VG_CONFIG + 4, 4), 3);
	start();
	give(&q[2], RX + 0x7000, 128);
	assert_false(vg_used(&q[2], &head, &len));
	control(77, 3, 1);			/* no such port */
	control(1, 99, 1);
	say(&q[3], "abc", 3);			/* short */
	assert_false(vg_used(&q[2], &head, &len));
	assert_int_equal(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET, 0);
}

/* Console both ways; a driver without multiport has port 0 only. */
static void test_console(void **st)
{
	uint16_t head;
	uint32_t len;
	char got[16] = "";

	vg_start(&g, 0, q, 2);
	say(&q[1], "hello", 5);
	assert_string_equal(said, "hello");
	vm_lock(vm);
	chardev_inject(chr[0], (const uint8_t *)"typed", 5);
	vm_unlock(vm);
	assert_false(vg_used(&q[0], &head, &len));
	give(&q[0], RX, 0);			/* an empty buffer goes back */
	give(&q[0], RX, 3);
	give(&q[0], RX + 3, 10);
	assert_true(vg_used(&q[0], &head, &len));
	assert_int_equal(len, 0);
	assert_true(vg_used(&q[0], &head, &len));
	assert_int_equal(len, 3);
	assert_true(vg_used(&q[0], &head, &len));
	assert_int_equal(len, 2);
	vg_get(&g, RX, got, 5);
	assert_string_equal(got, "typed");
	say(&q[0], "x", 1);			/* a receive buffer that cannot be written */
}

/* 5.3.4: emergency output without queues or driver */
static void test_emergency(void **st)
{
	vg_wr(&g, VG_CONFIG + 8, 4, '!');
	assert_string_equal(said, "!");
	vg_wr(&g, VG_CONFIG + 4, 4, '?');
	assert_string_equal(said, "!");
}

/* A channel: the host comes, both talk, the host goes. */
static void test_channel(void **st)
{
	uint16_t head;
	uint32_t len;
	char buf[32] = "";
	int fd;

	start();
	fd = dial();
	expect_control(1, 6, 1, NULL);
	assert_int_equal(write(fd, "early", 5), 5);
	turn(3);
	give(&q[4], RX, 64);
	assert_false(vg_used(&q[4], &head, &len));	/* the guest has not opened it */
	control(1, 6, 1);
	turn(3);
	assert_true(vg_used(&q[4], &head, &len));
	assert_int_equal(len, 5);
	vg_get(&g, RX, buf, 5);
	assert_string_equal(buf, "early");
	say(&q[5], "answer", 6);
	turn(5);
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "answer", 6);
	assert_true(vg_used(&q[5], &head, &len));
	close(fd);
	turn(5);
	expect_control(1, 6, 0, NULL);
}

/* What the host does not take stays with the guest, and nothing of it gets lost. */
static void test_flow_control(void **st)
{
	static uint8_t block[4096];
	size_t total = 0, sent = 0;
	unsigned used = 0;
	uint16_t head;
	uint32_t len;
	int fd;

	start();
	fd = dial();
	control(1, 6, 1);
	for (unsigned n = 0; n < 200; n++) {
		for (unsigned i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) % 251);
		if (n - used >= 16)
			break;
		say(&q[5], block, sizeof(block));
		sent += sizeof(block);
		turn(2);
		while (vg_used(&q[5], &head, &len))
			used++;
	}
	assert_true(used < sent / sizeof(block));
	while (total < sent) {
		uint8_t buf[3000];
		ssize_t n = read(fd, buf, sizeof(buf));

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], (total + (size_t)i) % 251);
		if (n > 0)
			total += (size_t)n;
		turn(2);
	}
	while (vg_used(&q[5], &head, &len))
		used++;
	assert_int_equal(used, sent / sizeof(block));
	close(fd);
}

static size_t counted;

static void count(void *opaque, const uint8_t *buf, size_t len)
{
	counted += len;
}

/* One kick does not hold up the machine for as long as a chain may be. */
static void test_long_chain(void **st)
{
	struct char_tap counter = { .output = count };
	struct vgbuf b[20];
	uint16_t head;
	uint32_t len;

	start();
	counted = 0;
	chardev_add_tap(chr[2], &counter);
	for (unsigned i = 0; i < ARRAY_SIZE(b); i++)
		b[i] = (struct vgbuf){ MiB(1), MiB(1) };
	vg_add(&q[7], b, ARRAY_SIZE(b), 0);
	vg_kick(&q[7]);
	assert_true(counted <= MiB(2));
	for (unsigned i = 0; i < 100 && counted < MiB(20); i++)
		turn(1);
	assert_int_equal(counted, MiB(20));
	assert_true(vg_used(&q[7], &head, &len));
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	vg_init(&g, v, d);
	vg_start(&g, MULTIPORT, q, 8);
	control(0, 0, 1);
	control(1, 3, 1);
	control(2, 6, 1);
}

static void wire_null(struct device *d)
{
	vg_give_bus(d);
	virtio_console_set_port(d, 0, "", NULL);
	virtio_console_set_port(d, 1, "one", NULL);
	virtio_console_set_port(d, 2, "two", NULL);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&virtio_console_ops, wire_null, poke);
	tvm_check_reset(&virtio_console_ops, wire_null, poke);
	vg_buses_free();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_handshake), T(test_console), T(test_emergency), T(test_channel),
		T(test_flow_control), T(test_long_chain),
		cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
