/* SPDX-License-Identifier: MIT */
/* A virtio driver for tests; see vguest.h.  Register offsets: VIRTIO 1.2, 4.1.4.3. */
#include "vguest.h"

static struct pci_bus *buses[64];
static unsigned nbuses;

void vg_give_bus(struct device *d)
{
	struct virtio_dev *v = virtio_of(d);

	assert_true(nbuses < ARRAY_SIZE(buses));
	v->pci.bus = buses[nbuses++] = pci_bus_new(d->vm);
	v->pci.devfn = VG_DEVFN;
}

void vg_buses_free(void)
{
	while (nbuses)
		pci_bus_free(buses[--nbuses]);
}

static void msi_seen(void *opaque, uint64_t addr, uint32_t data)
{
	struct vguest *g = opaque;

	g->msis++;
	g->msi_addr = addr;
	g->msi_data = data;
}

uint32_t vg_cfg_rd(struct vguest *g, unsigned off, unsigned size)
{
	uint32_t v;

	vm_lock(g->vm);
	v = pci_cfg_read(g->v->pci.bus, VG_DEVFN, off, size);
	vm_unlock(g->vm);
	return v;
}

void vg_cfg_wr(struct vguest *g, unsigned off, unsigned size, uint32_t val)
{
	vm_lock(g->vm);
	pci_cfg_write(g->v->pci.bus, VG_DEVFN, off, size, val);
	vm_unlock(g->vm);
}

void vg_init(struct vguest *g, struct vm *vm, struct device *d)
{
	struct irq_line lines[4];

	*g = (struct vguest){ .vm = vm, .v = virtio_of(d), .heap = 0x10000 };
	for (unsigned i = 0; i < 4; i++)
		lines[i] = test_irq_line(&g->irq, i);
	pci_bus_set_intx(g->v->pci.bus, lines);
	vm->msi = (struct msi_sink){ .send = msi_seen, .opaque = g };
	vg_cfg_wr(g, PCI_BAR0, 4, VG_IO);
	vg_cfg_wr(g, PCI_BAR0 + 4, 4, VG_MSIX);
	vg_cfg_wr(g, PCI_BAR0 + 16, 4, VG_BAR);
	vg_cfg_wr(g, PCI_COMMAND, 2, PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER);
}

uint32_t vg_rd(struct vguest *g, unsigned off, unsigned size)
{
	return (uint32_t)bus_read(g->vm->bus, BUS_MMIO, VG_BAR + off, size);
}

void vg_wr(struct vguest *g, unsigned off, unsigned size, uint32_t val)
{
	bus_write(g->vm->bus, BUS_MMIO, VG_BAR + off, size, val);
}

uint64_t vg_alloc(struct vguest *g, unsigned len, unsigned align)
{
	uint64_t at = (g->heap + align - 1) & ~(uint64_t)(align - 1);

	g->heap = at + len;
	return at;
}

void vg_put(struct vguest *g, uint64_t at, const void *p, size_t len)
{
	assert_true(gm_write(g->vm->mem, GPA(at), p, len));
}

void vg_get(struct vguest *g, uint64_t at, void *p, size_t len)
{
	assert_true(gm_read(g->vm->mem, GPA(at), p, len));
}

bool vg_negotiate(struct vguest *g, uint64_t features)
{
	features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
	vg_wr(g, 0x14, 1, 0);
	vg_wr(g, 0x14, 1, 1);
	vg_wr(g, 0x14, 1, 3);
	vg_wr(g, 0x08, 4, 0);
	vg_wr(g, 0x0c, 4, (uint32_t)features);
	vg_wr(g, 0x08, 4, 1);
	vg_wr(g, 0x0c, 4, (uint32_t)(features >> 32));
	vg_wr(g, 0x14, 1, 11);
	return vg_rd(g, 0x14, 1) == 11;
}

static void wr_addr(struct vguest *g, unsigned off, uint64_t at)
{
	vg_wr(g, off, 4, (uint32_t)at);
	vg_wr(g, off + 4, 4, (uint32_t)(at >> 32));
}

void vg_queue(struct vguest *g, struct vgq *q, unsigned index, unsigned size)
{
	*q = (struct vgq){ .g = g, .index = index, .size = size };
	q->desc = vg_alloc(g, 16 * size, 16);
	q->avail = vg_alloc(g, 6 + 2 * size, 2);
	q->used = vg_alloc(g, 6 + 8 * size, 4);
	vg_wr(g, 0x16, 2, index);
	vg_wr(g, 0x18, 2, size);
	wr_addr(g, 0x20, q->desc);
	wr_addr(g, 0x28, q->avail);
	wr_addr(g, 0x30, q->used);
	vg_wr(g, 0x1c, 2, 1);
}

void vg_driver_ok(struct vguest *g)
{
	vg_wr(g, 0x14, 1, 15);
}

void vg_start(struct vguest *g, uint64_t features, struct vgq *q, unsigned nq)
{
	assert_true(vg_negotiate(g, features));
	for (unsigned i = 0; i < nq; i++)
		vg_queue(g, &q[i], i, 64);
	vg_driver_ok(g);
	assert_int_equal(vg_rd(g, 0x14, 1), 15);
}

void vg_desc(struct vgq *q, unsigned i, uint64_t at, uint32_t len, unsigned flags, unsigned next)
{
	uint8_t raw[16];

	st_le64(raw, at);
	st_le32(raw + 8, len);
	st_le16(raw + 12, (uint16_t)flags);
	st_le16(raw + 14, (uint16_t)next);
	vg_put(q->g, q->desc + 16 * i, raw, sizeof(raw));
}

uint16_t vg_add(struct vgq *q, const struct vgbuf *b, unsigned nout, unsigned nin)
{
	uint16_t head = q->next_desc % q->size;

	for (unsigned k = 0; k < nout + nin; k++) {
		unsigned i = q->next_desc++ % q->size;
		bool last = k == nout + nin - 1;

		vg_desc(q, i, b[k].at, b[k].len, (k >= nout ? VG_WRITE : 0) | (last ? 0 : VG_NEXT),
			(i + 1) % q->size);
	}
	vg_offer(q, head);
	return head;
}

void vg_offer(struct vgq *q, uint16_t head)
{
	uint8_t raw[2];

	st_le16(raw, head);
	vg_put(q->g, q->avail + 4 + 2 * (q->avail_idx % q->size), raw, 2);
	st_le16(raw, ++q->avail_idx);
	vg_put(q->g, q->avail + 2, raw, 2);
}

void vg_kick(struct vgq *q)
{
	vg_wr(q->g, VG_NOTIFY + 4 * q->index, 2, q->index);
}

bool vg_used(struct vgq *q, uint16_t *head, uint32_t *len)
{
	uint8_t raw[8];

	vg_get(q->g, q->used + 2, raw, 2);
	if (ld_le16(raw) == q->used_seen)
		return false;
	vg_get(q->g, q->used + 4 + 8 * (q->used_seen++ % q->size), raw, 8);
	*head = (uint16_t)ld_le32(raw);
	*len = ld_le32(raw + 4);
	return true;
}
