/* SPDX-License-Identifier: MIT */
/*
 * A guest with bad intentions against a machine with every device: random
 * accesses to all ports, BARs, MMIO windows and configuration spaces, random
 * structures in memory, passing time, buttons, keys and frames, media that come and
 * go, resets, sleep, snapshots loaded into a fresh machine, and device states that
 * were changed on the way.  No CPU runs.  Nothing may crash, hang, or leave the
 * sanitizers unhappy.
 *
 * HV_STORM_SECONDS: how long (3).  HV_STORM_SEED: the first round's seed (1);
 * each round says its own when HV_STORM_SECONDS is set, so that a round that
 * fails can be repeated alone.
 */
#include "../lib/testvm.h"
#include "fuzz.h"
#include "../../devices/all.h"
#include "../../devices/pc.h"
#include "../../src/audio.h"
#include "../../src/block.h"
#include "../../src/chardev.h"
#include "../../src/display.h"
#include "../../src/input.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include "../../src/net.h"
#include "../../src/pci.h"
#include "../../src/snapshot.h"
#include "../../src/cpu/vcpu.h"
#include <stdlib.h>
#include <time.h>

#define RAM MiB(16)
#define KINDS 6u			/* of machines */
#define STEPS 20000u		/* a round */
#define STEP_LIMIT_NS (2 * NS_PER_SEC)	/* of CPU time */
#define MAX_WINDOWS 256u
#define IO_BARS 0xc000u
#define MEM_BARS 0xd0000000u

static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned n)
{
	return (unsigned)((rnd() >> 32) % n);
}

/* ---- The machine ---- */

static char rom_path[64], disk_path[64], floppy_path[64];

static void net_drop(struct net *n, const struct iovec *iov, unsigned niov, size_t len) { }
static void net_nothing(struct net *n) { }
static const struct net_ops null_net_ops = { "null", net_drop, net_nothing, net_nothing };

#define NDISKS 10u

struct window {
	enum bus_kind kind;
	uint64_t base, len;
};

struct machine {
	struct vm *vm;
	struct pc_config cfg;
	struct net net[2];
	struct block *blocks[NDISKS + 3];
	unsigned nblocks;
	struct chardev *chars[10];
	unsigned nchars;
	struct audio *audio;
	struct window win[MAX_WINDOWS];
	unsigned nwin;
	uint8_t devfns[256];
	unsigned ndev;
};

static struct block *open_block(struct machine *m, const char *path)
{
	struct err e = { 0 };
	struct block *b = block_open(path, "raw", BLOCK_THROWAWAY | BLOCK_NO_LOCK |
				     BLOCK_DISCARD_ON, m->vm->loop, &e);

	if (!b)
		fail_msg("%s", e.msg);
	return m->blocks[m->nblocks++] = b;
}

static struct chardev *open_char(struct machine *m)
{
	struct err e;

	return m->chars[m->nchars++] = chardev_open("null", m->vm->loop, &e);
}

static void add_disks(struct machine *m)
{
	static const enum pc_disk_if bus[] = { PC_DISK_VIRTIO, PC_DISK_IDE, PC_DISK_AHCI,
					       PC_DISK_NVME, PC_DISK_SCSI };

	for (unsigned i = 0; i < ARRAY_SIZE(bus); i++)
		m->cfg.disks[m->cfg.ndisks++] = (struct pc_disk){
			.bus = bus[i], .queues = 2 };
	for (unsigned i = 1; i < ARRAY_SIZE(bus); i++)
		if (bus[i] != PC_DISK_NVME)
			m->cfg.disks[m->cfg.ndisks++] = (struct pc_disk){
				.bus = bus[i], .cdrom = true, .readonly = true };
	for (unsigned i = 0; i < m->cfg.ndisks; i++) {
		m->cfg.disks[i].block = open_block(m, disk_path);
		m->cfg.disks[i].home = &m->blocks[m->nblocks - 1];
	}
	for (unsigned i = 0; i < PC_MAX_FLOPPIES; i++) {
		m->cfg.floppies[m->cfg.nfloppies++].block = open_block(m, floppy_path);
		m->cfg.floppies[i].home = &m->blocks[m->nblocks - 1];
	}
	m->cfg.nvram = open_block(m, disk_path);
}

