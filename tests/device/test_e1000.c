/* SPDX-License-Identifier: MIT */
/*
 * The 82540EM through the bus (Intel 317453-006): registers, EEPROM, PHY,
 * rings, filters, offloads, interrupts; hostile rings; save and reset.
 */
#include "../lib/testvm.h"
#include "../../devices/chipset.h"
#include "../../devices/e1000_int.h"

#define BAR 0xe0000000u
#define TXR 0x10000u
#define RXR 0x11000u
#define BUFS 0x20000u
#define RING 16u
#define DEVFN PCI_DEVFN(3, 0)

static struct vm *vm;
static struct device *nic;
static struct test_irq irqs;

/* The other end of the wire keeps what was sent. */
static struct {
	struct net net;
	uint8_t frame[128][2048];
	size_t len[128];
	unsigned n, resumes;
} wire;

static void wire_send(struct net *n, const struct iovec *iov, unsigned niov, size_t len)
{
	uint8_t *p = wire.frame[wire.n & 127];
	size_t done = 0;

	for (unsigned i = 0; i < niov; i++) {
		size_t part = MIN(iov[i].iov_len, 2048 - done);

		memcpy(p + done, iov[i].iov_base, part);
		done += part;
	}
	wire.len[wire.n++ & 127] = len;
}

static void wire_resume(struct net *n)
{
	wire.resumes++;
}

static const struct net_ops wire_ops = { .name = "wire", .send = wire_send, .resume = wire_resume };
static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void place(struct device *d)
{
	struct device *h = device_find(d->vm, "i440fx", "host");
	struct irq_line l[4];

	if (!h)
		h = tvm_add(d->vm, &i440fx_ops, "host", NULL);
	for (unsigned i = 0; i < 4; i++)
		l[i] = test_irq_line(&irqs, i);
	pci_bus_set_intx(i440fx_bus(h), l);
	pci_place(d, i440fx_bus(h), DEVFN);
	wire.net.ops = &wire_ops;
	e1000_setup(d, &wire.net, mac);
}

static void cfg_wr(unsigned off, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DEVFN << 8 | off);
	tvm_outl(vm, 0xcfc, v);
}

static uint32_t rd(unsigned off)
{
	return tvm_rd32(vm, BAR + off);
}

static void wr(unsigned off, uint32_t v)
{
	tvm_wr32(vm, BAR + off, v);
}

static void bring_up(void)
{
	cfg_wr(0x10, BAR);
	cfg_wr(0x14, 0xc001);
	cfg_wr(0x04, 7);
	wr(R_TDBAL, TXR), wr(R_TDLEN, RING * 16);
	wr(R_RDBAL, RXR), wr(R_RDLEN, RING * 16);
	for (unsigned i = 0; i < RING; i++) {
		assert_true(gm_write_le64(vm->mem, GPA(RXR + i * 16), BUFS + i * 2048));
		assert_true(gm_write_le64(vm->mem, GPA(RXR + i * 16 + 8), 0));
	}
	wr(R_TCTL, 2);
	wr(R_RCTL, 0x8002);	/* EN, BAM, 2 KiB buffers */
}

static int setup(void **st)
{
	memset(&wire, 0, sizeof(wire));
	memset(&irqs, 0, sizeof(irqs));
	vm = tvm_new(MiB(1));
	nic = tvm_add(vm, &e1000_ops, "net0", place);
	bring_up();
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

static bool line(void)
{
	return irqs.level >> pci_intx_link(3, 1) & 1;
}

/* ---- Registers, EEPROM, PHY ---- */

static void test_identity(void **st)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DEVFN << 8);
	assert_int_equal(tvm_inl(vm, 0xcfc), 0x100e8086);
	assert_int_equal(rd(R_STATUS) & 0x83, 0x83);	/* 13.4.2: up, full, 1000 */
	assert_int_equal(rd(R_RA), 0x12005452);
	assert_int_equal(rd(R_RA + 4), 0x80005634);
	tvm_outl(vm, 0xc000, R_STATUS);			/* 13.1.2: IOADDR, IODATA */
	assert_int_equal(tvm_inl(vm, 0xc004), rd(R_STATUS));
}

