/* SPDX-License-Identifier: MIT */
/*
 * I/O APIC with 24 inputs.
 *
 * After: Intel 82093AA data sheet (290566-001), with the EOI register and
 * version 0x20 of the ICH family (ICH9 data sheet 316972, 13.5.5).
 *
 * Lines carry assertion, not voltage: the polarity bit is kept but has no
 * effect.  Interrupts are messages to vm->msi, so the APIC bus arbitration ID
 * only reads back, and delivery status is always idle.
 */
#include "ioapic.h"
#include "../src/vm.h"

#define REG_SEL 0x00
#define REG_WIN 0x10
#define REG_EOI 0x40

#define IDX_ID 0x00
#define IDX_VER 0x01
#define IDX_ARB 0x02
#define IDX_RTE 0x10

#define IOAPIC_VERSION 0x20u

#define RTE_VECTOR 0xffull
#define RTE_LOGICAL (1ull << 11)
#define RTE_REMOTE_IRR (1ull << 14)
#define RTE_LEVEL (1ull << 15)
#define RTE_MASKED (1ull << 16)
#define RTE_RO (1ull << 12 | RTE_REMOTE_IRR)
#define RTE_RW 0xff0000000001afffull	/* bits 12 and 14 are read only */

#define MODE_LOWEST 1
#define MODE_EXTINT 7

struct ioapic {
	struct device dev;
	uint64_t rte[IOAPIC_PINS];
	uint32_t lines;		/* input levels */
	uint32_t id;
	uint8_t sel;
	struct io_region io;
};
DEVICE_CHECK(struct ioapic);

static const struct state_field ioapic_fields[] = {
	STATE_U64S(struct ioapic, rte), STATE_U32(struct ioapic, lines),
	STATE_U32(struct ioapic, id), STATE_U8(struct ioapic, sel),
	STATE_END
};

static unsigned rte_mode(uint64_t rte)
{
	return rte >> 8 & 7;
}

/* SDM vol. 3, "Message Signalled Interrupts": the same fields in other places. */
static void rte_message(uint64_t rte, uint64_t *addr, uint32_t *data)
{
	*addr = 0xfee00000u | (rte >> 56) << 12 | (rte & RTE_LOGICAL ? 4 : 0) |
		(rte_mode(rte) == MODE_LOWEST ? 8 : 0);
	*data = (uint32_t)(rte & (RTE_VECTOR | 7u << 8 | RTE_LEVEL)) | 1u << 14;
}

static void ioapic_send(struct ioapic *s, unsigned pin)
{
	const struct extint *x = &s->dev.vm->extint;
	uint64_t rte = s->rte[pin], addr;
	uint32_t data;

	/* ExtINT: the vector is the 8259's; its acknowledge happens on the way. */
	if (rte_mode(rte) == MODE_EXTINT) {
		if (!x->inta)
			return;
		rte &= ~(RTE_VECTOR | 7ull << 8 | RTE_LEVEL);
		rte |= (uint64_t)x->inta(x->opaque) & 0xff;
	}
	rte_message(rte, &addr, &data);
	if (rte & RTE_LEVEL && rte_mode(rte) <= MODE_LOWEST)
		s->rte[pin] |= RTE_REMOTE_IRR;	/* the others have no EOI */
	msi_send(&s->dev.vm->msi, addr, data);
}

/* A level input sends while it is asserted and the last message has been answered. */
static void ioapic_service_level(struct ioapic *s, unsigned pin)
{
	uint64_t rte = s->rte[pin];

	if (rte & RTE_LEVEL && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)) && s->lines >> pin & 1)
		ioapic_send(s, pin);
}

static void ioapic_set_irq(void *sink, unsigned pin, bool level)
{
	struct ioapic *s = sink;
	uint32_t bit = 1u << pin;
	bool rose = level && !(s->lines & bit);

	s->lines = level ? s->lines | bit : s->lines & ~bit;
	if (s->rte[pin] & RTE_LEVEL)
		ioapic_service_level(s, pin);
	else if (rose && !(s->rte[pin] & RTE_MASKED))
		ioapic_send(s, pin);	/* masked edges are lost (3.2.4, bit 16) */
}

static void ioapic_eoi(void *opaque, uint8_t vector)
{
	struct ioapic *s = opaque;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(s->rte[pin] & RTE_REMOTE_IRR) || (s->rte[pin] & RTE_VECTOR) != vector)
			continue;
		s->rte[pin] &= ~RTE_REMOTE_IRR;
		ioapic_service_level(s, pin);
	}
}

