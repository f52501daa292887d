/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the whole board as a guest with bad intentions sees it.
 * The input is a list of port and memory accesses, DMA structures, passing
 * time, resets, and device states that are saved, changed and loaded again
 * (with their checksums made right).
 */
#include "fuzz.h"
#include "../../devices/pc.h"
#include "../../src/block.h"
#include "../../src/chardev.h"
#include "../../src/display.h"
#include "../../src/loop.h"
#include "../../src/net.h"
#include "../lib/stubcpu.h"
#include "../lib/testvm.h"
#include <stdlib.h>

#define RAM MiB(16)
#define MAX_OPS 400
#define IO_BARS 0xc000u
#define MEM_BARS 0xe0000000u
#define SLOTS 10u

static int rom_fd, disk_fd;
static char rom_path[64], disk_path[64];

static const uint16_t ports[] = {
	0x20, 0xa0, 0x4d0, 0x40, 0x44, 0x60, 0x64, 0x70, 0x80, 0x92, 0xb2, 0xcf8, 0xcfc, 0xcfe,
	0x1f0, 0x1f6, 0x170, 0x176, 0x3f6, 0x376, 0x3f8, 0x2f8, 0x3b0, 0x3c0, 0x3c8, 0x3d0, 0x1ce,
	0x510, 0x514, 0x402, 0xf4, 0x600, 0x604, 0xafe0, 0xcf9, 0x00, 0x08, 0xc0,
	0xd0, 0x88, 0x3f0, 0x378,
};

static const uint64_t windows[] = { 0xa0000, 0xb8000, 0xc0000, 0xfec00000, 0xfee00000,
				    0xfed00000, 0xfed00100, 0xfffc0000, 0x100000000ull };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static uint8_t rom[65536], disk[1u << 20];

	log_open("/dev/null");
	rom_fd = fuzz_file(rom, sizeof(rom), NULL, 0, rom_path, sizeof(rom_path));
	disk_fd = fuzz_file(disk, sizeof(disk), NULL, 0, disk_path, sizeof(disk_path));
	HV_BUG_ON(rom_fd < 0 || disk_fd < 0);
	return 0;
}

/* ---- A machine with one of everything ---- */

static void net_drop(struct net *n, const struct iovec *iov, unsigned niov, size_t len) { }
static void net_nothing(struct net *n) { }
static const struct net_ops null_net_ops = { "null", net_drop, net_nothing, net_nothing };

struct machine {
	struct vm *vm;
	struct pc_config cfg;
	struct net net;
	struct block *disks[4];
};