/* @kind: what cannot be there at once. */
static void make(struct machine *m, unsigned kind)
{
	static const enum pc_sound sound[] = { PC_SOUND_HDA, PC_SOUND_AC97, PC_SOUND_VIRTIO };
	struct err e = { 0 };

	memset(m, 0, sizeof(*m));
	m->vm = vm_new(true, &e);
	m->audio = m->vm->audio = audio_open("none", m->vm->clock, &e);
	add_disks(m);
	m->cfg.ram = RAM;
	m->cfg.firmware = m->cfg.vgabios = rom_path;
	m->cfg.display = true;
	m->cfg.vga_std = kind & 1;
	m->cfg.outputs = kind & 2 ? 3 : 1;
	m->cfg.sound = sound[kind % ARRAY_SIZE(sound)];
	m->cfg.hpet = m->cfg.vmgenid = true;
	for (unsigned i = 0; i < 2; i++) {
		m->net[i].ops = &null_net_ops;
		m->cfg.nics[i].net = &m->net[i];
		m->cfg.nics[i].model = i ? PC_NIC_E1000 : PC_NIC_VIRTIO;
	}
	m->cfg.nnics = 2;
	for (unsigned i = 0; i < PC_MAX_SERIAL; i++)
		m->cfg.serial[i] = open_char(m);
	m->cfg.console = open_char(m);
	m->cfg.channels[0] = (struct pc_channel){ "storm", open_char(m) };
	m->cfg.nchannels = 1;
	m->cfg.debugcon = open_char(m);
	m->cfg.parallel = open_char(m);
	m->cfg.vmmouse = true;
	m->cfg.debug_exit = 0xf4;
	if (!vm_set_engine(m->vm, &soft_cpu_ops, 2, &e) || !pc_create(m->vm, &m->cfg, &e))
		fail_msg("%s", e.msg);
}

static void drain(struct machine *m)
{
	vm_lock(m->vm);
	for (unsigned i = 0; i < m->nblocks; i++)
		if (m->blocks[i])
			block_drain(m->blocks[i]);
	vm_unlock(m->vm);
	loop_poll(m->vm->loop, 0);
}

static void reset(struct machine *m, enum vm_reset_kind kind)
{
	vm_lock(m->vm);
	m->vm->reset_kind = kind;
	devices_reset(m->vm);
	for (unsigned i = 0; i < m->vm->ncpus; i++)
		m->vm->engine->reset(m->vm->cpus[i]);
	m->vm->reset_kind = VM_RESET_COLD;
	m->vm->pending = 0;
	vm_unlock(m->vm);
}

static void unmake(struct machine *m)
{
	reset(m, VM_RESET_COLD);
	drain(m);
	devices_free(m->vm);
	for (unsigned i = 0; i < m->nblocks; i++)
		if (m->blocks[i])
			block_close(m->blocks[i]);
	for (unsigned i = 0; i < m->nchars; i++)
		chardev_close(m->chars[i]);
	audio_close(m->audio);
	vm_free(m->vm);
}

/* ---- PCI, as firmware would set it up ---- */

static void cfg_select(struct vm *vm, unsigned devfn, unsigned reg)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
}

static uint32_t cfg_rd(struct vm *vm, unsigned devfn, unsigned reg)
{
	cfg_select(vm, devfn, reg);
	return tvm_inl(vm, 0xcfc);
}

static void cfg_wr(struct vm *vm, unsigned devfn, unsigned reg, uint32_t v)
{
	cfg_select(vm, devfn, reg);
	tvm_outl(vm, 0xcfc, v);
}

static void add_window(struct machine *m, enum bus_kind kind, uint64_t base, uint64_t len)
{
	if (m->nwin < MAX_WINDOWS)
		m->win[m->nwin++] = (struct window){ kind, base, len };
}

static void place_bars(struct machine *m, unsigned devfn, uint32_t *io, uint32_t *mem)
{
	for (unsigned bar = 0; bar < 6; bar++) {
		unsigned reg = 0x10 + 4 * bar;
		uint32_t v, size;

		cfg_wr(m->vm, devfn, reg, 0xffffffff);
		v = cfg_rd(m->vm, devfn, reg);
		if (!v)
			continue;
		size = v & 1 ? (~(v & 0xfffffffc) & 0xffff) + 1 : ~(v & 0xfffffff0) + 1;
		if (!size)
			continue;
		if (v & 1) {
			*io = (*io + size - 1) & ~(size - 1);
			cfg_wr(m->vm, devfn, reg, *io);
			add_window(m, BUS_PIO, *io, size);
			*io += size;
			continue;
		}
		*mem = (*mem + size - 1) & ~(size - 1);
		cfg_wr(m->vm, devfn, reg, *mem);
		add_window(m, BUS_MMIO, *mem, size);
		*mem += size;
		if ((v & 6) == 4)	/* 64 bits */
			cfg_wr(m->vm, devfn, 0x10 + 4 * ++bar, 0);
	}
	cfg_wr(m->vm, devfn, 0x30, (0xa0000 + below(6) * 0x10000) | 1);	/* where the board is */
	cfg_wr(m->vm, devfn, 4, 7);
}

