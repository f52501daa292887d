/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver for tests: maps the function's BARs, negotiates, lays out
 * split rings in guest memory and moves buffers, all through the bus.
 */
#ifndef HV_VGUEST_H
#define HV_VGUEST_H

#include "../../devices/virtio/virtio.h"
#include "testvm.h"

#define VG_BAR 0xe0000000u	/* modern registers */
#define VG_MSIX 0xe0010000u
#define VG_IO 0xc000u
#define VG_DEVFN PCI_DEVFN(3, 0)

enum { VG_NEXT = 1, VG_WRITE = 2, VG_INDIRECT = 4 };

struct vguest {
	struct vm *vm;
	struct virtio_dev *v;
	uint64_t heap;		/* next free guest address */
	struct test_irq irq;
	unsigned msis;
	uint64_t msi_addr;
	uint32_t msi_data;
};

struct vgq {
	struct vguest *g;
	unsigned index, size;
	uint64_t desc, avail, used;
	uint16_t next_desc, avail_idx, used_seen;
};

/* For setup callbacks: gives the device a PCI bus of its own; vg_buses_free() at the end. */
void vg_give_bus(struct device *d);
void vg_buses_free(void);

/* Map BARs, enable decoding and bus mastering, record INTA# and messages. */
void vg_init(struct vguest *g, struct vm *vm, struct device *d);
uint32_t vg_cfg_rd(struct vguest *g, unsigned off, unsigned size);
void vg_cfg_wr(struct vguest *g, unsigned off, unsigned size, uint32_t val);

uint32_t vg_rd(struct vguest *g, unsigned off, unsigned size);	/* modern BAR */
void vg_wr(struct vguest *g, unsigned off, unsigned size, uint32_t val);
#define VG_CONFIG 0x2000u
#define VG_ISR 0x1000u
#define VG_NOTIFY 0x3000u

uint64_t vg_alloc(struct vguest *g, unsigned len, unsigned align);
void vg_put(struct vguest *g, uint64_t at, const void *p, size_t len);
void vg_get(struct vguest *g, uint64_t at, void *p, size_t len);

/* ACKNOWLEDGE to FEATURES_OK with @features (plus VERSION_1); true if accepted. */
bool vg_negotiate(struct vguest *g, uint64_t features);
void vg_queue(struct vguest *g, struct vgq *q, unsigned index, unsigned size);
void vg_driver_ok(struct vguest *g);
/* All of the above; @nq queues of 64 entries into @q. */
void vg_start(struct vguest *g, uint64_t features, struct vgq *q, unsigned nq);

void vg_desc(struct vgq *q, unsigned i, uint64_t at, uint32_t len, unsigned flags, unsigned next);
/* Chain of buffers from the next free descriptors: @nout to read, then @nin to write. */
struct vgbuf { uint64_t at; uint32_t len; };
uint16_t vg_add(struct vgq *q, const struct vgbuf *b, unsigned nout, unsigned nin);
void vg_offer(struct vgq *q, uint16_t head);	/* make @head available */
void vg_kick(struct vgq *q);
/* Next used entry; false: none. */
bool vg_used(struct vgq *q, uint16_t *head, uint32_t *len);

#endif
