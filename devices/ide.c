/* SPDX-License-Identifier: MIT */
/*
 * PIIX3 IDE, function 1: two channels in compatibility mode (Intel 290550-002
 * section 2.7), with ATA ports behind them (ata.h) and bus master DMA in
 * front (ide_dma.c).
 *
 * Left out: native mode, PIO timing.
 */
#include "ide_int.h"
#include "../src/vm.h"
#include <stdio.h>

#define CFG_IDETIM 0x40		/* one word a channel; bit 15: decode its ports */

#define CTL_NIEN 0x02
#define CTL_SRST 0x04
#define CTL_HOB 0x80

static const struct state_field channel_state[] = {
	STATE_STRUCT(struct ide_channel, port, ata_port_state),
	STATE_U8(struct ide_channel, control),
	STATE_BOOL(struct ide_channel, irq_level),
	STATE_U8(struct ide_channel, bm_cmd),
	STATE_U8(struct ide_channel, bm_status),
	STATE_U32(struct ide_channel, bm_addr),
	STATE_U32(struct ide_channel, bm_next),
	STATE_U32(struct ide_channel, prd_addr),
	STATE_U32(struct ide_channel, prd_left),
	STATE_U16(struct ide_channel, prd_count),
	STATE_BOOL(struct ide_channel, prd_last),
	STATE_END
};

static const struct state_field ide_state[] = {
	PCI_STATE(struct ide, pci),
	STATE_STRUCTS(struct ide, ch, channel_state),
	STATE_END
};

static struct ide *to_ide(struct device *d)
{
	return container_of(d, struct ide, pci.dev);
}

static struct ide_channel *channel_of(struct ata_port *p)
{
	return container_of(p, struct ide_channel, port);
}

static void update_irq(struct ide_channel *c)
{
	irq_set(&c->irq, c->irq_level && !(c->control & CTL_NIEN));
}

static void raise_irq(struct ata_port *p)
{
	struct ide_channel *c = channel_of(p);

	c->irq_level = true;
	c->bm_status |= BM_INT;
	update_irq(c);
}

static void kick(struct ata_port *p)
{
	ide_dma_kick(channel_of(p));
}

static const struct ata_transport transport = {
	.raise = raise_irq, .dma_kick = kick, .dma_running = ide_dma_running,
	.dma_copy = ide_dma_copy, .dma_stop = ide_dma_stop,
};

/* ---- Ports ---- */

static uint64_t data_read(struct ide_channel *c, unsigned size)
{
	uint8_t v[4] = { 0xff, 0xff, 0xff, 0xff };
	uint32_t n;

	if (!(ata_unit(&c->port)->status & ST_DRQ) || c->port.dma ||
	    (c->port.xfer != XFER_READ && c->port.xfer != XFER_REPLY))
		return UINT64_MAX;
	n = MIN(size, c->port.end - c->port.pos);
	memcpy(v, c->port.buf + c->port.pos, n);
	c->port.pos += n;
	if (c->port.pos == c->port.end)
		ata_window_done(&c->port);
	return ld_le32(v);
}

static void data_write(struct ide_channel *c, unsigned size, uint32_t val)
{
	uint8_t v[4];
	uint32_t n;

	if (!(ata_unit(&c->port)->status & ST_DRQ) ||
	    (c->port.xfer != XFER_PACKET && (c->port.xfer != XFER_WRITE || c->port.dma)))
		return;
	st_le32(v, val);
	n = MIN(size, c->port.end - c->port.pos);
	memcpy(c->port.buf + c->port.pos, v, n);
	c->port.pos += n;
	if (c->port.pos == c->port.end)
		ata_window_done(&c->port);
}

static bool selected_missing(struct ide_channel *c)
{
	return !ata_unit(&c->port)->present && (c->port.sel || !c->port.unit[1].present);
}

static uint8_t reg_read(struct ide_channel *c, unsigned reg)
{
	const struct ata_drive *u = ata_unit(&c->port);
	bool hob = c->control & CTL_HOB;

	if (!c->port.unit[0].present && !c->port.unit[1].present)
		return 0;
	switch (reg) {
	case 1:
		return hob ? u->feature[1] : u->error;
	case 2:
		return u->count[hob];
	case 3:
		return u->lo[hob];
	case 4:
		return u->mid[hob];
	case 5:
		return u->hi[hob];
	case 6:
		return u->device | 0xa0;
	default:
		return selected_missing(c) ? 0 : u->status;
	}
}

static void command(struct ide_channel *c, uint8_t op)
{
	if (ata_unit(&c->port)->present && !c->port.inflight) {
		c->irq_level = false;
		update_irq(c);
	}
	ata_execute(&c->port, op);
}