static const struct window fixed[] = {
	{ BUS_PIO, 0, 0x100 }, { BUS_PIO, 0x170, 8 }, { BUS_PIO, 0x1f0, 8 }, { BUS_PIO, 0x1ce, 4 },
	{ BUS_PIO, 0x278, 8 }, { BUS_PIO, 0x2e8, 8 }, { BUS_PIO, 0x2f8, 8 }, { BUS_PIO, 0x376, 2 },
	{ BUS_PIO, 0x378, 8 }, { BUS_PIO, 0x3b0, 0x30 }, { BUS_PIO, 0x3e8, 8 },
	{ BUS_PIO, 0x3f0, 16 }, { BUS_PIO, 0x402, 1 }, { BUS_PIO, 0x4d0, 2 },
	{ BUS_PIO, 0x505, 1 }, { BUS_PIO, 0x510, 12 }, { BUS_PIO, 0x600, 64 },
	{ BUS_PIO, 0xcf8, 8 }, { BUS_PIO, 0x5658, 4 }, { BUS_PIO, 0, 0x10000 },
	{ BUS_MMIO, 0xa0000, 0x20000 }, { BUS_MMIO, 0xc0000, 0x40000 },
	{ BUS_MMIO, 0xfec00000, 0x1000 }, { BUS_MMIO, 0xfed00000, 0x1000 },
	{ BUS_MMIO, 0xfee00000, 0x1000 }, { BUS_MMIO, 0xffb00000, 0x500000 },
	{ BUS_MMIO, 0, 0x100000000ull }, { BUS_MMIO, 0xfffffffffff00000ull, 0x100000 },
};

static void firmware(struct machine *m)
{
	uint32_t io = IO_BARS, mem = MEM_BARS;

	m->nwin = m->ndev = 0;
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		if (cfg_rd(m->vm, devfn, 0) == 0xffffffff)
			continue;
		m->devfns[m->ndev++] = (uint8_t)devfn;
		if (devfn)
			place_bars(m, devfn, &io, &mem);
	}
	cfg_wr(m->vm, PCI_DEVFN(1, 3), 0x40, 0x601);
	cfg_wr(m->vm, PCI_DEVFN(1, 3), 0x80, 1);
	cfg_wr(m->vm, PCI_DEVFN(1, 1), 0x40, 0x80008000);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		m->win[m->nwin++] = fixed[i];
}

/* ---- Steps ---- */

/* Numbers that mean something to devices, more often than chance. */
static uint64_t value(void)
{
	switch (below(8)) {
	case 0:
		return 1ull << below(64);
	case 1:
		return below(256);
	case 2:
		return (uint64_t)below(RAM >> 12) << 12;
	case 3:
		return rnd() % RAM;
	case 4:
		return ~0ull << below(64);
	case 5:
		return below(2) ? 0 : ~0ull;
	default:
		return rnd();
	}
}

/* Queues and command lists are made in a few pages, so that they meet. */
static uint64_t ram_spot(void)
{
	return below(4) ? (uint64_t)below(64) << 12 | (below(64) << 4) : rnd() % RAM & ~7ull;
}

static void poke_ram(struct machine *m)
{
	uint8_t b[64];
	unsigned n = 8u << below(4);

	for (unsigned i = 0; i < n; i += 8) {
		uint64_t v = below(2) ? ram_spot() : value();

		if (below(2))	/* a length, flags, a next index */
			v = (v & 0xffffffff) | (uint64_t)below(70000) << 32;
		st_le64(b + i, v);
	}
	if (!gm_write(m->vm->mem, GPA(ram_spot()), b, n))
		return;
}

