/* SPDX-License-Identifier: MIT */
/*
 * PC serial port: National Semiconductor PC16550D.
 *
 * After the PC16550D data sheet (June 1995), section 8 "Registers".
 * Transmission takes no time: THRE and TEMT are always set and the THRE
 * interrupt comes back at once; the character back end batches.  Reception
 * is as fast as the guest reads.  Parity and framing errors do not happen, a
 * break only in loopback, from the guest itself.
 * As in the PC, OUT2 gates the interrupt output.
 */
#include "ns16550.h"
#include "../src/chardev.h"
#include "../src/fifo.h"

#define IER_RDA 0x01
#define IER_THRE 0x02
#define IER_RLS 0x04
#define IER_MSI 0x08

#define IIR_NONE 0x01
#define IIR_MSI 0x00
#define IIR_THRE 0x02
#define IIR_RDA 0x04
#define IIR_RLS 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04

#define LCR_BREAK 0x40
#define LCR_DLAB 0x80

#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_BI 0x10
#define LSR_ERRORS 0x1e
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTA 0x0f
#define MSR_TERI 0x04
#define MSR_LINES 0xf0
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

#define UART_HZ 1843200u
#define RX_DEPTH 16u

struct ns16550 {
	struct device dev;
	struct fifo rx;
	struct vtimer rx_timer;
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;	/* lsr: error bits only */
	uint16_t divisor;
	bool thre_pending, rx_timeout;
	/* immutable after realize */
	struct irq_line irq;
	struct chardev *chr;
	uint16_t port;
	struct io_region io;
};
DEVICE_CHECK(struct ns16550);

static const struct state_field ns16550_fields[] = {
	FIFO_STATE(struct ns16550, rx), STATE_TIMER(struct ns16550, rx_timer),
	STATE_U8(struct ns16550, ier), STATE_U8(struct ns16550, fcr),
	STATE_U8(struct ns16550, lcr), STATE_U8(struct ns16550, mcr),
	STATE_U8(struct ns16550, lsr), STATE_U8(struct ns16550, msr),
	STATE_U8(struct ns16550, scr), STATE_U16(struct ns16550, divisor),
	STATE_BOOL(struct ns16550, thre_pending), STATE_BOOL(struct ns16550, rx_timeout),
	STATE_END
};

static unsigned rx_trigger(const struct ns16550 *s)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* The source that IIR names, by the priorities of table III. */
static uint8_t uart_source(const struct ns16550 *s)
{
	if (s->ier & IER_RLS && s->lsr & LSR_ERRORS)
		return IIR_RLS;
	if (s->ier & IER_RDA && s->rx.count >= rx_trigger(s))
		return IIR_RDA;
	if (s->ier & IER_RDA && s->rx_timeout)
		return IIR_TIMEOUT;
	if (s->ier & IER_THRE && s->thre_pending)
		return IIR_THRE;
	if (s->ier & IER_MSI && s->msr & MSR_DELTA)
		return IIR_MSI;
	return IIR_NONE;
}

