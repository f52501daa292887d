/* SPDX-License-Identifier: MIT */
/* Tests of PCI disk controllers; see diskguest.h. */
#include "diskguest.h"
#include "../../devices/chipset.h"
#include "../../src/loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint32_t dg_word(uint32_t sector, unsigned i)
{
	return sector * 0x9e3779b9u + i;
}

struct block *dg_image(struct vm *vm, uint32_t sectors, unsigned flags)
{
	char path[] = "/tmp/hv-disk-XXXXXX";
	struct err e = { 0 };
	struct block *b;
	uint32_t buf[128];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	for (uint32_t s = 0; s < sectors; s++) {
		for (unsigned i = 0; i < 128; i++)
			buf[i] = dg_word(s, i);
		assert_int_equal(write(fd, buf, 512), 512);
	}
	close(fd);
	b = block_open(path, "raw", flags, vm->loop, &e);
	if (!b)
		fail_msg("%s", e.msg);
	unlink(path);
	return b;
}

void dg_close(struct vm *vm, struct block *b)
{
	vm_lock(vm);
	block_close(b);
	vm_unlock(vm);
	loop_poll(vm->loop, 0);
}

void dg_check(const void *p, uint32_t sector)
{
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(ld_le32((const uint8_t *)p + 4 * i), dg_word(sector, i));
}

void dg_check_at(struct vm *vm, uint64_t at, uint32_t sector, unsigned n)
{
	uint8_t buf[512];

	for (unsigned i = 0; i < n; i++) {
		assert_true(gm_read(vm->mem, GPA(at + 512 * i), buf, sizeof(buf)));
		dg_check(buf, sector + i);
	}
}

void dg_place(struct device *d)
{
	struct device *host = tvm_add(d->vm, &i440fx_ops, "host", NULL);

	pci_place(d, i440fx_bus(host), DG_DEVFN);
}

uint32_t dg_cfg_rd(struct vm *vm, unsigned off)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DG_DEVFN << 8 | (off & ~3u));
	return tvm_inl(vm, 0xcfc);
}

void dg_cfg_wr(struct vm *vm, unsigned off, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DG_DEVFN << 8 | (off & ~3u));
	tvm_outl(vm, 0xcfc, v);
}

static void msi_seen(void *opaque, uint64_t addr, uint32_t data)
{
	struct diskguest *g = opaque;

	g->msis++;
	g->msi_data = data;
}

void dg_enable(struct diskguest *g)
{
	struct pci_dev *p = container_of(g->d, struct pci_dev, dev);

	for (unsigned i = 0; i < PCI_NUM_BARS; i++)
		if (p->bars[i].type == PCI_BAR_IO)
			dg_cfg_wr(g->vm, PCI_BAR0 + 4 * i, 0xc000);
		else if (p->bars[i].type != PCI_BAR_NONE)
			dg_cfg_wr(g->vm, PCI_BAR0 + 4 * i, DG_BAR_AT(i));
	dg_cfg_wr(g->vm, PCI_COMMAND, PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER);
	g->vm->msi = (struct msi_sink){ .send = msi_seen, .opaque = g };
}

uint64_t dg_random(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
