/* SPDX-License-Identifier: MIT */
/*
 * The whole board without a CPU: memory map, direct boot set-up, save and
 * load of every device, configuration errors, and random accesses to all of
 * it (no guest access ends the process).
 */
#include "../lib/stubcpu.h"
#include "../lib/testvm.h"
#include "../../devices/all.h"
#include "../../devices/chipset.h"
#include "../../devices/pc.h"
#include "../../src/block.h"
#include "../../src/chardev.h"
#include "../../src/loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char image[] = "/tmp/hv-pc-XXXXXX";

struct machine {
	struct vm *vm;
	struct pc_config cfg;
	struct block *disk, *ide, *floppy;
};

static void open_machine(struct machine *m, const char *kernel)
{
	struct err e = { 0 };

	memset(m, 0, sizeof(*m));
	m->vm = vm_new(true, &e);
	assert_true(vm_set_engine(m->vm, &stub_cpu_ops, 2, &e));
	m->disk = block_open(image, "raw", BLOCK_THROWAWAY, m->vm->loop, &e);
	m->ide = block_open(image, "raw", BLOCK_THROWAWAY, m->vm->loop, &e);
	m->floppy = block_open(image, "raw", BLOCK_THROWAWAY, m->vm->loop, &e);
	assert_true(m->disk && m->ide && m->floppy);
	m->cfg.ram = MiB(64);
	m->cfg.kernel = kernel;
	m->cfg.serial[0] = chardev_open("null", m->vm->loop, &e);
	m->cfg.display = true;
	m->cfg.ndisks = 3;
	m->cfg.disks[0] = (struct pc_disk){ .block = m->disk };
	m->cfg.disks[1] = (struct pc_disk){ .block = m->ide, .bus = PC_DISK_IDE };
	m->cfg.disks[2] = (struct pc_disk){ .cdrom = true };
	m->cfg.debug_exit = 0xf4;
	m->cfg.floppies[0].block = m->floppy;
	m->cfg.nfloppies = 2;
	m->cfg.hpet = m->cfg.vmgenid = m->cfg.vmmouse = true;
	m->cfg.parallel = m->cfg.console = m->cfg.serial[0];
	m->cfg.channels[0] = (struct pc_channel){ "test", m->cfg.serial[0] };
	m->cfg.nchannels = 1;
	if (!pc_create(m->vm, &m->cfg, &e))
		fail_msg("%s", e.msg);
	vm_lock(m->vm);
	devices_reset(m->vm);
	if (m->vm->board_reset)
		m->vm->board_reset(m->vm->board_opaque);
	vm_unlock(m->vm);
}

static void close_machine(struct machine *m)
{
	vm_lock(m->vm);
	devices_reset(m->vm);
	vm_unlock(m->vm);
	loop_poll(m->vm->loop, 0);
	devices_free(m->vm);
	block_close(m->disk);
	block_close(m->ide);
	block_close(m->floppy);
	chardev_close(m->cfg.serial[0]);
	vm_free(m->vm);
}

static bool no_firmware(void)
{
	return access(PC_FIRMWARE, R_OK) || access(PC_VGABIOS_STD, R_OK);
}

static uint32_t cfg_rd(struct vm *vm, uint8_t devfn, unsigned off)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | devfn << 8 | off);
	return tvm_inl(vm, 0xcfc);
}

static void test_firmware_map(void **st)
{
	struct machine m;
	uint8_t low[16], high[16];
	uint32_t v;

	if (no_firmware())
		skip();
	open_machine(&m, NULL);
	assert_true(gm_read(m.vm->mem, GPA(0xffff0), low, 16));
	assert_true(gm_read(m.vm->mem, GPA(0xfffffff0), high, 16));
	assert_memory_equal(low, high, 16);
	assert_int_equal(low[0], 0xea);		/* far jump of the reset vector */
	assert_true(gm_write_le32(m.vm->mem, GPA(MiB(64) - 4), 7));
	assert_false(gm_read_le32(m.vm->mem, GPA(MiB(64)), &v));
	assert_int_equal(cfg_rd(m.vm, CHIPSET_IDE_DEVFN, 0), 0x70108086);
	assert_int_equal(cfg_rd(m.vm, PCI_DEVFN(2, 0), 0), 0x10501af4);	/* virtio-vga */
	assert_int_equal(cfg_rd(m.vm, PCI_DEVFN(3, 0), 0) & 0xffff, 0x1af4);
	close_machine(&m);
}

/* A flat multiboot image is kernel enough. */
static void test_direct(void **st)
{
	uint32_t h[1024] = { 0x1badb002, 0x10003, 0, MiB(1), MiB(1), 0, 0, MiB(1) + 32 };
	char kernel[] = "/tmp/hv-pck-XXXXXX";
	int fd = mkstemp(kernel);
	struct machine m;
	uint8_t rsdp[36];
	uint32_t bar;

	if (no_firmware())
		skip();
	h[2] = -(h[0] + h[1]);
	assert_int_equal(write(fd, h, sizeof(h)), sizeof(h));
	close(fd);
	open_machine(&m, kernel);
	assert_int_equal(stub_cpu_state.rip, MiB(1) + 32);
	assert_true(gm_read(m.vm->mem, GPA(0xf5000), rsdp, sizeof(rsdp)));
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_true(ld_le64(rsdp + 24) < MiB(64));
	bar = cfg_rd(m.vm, PCI_DEVFN(3, 0), PCI_BAR0);
	assert_true(bar & 1 && (bar & ~3u) >= 0xc000);
	assert_int_equal(cfg_rd(m.vm, CHIPSET_PM_DEVFN, 0x40), CHIPSET_PM_BASE | 1);
	assert_int_equal(tvm_inw(m.vm, CHIPSET_PM_BASE + 4), 0);
	assert_int_equal(tvm_inb(m.vm, 0x1f7), 0x50);
	close_machine(&m);
	unlink(kernel);
}

