/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI (VIRTIO 1.2, 4.1): the modern register blocks in BAR 4,
 * the PCI configuration access window, MSI-X in BAR 1, and for transitional
 * functions the legacy I/O block in BAR 0 (4.1.4.10).
 */
#include "virtio.h"

#define BAR_LEGACY 0
#define BAR_MSIX 1
#define BAR_MODERN 4

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN 0x1040	/* + type (4.1.2) */
#define SUBSYS_MODERN 0x1100

/* Capability types (4.1.4) */
#define CAP_VENDOR 0x09
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4
#define CAP_PCI_CFG 5
#define CAP_LEN 16u

/* One page of the modern BAR for each block */
#define BLOCK_SIZE 0x1000u
#define BLOCK_COMMON 0
#define BLOCK_ISR 1
#define BLOCK_DEVICE 2
#define BLOCK_NOTIFY 3
#define MODERN_SIZE (4 * BLOCK_SIZE)
#define NOTIFY_STRIDE 4u

/* struct virtio_pci_common_cfg (4.1.4.3) */
enum {
	C_OFFERED_SEL = 0x00, C_OFFERED = 0x04, C_ACCEPTED_SEL = 0x08, C_ACCEPTED = 0x0c,
	C_CONFIG_VECTOR = 0x10, C_NUM_QUEUES = 0x12, C_STATUS = 0x14, C_GENERATION = 0x15,
	C_QUEUE_SEL = 0x16, C_QUEUE_SIZE = 0x18, C_QUEUE_VECTOR = 0x1a, C_QUEUE_ENABLE = 0x1c,
	C_QUEUE_NOTIFY_OFF = 0x1e, C_QUEUE_DESC = 0x20, C_QUEUE_DRIVER = 0x28,
	C_QUEUE_DEVICE = 0x30, C_LEN = 0x38,
};

/* Legacy header (4.1.4.10); the vectors exist only while MSI-X is enabled */
enum {
	L_OFFERED = 0x00, L_ACCEPTED = 0x04, L_QUEUE_PFN = 0x08, L_QUEUE_SIZE = 0x0c,
	L_QUEUE_SEL = 0x0e, L_QUEUE_NOTIFY = 0x10, L_STATUS = 0x12, L_ISR = 0x13,
	L_CONFIG_VECTOR = 0x14, L_QUEUE_VECTOR = 0x16, L_LEN = 0x14, L_LEN_MSIX = 0x18,
};
#define LEGACY_ALIGN 4096u

static uint64_t all_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

static uint32_t ld_sized(const uint8_t *p, unsigned size)
{
	return size == 1 ? *p : size == 2 ? ld_le16(p) : ld_le32(p);
}

/* A vector that does not exist reads back as NO_VECTOR (4.1.5.1.2.1). */
uint16_t virtio_pci_vector(const struct virtio_dev *v, uint16_t vector)
{
	return vector < v->pci.msix.nvec ? vector : VIRTQ_NO_VECTOR;
}

void virtio_pci_update_irq(struct virtio_dev *v)
{
	pci_set_irq(&v->pci, v->isr != 0);
}

/* 4.1.4.5.1: the queue bit is set only without MSI-X, the configuration bit always. */
void virtio_pci_irq(struct virtio_dev *v, uint16_t vector, uint8_t isr)
{
	bool msix = pci_msix_enabled(&v->pci);

	if (!msix || isr == VIRTIO_ISR_CONFIG) {
		v->isr |= isr;
		virtio_pci_update_irq(v);
	}
	if (msix && vector != VIRTQ_NO_VECTOR)
		pci_msix_notify(&v->pci, vector);
}

static uint8_t read_isr(struct virtio_dev *v)
{
	uint8_t isr = v->isr;

	v->isr = 0;
	virtio_pci_update_irq(v);
	return isr;
}

/* --- modern: common configuration --- */