static void touch_window(struct machine *m)
{
	const struct window *w = &m->win[below(m->nwin)];
	uint64_t off = below(4) ? rnd() % MIN(w->len, 0x200u) : rnd() % w->len;
	unsigned size = 1u << below(w->kind == BUS_PIO ? 3 : 4), n = below(8) ? 1 : below(64);

	if (below(4))
		off &= ~(uint64_t)(size - 1);
	for (unsigned i = 0; i < n; i++) {
		if (below(3))
			bus_write(m->vm->bus, w->kind, w->base + off, size,
				  below(2) ? ram_spot() : value());
		else
			bus_read(m->vm->bus, w->kind, w->base + off, size);
	}
}

static void touch_config(struct machine *m)
{
	unsigned devfn = m->devfns[below(m->ndev)];
	unsigned reg = below(4) ? 0x40 + below(0xc0) : below(0x40);

	cfg_select(m->vm, devfn, reg);
	if (below(3))
		bus_write(m->vm->bus, BUS_PIO, 0xcfc + (reg & 3), 1u << below(3), value());
	else
		bus_read(m->vm->bus, BUS_PIO, 0xcfc + (reg & 3), 1u << below(3));
	if (!below(4))		/* decoding and mastering on again */
		cfg_wr(m->vm, devfn, 4, 7);
}

static void host_side(struct machine *m)
{
	static uint8_t frame[9000];
	const struct net *n = &m->net[below(2)];
	struct display *d;

	vm_lock(m->vm);
	switch (below(7)) {
	case 0:
		if (n->nic && n->nic->can_receive(n->nic_opaque))
			n->nic->receive(n->nic_opaque, frame, 14 + below(1600));
		break;
	case 1:
		input_key(m->vm->input, (uint16_t)below(256), below(2));
		break;
	case 2:
		input_rel(m->vm->input, (int)below(600) - 300, (int)below(600) - 300,
			  (int)below(5) - 2, below(32));
		break;
	case 3:
		input_abs(m->vm->input, below(40000), below(40000), (int)below(3) - 1, below(32));
		break;
	case 4:
		d = display_scanout(m->vm->display,
				    below(display_scanouts(m->vm->display)));
		display_refresh(d);
		display_want_size(d, below(9000), below(9000));
		break;
	case 5:
		chardev_inject(m->chars[below(m->nchars)], frame, 1 + below(300));
		break;
	default:
		vm_unlock(m->vm);
		if (below(2))
			vm_power_button(m->vm);
		else
			vm_sleep_button(m->vm);
		vm_lock(m->vm);
	}
	vm_unlock(m->vm);
}

/* Into a fresh machine, which goes on. */
static void snapshot(struct machine *m, unsigned kind)
{
	FILE *f = tmpfile();
	struct err e = { 0 };

	assert_non_null(f);
	if (!snapshot_save(m->vm, f, &e))
		fail_msg("%s", e.msg);
	rewind(f);
	unmake(m);
	make(m, kind);
	if (!snapshot_load(m->vm, f, &e))
		fail_msg("%s", e.msg);
	fclose(f);
	firmware(m);
}

/* What a file that somebody changed could hold: its checksum is right, and nothing else. */
static void alter_state(struct machine *m, unsigned kind)
{
	unsigned n = 0, changes = 1 + below(8);
	struct state_buf b = { 0 };
	struct device *d = m->vm->devices;
	struct err e = { 0 };
	size_t pos = 0, head;
	bool ok;

	for (struct device *i = d; i; i = i->next)
		n++;
	for (n = below(n); n--; d = d->next)
		;
	if (!d->ops->state)
		return;
	drain(m);
	vm_lock(m->vm);
	state_save_device(&b, d);
	head = 4 + 2 + strlen(d->ops->name) + 2 + strlen(d->id) + 1 + 4 + 4;
	for (unsigned i = 0; i < changes && b.len > head; i++) {
		size_t most = below(2) ? 512 : b.len;
		uint8_t *p = b.data + head + rnd() % MIN(b.len - head, most);

		*p = below(3) ? below(4) : (uint8_t)value();
	}
	st_le32(b.data + head - 4, crc32c(0, b.data + head, b.len - head));
	ok = state_load_device(d, b.data, b.len, &pos, &e);
	vm_unlock(m->vm);
	state_buf_free(&b);
	if (ok)
		return;
	assert_true(e.msg[0]);
	unmake(m);	/* of a machine with such a device nothing is kept */
	make(m, kind);
	reset(m, VM_RESET_COLD);
	firmware(m);
}

