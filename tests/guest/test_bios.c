/* SPDX-License-Identifier: MIT */
/*
 * A real-mode program on SeaBIOS and SeaVGABIOS (boot_bios.S): what INT 10h,
 * 13h, 15h and 16h do for it, and the picture of every mode of the VGA BIOS
 * and of VBE from 4 to 32 bits, dot by dot.
 *
 * The reference pictures are made here: colours from the IBM and VESA
 * documents, the fonts from the VGA BIOS.
 */
#include "../lib/testvm.h"
#include "../../devices/pc.h"
#include "../../src/block.h"
#include "../../src/chardev.h"
#include "../../src/cpu/vcpu.h"
#include "../../src/display.h"
#include "../../src/input.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_NS (120 * NS_PER_SEC)
#define SECTOR_PROBE 70
#define BOX 32u
#define KEY_A 4
#define KEY_SPACE 44

static struct vm *vm;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char said[1 << 16];
static size_t said_len, seen;
static uint8_t font16[256 * 16];

static void on_output(void *opaque, const uint8_t *buf, size_t len)
{
	pthread_mutex_lock(&lock);
	len = MIN(len, sizeof(said) - 1 - said_len);
	memcpy(said + said_len, buf, len);
	said_len += len;
	pthread_mutex_unlock(&lock);
}

/* The next line of the guest; false: none came in time. */
static bool next_line(char *out, size_t len)
{
	uint64_t end = host_now_ns() + LIMIT_NS;
	struct timespec nap = { .tv_nsec = 1000000 };
	bool got = false;

	while (!got && host_now_ns() < end) {
		char *nl;

		pthread_mutex_lock(&lock);
		nl = memchr(said + seen, '\n', said_len - seen);
		if (nl) {
			snprintf(out, len, "%.*s", (int)(nl - said - (ptrdiff_t)seen), said + seen);
			seen = (size_t)(nl - said) + 1;
			got = true;
		}
		pthread_mutex_unlock(&lock);
		nanosleep(&nap, NULL);
	}
	return got;
}

static void press(uint16_t hid)
{
	vm_lock(vm);
	input_key(vm->input, hid, true);
	input_key(vm->input, hid, false);
	vm_unlock(vm);
}

/* ---- References ---- */

static const uint32_t cga[16] = {
	0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
	0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
};

/* CGA palette 1, high intensity. */
static const uint32_t cga4[4] = { 0x000000, 0x55ffff, 0xff55ff, 0xffffff };

struct shot {
	unsigned mode, w, h, bits, pitch;	/* bits 0: text */
	unsigned lines;				/* picture lines for a line of the mode */
	unsigned colours;
};

/* Dot (x, y) of a box. */
static uint32_t box_colour(const struct shot *s, unsigned x, unsigned y)
{
	uint32_t v = s->bits <= 8 ? x ^ y : x << 19 | y << 11 | (x ^ y) << 3;

	switch (s->bits) {
	case 2:
		return cga4[v & 3];
	case 1:
		return v & 1 ? 0xffffff : 0;
	case 4:
		return cga[v & 15];
	case 15:
		return (v >> 10 & 31) * 255 / 31 << 16 | (v >> 5 & 31) * 255 / 31 << 8 |
		       (v & 31) * 255 / 31;
	case 16:
		return (v >> 11 & 31) * 255 / 31 << 16 | (v >> 5 & 63) * 255 / 63 << 8 |
		       (v & 31) * 255 / 31;
	default:
		return v & 0xffffff;
	}
}

static uint32_t grey(unsigned six)
{
	return six * 255 / 63 * 0x010101u;
}

/* The first 32 colours of mode 13h: CGA's, then a grey scale (IBM). */
static uint32_t colour256(unsigned i)
{
	static const uint8_t level[16] = { 0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50,
					   56, 63 };

	return i < 16 ? cga[i] : grey(level[i & 15]);
}

static uint32_t want_box(const struct shot *s, unsigned x, unsigned y)
{
	bool first = x < BOX && y < BOX, last = x >= s->w - BOX && y >= s->h - BOX;

	if (!first && !last)
		return 0;
	if (last) {
		x -= s->w - BOX;
		y -= s->h - BOX;
	}
	if (s->bits == 8)
		return colour256(s->colours == 16 ? (x ^ y) & 15 : x ^ y);
	return box_colour(s, x, y);
}