/* Both drives take what is written to the task file. */
static void reg_write(struct ide_channel *c, unsigned reg, uint8_t v)
{
	c->control &= ~CTL_HOB;
	if (reg == 7) {
		command(c, v);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct ata_drive *u = &c->port.unit[i];
		uint8_t *pair[] = { NULL, u->feature, u->count, u->lo, u->mid, u->hi };

		if (reg == 6) {
			u->device = v;
		} else {
			pair[reg][1] = pair[reg][0];
			pair[reg][0] = v;
		}
	}
	/* Choosing the other drive in the middle of a command would mix them up. */
	if (reg == 6 && !c->port.inflight && c->port.xfer == XFER_NONE)
		c->port.sel = v & DEV_SEL ? 1 : 0;
}

static struct ide_channel *cmd_channel(struct device *d, bool second)
{
	return &to_ide(d)->ch[second];
}

static uint64_t cmd_read(struct ide_channel *c, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	if (off == 0)
		return data_read(c, size);
	for (unsigned i = 0; i < size && off + i < 8; i++)
		v |= (uint64_t)reg_read(c, off + i) << (8 * i);
	if (off + size > 7) {		/* reading the status acknowledges */
		c->irq_level = false;
		update_irq(c);
	}
	return v;
}

static void cmd_write(struct ide_channel *c, uint64_t off, unsigned size, uint64_t val)
{
	if (off == 0) {
		data_write(c, size, val);
		return;
	}
	for (unsigned i = 0; i < size && off + i < 8; i++)
		reg_write(c, off + i, val >> (8 * i));
}

static void ctl_write(struct ide_channel *c, uint8_t v)
{
	uint8_t old = c->control;

	c->control = v & (CTL_NIEN | CTL_SRST | CTL_HOB);
	if (v & CTL_SRST && !(old & CTL_SRST)) {
		ata_abort(&c->port);
		c->irq_level = false;
		c->bm_status &= ~BM_ACTIVE;
		for (unsigned i = 0; i < 2; i++)
			c->port.unit[i].status = c->port.unit[i].present ? ST_BSY : 0;
	} else if (!(v & CTL_SRST) && old & CTL_SRST) {
		c->port.sel = 0;
		for (unsigned i = 0; i < 2; i++)
			ata_signature(&c->port.unit[i]);
	}
	update_irq(c);
}

/* One pair of handlers a channel: the region does not say which one it is. */
#define CHANNEL_IO(name, n) \
	static uint64_t name##_cmd_read(struct device *d, uint64_t off, unsigned size) \
	{ return cmd_read(cmd_channel(d, n), off, size); } \
	static void name##_cmd_write(struct device *d, uint64_t off, unsigned size, uint64_t v) \
	{ cmd_write(cmd_channel(d, n), off, size, v); } \
	static uint64_t name##_ctl_read(struct device *d, uint64_t off, unsigned size) \
	{ return reg_read(cmd_channel(d, n), 7); } \
	static void name##_ctl_write(struct device *d, uint64_t off, unsigned size, uint64_t v) \
	{ ctl_write(cmd_channel(d, n), v); } \
	static const struct io_ops name##_cmd_io = { \
		.read = name##_cmd_read, .write = name##_cmd_write, \
		.min_size = 1, .max_size = 4 }; \
	static const struct io_ops name##_ctl_io = { \
		.read = name##_ctl_read, .write = name##_ctl_write, .min_size = 1, .max_size = 1 };
CHANNEL_IO(primary, 0)
CHANNEL_IO(secondary, 1)

/* ---- Configuration and life ---- */

static void update_decode(struct ide *s)
{
	static const uint16_t cmd[2] = { 0x1f0, 0x170 }, ctl[2] = { 0x3f6, 0x376 };
	struct bus *bus = s->pci.dev.vm->bus;

	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *c = &s->ch[i];
		bool on = s->pci.cfg[PCI_COMMAND] & PCI_CMD_IO &&
			  s->pci.cfg[CFG_IDETIM + 2 * i + 1] & 0x80;

		if ((!bus_move(bus, &c->cmd_region, cmd[i], on) ||
		     !bus_move(bus, &c->ctl_region, ctl[i], on)) && on)
			dev_guest_error(&s->pci.dev, "IDE ports overlap another device");
	}
}

static void cfg_written(struct pci_dev *p, unsigned off, unsigned size, uint32_t old)
{
	struct ide *s = container_of(p, struct ide, pci);

	update_decode(s);
	for (unsigned i = 0; i < 2; i++)	/* bus mastering may have come on */
		ide_dma_kick(&s->ch[i]);
}