static void change_medium(struct machine *m)
{
	unsigned slot = below(vm_media_count(m->vm));
	struct media_info i;
	struct err e;
	bool told;

	if (!vm_media_info(m->vm, slot, &i))
		return;
	if (below(2))
		vm_media_eject(m->vm, slot, below(2), &e);
	else
		vm_media_insert(m->vm, slot, i.floppy ? floppy_path : disk_path, &e);
	vm_disk_resize(m->vm, slot, 540672, &told, &e);
}

static void seldom(struct machine *m, unsigned kind)
{
	switch (below(8)) {
	case 0:
		reset(m, VM_RESET_COLD);
		firmware(m);
		break;
	case 1:
		reset(m, VM_RESET_SLEEP);
		reset(m, VM_RESET_WAKE);
		firmware(m);
		break;
	case 2:
		if (!below(4))
			snapshot(m, kind);
		break;
	case 3:
	case 4:
		alter_state(m, kind);
		break;
	case 5:
		change_medium(m);
		break;
	default:
		firmware(m);
	}
}

static void step(struct machine *m, unsigned kind)
{
	unsigned what = below(1000);

	if (what < 550)
		touch_window(m);
	else if (what < 620)
		touch_config(m);
	else if (what < 850)
		poke_ram(m);
	else if (what < 900)
		tvm_advance(m->vm, 1ull << below(31));
	else if (what < 940)
		drain(m);
	else if (what < 990)
		host_side(m);
	else if (what < 996)
		loop_poll(m->vm->loop, 0);
	else
		seldom(m, kind);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void round_of(uint64_t seed, uint64_t end, uint64_t *slowest)
{
	unsigned kind = (unsigned)(seed % KINDS);
	struct machine m;

	rng = seed * 0x9e3779b97f4a7c15ull | 1;
	make(&m, kind);
	reset(&m, VM_RESET_COLD);
	firmware(&m);
	for (unsigned i = 0; i < STEPS && host_now_ns() < end; i++) {
		uint64_t t = cpu_ns();

		step(&m, kind);
		t = cpu_ns() - t;
		*slowest = MAX(*slowest, t);
		if (t > STEP_LIMIT_NS)
			fail_msg("seed %llu, step %u took %llu ms", (unsigned long long)seed, i,
				 (unsigned long long)(t / 1000000));
	}
	unmake(&m);
}

static uint64_t env(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static void test_storm(void **st)
{
	uint64_t seed = env("HV_STORM_SEED", 1), slowest = 0, rounds = 0;
	uint64_t end = host_now_ns() + env("HV_STORM_SECONDS", 3) * NS_PER_SEC;

	for (; host_now_ns() < end; seed++, rounds++) {
		if (getenv("HV_STORM_SECONDS"))
			fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
		round_of(seed, end, &slowest);
	}
	print_message("%llu rounds, the slowest step %llu us\n", (unsigned long long)rounds,
		      (unsigned long long)(slowest / 1000));
}

/* devices/all.c has every device of the board, and this test's machines have all of them. */
static void test_every_device(void **st)
{
	bool seen[64] = { false };
	unsigned n;

	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct machine m;

		make(&m, kind);
		for (struct device *d = m.vm->devices; d; d = d->next) {
			for (n = 0; all_device_ops[n] && all_device_ops[n] != d->ops; n++)
				;
			if (!all_device_ops[n] && strcmp(d->ops->name, "pc"))
				fail_msg("%s is missing in devices/all.c", d->ops->name);
			seen[n] = true;
		}
		unmake(&m);
	}
	for (n = 0; all_device_ops[n]; n++)
		if (!seen[n])
			fail_msg("%s is in no machine of this test", all_device_ops[n]->name);
}

int main(void)
{
	static uint8_t rom[65536], disk[1u << 20], floppy[1474560];
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_device),
					    cmocka_unit_test(test_storm) };

	log_open("/dev/null");
	for (unsigned i = 0; i < sizeof(disk); i++)
		disk[i] = (uint8_t)(i * 2654435761u >> 24);
	if (fuzz_file(rom, sizeof(rom), NULL, 0, rom_path, sizeof(rom_path)) < 0 ||
	    fuzz_file(disk, 540672, NULL, 0, disk_path, sizeof(disk_path)) < 0 ||
	    fuzz_file(floppy, sizeof(floppy), NULL, 0, floppy_path, sizeof(floppy_path)) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