static uint32_t common_read(struct virtio_dev *v, unsigned off, unsigned size)
{
	const struct virtq *q = virtio_selected(v);
	uint64_t offered = virtio_offered(v, false);
	uint8_t r[C_LEN] = { 0 };

	if (!range_ok(off, size, C_LEN))
		return 0;
	st_le32(r + C_OFFERED_SEL, v->offered_sel);
	st_le32(r + C_OFFERED, v->offered_sel < 2 ? offered >> 32 * v->offered_sel : 0);
	st_le32(r + C_ACCEPTED_SEL, v->accepted_sel);
	st_le32(r + C_ACCEPTED, v->accepted_sel < 2 ? v->features >> 32 * v->accepted_sel : 0);
	st_le16(r + C_CONFIG_VECTOR, v->config_vector);
	st_le16(r + C_NUM_QUEUES, v->nqueues);
	r[C_STATUS] = v->status;
	r[C_GENERATION] = v->generation;
	st_le16(r + C_QUEUE_SEL, v->queue_sel);
	if (!q)		/* size 0: the queue does not exist (4.1.5.1.3) */
		return ld_sized(r + off, size);
	st_le16(r + C_QUEUE_SIZE, q->size);
	st_le16(r + C_QUEUE_VECTOR, q->vector);
	st_le16(r + C_QUEUE_ENABLE, q->ready);
	st_le16(r + C_QUEUE_NOTIFY_OFF, v->queue_sel);
	st_le64(r + C_QUEUE_DESC, q->desc);
	st_le64(r + C_QUEUE_DRIVER, q->avail);
	st_le64(r + C_QUEUE_DEVICE, q->used);
	return ld_sized(r + off, size);
}

static void set_half(uint64_t *reg, bool high, uint32_t val)
{
	uint64_t mask = (uint64_t)UINT32_MAX << (high ? 32 : 0);

	*reg = (*reg & ~mask) | (uint64_t)val << (high ? 32 : 0);
}

static void write_accepted(struct virtio_dev *v, uint32_t val)
{
	uint64_t f = v->features;

	if (v->accepted_sel > 1)
		return;
	set_half(&f, v->accepted_sel, val);
	virtio_write_features(v, f);
}

static void write_queue_size(struct virtio_dev *v, struct virtq *q, uint32_t val)
{
	if (is_pow2(val) && val <= q->max)
		q->size = val;
	else
		dev_guest_error(&v->pci.dev, "queue size %u", val);
}

/* Registers of the selected queue; addresses and size are fixed once it is enabled. */
static bool queue_write(struct virtio_dev *v, struct virtq *q, unsigned off, unsigned size,
			uint32_t val)
{
	if (off == C_QUEUE_VECTOR && size == 2) {
		q->vector = virtio_pci_vector(v, val);
		return true;
	}
	if (off == C_QUEUE_ENABLE && size == 2) {
		if (val == 1)
			virtio_enable_queue(v, q);
		return true;
	}
	if (q->ready)
		return false;
	if (off == C_QUEUE_SIZE && size == 2)
		write_queue_size(v, q, val);
	else if ((off & ~4u) == C_QUEUE_DESC && size == 4)
		set_half(&q->desc, off & 4, val);
	else if ((off & ~4u) == C_QUEUE_DRIVER && size == 4)
		set_half(&q->avail, off & 4, val);
	else if ((off & ~4u) == C_QUEUE_DEVICE && size == 4)
		set_half(&q->used, off & 4, val);
	else
		return false;
	return true;
}

/* 4.1.3.1: fields are written with their own width, 64-bit ones as two halves. */
static void common_write(struct virtio_dev *v, unsigned off, unsigned size, uint32_t val)
{
	struct virtq *q = virtio_selected(v);

	if (v->draining)
		return;
	if (off == C_OFFERED_SEL && size == 4)
		v->offered_sel = val;
	else if (off == C_ACCEPTED_SEL && size == 4)
		v->accepted_sel = val;
	else if (off == C_ACCEPTED && size == 4)
		write_accepted(v, val);
	else if (off == C_CONFIG_VECTOR && size == 2)
		v->config_vector = virtio_pci_vector(v, val);
	else if (off == C_STATUS && size == 1)
		virtio_write_status(v, val);
	else if (off == C_QUEUE_SEL && size == 2)
		v->queue_sel = val;
	else if (!q || !queue_write(v, q, off, size, val))
		dev_guest_error(&v->pci.dev, "common configuration: write of %u bytes at %#x",
				size, off);
}

static uint32_t modern_read_block(struct virtio_dev *v, uint64_t off, unsigned size)
{
	unsigned in = off % BLOCK_SIZE;

	switch (off / BLOCK_SIZE) {
	case BLOCK_COMMON:
		return common_read(v, in, size);
	case BLOCK_ISR:
		return in ? 0 : read_isr(v);
	case BLOCK_DEVICE:
		return virtio_read_config(v, in, size);
	default:
		return 0;
	}
}

static uint64_t modern_read(struct device *d, uint64_t off, unsigned size)
{
	return modern_read_block(virtio_of(d), off, size);
}

