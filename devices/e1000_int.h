/* SPDX-License-Identifier: MIT */
/* Private to devices/e1000*.c: registers by index (offset / 4), state, the parts. */
#ifndef HV_E1000_INT_H
#define HV_E1000_INT_H

#include "e1000.h"
#include "../src/loop.h"
#include "../src/net.h"
#include "../src/vm.h"

/* Register offsets (Intel 317453-006, "PCI/PCI-X Family of GbE Controllers SDM", table 13-2) */
enum {
	R_CTRL = 0x0000, R_STATUS = 0x0008, R_EECD = 0x0010, R_EERD = 0x0014, R_CTRL_EXT = 0x0018,
	R_MDIC = 0x0020, R_FCAL = 0x0028, R_FCAH = 0x002c, R_FCT = 0x0030, R_VET = 0x0038,
	R_ICR = 0x00c0, R_ITR = 0x00c4, R_ICS = 0x00c8, R_IMS = 0x00d0, R_IMC = 0x00d8,
	R_RCTL = 0x0100, R_FCTTV = 0x0170, R_TXCW = 0x0178, R_RXCW = 0x0180, R_TCTL = 0x0400,
	R_TIPG = 0x0410, R_AIT = 0x0458, R_LEDCTL = 0x0e00, R_PBA = 0x1000, R_FCRTL = 0x2160,
	R_FCRTH = 0x2168, R_RDBAL = 0x2800, R_RDBAH = 0x2804, R_RDLEN = 0x2808, R_RDH = 0x2810,
	R_RDT = 0x2818, R_RDTR = 0x2820, R_RXDCTL = 0x2828, R_RADV = 0x282c, R_RSRPD = 0x2c00,
	R_TDBAL = 0x3800, R_TDBAH = 0x3804, R_TDLEN = 0x3808, R_TDH = 0x3810, R_TDT = 0x3818,
	R_TIDV = 0x3820, R_TXDCTL = 0x3828, R_TADV = 0x382c, R_TSPMT = 0x3830,
	R_STATS = 0x4000, R_STATS_END = 0x4128, R_MPC = 0x4010, R_GPRC = 0x4074, R_BPRC = 0x4078,
	R_MPRC = 0x407c, R_GPTC = 0x4080, R_GORCL = 0x4088, R_GORCH = 0x408c, R_GOTCL = 0x4090,
	R_GOTCH = 0x4094, R_RUC = 0x40a4, R_ROC = 0x40ac, R_TORL = 0x40c0, R_TORH = 0x40c4,
	R_TOTL = 0x40c8, R_TOTH = 0x40cc, R_TPR = 0x40d0, R_TPT = 0x40d4, R_MPTC = 0x40f0,
	R_BPTC = 0x40f4, R_TSCTC = 0x40f8,
	R_RXCSUM = 0x5000, R_MTA = 0x5200, R_RA = 0x5400, R_VFTA = 0x5600, R_WUC = 0x5800,
	R_WUFC = 0x5808, R_WUS = 0x5810, R_MANC = 0x5820,
	R_END = 0x5900,
};

#define CTRL_RST 0x04000000u
#define CTRL_SLU 0x00000040u
#define CTRL_VME 0x40000000u
#define STATUS_FD 0x01u
#define STATUS_LU 0x02u
#define STATUS_1000 0x80u

#define ICR_TXDW 0x01u
#define ICR_TXQE 0x02u
#define ICR_LSC 0x04u
#define ICR_RXDMT0 0x10u
#define ICR_RXO 0x40u
#define ICR_RXT0 0x80u
#define ICR_MDAC 0x200u
#define ICR_ALL 0x1ffffu

#define E1000_BUF 65792u	/* a frame being put together: 64 KiB and headers */

/* 3.3.6: offload context, as the last context descriptor set it. */
struct e1000_ctx {
	uint8_t ipcss, ipcso, tucss, tucso, cmd, hdrlen;
	uint16_t ipcse, tucse, mss;
	uint32_t paylen;
};

struct e1000 {
	struct pci_dev pci;
	struct net *net;			/* immutable after realize */
	uint8_t mac[6];
	struct loop_work work;			/* the rest of a long transmit ring */
	struct vtimer throttle;			/* armed: no interrupt before it fires */

	uint32_t reg[R_END / 4];
	uint32_t ioaddr;
	uint16_t phy[32], eeprom[64];
	/* Serial EEPROM by EECD: bits shifted in, bits to shift out. */
	uint32_t ee_in, ee_out;
	uint8_t ee_nin, ee_nout;
	bool ee_clock;
	/* Transmit: one frame over several descriptors */
	struct e1000_ctx ctx;
	uint32_t tx_len;
	uint8_t tx_opts, tx_flags;
	uint16_t tx_vlan;
	uint8_t tx[E1000_BUF];
	/* Scratch, no state */
	uint8_t seg[E1000_BUF], rx[NET_MAX_FRAME + 64];
};
PCI_DEVICE_CHECK(struct e1000);

static inline struct e1000 *to_e1000(struct device *d)
{
	return container_of(d, struct e1000, pci.dev);
}

static inline uint32_t *e1000_reg(struct e1000 *s, unsigned off)
{
	return &s->reg[off / 4];
}

/* e1000.c */
void e1000_interrupt(struct e1000 *s, uint32_t causes);
void e1000_count(struct e1000 *s, unsigned reg, uint32_t by);
void e1000_count64(struct e1000 *s, unsigned low, uint32_t by);
/* Address and number of descriptors of a ring; false: unusable. */
bool e1000_ring(struct e1000 *s, unsigned base, uint64_t *at, uint32_t *n);

/* e1000_tx.c */
void e1000_transmit(struct e1000 *s);
/* e1000_rx.c */
extern const struct nic_ops e1000_nic;

/* e1000_phy.c: serial EEPROM and PHY */
void e1000_phy_reset(struct e1000 *s);
void e1000_eeprom_fill(struct e1000 *s);
void e1000_mdic(struct e1000 *s, uint32_t val);
void e1000_eerd(struct e1000 *s, uint32_t val);
uint32_t e1000_eecd_read(struct e1000 *s);
void e1000_eecd_write(struct e1000 *s, uint32_t val);

#endif
