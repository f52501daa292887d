/* SPDX-License-Identifier: MIT */
/*
 * Intel 82540EM gigabit network controller ("PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual", Intel 317453-006):
 * registers, interrupts and their throttling, statistics, reset.  Receiving,
 * transmitting, EEPROM and PHY are in e1000_rx.c, e1000_tx.c, e1000_phy.c.
 *
 * Left out: wake-up, flow control frames, LEDs, diagnostics registers; they
 * are stored and do nothing.
 */
#include "e1000_int.h"

#define MMIO_LEN KiB(128)
#define IO_LEN 64
#define ITR_UNIT_NS 256

static const struct state_field ctx_fields[] = {
	STATE_U8(struct e1000_ctx, ipcss), STATE_U8(struct e1000_ctx, ipcso),
	STATE_U8(struct e1000_ctx, tucss), STATE_U8(struct e1000_ctx, tucso),
	STATE_U8(struct e1000_ctx, cmd), STATE_U8(struct e1000_ctx, hdrlen),
	STATE_U16(struct e1000_ctx, ipcse), STATE_U16(struct e1000_ctx, tucse),
	STATE_U16(struct e1000_ctx, mss), STATE_U32(struct e1000_ctx, paylen),
	STATE_END
};

static const struct state_field e1000_state[] = {
	PCI_STATE(struct e1000, pci),
	STATE_TIMER(struct e1000, throttle),
	STATE_U32S(struct e1000, reg),
	STATE_U32(struct e1000, ioaddr),
	STATE_U16S(struct e1000, phy),
	STATE_U32(struct e1000, ee_in), STATE_U32(struct e1000, ee_out),
	STATE_U8(struct e1000, ee_nin), STATE_U8(struct e1000, ee_nout),
	STATE_BOOL(struct e1000, ee_clock),
	STATE_STRUCT(struct e1000, ctx, ctx_fields),
	STATE_U32(struct e1000, tx_len),
	STATE_U8(struct e1000, tx_opts), STATE_U8(struct e1000, tx_flags),
	STATE_U16(struct e1000, tx_vlan),
	STATE_U8S(struct e1000, tx),
	STATE_END
};

/* ---- Interrupts (13.4.17 to 13.4.21) ---- */

/* A pending cause goes out at once, or when the throttle's interval is over. */
static void update_irq(struct e1000 *s)
{
	bool level = s->reg[R_ICR / 4] & s->reg[R_IMS / 4];
	uint64_t gap = (s->reg[R_ITR / 4] & 0xffff) * ITR_UNIT_NS;

	if (level && !s->pci.intx_level) {
		if (vtimer_armed(&s->throttle))
			return;
		if (gap)
			vtimer_arm(&s->throttle, vclock_now(dev_clock(&s->pci.dev)) + gap);
	}
	pci_set_irq(&s->pci, level);
}

static void throttle_over(void *opaque)
{
	update_irq(opaque);
}

void e1000_interrupt(struct e1000 *s, uint32_t causes)
{
	s->reg[R_ICR / 4] |= causes & ICR_ALL;
	update_irq(s);
}

/* ---- Statistics (13.7): they stick at the top ---- */

void e1000_count(struct e1000 *s, unsigned off, uint32_t by)
{
	uint32_t *r = e1000_reg(s, off);

	if (__builtin_add_overflow(*r, by, r))
		*r = UINT32_MAX;
}

void e1000_count64(struct e1000 *s, unsigned low, uint32_t by)
{
	uint64_t v = s->reg[low / 4] | (uint64_t)s->reg[low / 4 + 1] << 32;

	v = v > UINT64_MAX - by ? UINT64_MAX : v + by;
	s->reg[low / 4] = (uint32_t)v;
	s->reg[low / 4 + 1] = v >> 32;
}

bool e1000_ring(struct e1000 *s, unsigned base, uint64_t *at, uint32_t *n)
{
	uint32_t len = s->reg[base / 4 + 2] & 0xfff80;

	*at = (uint64_t)s->reg[base / 4 + 1] << 32 | (s->reg[base / 4] & ~15u);
	*n = len / 16;
	return len && *at <= UINT64_MAX - len;
}

/* ---- Reset (14.1, CTRL.RST) ---- */