static void modern_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_dev *v = virtio_of(d);
	unsigned in = off % BLOCK_SIZE;

	switch (off / BLOCK_SIZE) {
	case BLOCK_COMMON:
		common_write(v, in, size, val);
		break;
	case BLOCK_DEVICE:
		virtio_write_config(v, in, size, val);
		break;
	case BLOCK_NOTIFY:
		virtio_notify(v, in / NOTIFY_STRIDE);
		break;
	}
}

static const struct io_ops modern_ops = {
	.read = modern_read, .write = modern_write, .min_size = 1, .max_size = 4,
};

/* --- legacy I/O block --- */

static unsigned legacy_header(const struct virtio_dev *v)
{
	return pci_msix_enabled(&v->pci) ? L_LEN_MSIX : L_LEN;
}

static uint64_t legacy_read(struct device *d, uint64_t off, unsigned size)
{
	struct virtio_dev *v = virtio_of(d);
	const struct virtq *q = virtio_selected(v);
	uint8_t r[L_LEN_MSIX] = { 0 };

	if (off >= legacy_header(v))
		return virtio_read_config(v, off - legacy_header(v), size);
	if (off == L_ISR)
		return read_isr(v);
	if (!range_ok(off, size, sizeof(r)))
		return all_ones(size);
	st_le32(r + L_OFFERED, virtio_offered(v, true));
	st_le32(r + L_ACCEPTED, v->features);
	if (q) {
		st_le32(r + L_QUEUE_PFN, q->ready ? q->desc / LEGACY_ALIGN : 0);
		st_le16(r + L_QUEUE_SIZE, q->size);
	}
	st_le16(r + L_QUEUE_SEL, v->queue_sel);
	r[L_STATUS] = v->status;
	st_le16(r + L_CONFIG_VECTOR, v->config_vector);
	st_le16(r + L_QUEUE_VECTOR, q ? q->vector : VIRTQ_NO_VECTOR);
	return ld_sized(r + off, size);
}

/* 2.7.2: the legacy layout follows from one page number; 0 stops the whole device. */
static void legacy_set_pfn(struct virtio_dev *v, struct virtq *q, uint32_t pfn)
{
	uint64_t rings_end;

	if (!pfn) {
		virtio_write_status(v, 0);
		return;
	}
	if (q->ready) {
		dev_guest_error(&v->pci.dev, "queue moved while in use");
		return;
	}
	q->desc = (uint64_t)pfn * LEGACY_ALIGN;
	q->avail = q->desc + 16ull * q->size;
	rings_end = q->avail + 6 + 2ull * q->size;
	q->used = (rings_end + LEGACY_ALIGN - 1) & ~(uint64_t)(LEGACY_ALIGN - 1);
	virtio_enable_queue(v, q);
}

static void legacy_write_header(struct virtio_dev *v, unsigned off, unsigned size, uint32_t val)
{
	struct virtq *q = virtio_selected(v);

	if (off == L_ACCEPTED && size == 4)
		virtio_write_features(v, val);
	else if (off == L_QUEUE_PFN && size == 4 && q)
		legacy_set_pfn(v, q, val);
	else if (off == L_QUEUE_SEL && size == 2)
		v->queue_sel = val;
	else if (off == L_QUEUE_NOTIFY && size == 2)
		virtio_notify(v, val);
	else if (off == L_STATUS && size == 1)
		virtio_write_status(v, val);
	else if (off == L_CONFIG_VECTOR && size == 2)
		v->config_vector = virtio_pci_vector(v, val);
	else if (off == L_QUEUE_VECTOR && size == 2 && q)
		q->vector = virtio_pci_vector(v, val);
}

static void legacy_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_dev *v = virtio_of(d);

	if (v->draining)
		return;
	if (!v->legacy && v->status & VIRTIO_S_FEATURES_OK) {
		dev_guest_error(d, "legacy interface written by a modern driver");
		return;
	}
	/* The first write of a driver that is not a reset chooses the interface. */
	if (!v->legacy && (off != L_STATUS || val)) {
		v->legacy = true;
		v->features &= virtio_offered(v, true);	/* what a modern one left */
	}
	if (off < legacy_header(v))
		legacy_write_header(v, off, size, val);
	else
		virtio_write_config(v, off - legacy_header(v), size, val);
}

static const struct io_ops legacy_ops = {
	.read = legacy_read, .write = legacy_write, .min_size = 1, .max_size = 4,
};

/* --- capabilities --- */