/* 5.6: the sum of all words is BABAh; by EERD and by the serial pins. */
static void test_eeprom(void **st)
{
	uint16_t sum = 0, serial = 0;

	for (unsigned i = 0; i < 64; i++) {
		wr(R_EERD, i << 8 | 1);
		assert_int_equal(rd(R_EERD) & 0x10, 0x10);
		sum += rd(R_EERD) >> 16;
	}
	assert_int_equal(sum, 0xbaba);
	wr(R_EECD, 0x40);
	assert_int_equal(rd(R_EECD) & 0x1c0, 0x1c0);
	/* start, read, word 2; then a zero bit and sixteen of data */
	for (unsigned i = 0; i < 9; i++) {
		uint32_t di = (6u << 6 | 2) >> (8 - i) & 1 ? 4 : 0;

		wr(R_EECD, 0x42 | di);
		wr(R_EECD, 0x43 | di);
	}
	assert_int_equal(rd(R_EECD) & 8, 0);
	for (unsigned i = 0; i < 16; i++) {
		wr(R_EECD, 0x42);
		wr(R_EECD, 0x43);
		serial = serial << 1 | (rd(R_EECD) >> 3 & 1);
	}
	assert_int_equal(serial, 0x5634);
}

/* 13.4.3 */
static void test_phy(void **st)
{
	wr(R_MDIC, 2u << 26 | 1 << 21 | 2 << 16);
	assert_int_equal(rd(R_MDIC) & 0x5000ffff, 0x10000141);
	wr(R_MDIC, 2u << 26 | 1 << 21 | 1 << 16);
	assert_int_equal(rd(R_MDIC) & 0x24, 0x24);	/* link, negotiated */
	wr(R_MDIC, 2u << 26 | 2 << 21 | 1 << 16);
	assert_int_equal(rd(R_MDIC) & 0x40000000, 0x40000000);	/* no such PHY */
	wr(R_MDIC, 1u << 26 | 1 << 21 | 0 << 16 | 0x1340);	/* restart negotiation */
	assert_int_equal(rd(R_ICR) & ICR_LSC, ICR_LSC);
}

/* 13.4.17-13.4.21: ICR clears on read; IMS and IMC; ICS sets causes. */
static void test_interrupts(void **st)
{
	wr(R_ICS, ICR_TXDW);
	assert_false(line());
	wr(R_IMS, ICR_TXDW);
	assert_true(line());
	assert_int_equal(rd(R_ICR), ICR_TXDW);
	assert_false(line());
	assert_int_equal(rd(R_ICR), 0);
	wr(R_ITR, 1000);		/* 256 us between two interrupts */
	wr(R_ICS, ICR_TXDW);
	assert_true(line());
	rd(R_ICR);
	wr(R_ICS, ICR_TXDW);
	assert_false(line());
	tvm_advance(vm, 256000);
	assert_true(line());
	wr(R_IMC, ICR_TXDW);
	assert_false(line());
}

/* ---- Transmit ---- */

static unsigned tail;

static void tx(uint64_t addr, uint32_t w2, uint32_t w3)
{
	uint64_t at = TXR + (tail % RING) * 16;

	assert_true(gm_write_le64(vm->mem, GPA(at), addr));
	assert_true(gm_write_le32(vm->mem, GPA(at + 8), w2));
	assert_true(gm_write_le32(vm->mem, GPA(at + 12), w3));
	tail = (tail + 1) % RING;
}

static void fill(uint64_t at, const uint8_t *p, size_t n)
{
	assert_true(gm_write(vm->mem, GPA(at), p, n));
}

/* 3.3.3: legacy descriptors; a frame in two parts; RS sets DD. */
static void test_legacy(void **st)
{
	uint8_t f[100];
	uint32_t status;

	tail = 0;
	for (unsigned i = 0; i < sizeof(f); i++)
		f[i] = i;
	fill(0x40000, f, sizeof(f));
	tx(0x40000, 60, 0);
	tx(0x40000 + 60, 40 | 0x09000000, 0);		/* EOP, RS */
	wr(R_TDT, tail);
	assert_int_equal(wire.n, 1);
	assert_int_equal(wire.len[0], 100);
	assert_memory_equal(wire.frame[0], f, 100);
	assert_int_equal(rd(R_TDH), 2);
	assert_true(gm_read_le32(vm->mem, GPA(TXR + 16 + 12), &status));
	assert_int_equal(status & 1, 1);
	assert_int_equal(rd(R_ICR), ICR_TXDW | ICR_TXQE);
	assert_int_equal(rd(R_GPTC), 1);
	assert_int_equal(rd(R_GPTC), 0);		/* 13.7: cleared by reading */
}