/* 'A' + i with attribute 15 i & 7f at row i, column 2 i, else blanks in grey on black. */
static uint32_t want_text(const struct shot *s, unsigned x, unsigned y)
{
	unsigned wide = s->w == 40 ? 2 : 1, col = x / 9 / wide, row = y / 16;
	unsigned bit = x / wide % 9, attr, on;

	if (row > 15 || col != 2 * row)
		return 0;
	attr = row * 15 & 0x7f;
	on = bit < 8 ? font16[('A' + row) * 16 + y % 16] >> (7 - bit) & 1 : 0;
	if (s->mode == 7)	/* the others are this BIOS' choice of greys */
		return attr == 7 ? on * 0xaaaaaa : attr == 0x0f ? on * 0xffffff : attr ? ~0u : 0;
	return cga[on ? attr & 15 : attr >> 4 & 7];
}

static void check_picture(const struct shot *s)
{
	unsigned w = s->bits ? s->w : 720, h = s->bits ? s->h * s->lines : 400;
	struct surface *p;

	vm_lock(vm);
	display_refresh(vm->display);
	p = display_surface(vm->display);
	if (p->w != w || p->h != h)
		fail_msg("mode %x: picture %ux%u, not %ux%u", s->mode, p->w, p->h, w, h);
	for (unsigned y = 0; y < h; y++)
		for (unsigned x = 0; x < w; x++) {
			uint32_t got = p->pixels[y * p->stride + x];
			uint32_t want = s->bits ? want_box(s, x, y / s->lines) : want_text(s, x, y);

			if (want != got && want != ~0u)
				fail_msg("mode %x: dot %u,%u is %06x, not %06x", s->mode, x, y, got,
					 want);
		}
	vm_unlock(vm);
}

static const struct shot bios_modes[] = {
	{ .mode = 0x00, .w = 40 }, { .mode = 0x01, .w = 40 }, { .mode = 0x02, .w = 80 },
	{ .mode = 0x03, .w = 80 }, { .mode = 0x07, .w = 80 }, { .mode = 0x03, .w = 80 },
	{ 0x04, 320, 200, 2, .lines = 1 }, { 0x05, 320, 200, 2, .lines = 1 },
	{ 0x06, 640, 200, 1, .lines = 2 }, { 0x0d, 320, 200, 4, .lines = 1 },
	{ 0x0e, 640, 200, 4, .lines = 2 }, { 0x0f, 640, 350, 0xf, .lines = 1 },
	{ 0x10, 640, 350, 4, .lines = 1 }, { 0x11, 640, 480, 1, .lines = 1 },
	{ 0x12, 640, 480, 4, .lines = 1 },
	{ 0x13, 320, 200, 8, .lines = 1, .colours = 16 },
};

/* ---- The run ---- */