static void save_all(struct vm *vm, struct state_buf *out)
{
	for (struct device *d = vm->devices; d; d = d->next)
		if (d->ops->state)
			state_save_device(out, d);
}

static uint32_t rnd(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 32;
}

static uint16_t some_port(uint64_t *s)
{
	static const struct { uint16_t base, len; } ranges[] = {
		{ 0x00, 0x100 }, { 0x170, 8 }, { 0x1ce, 3 }, { 0x1f0, 8 }, { 0x376, 1 },
		{ 0x378, 8 }, { 0x3b0, 0x30 }, { 0x3f0, 16 }, { 0x4d0, 2 }, { 0x510, 12 },
		{ 0x600, 64 },
		{ 0xcf8, 8 },
		{ 0xc000, 0x200 },
	};
	uint32_t r = rnd(s);
	unsigned i = r % ARRAY_SIZE(ranges);

	return ranges[i].base + (r >> 8) % ranges[i].len;
}

/* Random accesses; configuration space keeps enough sense to reach the BARs. */
static void storm(struct vm *vm, unsigned rounds, uint64_t seed)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t r = rnd(&seed), v = rnd(&seed);
		unsigned size = 1u << (r & 3) % 3;
		uint16_t port = some_port(&seed);

		if (port == 0xcf9 || port == 0xf4)
			continue;
		switch (r >> 8 & 7) {
		case 0: case 1: case 2:
			bus_write(vm->bus, BUS_PIO, port, size, v);
			break;
		case 3: case 4:
			bus_read(vm->bus, BUS_PIO, port, size);
			break;
		case 5:
			tvm_outl(vm, 0xcf8, 0x80000000u | (r >> 12 & 0x3fff & ~3u));
			tvm_outl(vm, 0xcfc, v & 0x1f ? v : 0xc001u | (v >> 8 & 0x1c0));
			break;
		case 6:
			bus_write(vm->bus, BUS_MMIO, (v & 3 ? 0xe0000000u : 0xfed00000u) +
				  (v >> 2 & (v & 3 ? 0xffffff : 0x3ff)), size, r);
			break;
		default:
			tvm_outl(vm, 0xcf8, 0x80000000u | (r >> 16 & 0x1f) << 11 | 4);
			tvm_outw(vm, 0xcfc, 7);
			break;
		}
		if (i % 256 == 0) {
			loop_poll(vm->loop, 0);
			tvm_advance(vm, 1000000);
		}
	}
}

static void test_storm(void **st)
{
	if (no_firmware())
		skip();
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct machine m;

		open_machine(&m, NULL);
		log_set_level(LOG_ERROR);
		storm(m.vm, 100000, seed);
		close_machine(&m);
	}
	log_set_level(LOG_WARN);
}

/* After a storm every device saves, loads into a new machine, and saves the same. */
static void test_roundtrip(void **st)
{
	struct machine a, b;
	struct state_buf one = { 0 }, two = { 0 };
	struct err e = { 0 };
	size_t pos = 0;

	if (no_firmware())
		skip();
	open_machine(&a, NULL);
	open_machine(&b, NULL);
	log_set_level(LOG_ERROR);
	storm(a.vm, 3000, 99);
	log_set_level(LOG_WARN);
	vm_lock(a.vm);
	save_all(a.vm, &one);
	vm_unlock(a.vm);
	vm_lock(b.vm);
	vclock_set(b.vm->clock, vclock_now(a.vm->clock));
	for (struct device *d = b.vm->devices; d; d = d->next)
		if (d->ops->state && !state_load_device(d, one.data, one.len, &pos, &e))
			fail_msg("%s %s: %s", d->ops->name, d->id, e.msg);
	assert_int_equal(pos, one.len);
	save_all(b.vm, &two);
	vm_unlock(b.vm);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.data, two.data, one.len);
	state_buf_free(&one);
	state_buf_free(&two);
	close_machine(&a);
	close_machine(&b);
}

static void refuse(struct pc_config *cfg, const char *text)
{
	struct err e = { 0 };
	struct vm *vm = vm_new(true, &e);

	assert_true(vm_set_engine(vm, &stub_cpu_ops, 1, &e));
	assert_false(pc_create(vm, cfg, &e));
	if (!strstr(e.msg, text))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, text);
	vm_free(vm);
}

static void test_errors(void **st)
{
	struct pc_config c = { .ram = MiB(1) };

	refuse(&c, "memory must be");
	c.ram = MiB(64) + 1;
	refuse(&c, "memory must be");
	c.ram = MiB(64);
	c.firmware = "/nonexistent/bios";
	refuse(&c, "cannot open the firmware /nonexistent/bios");
	c.firmware = "/tmp";
	refuse(&c, "cannot be a firmware");
	c.firmware = image;
	assert_int_equal(truncate(image, 1000), 0);
	refuse(&c, "multiple of 64 KiB");
	assert_int_equal(truncate(image, MiB(1)), 0);
	if (no_firmware())
		return;
	c.firmware = NULL;
	c.ndisks = 5;
	for (unsigned i = 0; i < 5; i++)
		c.disks[i].cdrom = true;
	refuse(&c, "too many IDE drives");
}

static int make_image(void **st)
{
	int fd = mkstemp(image), rc = ftruncate(fd, MiB(1));

	close(fd);
	return rc;
}

static int remove_image(void **st)
{
	return unlink(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_firmware_map), cmocka_unit_test(test_direct),
		cmocka_unit_test(test_storm), cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, make_image, remove_image);
}