static uint16_t sum(const uint8_t *p, unsigned n, uint32_t s)
{
	for (unsigned i = 0; i + 1 < n; i += 2)
		s += ld_be16(p + i);
	if (n & 1)
		s += p[n - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static void ip_tcp(uint8_t *f, unsigned payload)
{
	memset(f, 0, 54 + payload);
	memcpy(f, mac, 6);
	st_be16(f + 12, 0x0800);
	f[14] = 0x45, f[22] = 64, f[23] = 6;
	st_be16(f + 18, 0x1111);
	st_be32(f + 26, 0x0a00020f), st_be32(f + 30, 0x0a000202);
	st_be32(f + 38, 1000);		/* sequence */
	f[46] = 0x50, f[47] = 0x19;	/* 20 bytes; ACK, PSH, FIN */
	for (unsigned i = 0; i < payload; i++)
		f[54 + i] = i * 7;
	/* the driver leaves the pseudo header's sum without the length */
	st_be16(f + 50, sum(f + 26, 8, 6));
}

static void check_segment(const uint8_t *f, size_t len, unsigned i, unsigned mss, bool last)
{
	uint32_t l4 = len - 34;

	assert_int_equal(ld_be16(f + 16), len - 14);
	assert_int_equal(ld_be16(f + 18), 0x1111 + i);
	assert_int_equal(sum(f + 14, 20, 0), 0xffff);
	assert_int_equal(ld_be32(f + 38), 1000 + i * mss);
	assert_int_equal(f[47], last ? 0x19 : 0x10);
	assert_int_equal(sum(f + 34, l4, sum(f + 26, 8, 6 + l4)), 0xffff);
	for (unsigned k = 0; k < len - 54; k++)
		assert_int_equal(f[54 + k], (uint8_t)((i * mss + k) * 7));
}

/* 3.5: 2500 bytes in segments of 1000: lengths, identification, sequence, flags, checksums. */
static void test_tso(void **st)
{
	static uint8_t f[54 + 2500];

	tail = 0;
	ip_tcp(f, 2500);
	fill(0x40000, f, sizeof(f));
	/* context: IP 14..33 sum at 24, TCP from 34 sum at 50; TSE, IP, TCP */
	tx(14 | 24 << 8 | 33 << 16 | (uint64_t)(34 | 50 << 8) << 32,
	   2500 | 0x27000000, 54 << 8 | 1000 << 16);
	tx(0x40000, 54 | 0x24100000, 0x300);		/* header; IXSM, TXSM */
	tx(0x40000 + 54, 2500 | 0x2d100000, 0);
	wr(R_TDT, tail);
	assert_int_equal(wire.n, 3);
	assert_int_equal(wire.len[0], 1054);
	assert_int_equal(wire.len[2], 554);
	for (unsigned i = 0; i < 3; i++)
		check_segment(wire.frame[i], wire.len[i], i, 1000, i == 2);
}

/* 3.3.7.3: checksum insertion without segmentation; VLAN tag. */
static void test_checksum_vlan(void **st)
{
	uint8_t f[54 + 101];

	tail = 0;
	ip_tcp(f, 101);
	st_be16(f + 16, sizeof(f) - 14);
	st_be16(f + 50, sum(f + 26, 8, 6 + 121));
	fill(0x40000, f, sizeof(f));
	wr(R_CTRL, 0x40000000);				/* VME */
	tx(14 | 24 << 8 | 33 << 16 | (uint64_t)(34 | 50 << 8) << 32, 0x23000000, 0);
	tx(0x40000, sizeof(f) | 0x69100000, 0x300 | 5 << 16);
	wr(R_TDT, tail);
	assert_int_equal(wire.n, 1);
	assert_int_equal(wire.len[0], sizeof(f) + 4);
	assert_int_equal(ld_be32(wire.frame[0] + 12), 0x81000005);
	assert_int_equal(sum(wire.frame[0] + 38, 121, sum(f + 26, 8, 6 + 121)), 0xffff);
	assert_int_equal(sum(wire.frame[0] + 18, 20, 0), 0xffff);
}

/* ---- Receive ---- */

static void arrive(const uint8_t *dst, size_t len)
{
	static uint8_t f[NET_MAX_FRAME];

	memset(f, 0xab, len);
	memcpy(f, dst, 6);
	wire.net.nic->receive(wire.net.nic_opaque, f, len);
}

static uint64_t rxd(unsigned i)
{
	uint64_t v = 0;

	assert_true(gm_read_le64(vm->mem, GPA(RXR + i * 16 + 8), &v));
	return v;
}

static void test_receive(void **st)
{
	assert_false(wire.net.nic->can_receive(wire.net.nic_opaque));
	wr(R_RDT, 8);
	assert_true(wire.resumes > 0);
	assert_true(wire.net.nic->can_receive(wire.net.nic_opaque));
	arrive(mac, 100);
	assert_int_equal(rd(R_RDH), 1);
	assert_int_equal(rxd(0) & 0xffff, 104);		/* with its FCS (13.4.22 SECRC) */
	assert_int_equal(rxd(0) >> 32 & 7, 7);		/* DD, EOP, IXSM */
	assert_int_equal(rd(R_ICR) & ICR_RXT0, ICR_RXT0);
	wr(R_RCTL, 0x04008002);				/* SECRC */
	arrive(mac, 20);				/* padded */
	assert_int_equal(rxd(1) & 0xffff, 60);
	wr(R_RCTL, 0x04008022);				/* LPE: over several buffers */
	arrive(mac, 5000);
	assert_int_equal(rd(R_RDH), 5);
	assert_int_equal(rxd(2) >> 32 & 3, 1);
	assert_int_equal(rxd(4) >> 32 & 3, 3);
	assert_int_equal(rxd(4) & 0xffff, 5000 - 4096);
}

/* 13.5: exact, broadcast, multicast hash, promiscuous. */
static void test_filters(void **st)
{
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 1 }, all[6] = "\xff\xff\xff\xff\xff\xff",
		group[6] = { 1, 0, 0x5e, 0, 0x12, 0x34 };
	unsigned h = (0x34 << 8 | 0x12) >> 4 & 0xfff;

	wr(R_RDT, 15);
	arrive(other, 64);
	arrive(group, 64);
	assert_int_equal(rd(R_RDH), 0);
	arrive(all, 64);
	assert_int_equal(rd(R_RDH), 1);
	wr(R_MTA + (h >> 5) * 4, 1u << (h & 31));
	arrive(group, 64);
	assert_int_equal(rd(R_RDH), 2);
	wr(R_RCTL, 0x800a);		/* UPE */
	arrive(other, 64);
	assert_int_equal(rd(R_RDH), 3);
	assert_int_equal(rd(R_GPRC), 3);
	arrive(mac, 3000);		/* long, without LPE */
	assert_int_equal(rd(R_RDH), 3);
}

/* ---- Hostile guests ---- */

static void test_hostile(void **st)
{
	uint64_t r = 88172645463325252ull;

	wr(R_TDLEN, 0);
	wr(R_TDT, 5);
	wr(R_TDLEN, 0xffffffff), wr(R_TDBAL, 0xffffffff), wr(R_TDBAH, 0xffffffff);
	wr(R_TDT, 0xffff);
	wr(R_RDBAH, 0xffffffff), wr(R_RDLEN, 0xffffffff), wr(R_RDT, 3);
	arrive(mac, 100);
	for (unsigned i = 0; i < 100000; i++) {
		r ^= r << 13, r ^= r >> 7, r ^= r << 17;
		if (r % 97 == 0)
			bring_up();
		if (r & 1)
			wr((r >> 8) % R_END & ~3u, r >> 32 & (r & 2 ? 0x1ff : 0xffffffff));
		else
			rd((r >> 8) % R_END & ~3u);
		if (r % 13 == 0)
			arrive(mac, 14 + (r >> 40) % 4000);
		if (r % 31 == 0)
			assert_true(gm_write_le64(vm->mem, GPA(TXR + (r >> 20) % 4096), r));
	}
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	bring_up();
	tail = 0;
	tx(0x40000, 60, 0);		/* half a frame */
	wr(R_TDT, tail);
	wr(R_ITR, 500);
	wr(R_IMS, 0xff), wr(R_ICS, 1);
	wr(R_EECD, 0x46), wr(R_EECD, 0x47);
	wr(R_RDT, 3);
	arrive(mac, 80);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&e1000_ops, place, poke);
	tvm_check_reset(&e1000_ops, place, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity), T(test_eeprom), T(test_phy), T(test_interrupts), T(test_legacy),
		T(test_tso), T(test_checksum_vlan), T(test_receive), T(test_filters),
		T(test_hostile), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
