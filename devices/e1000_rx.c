/* SPDX-License-Identifier: MIT */
/*
 * 82540EM: receiving (Intel 317453-006 sections 3.2 and 13.4.22): address
 * filters, descriptors, VLAN tags.
 *
 * Left out: receive checksum offload (every descriptor says "not checked"),
 * packet delay timers (the interrupt comes with the frame).
 */
#include "e1000_int.h"
#include <zlib.h>

#define RCTL_EN 0x2u
#define RCTL_UPE 0x8u
#define RCTL_MPE 0x10u
#define RCTL_LPE 0x20u
#define RCTL_BAM 0x8000u
#define RCTL_VFE 0x40000u
#define RCTL_BSEX 0x2000000u
#define RCTL_SECRC 0x4000000u

#define RXD_DD 0x01
#define RXD_EOP 0x02
#define RXD_IXSM 0x04
#define RXD_VP 0x08
#define RXD_PIF 0x80
#define RXD_LEN 16
#define ETH_MAX 1522u
#define ETH_MIN 60u
#define FCS 4u

/* 13.4.22 BSIZE and BSEX */
static uint32_t buffer_size(const struct e1000 *s)
{
	uint32_t rctl = s->reg[R_RCTL / 4], size = 2048u >> (rctl >> 16 & 3);

	return rctl & RCTL_BSEX && size < 2048 ? size * 16 : size;
}

static uint32_t free_descriptors(struct e1000 *s)
{
	uint32_t n, head = s->reg[R_RDH / 4], tail = s->reg[R_RDT / 4];
	uint64_t at;

	if (!(s->reg[R_RCTL / 4] & RCTL_EN) || !pci_master(&s->pci) ||
	    !e1000_ring(s, R_RDBAL, &at, &n) || head >= n || tail >= n)
		return 0;
	return tail >= head ? tail - head : n - head + tail;
}

static bool can_receive(void *opaque)
{
	return free_descriptors(opaque) != 0;
}

/* 13.5.1: hash of the upper address bits into the multicast table. */
static bool multicast_wanted(const struct e1000 *s, const uint8_t *mac)
{
	static const uint8_t shift[4] = { 4, 3, 2, 0 };
	unsigned h = (mac[5] << 8 | mac[4]) >> shift[s->reg[R_RCTL / 4] >> 12 & 3] & 0xfff;

	return s->reg[R_MTA / 4 + (h >> 5)] >> (h & 31) & 1;
}

static bool exact_wanted(const struct e1000 *s, const uint8_t *mac)
{
	for (unsigned i = 0; i < 16; i++) {
		uint32_t low = s->reg[R_RA / 4 + 2 * i], high = s->reg[R_RA / 4 + 2 * i + 1];

		if (high >> 31 && low == ld_le32(mac) && (high & 0xffff) == ld_le16(mac + 4))
			return true;
	}
	return false;
}

static bool wanted(struct e1000 *s, const uint8_t *frame, bool *exact)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint32_t rctl = s->reg[R_RCTL / 4];

	*exact = true;
	if (!memcmp(frame, broadcast, 6) && rctl & RCTL_BAM) {
		e1000_count(s, R_BPRC, 1);
		return true;
	}
	if (exact_wanted(s, frame))
		return true;
	*exact = false;
	if (!(frame[0] & 1))
		return rctl & RCTL_UPE;
	if (!(rctl & RCTL_MPE) && !multicast_wanted(s, frame))
		return false;
	e1000_count(s, R_MPRC, 1);
	return true;
}