static uint8_t add_cap(struct virtio_dev *v, uint8_t type, unsigned extra, uint32_t off,
		       uint32_t len)
{
	uint8_t at = pci_add_cap(&v->pci, CAP_VENDOR, CAP_LEN + extra), *c = v->pci.cfg + at;

	c[2] = CAP_LEN + extra;
	c[3] = type;
	c[4] = type == CAP_PCI_CFG ? 0 : BAR_MODERN;
	st_le32(c + 8, off);
	st_le32(c + 12, len);
	return at;
}

static void add_caps(struct virtio_dev *v)
{
	uint8_t notify;

	add_cap(v, CAP_COMMON, 0, BLOCK_COMMON * BLOCK_SIZE, C_LEN);
	add_cap(v, CAP_ISR, 0, BLOCK_ISR * BLOCK_SIZE, 1);
	if (v->cls->config_len)
		add_cap(v, CAP_DEVICE, 0, BLOCK_DEVICE * BLOCK_SIZE, v->cls->config_len);
	notify = add_cap(v, CAP_NOTIFY, 4, BLOCK_NOTIFY * BLOCK_SIZE, v->nqueues * NOTIFY_STRIDE);
	st_le32(v->pci.cfg + notify + CAP_LEN, NOTIFY_STRIDE);
	v->cfg_cap = add_cap(v, CAP_PCI_CFG, 4, 0, 0);
	v->pci.wmask[v->cfg_cap + 4] = 0xff;
	memset(v->pci.wmask + v->cfg_cap + 8, 0xff, 12);
}

/*
 * The configuration access window (4.1.4.9): an access to pci_cfg_data does
 * the BAR access that bar, offset and length describe.  Only the modern BAR
 * can be reached.  Firmware uses it before BARs are mapped.
 */
static bool window_target(struct virtio_dev *v, uint32_t *off, uint32_t *len)
{
	const uint8_t *c = v->pci.cfg + v->cfg_cap;

	*off = ld_le32(c + 8);
	*len = ld_le32(c + 12);
	return c[4] == BAR_MODERN && (*len == 1 || *len == 2 || *len == 4) &&
	       !(*off & (*len - 1)) && range_ok(*off, *len, MODERN_SIZE);
}

static bool in_window(const struct virtio_dev *v, unsigned off)
{
	return (off & ~3u) == v->cfg_cap + CAP_LEN;
}

static void window_write(struct pci_dev *d, unsigned off, unsigned size, uint32_t old)
{
	struct virtio_dev *v = container_of(d, struct virtio_dev, pci);
	uint32_t at, len;

	(void)size;
	(void)old;
	if (in_window(v, off) && window_target(v, &at, &len))
		modern_write(&d->dev, at, len, ld_sized(d->cfg + v->cfg_cap + CAP_LEN, len));
}

static uint32_t window_read(struct pci_dev *d, unsigned off, unsigned size, uint32_t val)
{
	struct virtio_dev *v = container_of(d, struct virtio_dev, pci);
	uint8_t *data = d->cfg + v->cfg_cap + CAP_LEN;
	uint32_t at, len;

	if (!in_window(v, off) || !range_ok(off & 3, size, 4) || !window_target(v, &at, &len))
		return val;
	st_le32(data, modern_read_block(v, at, len));
	return ld_sized(data + (off & 3), size);
}

/* --- life --- */

static void set_identity(struct virtio_dev *v)
{
	struct pci_id id = {
		.vendor = VENDOR_VIRTIO, .subsys_vendor = VENDOR_VIRTIO,
		.class_code = v->cls->class_code, .int_pin = 1,
	};

	if (v->disable_legacy) {
		id.device = DEVICE_MODERN + v->cls->type;
		id.subsys_id = SUBSYS_MODERN;
		id.revision = 1;
	} else {	/* 4.1.2.3: revision 0, subsystem = device type */
		id.device = v->cls->legacy_id;
		id.subsys_id = v->cls->type;
	}
	pci_init(&v->pci, &id);
}

bool virtio_pci_realize(struct virtio_dev *v, struct err *e)
{
	unsigned io_size = 32;

	set_identity(v);
	while (io_size < (unsigned)L_LEN_MSIX + v->cls->config_len)
		io_size *= 2;
	if (!v->disable_legacy &&
	    !pci_bar_io(&v->pci, BAR_LEGACY, PCI_BAR_IO, io_size, &legacy_ops, e))
		return false;
	if (!pci_bar_io(&v->pci, BAR_MODERN, PCI_BAR_MEM64, MODERN_SIZE, &modern_ops, e) ||
	    !pci_msix_init(&v->pci, v->nqueues + 1, BAR_MSIX, e))
		return false;
	add_caps(v);
	v->pci.cfg_written = window_write;
	v->pci.cfg_read = window_read;
	return true;
}