static void make(struct machine *m)
{
	struct err e = { 0 };

	memset(m, 0, sizeof(*m));
	m->vm = vm_new(true, &e);
	m->net.ops = &null_net_ops;
	for (unsigned i = 0; i < 4; i++) {
		m->disks[i] = block_open(disk_path, "raw", BLOCK_THROWAWAY | BLOCK_NO_LOCK |
					 BLOCK_DISCARD_ON, m->vm->loop, &e);
		HV_BUG_ON(!m->disks[i]);
		if (i == 3)
			continue;
		m->cfg.disks[i] = (struct pc_disk){ .block = m->disks[i], .cdrom = i == 2,
			.bus = i ? PC_DISK_IDE : PC_DISK_VIRTIO, .readonly = i == 2 };
	}
	m->cfg.ndisks = 3;
	m->cfg.ram = RAM;
	m->cfg.firmware = m->cfg.vgabios = rom_path;
	m->cfg.nics[0].net = &m->net;
	m->cfg.nnics = 1;
	m->cfg.serial[0] = chardev_open("null", m->vm->loop, &e);
	m->cfg.debugcon = chardev_open("null", m->vm->loop, &e);
	m->cfg.debug_exit = 0xf4;
	m->cfg.display = true;
	m->cfg.floppies[0].block = m->disks[3];
	m->cfg.nfloppies = 1;
	m->cfg.hpet = m->cfg.vmgenid = true;
	m->cfg.parallel = m->cfg.console = m->cfg.serial[0];
	m->cfg.channels[0] = (struct pc_channel){ "fuzz", m->cfg.serial[0] };
	m->cfg.nchannels = 1;
	if (!vm_set_engine(m->vm, &stub_cpu_ops, 2, &e) || !pc_create(m->vm, &m->cfg, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
}

static void unmake(struct machine *m)
{
	vm_lock(m->vm);
	devices_reset(m->vm);
	devices_free(m->vm);
	for (unsigned i = 0; i < 4; i++)
		block_close(m->disks[i]);
	vm_unlock(m->vm);
	loop_poll(m->vm->loop, 0);
	vm_free(m->vm);
	chardev_close(m->cfg.serial[0]);
	chardev_close(m->cfg.debugcon);
}

static void pci_write(struct vm *vm, unsigned slot, unsigned reg, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | slot << 11 | reg);
	tvm_outl(vm, 0xcfc, v);
}

/* What firmware would do: BARs at known places, decoding on. */
static void place_bars(struct vm *vm)
{
	for (unsigned slot = 2; slot < SLOTS; slot++) {
		for (unsigned bar = 0; bar < 6; bar++) {
			unsigned reg = 0x10 + 4 * bar;

			tvm_outl(vm, 0xcf8, 0x80000000u | slot << 11 | reg);
			if (tvm_inl(vm, 0xcfc) & 1)
				pci_write(vm, slot, reg, IO_BARS + slot * 0x100 + bar * 0x40);
			else
				pci_write(vm, slot, reg, MEM_BARS + slot * 0x4000000u +
					  bar * 0x1000000u * (bar != 0));
		}
		pci_write(vm, slot, 4, 7);
	}
	tvm_outl(vm, 0xcf8, 0x80000000u | 1u << 11 | 1u << 8 | 0x20);
	tvm_outl(vm, 0xcfc, 0xbf01);		/* IDE bus master */
	pci_write(vm, 1, 4, 7);
}

/* ---- Steps ---- */

static uint64_t io_address(struct fuzz_input *in)
{
	unsigned sel = (unsigned)fuzz_take(in, 1), off = sel >> 6;

	sel &= 63;
	if (sel < ARRAY_SIZE(ports))
		return ports[sel] + off + (fuzz_take(in, 1) & 7);
	if (sel < 48)
		return 0xbf00 + (fuzz_take(in, 1) & 31);
	return IO_BARS + (sel & 15) * 0x100 + fuzz_take(in, 1);
}

static uint64_t mem_address(struct fuzz_input *in)
{
	unsigned sel = (unsigned)fuzz_take(in, 1);
	uint64_t off = fuzz_take(in, 2);

	if (sel & 0x80)
		return windows[sel % ARRAY_SIZE(windows)] + off;
	return MEM_BARS + (sel & 15) * 0x4000000u + (sel >> 4 & 7) * 0x1000000u + off;
}

static void access_bus(struct vm *vm, enum bus_kind k, struct fuzz_input *in, unsigned op)
{
	uint64_t at = k == BUS_PIO ? io_address(in) : mem_address(in);
	unsigned size = k == BUS_PIO ? 1u << (op >> 4) % 3 : 1u << (op >> 4) % 4;

	if (op & 0x80)
		bus_read(vm->bus, k, at, size);
	else
		bus_write(vm->bus, k, at, size, fuzz_take(in, size));
}

/* 16 bytes at a low, coarse address: rings, descriptors and PRDs come to lie together. */
static void poke_ram(struct vm *vm, struct fuzz_input *in)
{
	uint64_t at = fuzz_take(in, 2) << 4;
	uint8_t b[16];

	st_le64(b, fuzz_take(in, 4));
	st_le64(b + 8, fuzz_take(in, 8));
	if (!gm_write(vm->mem, GPA(at), b, sizeof(b)))
		return;
}

static void run_legacy_disk(struct vm *vm, struct fuzz_input *in)
{
	uint16_t base = fuzz_take(in, 1) & 1 ? 0x170 : 0x1f0;

	for (unsigned r = 1; r < 8; r++)
		tvm_outb(vm, base + r, (uint8_t)fuzz_take(in, 1));
	for (unsigned i = 0; i < 6; i++)
		tvm_outw(vm, base, (uint16_t)fuzz_take(in, 2));
}

static void alter_state(struct vm *vm, struct fuzz_input *in)
{
	unsigned n = (unsigned)fuzz_take(in, 1), changes = (unsigned)fuzz_take(in, 1) % 8;
	struct state_buf b = { 0 };
	struct device *d = vm->devices;
	struct err e;
	size_t pos = 0, head;

	while (n-- && d->next)
		d = d->next;
	if (!d->ops->state)
		return;
	state_save_device(&b, d);
	head = 4 + 2 + strlen(d->ops->name) + 2 + strlen(d->id) + 1 + 4 + 4;
	for (unsigned i = 0; i < changes && b.len > head; i++) {
		size_t at = head + fuzz_take(in, 2) % (b.len - head);

		b.data[at] ^= (uint8_t)fuzz_take(in, 1);
	}
	st_le32(b.data + head - 4, crc32c(0, b.data + head, b.len - head));
	state_load_device(d, b.data, b.len, &pos, &e);
	state_buf_free(&b);
}

static void drain(struct machine *m)
{
	vm_lock(m->vm);
	for (unsigned i = 0; i < 3; i++)
		block_drain(m->disks[i]);
	vm_unlock(m->vm);
	loop_poll(m->vm->loop, 0);
}

static void frame_in(struct machine *m, struct fuzz_input *in)
{
	static uint8_t frame[2048];
	size_t n = 14 + fuzz_take(in, 2) % 1500;

	vm_lock(m->vm);
	if (m->net.nic && m->net.nic->can_receive(m->net.nic_opaque))
		m->net.nic->receive(m->net.nic_opaque, frame, n);
	vm_unlock(m->vm);
}

static void rare(struct machine *m, struct fuzz_input *in)
{
	switch (fuzz_take(in, 1) % 8) {
	case 0:
		vm_lock(m->vm);
		devices_reset(m->vm);
		vm_unlock(m->vm);
		place_bars(m->vm);
		break;
	case 1:
		frame_in(m, in);
		break;
	case 2:
		run_legacy_disk(m->vm, in);
		break;
	case 3:
	case 4:
		tvm_advance(m->vm, fuzz_take(in, 1) << 20);
		break;
	default:
		vm_lock(m->vm);
		alter_state(m->vm, in);
		vm_unlock(m->vm);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input in = { data, len };
	struct machine m;

	if (len < 4 || len > 4096)
		return 0;
	make(&m);
	vm_lock(m.vm);
	devices_reset(m.vm);
	vm_unlock(m.vm);
	place_bars(m.vm);
	for (unsigned i = 0; i < MAX_OPS && in.left; i++) {
		unsigned op = (unsigned)fuzz_take(&in, 1);

		switch (op & 15) {
		case 0 ... 4:
			access_bus(m.vm, BUS_PIO, &in, op);
			break;
		case 5 ... 9:
			access_bus(m.vm, BUS_MMIO, &in, op);
			break;
		case 10 ... 11:
			poke_ram(m.vm, &in);
			break;
		case 12:
			tvm_advance(m.vm, fuzz_take(&in, 1) << 12);
			break;
		case 13:
			drain(&m);
			break;
		default:
			rare(&m, &in);
		}
	}
	drain(&m);
	unmake(&m);
	return 0;
}