/* Takes the tag out when the driver wants it apart; false: a VLAN that is filtered. */
static bool vlan(struct e1000 *s, uint8_t *frame, size_t *len, uint16_t *tag)
{
	uint16_t tci = ld_be16(frame + 14);

	*tag = 0;
	if (*len < 18 || ld_be16(frame + 12) != (s->reg[R_VET / 4] & 0xffff))
		return true;
	if (s->reg[R_RCTL / 4] & RCTL_VFE &&
	    !(s->reg[R_VFTA / 4 + (tci >> 5 & 127)] >> (tci & 31) & 1))
		return false;
	if (!(s->reg[R_CTRL / 4] & CTRL_VME))
		return true;
	memmove(frame + 12, frame + 16, *len - 16);
	*len -= 4;
	*tag = tci;
	return true;
}

/* 3.2.3: one descriptor: fill its buffer, write it back. */
static bool put_descriptor(struct e1000 *s, uint64_t at, const uint8_t *p, uint32_t n,
			   uint8_t status, uint16_t special)
{
	struct guest_mem *gm = dev_mem(&s->pci.dev);
	uint8_t d[RXD_LEN];

	if (!gm_read(gm, GPA(at), d, sizeof(d)))
		return false;
	if (ld_le64(d) && !gm_write(gm, GPA(ld_le64(d)), p, n))
		return false;
	st_le16(d + 8, (uint16_t)n);
	st_le16(d + 10, 0);
	d[12] = status;
	d[13] = 0;
	st_le16(d + 14, special);
	return gm_write(gm, GPA(at), d, sizeof(d));
}

static void put_frame(struct e1000 *s, const uint8_t *p, size_t len, uint8_t flags, uint16_t tag)
{
	uint32_t size = buffer_size(s), n, left, causes = ICR_RXT0;
	uint64_t ring;

	if (!e1000_ring(s, R_RDBAL, &ring, &n))
		return;
	if ((uint64_t)free_descriptors(s) * size < len) {
		e1000_count(s, R_MPC, 1);
		e1000_interrupt(s, ICR_RXO);
		return;
	}
	while (len) {
		uint32_t *head = e1000_reg(s, R_RDH), part = MIN(len, size);
		bool last = part == len;

		if (!put_descriptor(s, ring + *head * RXD_LEN, p, part,
				    RXD_DD | RXD_IXSM | flags | (last ? RXD_EOP : 0), tag)) {
			dev_guest_error(&s->pci.dev, "receive descriptor or buffer is not RAM");
			return;
		}
		*head = *head + 1 == n ? 0 : *head + 1;
		p += part;
		len -= part;
	}
	left = free_descriptors(s);
	if (left <= n >> (1 + (s->reg[R_RCTL / 4] >> 8 & 3)))
		causes |= ICR_RXDMT0;
	e1000_interrupt(s, causes);
}

static void receive(void *opaque, const uint8_t *frame, size_t len)
{
	struct e1000 *s = opaque;
	uint16_t tag;
	bool exact, tagged;
	size_t before;

	if (!can_receive(s) || len < 14 || len > NET_MAX_FRAME ||
	    (len > ETH_MAX && !(s->reg[R_RCTL / 4] & RCTL_LPE)))
		return;
	memcpy(s->rx, frame, len);
	if (len < ETH_MIN) {
		memset(s->rx + len, 0, ETH_MIN - len);
		len = ETH_MIN;
	}
	if (!wanted(s, s->rx, &exact))
		return;
	before = len;
	if (!vlan(s, s->rx, &len, &tag))
		return;
	tagged = len != before;
	if (!(s->reg[R_RCTL / 4] & RCTL_SECRC)) {
		st_le32(s->rx + len, (uint32_t)crc32(0, s->rx, (unsigned)len));
		len += FCS;
	}
	e1000_count(s, R_GPRC, 1);
	e1000_count(s, R_TPR, 1);
	e1000_count64(s, R_GORCL, (uint32_t)len);
	e1000_count64(s, R_TORL, (uint32_t)len);
	put_frame(s, s->rx, len, (exact ? 0 : RXD_PIF) | (tagged ? RXD_VP : 0), tag);
}

const struct nic_ops e1000_nic = { .can_receive = can_receive, .receive = receive };