static void reset_registers(struct e1000 *s)
{
	memset(s->reg, 0, sizeof(s->reg));
	s->reg[R_CTRL / 4] = 0x00140240 | STATUS_FD;
	s->reg[R_STATUS / 4] = 0x00000200 | STATUS_1000 | STATUS_LU | STATUS_FD;
	s->reg[R_PBA / 4] = 0x00100030;
	s->reg[R_VET / 4] = 0x8100;
	s->reg[R_LEDCTL / 4] = 0x07068302;
	s->reg[R_MANC / 4] = 0x00002000;
	s->reg[R_RA / 4] = ld_le32(s->mac);
	s->reg[R_RA / 4 + 1] = 0x80000000u | ld_le16(s->mac + 4);
	s->ioaddr = 0;
	s->ee_in = s->ee_out = s->ee_nin = s->ee_nout = 0;
	s->ee_clock = false;
	s->ctx = (struct e1000_ctx){ 0 };
	s->tx_len = 0;
	s->tx_opts = s->tx_flags = 0;
	s->tx_vlan = 0;
	memset(s->tx, 0, sizeof(s->tx));
	vtimer_cancel(&s->throttle);
	update_irq(s);
}

static void set_ctrl(struct e1000 *s, uint32_t val)
{
	if (val & CTRL_RST) {
		reset_registers(s);
		return;
	}
	if (val & 0x80000000u)		/* PHY_RST */
		e1000_phy_reset(s);
	s->reg[R_CTRL / 4] = val & 0x7fffffff;
}

/* ---- Registers ---- */

/* Plain registers: what a write can change.  Others: see reg_write(). */
static const struct reg_row { uint16_t first, last; uint32_t mask; } plain[] = {
	{ R_CTRL_EXT, R_CTRL_EXT, 0xffffffff }, { R_FCAL, R_FCAH, 0xffffffff },
	{ R_FCT, R_FCT, 0xffff }, { R_VET, R_VET, 0xffff }, { R_ITR, R_ITR, 0xffff },
	{ R_FCTTV, R_FCTTV, 0xffff }, { R_TXCW, R_TXCW, 0xffffffff },
	{ R_TIPG, R_TIPG, 0x3fffffff }, { R_AIT, R_AIT, 0xffff },
	{ R_LEDCTL, R_LEDCTL, 0xffffffff }, { R_PBA, R_PBA, 0xffff },
	{ R_FCRTL, R_FCRTL, 0x8000fff8 }, { R_FCRTH, R_FCRTH, 0xfff8 },
	{ R_RDBAL, R_RDBAL, 0xfffffff0 }, { R_RDBAH, R_RDBAH, 0xffffffff },
	{ R_RDLEN, R_RDLEN, 0xfff80 }, { R_RDH, R_RDH, 0xffff }, { R_RDTR, R_RDTR, 0xffff },
	{ R_RXDCTL, R_RXDCTL, 0xffffffff }, { R_RADV, R_RADV, 0xffff },
	{ R_RSRPD, R_RSRPD, 0xfff }, { R_TDBAL, R_TDBAL, 0xfffffff0 },
	{ R_TDBAH, R_TDBAH, 0xffffffff }, { R_TDLEN, R_TDLEN, 0xfff80 },
	{ R_TDH, R_TDH, 0xffff }, { R_TIDV, R_TIDV, 0xffff }, { R_TXDCTL, R_TXDCTL, 0xffffffff },
	{ R_TADV, R_TADV, 0xffff }, { R_TSPMT, R_TSPMT, 0xffffffff },
	{ R_RXCSUM, R_RXCSUM, 0x7ff }, { R_MTA, R_MTA + 0x1fc, 0xffffffff },
	{ R_RA, R_RA + 0x7c, 0xffffffff }, { R_VFTA, R_VFTA + 0x1fc, 0xffffffff },
	{ R_WUC, R_WUC, 0xf }, { R_WUFC, R_WUFC, 0xfffff }, { R_MANC, R_MANC, 0xffffffff },
};

static uint32_t reg_read(struct e1000 *s, uint32_t off)
{
	uint32_t v;

	if (off >= R_END)
		return 0;
	v = s->reg[off / 4];
	if (off >= R_STATS && off < R_STATS_END) {
		s->reg[off / 4] = 0;		/* clear on read */
		return v;
	}
	switch (off) {
	case R_EECD:
		return e1000_eecd_read(s);
	case R_ICR:
		s->reg[R_ICR / 4] = 0;
		update_irq(s);
		return v;
	case R_ICS:
	case R_IMC:
		return 0;			/* write only */
	default:
		return v;
	}
}

static void set_tail(struct e1000 *s, uint32_t off, uint32_t val)
{
	s->reg[off / 4] = val & 0xffff;
	if (off == R_TDT)
		e1000_transmit(s);
	else if (s->net)
		s->net->ops->resume(s->net);
}

static void write_plain(struct e1000 *s, uint32_t off, uint32_t val)
{
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
		if (off >= plain[i].first && off <= plain[i].last)
			s->reg[off / 4] = val & plain[i].mask;
}

