/* SPDX-License-Identifier: MIT */
/* Tests of the IDE ports; see ideguest.h. */
#include "ideguest.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"

struct ideguest ig;

static void place(struct device *d)
{
	struct device *host = tvm_add(d->vm, &i440fx_ops, "host", NULL);

	pci_place(d, i440fx_bus(host), CHIPSET_IDE_DEVFN);
}

void ig_wire(struct device *d)
{
	place(d);
	ide_set_irqs(d, test_irq_line(&ig.irqs, 14), test_irq_line(&ig.irqs, 15));
	ide_set_drive(d, 0, ig.disk, false, false, "SERIAL1");
	ide_set_drive(d, 2, ig.cd, true, true, "SERIAL2");
}

void ig_wire_empty(struct device *d)
{
	place(d);
	ide_set_irqs(d, test_irq_line(&ig.irqs, 14), test_irq_line(&ig.irqs, 15));
	ide_set_drive(d, 2, NULL, true, true, "EMPTY");
}

static void cfg_wr(unsigned off, uint32_t v)
{
	tvm_outl(ig.vm, 0xcf8, 0x80000000u | CHIPSET_IDE_DEVFN << 8 | off);
	tvm_outl(ig.vm, 0xcfc, v);
}

void ig_enable(void)
{
	cfg_wr(0x40, 0x80008000);
	cfg_wr(0x20, IG_BM);
	cfg_wr(4, PCI_CMD_IO | PCI_CMD_MASTER);
}

int ig_setup(void **st)
{
	ig.vm = tvm_new(MiB(4));
	memset(&ig.irqs, 0, sizeof(ig.irqs));
	ig.disk = dg_image(ig.vm, IG_DISK_SECTORS, 0);
	ig.cd = dg_image(ig.vm, IG_CD_BLOCKS * 4, BLOCK_RDONLY);
	ig.ide = tvm_add(ig.vm, &piix3_ide_ops, "ide", ig_wire);
	ig_enable();
	return 0;
}

int ig_teardown(void **st)
{
	hostfile_fault = NULL;
	vm_lock(ig.vm);
	ig.ide->ops->reset(ig.ide);
	block_close(ig.disk);
	block_close(ig.cd);
	vm_unlock(ig.vm);
	loop_poll(ig.vm->loop, 0);		/* completion notices still queued */
	tvm_free(ig.vm);
	return 0;
}

uint8_t ig_settle(unsigned base)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t s = tvm_inb(ig.vm, base + 0x206);

		if (!(s & 0x80))
			return s;
		loop_poll(ig.vm->loop, 100);
	}
	fail_msg("busy for ever");
	return 0;
}

void ig_task(unsigned base, uint8_t dev, uint64_t lba, unsigned n, bool ext)
{
	tvm_outb(ig.vm, base + 6, dev);
	if (ext) {
		tvm_outb(ig.vm, base + 2, n >> 8);
		tvm_outb(ig.vm, base + 3, lba >> 24);
		tvm_outb(ig.vm, base + 4, lba >> 32);
		tvm_outb(ig.vm, base + 5, lba >> 40);
	} else {
		tvm_outb(ig.vm, base + 6, dev | (lba >> 24 & 15));
	}
	tvm_outb(ig.vm, base + 2, n);
	tvm_outb(ig.vm, base + 3, lba);
	tvm_outb(ig.vm, base + 4, lba >> 8);
	tvm_outb(ig.vm, base + 5, lba >> 16);
}

void ig_read_window(unsigned base, uint16_t *buf, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		buf[i] = tvm_inw(ig.vm, base);
}

void ig_prd(unsigned n, uint32_t addr, uint16_t len, bool last)
{
	uint32_t at = IG_PRDT + 8 * n;

	assert_true(gm_write_le32(ig.vm->mem, GPA(at), addr));
	assert_true(gm_write_le32(ig.vm->mem, GPA(at + 4), len | (last ? 0x80000000u : 0)));
}