static void ioapic_route(struct ioapic *s, unsigned pin)
{
	const struct msi_sink *m = &s->dev.vm->msi;
	uint64_t addr;
	uint32_t data;

	if (!m->route)
		return;
	rte_message(s->rte[pin], &addr, &data);
	m->route(m->opaque, pin, addr, data, s->rte[pin] & RTE_LEVEL);
}

static void ioapic_write_rte(struct ioapic *s, unsigned pin, bool high, uint32_t val)
{
	uint64_t old = s->rte[pin], v;

	v = high ? (uint64_t)val << 32 | (uint32_t)old : (old & ~0xffffffffull) | val;
	v = (v & RTE_RW) | (old & RTE_RO);
	if (!(v & RTE_LEVEL))
		v &= ~RTE_REMOTE_IRR;	/* guests without an EOI register clear it like this */
	s->rte[pin] = v;
	ioapic_route(s, pin);
	ioapic_service_level(s, pin);
}

static uint32_t ioapic_read_win(const struct ioapic *s)
{
	unsigned n = s->sel - IDX_RTE;

	switch (s->sel) {
	case IDX_ID:
	case IDX_ARB:
		return s->id;
	case IDX_VER:
		return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	}
	if (s->sel < IDX_RTE || n / 2 >= IOAPIC_PINS)
		return 0;
	return (uint32_t)(s->rte[n / 2] >> (n & 1 ? 32 : 0));
}

static void ioapic_write_win(struct ioapic *s, uint32_t val)
{
	unsigned n = s->sel - IDX_RTE;

	if (s->sel == IDX_ID)
		s->id = val & 0x0f000000;
	else if (s->sel >= IDX_RTE && n / 2 < IOAPIC_PINS)
		ioapic_write_rte(s, n / 2, n & 1, val);
}

static uint64_t ioapic_read(struct device *d, uint64_t off, unsigned size)
{
	struct ioapic *s = (struct ioapic *)d;

	switch (off & 0xff) {
	case REG_SEL: return s->sel;
	case REG_WIN: return ioapic_read_win(s);
	default: return 0;
	}
}

static void ioapic_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ioapic *s = (struct ioapic *)d;

	switch (off & 0xff) {
	case REG_SEL:
		s->sel = (uint8_t)val;
		break;
	case REG_WIN:
		if (size == 4)
			ioapic_write_win(s, (uint32_t)val);
		else
			dev_guest_error(d, "%u-byte write to the window", size);
		break;
	case REG_EOI:
		ioapic_eoi(s, (uint8_t)val);
		break;
	}
}

static const struct io_ops ioapic_io = { ioapic_read, ioapic_write, 1, 4 };

static bool ioapic_realize(struct device *d, struct err *e)
{
	struct ioapic *s = (struct ioapic *)d;

	d->vm->eoi = ioapic_eoi;
	d->vm->eoi_opaque = s;
	s->io = (struct io_region){ .kind = BUS_MMIO, .base = IOAPIC_BASE, .len = 0x1000,
		.ops = &ioapic_io, .name = "ioapic" };
	return dev_add_region(d, &s->io, e);
}

/* 82093AA 3.2: all entries masked. */
static void ioapic_reset(struct device *d)
{
	struct ioapic *s = (struct ioapic *)d;

	s->id = 0;
	s->sel = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		s->rte[pin] = RTE_MASKED;
		ioapic_route(s, pin);
	}
}

static void ioapic_unrealize(struct device *d)
{
	if (d->vm->eoi_opaque == d)
		d->vm->eoi = NULL;
}

static bool ioapic_post_load(struct device *d, struct err *e)
{
	struct ioapic *s = (struct ioapic *)d;

	s->lines &= (1u << IOAPIC_PINS) - 1;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		s->rte[pin] &= RTE_RW | RTE_REMOTE_IRR;
		ioapic_route(s, pin);
	}
	return true;
}

struct irq_line ioapic_line(struct device *d, unsigned pin)
{
	HV_BUG_ON(pin >= IOAPIC_PINS);
	return (struct irq_line){ .set = ioapic_set_irq, .sink = d, .pin = pin };
}

const struct device_ops ioapic_ops = {
	.name = "ioapic",
	.size = sizeof(struct ioapic),
	.realize = ioapic_realize,
	.reset = ioapic_reset,
	.unrealize = ioapic_unrealize,
	.state = ioapic_fields,
	.state_version = 1,
	.post_load = ioapic_post_load,
};
