/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371SB (PIIX3), function 0: PCI-to-ISA bridge and the routing of
 * PIRQA-D# to ISA interrupts (Intel document 290550-002, section 2.2.10).
 *
 * Every ISA interrupt leaves here as one line: the ISA device's level, the
 * PCI links routed to it and (IRQ 9) the SCI, wired-OR.  The board fans it
 * out to the 8259 pair and the IOAPIC.  ELCR (4D0h/4D1h) lives in i8259.c,
 * reset control (CF9h) in i440fx.c.
 *
 * Left out: DMA aliasing, X-bus chip selects and SMI registers are stored
 * and do nothing.
 */
#include "chipset.h"
#include "../src/vm.h"

#define CFG_PIRQRC 0x60
#define PIRQRC_OFF 0x80
#define PIRQ_IRQS 0xdef8u	/* 3-7, 9-12, 14, 15: what PIRQRC may select */

struct piix3 {
	struct pci_dev pci;
	struct irq_line out[16];
	uint16_t isa_level;	/* one bit an ISA device line */
	uint16_t out_level;
	uint8_t pirq_level;	/* one bit a link */
	bool sci_level;
};
PCI_DEVICE_CHECK(struct piix3);

static const struct state_field piix3_state[] = {
	PCI_STATE(struct piix3, pci),
	STATE_U16(struct piix3, isa_level),
	STATE_U8(struct piix3, pirq_level),
	STATE_BOOL(struct piix3, sci_level),
	STATE_END
};

static struct piix3 *to_piix3(struct device *d)
{
	return container_of(d, struct piix3, pci.dev);
}

static void update_irqs(struct piix3 *s)
{
	uint16_t lv = s->isa_level | (s->sci_level ? 1u << CHIPSET_SCI_IRQ : 0), diff;

	for (unsigned i = 0; i < 4; i++) {
		uint8_t rc = s->pci.cfg[CFG_PIRQRC + i];

		if (!(rc & PIRQRC_OFF) && s->pirq_level & 1u << i)
			lv |= 1u << (rc & 15) & PIRQ_IRQS;
	}
	diff = lv ^ s->out_level;
	s->out_level = lv;
	for (unsigned i = 0; diff; i++, diff >>= 1)
		if (diff & 1)
			irq_set(&s->out[i], lv >> i & 1);
}

static void isa_set(void *sink, unsigned pin, bool level)
{
	struct piix3 *s = sink;

	s->isa_level = (s->isa_level & ~(1u << pin)) | (unsigned)level << pin;
	update_irqs(s);
}

static void pirq_set(void *sink, unsigned pin, bool level)
{
	struct piix3 *s = sink;

	s->pirq_level = (s->pirq_level & ~(1u << pin)) | (unsigned)level << pin;
	update_irqs(s);
}

static void sci_set(void *sink, unsigned pin, bool level)
{
	struct piix3 *s = sink;

	s->sci_level = level;
	update_irqs(s);
}

void piix3_set_irq_out(struct device *d, unsigned irq, struct irq_line out)
{
	HV_BUG_ON(irq > 15);
	to_piix3(d)->out[irq] = out;
}

struct irq_line piix3_isa_line(struct device *d, unsigned irq)
{
	HV_BUG_ON(irq > 15);
	return (struct irq_line){ isa_set, to_piix3(d), irq };
}

struct irq_line piix3_pirq_line(struct device *d, unsigned link)
{
	HV_BUG_ON(link > 3);
	return (struct irq_line){ pirq_set, to_piix3(d), link };
}

struct irq_line piix3_sci_line(struct device *d)
{
	return (struct irq_line){ sci_set, to_piix3(d), 0 };
}

static void cfg_written(struct pci_dev *p, unsigned off, unsigned size, uint32_t old)
{
	if (off + size > CFG_PIRQRC && off < CFG_PIRQRC + 4)
		update_irqs(to_piix3(&p->dev));
}

static bool piix3_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x7000, .class_code = 0x0601,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100,
	};
	struct piix3 *s = to_piix3(d);

	pci_init(&s->pci, &id);
	s->pci.cfg[PCI_HEADER_TYPE] = 0x80;	/* multi-function */
	memset(s->pci.wmask + 0x4c, 0xff, 0x64);
	memset(s->pci.wmask + CFG_PIRQRC, 0x8f, 4);
	s->pci.cfg_written = cfg_written;
	return true;
}

/* Levels of others' lines are theirs: each device lowers its own at reset. */
static void piix3_reset(struct device *d)
{
	static const struct { uint8_t off, val; } defaults[] = {
		{ 0x4c, 0x4d }, { 0x4e, 0x03 }, { 0x60, 0x80 }, { 0x61, 0x80 }, { 0x62, 0x80 },
		{ 0x63, 0x80 }, { 0x69, 0x02 }, { 0x70, 0x80 }, { 0x76, 0x0c }, { 0x77, 0x0c },
		{ 0x78, 0x02 }, { 0xa0, 0x08 }, { 0xa8, 0x0f },
	};
	struct piix3 *s = to_piix3(d);

	pci_reset(&s->pci);
	for (unsigned i = 0; i < ARRAY_SIZE(defaults); i++)
		s->pci.cfg[defaults[i].off] = defaults[i].val;
	s->pci.cfg[PCI_COMMAND] = PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER;
	update_irqs(s);
}

static bool piix3_post_load(struct device *d, struct err *e)
{
	struct piix3 *s = to_piix3(d);

	s->pirq_level &= 15;
	update_irqs(s);
	return pci_post_load(&s->pci, e);
}

const struct device_ops piix3_ops = {
	.name = "piix3",
	.size = sizeof(struct piix3),
	.realize = piix3_realize,
	.reset = piix3_reset,
	.state = piix3_state,
	.state_version = 1,
	.post_load = piix3_post_load,
};