static void init_channel(struct ide *s, unsigned i)
{
	struct ide_channel *c = &s->ch[i];

	c->ide = s;
	c->port.tr = &transport;
	c->port.dev = &s->pci.dev;
	c->cmd_region = (struct io_region){
		.kind = BUS_PIO, .len = 8, .dev = &s->pci.dev, .name = "ide",
		.ops = i ? &secondary_cmd_io : &primary_cmd_io };
	c->ctl_region = (struct io_region){
		.kind = BUS_PIO, .len = 1, .dev = &s->pci.dev, .name = "ide-control",
		.ops = i ? &secondary_ctl_io : &primary_ctl_io };
}

static bool ide_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x7010, .class_code = 0x0101, .prog_if = 0x80,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100,
	};
	struct ide *s = to_ide(d);

	pci_init(&s->pci, &id);
	memset(s->pci.wmask + CFG_IDETIM, 0xff, 5);
	s->pci.cfg_written = cfg_written;
	init_channel(s, 0);
	init_channel(s, 1);
	for (unsigned i = 0; i < 4; i++)
		if (s->wiring[i].used &&
		    !ata_attach(&s->ch[i / 2].port, i & 1, s->wiring[i].block, s->wiring[i].cdrom,
				s->wiring[i].readonly, s->wiring[i].serial, e))
			return false;
	return pci_bar_io(&s->pci, 4, PCI_BAR_IO, 16, &ide_bm_io, e);
}

static void ide_reset(struct device *d)
{
	struct ide *s = to_ide(d);

	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *c = &s->ch[i];

		ata_reset(&c->port);
		ata_power_on(&c->port);
		c->control = 0;
		c->irq_level = false;
		c->bm_cmd = c->bm_status = 0;
		c->bm_addr = c->bm_next = c->prd_addr = c->prd_left = 0;
		c->prd_count = 0;
		c->prd_last = false;
		update_irq(c);
	}
	pci_reset(&s->pci);
	/* 2.3.9 says off; UEFI firmware expects to find the ports decoded. */
	s->pci.cfg[CFG_IDETIM + 1] = s->pci.cfg[CFG_IDETIM + 3] = 0x80;
	update_decode(s);
}

static void ide_pre_save(struct device *d)
{
	struct ide *s = to_ide(d);

	for (unsigned i = 0; i < 2; i++)
		ata_drain(&s->ch[i].port);
}

static void ide_unrealize(struct device *d)
{
	ata_abort(&to_ide(d)->ch[0].port);
	ata_abort(&to_ide(d)->ch[1].port);
}

static bool ide_post_load(struct device *d, struct err *e)
{
	struct ide *s = to_ide(d);

	if (!ata_state_valid(&s->ch[0].port) || !ata_state_valid(&s->ch[1].port))
		return err_set(e, HV_EXIT_IMAGE, "the saved IDE state is not valid");
	if (!pci_post_load(&s->pci, e))
		return false;
	update_decode(s);
	for (unsigned i = 0; i < 2; i++) {
		s->ch[i].bm_addr &= ~3u;
		update_irq(&s->ch[i]);
	}
	return true;
}

void ide_set_drive(struct device *d, unsigned unit, struct block *block, bool cdrom,
		   bool readonly, const char *serial)
{
	struct ide *s = to_ide(d);

	HV_BUG_ON(unit > 3 || s->wiring[unit].used);
	s->wiring[unit].used = true;
	s->wiring[unit].block = block;
	s->wiring[unit].cdrom = cdrom;
	s->wiring[unit].readonly = readonly;
	snprintf(s->wiring[unit].serial, sizeof(s->wiring[unit].serial), "%s", serial);
}

static void set_medium(struct device *d, unsigned unit, struct block *block)
{
	struct ata_port *p = &to_ide(d)->ch[unit / 2].port;

	HV_BUG_ON(unit > 3 || !p->unit[unit & 1].cdrom);
	ata_drain(p);
	cd_set_medium(&p->unit[unit & 1].cd, block);
}

static struct media_tray tray(struct device *d, unsigned unit, bool wish)
{
	return cd_tray(&to_ide(d)->ch[unit / 2].port.unit[unit & 1].cd, wish);
}

/* See ata_power_on(). */
static bool resized(struct device *d, unsigned unit)
{
	return false;
}

const struct media_ops ide_media = { .set = set_medium, .tray = tray, .resized = resized };

void ide_set_irqs(struct device *d, struct irq_line primary, struct irq_line secondary)
{
	to_ide(d)->ch[0].irq = primary;
	to_ide(d)->ch[1].irq = secondary;
}

const struct device_ops piix3_ide_ops = {
	.name = "piix3-ide",
	.size = sizeof(struct ide),
	.realize = ide_realize,
	.reset = ide_reset,
	.unrealize = ide_unrealize,
	.state = ide_state,
	.state_version = 1,
	.post_load = ide_post_load,
	.pre_save = ide_pre_save,
};
