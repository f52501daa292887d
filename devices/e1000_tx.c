/* SPDX-License-Identifier: MIT */
/*
 * 82540EM: transmitting (Intel 317453-006 sections 3.3 to 3.5): legacy,
 * context and data descriptors, checksum insertion, TCP segmentation, VLAN
 * tags.
 *
 * A frame that would be longer than 64 KiB and headers is dropped.
 */
#include "e1000_int.h"

#define TCTL_EN 0x2u
#define TXD_LEN 16
#define TX_BUDGET 256u		/* descriptors a round */

/* Bits of the command byte (3.3.3.1, 3.3.7.1) */
#define CMD_EOP 0x01
#define CMD_IC 0x04		/* legacy: insert checksum; data: TSE */
#define CMD_TSE 0x04
#define CMD_RS 0x08
#define CMD_DEXT 0x20
#define CMD_VLE 0x40
#define TYPE_CONTEXT 0
#define TYPE_DATA 1
#define POPTS_IXSM 1
#define POPTS_TXSM 2
#define CTX_TCP 1
#define CTX_IP 2

/* ---- Checksums ---- */

static uint32_t sum16(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (; n > 1; n -= 2, p += 2)
		sum += ld_be16(p);
	return n ? sum + (*p << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* 3.5: from @start to @end (0: the frame's), stored at @at; nothing when it does not fit. */
static void put_sum(uint8_t *p, uint32_t len, uint32_t start, uint32_t end, uint32_t at)
{
	uint32_t n = end && end < len ? end + 1 : len;

	if (start < n && at + 2 <= len)
		st_be16(p + at, ~fold(sum16(p + start, n - start, 0)));
}

static void add_be16(uint8_t *p, uint32_t v)
{
	st_be16(p, fold(ld_be16(p) + fold(v)));
}

/* ---- Frames ---- */

static void send_frame(struct e1000 *s, uint8_t *p, uint32_t len)
{
	struct iovec iov[3] = { { p, len } };
	unsigned n = 1;
	uint8_t tag[4];

	if (len < 14)
		return;
	if (s->tx_flags & CMD_VLE && s->reg[R_CTRL / 4] & CTRL_VME) {
		st_be16(tag, (uint16_t)s->reg[R_VET / 4]);
		st_be16(tag + 2, s->tx_vlan);
		iov[0].iov_len = 12;
		iov[1] = (struct iovec){ tag, 4 };
		iov[2] = (struct iovec){ p + 12, len - 12 };
		len += 4;
		n = 3;
	}
	e1000_count(s, R_GPTC, 1);
	e1000_count(s, R_TPT, 1);
	e1000_count64(s, R_GOTCL, len + 4);
	e1000_count64(s, R_TOTL, len + 4);
	if (len <= NET_MAX_FRAME && s->net)
		s->net->ops->send(s->net, iov, n, len);
}

static void insert_sums(struct e1000 *s, uint8_t *p, uint32_t len)
{
	if (s->tx_opts & POPTS_IXSM)
		put_sum(p, len, s->ctx.ipcss, s->ctx.ipcse, s->ctx.ipcso);
	if (s->tx_opts & POPTS_TXSM)
		put_sum(p, len, s->ctx.tucss, s->ctx.tucse, s->ctx.tucso);
}

/* 3.5.2: headers of segment @i, which carries [@off, @off + @n) of the payload. */
static void segment_headers(struct e1000 *s, uint8_t *p, uint32_t i, uint32_t off, uint32_t n,
			    bool last)
{
	const struct e1000_ctx *c = &s->ctx;
	uint32_t len = c->hdrlen + n, l4 = len - c->tucss;

	if (c->cmd & CTX_IP) {
		st_be16(p + c->ipcss + 2, (uint16_t)(len - c->ipcss));
		st_be16(p + c->ipcss + 4, (uint16_t)(ld_be16(p + c->ipcss + 4) + i));
	} else {
		st_be16(p + c->ipcss + 4, (uint16_t)(len - c->ipcss - 40));
	}
	if (c->cmd & CTX_TCP) {
		st_be32(p + c->tucss + 4, ld_be32(p + c->tucss + 4) + off);
		if (!last)
			p[c->tucss + 13] &= ~0x09;	/* FIN, PSH: the last one only */
	} else {
		st_be16(p + c->tucss + 4, (uint16_t)l4);
	}
	if (s->tx_opts & POPTS_TXSM)	/* the driver's sum of the pseudo header lacks it */
		add_be16(p + c->tucso, l4);
	insert_sums(s, p, len);
}

/* The offsets of the context lie inside the headers, with room for what is changed there. */
static bool context_ok(const struct e1000 *s)
{
	const struct e1000_ctx *c = &s->ctx;

	return c->mss >= 32 && c->hdrlen >= 14 && c->hdrlen < s->tx_len &&
	       c->ipcss + 8 <= c->hdrlen &&
	       c->tucss + (c->cmd & CTX_TCP ? 14 : 8) <= c->hdrlen && c->tucso + 2 <= c->hdrlen &&
	       c->ipcso + 2 <= c->hdrlen;
}

static void send_segments(struct e1000 *s)
{
	const struct e1000_ctx *c = &s->ctx;
	uint32_t total = s->tx_len - c->hdrlen, off = 0, i = 0;

	if (!context_ok(s)) {
		dev_guest_error(&s->pci.dev, "segmentation with impossible offsets");
		return;
	}
	for (; off < total; i++) {
		uint32_t n = MIN(total - off, c->mss);

		memcpy(s->seg, s->tx, c->hdrlen);
		memcpy(s->seg + c->hdrlen, s->tx + c->hdrlen + off, n);
		segment_headers(s, s->seg, i, off, n, off + n == total);
		send_frame(s, s->seg, c->hdrlen + n);
		off += n;
	}
	e1000_count(s, R_TSCTC, 1);
}

static void finish_frame(struct e1000 *s, bool tso)
{
	if (s->tx_len > E1000_BUF - 256) {
		dev_guest_error(&s->pci.dev, "transmit frame longer than 64 KiB");
	} else if (tso) {
		send_segments(s);
	} else {
		insert_sums(s, s->tx, s->tx_len);
		send_frame(s, s->tx, s->tx_len);
	}
	s->tx_len = 0;
	s->tx_opts = s->tx_flags = 0;
}

/* Too much is remembered as such and dropped at the end of the frame. */
static void add_data(struct e1000 *s, uint64_t at, uint32_t len)
{
	if (!len || s->tx_len + len > E1000_BUF) {
		s->tx_len = len ? E1000_BUF : s->tx_len;
		return;
	}
	if (gm_read(dev_mem(&s->pci.dev), GPA(at), s->tx + s->tx_len, len)) {
		s->tx_len += len;
		return;
	}
	dev_guest_error(&s->pci.dev, "transmit buffer is not RAM");
	s->tx_len = E1000_BUF;
}

/* ---- Descriptors ---- */

static void set_context(struct e1000 *s, const uint8_t *d)
{
	uint32_t w2 = ld_le32(d + 8), w3 = ld_le32(d + 12);

	s->ctx = (struct e1000_ctx){
		.ipcss = d[0], .ipcso = d[1], .ipcse = ld_le16(d + 2), .tucss = d[4],
		.tucso = d[5], .tucse = ld_le16(d + 6), .paylen = w2 & 0xfffff,
		.cmd = w2 >> 24, .hdrlen = w3 >> 8, .mss = w3 >> 16,
	};
}

static void legacy(struct e1000 *s, const uint8_t *d)
{
	uint32_t len = ld_le16(d + 8);

	add_data(s, ld_le64(d), len);
	if (!(d[11] & CMD_EOP))
		return;
	s->tx_flags = d[11];
	s->tx_vlan = ld_le16(d + 14);
	if (d[11] & CMD_IC && s->tx_len <= E1000_BUF - 256)
		put_sum(s->tx, s->tx_len, d[13], 0, d[10]);
	finish_frame(s, false);
}

static void data(struct e1000 *s, const uint8_t *d)
{
	uint8_t cmd = d[11];

	if (!s->tx_len)		/* 3.3.7.3: options count in the first descriptor */
		s->tx_opts = d[13];
	add_data(s, ld_le64(d), ld_le32(d + 8) & 0xfffff);
	if (!(cmd & CMD_EOP))
		return;
	s->tx_flags = cmd;
	s->tx_vlan = ld_le16(d + 14);
	finish_frame(s, cmd & CMD_TSE);
}

static void descriptor(struct e1000 *s, const uint8_t *d)
{
	if (!(d[11] & CMD_DEXT))
		legacy(s, d);
	else if (d[10] >> 4 == TYPE_CONTEXT)
		set_context(s, d);
	else if (d[10] >> 4 == TYPE_DATA)
		data(s, d);
	else
		dev_guest_error(&s->pci.dev, "transmit descriptor of type %u", d[10] >> 4);
}

void e1000_transmit(struct e1000 *s)
{
	struct guest_mem *gm = dev_mem(&s->pci.dev);
	uint32_t *head = e1000_reg(s, R_TDH), n, done = 0, causes = 0;
	uint64_t ring;

	if (!(s->reg[R_TCTL / 4] & TCTL_EN) || !pci_master(&s->pci) ||
	    !e1000_ring(s, R_TDBAL, &ring, &n) || *head >= n || s->reg[R_TDT / 4] >= n)
		return;
	while (*head != s->reg[R_TDT / 4] && done++ < TX_BUDGET) {
		uint64_t at = ring + *head * TXD_LEN;
		uint8_t d[TXD_LEN];

		if (!gm_read(gm, GPA(at), d, sizeof(d))) {
			dev_guest_error(&s->pci.dev, "transmit ring is not RAM");
			return;
		}
		descriptor(s, d);
		if (d[11] & CMD_RS) {
			d[12] |= 1;	/* descriptor done */
			if (!gm_write(gm, GPA(at), d, sizeof(d)))
				return;
			causes |= ICR_TXDW;
		}
		*head = *head + 1 == n ? 0 : *head + 1;
	}
	if (*head == s->reg[R_TDT / 4])
		causes |= done ? ICR_TXQE : 0;
	else
		loop_post(s->pci.dev.vm->loop, &s->work);
	if (causes)
		e1000_interrupt(s, causes);
}