static void uart_update(struct ns16550 *s)
{
	bool out2 = (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(&s->irq, out2 && uart_source(s) != IIR_NONE);
}

/* Four character times without a transfer while bytes wait below the trigger level. */
static void uart_rearm_timeout(struct ns16550 *s)
{
	unsigned bits = 7 + (s->lcr & 3) + !!(s->lcr & 4) + !!(s->lcr & 8);
	uint64_t div = s->divisor ? s->divisor : 1;

	s->rx_timeout = false;
	if (!(s->fcr & FCR_ENABLE) || !(s->ier & IER_RDA) || fifo_empty(&s->rx) ||
	    s->rx.count >= rx_trigger(s)) {
		vtimer_cancel(&s->rx_timer);
		return;
	}
	vtimer_arm(&s->rx_timer, vclock_now(dev_clock(&s->dev)) +
		   4 * bits * div * 16 * NS_PER_SEC / UART_HZ);
}

static void uart_on_timeout(void *opaque)
{
	struct ns16550 *s = opaque;

	s->rx_timeout = !fifo_empty(&s->rx);
	uart_update(s);
}

static size_t uart_room(const struct ns16550 *s)
{
	if (s->fcr & FCR_ENABLE)
		return fifo_space(&s->rx);
	return fifo_empty(&s->rx);
}

static void uart_rx_byte(struct ns16550 *s, uint8_t v)
{
	if (!uart_room(s)) {
		s->lsr |= LSR_OE;
		if (s->fcr & FCR_ENABLE)
			return;		/* the shift register is overwritten, the FIFO is not */
		fifo_clear(&s->rx);
	}
	fifo_push(&s->rx, v);
}

static size_t uart_can_receive(void *dev)
{
	struct ns16550 *s = dev;

	return s->mcr & MCR_LOOP ? 0 : uart_room(s);
}

static void uart_receive(void *dev, const uint8_t *buf, size_t len)
{
	struct ns16550 *s = dev;

	for (size_t i = 0; i < len; i++)
		uart_rx_byte(s, buf[i]);
	uart_rearm_timeout(s);
	uart_update(s);
}

static uint8_t uart_read_rbr(struct ns16550 *s)
{
	uint8_t v = 0;

	if (fifo_pop(&s->rx, &v) && fifo_empty(&s->rx) && s->chr)
		chardev_accept_input(s->chr);
	uart_rearm_timeout(s);
	return v;
}

static void uart_write_thr(struct ns16550 *s, uint8_t v)
{
	s->thre_pending = true;
	if (s->mcr & MCR_LOOP) {
		uart_rx_byte(s, v & 0xff >> (3 - (s->lcr & 3)));	/* 5 to 8 bits */
		uart_rearm_timeout(s);
	} else if (s->chr) {
		chardev_write(s->chr, &v, 1);
	}
}

static void uart_write_ier(struct ns16550 *s, uint8_t v)
{
	/* Enabling it while the holding register is empty interrupts at once. */
	if (v & IER_THRE && !(s->ier & IER_THRE))
		s->thre_pending = true;
	s->ier = v & 0x0f;
	uart_rearm_timeout(s);
}

static void uart_clear_rx(struct ns16550 *s)
{
	fifo_clear(&s->rx);
	uart_rearm_timeout(s);
	if (s->chr)
		chardev_accept_input(s->chr);
}

static void uart_write_fcr(struct ns16550 *s, uint8_t v)
{
	bool toggled = (v ^ s->fcr) & FCR_ENABLE;

	if (!(v & FCR_ENABLE))
		v = 0;		/* the other bits are not programmed then */
	s->fcr = v & 0xc9;
	if (toggled || v & FCR_CLEAR_RX)
		uart_clear_rx(s);
	if (toggled || v & FCR_CLEAR_TX)
		s->thre_pending = true;
}

/* Modem inputs: from MCR in loopback (8.6.4 "MCR bit 4"), else a ready peer if attached. */
static void uart_set_modem(struct ns16550 *s)
{
	uint8_t in = s->chr ? MSR_CTS | MSR_DSR | MSR_DCD : 0, old = s->msr & MSR_LINES;

	if (s->mcr & MCR_LOOP)
		in = (uint8_t)((s->mcr & 2 ? MSR_CTS : 0) | (s->mcr & 1 ? MSR_DSR : 0) |
			       (s->mcr & 4 ? MSR_RI : 0) | (s->mcr & 8 ? MSR_DCD : 0));
	s->msr |= (uint8_t)((old ^ in) >> 4 & ~MSR_TERI);
	if (old & MSR_RI && !(in & MSR_RI))
		s->msr |= MSR_TERI;
	s->msr = (s->msr & MSR_DELTA) | in;
}

static void uart_write_mcr(struct ns16550 *s, uint8_t v)
{
	bool left_loop = s->mcr & MCR_LOOP && !(v & MCR_LOOP);

	s->mcr = v & 0x1f;
	uart_set_modem(s);
	if (left_loop && s->chr)
		chardev_accept_input(s->chr);
}

/* 8.6.2 "Bit 6": in loopback the receiver sees the break as a zero with BI. */
static void uart_write_lcr(struct ns16550 *s, uint8_t v)
{
	if (v & ~s->lcr & LCR_BREAK && s->mcr & MCR_LOOP) {
		uart_rx_byte(s, 0);
		s->lsr |= LSR_BI;
		uart_rearm_timeout(s);
	}
	s->lcr = v;
}

static uint8_t uart_read_iir(struct ns16550 *s)
{
	uint8_t v = uart_source(s);

	if (v == IIR_THRE)
		s->thre_pending = false;
	return v | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t uart_read_lsr(struct ns16550 *s)
{
	uint8_t v = s->lsr | LSR_THRE | LSR_TEMT | (fifo_empty(&s->rx) ? 0 : LSR_DR);

	s->lsr = 0;
	return v;
}

static uint8_t uart_read_msr(struct ns16550 *s)
{
	uint8_t v = s->msr;

	s->msr &= MSR_LINES;
	return v;
}

static uint8_t uart_read_reg(struct ns16550 *s, unsigned off)
{
	switch (off) {
	case 0: return s->lcr & LCR_DLAB ? s->divisor & 0xff : uart_read_rbr(s);
	case 1: return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
	case 2: return uart_read_iir(s);
	case 3: return s->lcr;
	case 4: return s->mcr;
	case 5: return uart_read_lsr(s);
	case 6: return uart_read_msr(s);
	default: return s->scr;
	}
}

static uint64_t uart_read(struct device *d, uint64_t off, unsigned size)
{
	struct ns16550 *s = (struct ns16550 *)d;
	uint8_t v = uart_read_reg(s, off & 7);

	uart_update(s);
	return v;
}

static void uart_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ns16550 *s = (struct ns16550 *)d;
	uint8_t v = (uint8_t)val;

	switch (off & 7) {
	case 0:
		if (s->lcr & LCR_DLAB)
			s->divisor = (s->divisor & 0xff00) | v;
		else
			uart_write_thr(s, v);
		break;
	case 1:
		if (s->lcr & LCR_DLAB)
			s->divisor = (uint16_t)(v << 8 | (s->divisor & 0xff));
		else
			uart_write_ier(s, v);
		break;
	case 2:
		uart_write_fcr(s, v);
		break;
	case 3:
		uart_write_lcr(s, v);
		break;
	case 4:
		uart_write_mcr(s, v);
		break;
	case 7:
		s->scr = v;
		break;
	}	/* 5 and 6: factory test only */
	uart_update(s);
}

static const struct io_ops uart_io = { uart_read, uart_write, 1, 1 };

static bool ns16550_realize(struct device *d, struct err *e)
{
	struct ns16550 *s = (struct ns16550 *)d;
	const struct char_sink sink = { .can_receive = uart_can_receive,
		.receive = uart_receive, .dev = s };

	fifo_init(&s->rx, RX_DEPTH);
	vtimer_init(&s->rx_timer, dev_clock(d), uart_on_timeout, s);
	s->io = (struct io_region){ .kind = BUS_PIO, .base = s->port, .len = 8, .ops = &uart_io,
		.name = "uart" };
	if (!dev_add_region(d, &s->io, e))
		return false;
	if (s->chr)
		chardev_attach(s->chr, &sink);
	return true;
}

/* Data sheet table I; the divisor, undefined there, starts as 9600 baud. */
static void ns16550_reset(struct device *d)
{
	struct ns16550 *s = (struct ns16550 *)d;

	s->ier = s->fcr = s->lcr = s->mcr = s->lsr = s->msr = s->scr = 0;
	s->divisor = 12;
	s->thre_pending = false;
	fifo_init(&s->rx, RX_DEPTH);
	uart_rearm_timeout(s);
	uart_set_modem(s);
	s->msr &= MSR_LINES;
	uart_update(s);
	if (s->chr)
		chardev_accept_input(s->chr);
}

static void ns16550_unrealize(struct device *d)
{
	struct ns16550 *s = (struct ns16550 *)d;

	vtimer_cancel(&s->rx_timer);	/* the back end may be closed already */
}

static bool ns16550_post_load(struct device *d, struct err *e)
{
	struct ns16550 *s = (struct ns16550 *)d;

	if (!fifo_valid(&s->rx) || s->rx.cap != RX_DEPTH)
		return err_set(e, HV_EXIT_IMAGE, "serial port: receive FIFO out of range");
	uart_update(s);
	if (s->chr)
		chardev_accept_input(s->chr);
	return true;
}

void ns16550_wire(struct device *d, uint16_t port, struct irq_line irq, struct chardev *chr)
{
	struct ns16550 *s = (struct ns16550 *)d;

	s->port = port;
	s->irq = irq;
	s->chr = chr;
}

const struct device_ops ns16550_ops = {
	.name = "ns16550",
	.size = sizeof(struct ns16550),
	.realize = ns16550_realize,
	.reset = ns16550_reset,
	.unrealize = ns16550_unrealize,
	.state = ns16550_fields,
	.state_version = 1,
	.post_load = ns16550_post_load,
};