static void reg_write(struct e1000 *s, uint32_t off, uint32_t val)
{
	switch (off) {
	case R_CTRL:
	case R_CTRL + 4:			/* the same register again (13.4.1) */
		set_ctrl(s, val);
		break;
	case R_EECD:
		e1000_eecd_write(s, val);
		break;
	case R_EERD:
		e1000_eerd(s, val);
		break;
	case R_MDIC:
		e1000_mdic(s, val);
		break;
	case R_ICR:
		s->reg[R_ICR / 4] &= ~val;
		update_irq(s);
		break;
	case R_ICS:
		e1000_interrupt(s, val);
		break;
	case R_IMS:
		s->reg[R_IMS / 4] |= val & ICR_ALL;
		update_irq(s);
		break;
	case R_IMC:
		s->reg[R_IMS / 4] &= ~val;
		update_irq(s);
		break;
	case R_RCTL:
	case R_TCTL:
		s->reg[off / 4] = val;
		set_tail(s, off == R_TCTL ? R_TDT : R_RDT,
			 s->reg[(off == R_TCTL ? R_TDT : R_RDT) / 4]);
		break;
	case R_RDT:
	case R_TDT:
		set_tail(s, off, val);
		break;
	default:
		write_plain(s, off, val);
		break;
	}
}

static uint64_t mmio_read(struct device *d, uint64_t off, unsigned size)
{
	return reg_read(to_e1000(d), off & ~3u);
}

static void mmio_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	if (!(off & 3))
		reg_write(to_e1000(d), off, val);
}

static const struct io_ops mmio_io = {
	.read = mmio_read, .write = mmio_write, .min_size = 4, .max_size = 4,
};

/* 13.1.2: IOADDR selects, IODATA goes there. */
static uint64_t io_read(struct device *d, uint64_t off, unsigned size)
{
	struct e1000 *s = to_e1000(d);

	return off == 0 ? s->ioaddr : off == 4 ? reg_read(s, s->ioaddr & 0x1fffc) : 0;
}

static void io_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct e1000 *s = to_e1000(d);

	if (off == 0)
		s->ioaddr = val & 0x1ffff;
	else if (off == 4)
		reg_write(s, s->ioaddr & 0x1fffc, val);
}

static const struct io_ops port_io = {
	.read = io_read, .write = io_write, .min_size = 4, .max_size = 4,
};

/* ---- Life ---- */

static void rest_of_ring(void *opaque)
{
	e1000_transmit(opaque);
}

void e1000_setup(struct device *d, struct net *n, const uint8_t mac[6])
{
	struct e1000 *s = to_e1000(d);

	s->net = n;
	memcpy(s->mac, mac, 6);
}

static bool e1000_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x100e, .class_code = 0x0200, .revision = 3,
		.subsys_vendor = 0x8086, .subsys_id = 0x001e, .int_pin = 1,
	};
	struct e1000 *s = to_e1000(d);

	pci_init(&s->pci, &id);
	vtimer_init(&s->throttle, dev_clock(d), throttle_over, s);
	s->work = (struct loop_work){ .fn = rest_of_ring, .opaque = s };
	e1000_eeprom_fill(s);
	if (!pci_bar_io(&s->pci, 0, PCI_BAR_MEM32, MMIO_LEN, &mmio_io, e) ||
	    !pci_bar_io(&s->pci, 1, PCI_BAR_IO, IO_LEN, &port_io, e))
		return false;
	if (s->net)
		net_attach(s->net, &e1000_nic, s);
	return true;
}

static void e1000_reset(struct device *d)
{
	struct e1000 *s = to_e1000(d);

	pci_reset(&s->pci);
	e1000_phy_reset(s);
	reset_registers(s);
}

/* Rings and lengths are checked at every use; what is an index is checked here. */
static bool e1000_post_load(struct device *d, struct err *e)
{
	struct e1000 *s = to_e1000(d);

	if (s->tx_len > E1000_BUF || s->ee_nout > 17 || s->ee_nin >= 9 || s->ioaddr > 0x1ffff)
		return err_set(e, HV_EXIT_IMAGE, "impossible e1000 state");
	if (!pci_post_load(&s->pci, e))
		return false;
	update_irq(s);
	loop_post(d->vm->loop, &s->work);
	return true;
}

const struct device_ops e1000_ops = {
	.name = "e1000",
	.size = sizeof(struct e1000),
	.realize = e1000_realize,
	.reset = e1000_reset,
	.state = e1000_state,
	.state_version = 1,
	.post_load = e1000_post_load,
};