static void bin_path(char *out, size_t len, const char *name)
{
	char exe[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	assert_true(n > 0);
	exe[n] = 0;
	*strrchr(exe, '/') = 0;
	snprintf(out, len, "%s/%s", exe, name);
}

/* The program, and a pattern from sector 64 on. */
static void make_disk(char *path)
{
	char program[600];
	uint8_t buf[512];
	size_t n;
	int fd = mkstemp(path);
	FILE *in, *out = fdopen(fd, "wb");

	assert_non_null(out);
	bin_path(program, sizeof(program), "boot_bios.bin");
	in = fopen(program, "rb");
	if (!in)
		fail_msg("no %s", program);
	while ((n = fread(buf, 1, sizeof(buf), in)))
		assert_int_equal(fwrite(buf, 1, n, out), n);
	fclose(in);
	for (unsigned s = 64; s < 4096; s++) {
		for (unsigned i = 0; i < 512; i++)
			buf[i] = (uint8_t)(s * 7 + i * 3);
		assert_int_equal(fseek(out, s * 512L, SEEK_SET), 0);
		assert_int_equal(fwrite(buf, 1, 512, out), 512);
	}
	fclose(out);
}

static void read_font(void)
{
	uint8_t iv[4];

	/* INT 43h: the 8 x 16 font of the graphics modes that are on screen now (IBM). */
	assert_true(gm_read(vm->mem, GPA(0x43 * 4), iv, 4));
	assert_true(gm_read(vm->mem, GPA((uint64_t)ld_le16(iv + 2) * 16 + ld_le16(iv)), font16,
			    sizeof(font16)));
}

static void check_services(void)
{
	uint8_t chs[512];
	char line[256];
	unsigned usable, above;

	assert_true(next_line(line, sizeof(line)));
	assert_string_equal(line, "disk ok");
	assert_true(gm_read(vm->mem, GPA(0x3000), chs, sizeof(chs)));
	for (unsigned i = 0; i < sizeof(chs); i++)
		assert_int_equal(chs[i], (uint8_t)(SECTOR_PROBE * 7 + i * 3));
	assert_true(next_line(line, sizeof(line)));
	assert_int_equal(sscanf(line, "memory %x %x", &usable, &above), 2);
	assert_in_range(usable, 31 * 1024, 32 * 1024);	/* of 32 MiB, less what BIOS keeps */
	assert_in_range(above, 30 * 1024, 31 * 1024);
}

static void check_modes(void)
{
	char line[256];
	unsigned vbe = 0, depths = 0;
	struct shot s;

	for (unsigned i = 0; i < ARRAY_SIZE(bios_modes); i++) {
		assert_true(next_line(line, sizeof(line)));
		assert_int_equal(sscanf(line, "mode %x", &s.mode), 1);
		assert_int_equal(s.mode, bios_modes[i].mode);
		if (i == 0)
			read_font();
		if (s.mode != 0x0f)	/* its colours are attributes */
			check_picture(&bios_modes[i]);
		press(KEY_SPACE);
	}
	while (next_line(line, sizeof(line)) && strcmp(line, "end")) {
		s = (struct shot){ .lines = 1 };
		if (sscanf(line, "vbe %x %x %x %x mode %x", &s.w, &s.h, &s.bits, &s.pitch,
			   &s.mode) != 5) {
			print_message("%s\n", line);
			continue;
		}
		check_picture(&s);
		depths |= 1u << (s.bits & 31);
		vbe++;
		press(KEY_SPACE);
	}
	assert_string_equal(line, "end");
	assert_true(vbe >= 15);
	/* 4, 8, 15, 16, 24 and 32 */
	assert_int_equal(depths, 1u << 4 | 1u << 8 | 1u << 15 | 1u << 16 | 1u << 24 | 1u);
}

/* SeaBIOS moved its handler into SMRAM: its calls from 16-bit to 32-bit code go through it. */
static void check_smm(void)
{
	struct x86_state st;

	vm->cpus[0]->ops->get_state(vm->cpus[0], &st);
	assert_int_equal(st.smbase, 0xa0000);
}

static void run(bool vga_std)
{
	char path[] = "/tmp/hv-bios-XXXXXX", line[256];
	struct char_tap tap = { .output = on_output };
	struct pc_config cfg = { .ram = MiB(32), .display = true, .vga_std = vga_std, .ndisks = 1 };
	struct err e = { 0 };

	said_len = seen = 0;
	vm = vm_new(false, &e);
	assert_true(vm_set_engine(vm, &soft_cpu_ops, 1, &e));
	make_disk(path);
	cfg.disks[0].block = block_open(path, "raw", BLOCK_THROWAWAY, vm->loop, &e);
	cfg.disks[0].bus = PC_DISK_IDE;
	unlink(path);
	cfg.serial[0] = chardev_open("null", vm->loop, &e);
	assert_true(cfg.disks[0].block && cfg.serial[0]);
	chardev_add_tap(cfg.serial[0], &tap);
	if (!pc_create(vm, &cfg, &e) || !vm_start(vm, &e))
		fail_msg("%s", e.msg);
	check_services();
	press(KEY_A);
	assert_true(next_line(line, sizeof(line)));
	assert_string_equal(line, "no key, press one: 00001e61 ");
	check_modes();
	vm_stop(vm);
	check_smm();
	devices_free(vm);
	block_close(cfg.disks[0].block);
	chardev_close(cfg.serial[0]);
	vm_free(vm);
}

static void test_virtio_vga(void **st) { run(false); }
static void test_std_vga(void **st) { run(true); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_std_vga), cmocka_unit_test(test_virtio_vga),
	};

	if (access(PC_FIRMWARE, R_OK) || access(PC_VGABIOS_STD, R_OK)) {
		print_message("skipped: no SeaBIOS\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
