/* SPDX-License-Identifier: MIT */
/*
 * Frames from the device into the received-FIS area (AHCI 1.3.1, 4.2.1;
 * layouts: Serial ATA 3.0, 10.3).
 */
#include "ahci_int.h"

#define FIS_D2H 0x34
#define FIS_PIO 0x5f
#define FIS_SDB 0xa1
#define AT_PIO 0x20
#define AT_D2H 0x40
#define AT_SDB 0x58
#define FIS_IRQ 0x40

static void put(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned len)
{
	if (!(p->cmd & CMD_FRE))
		return;
	if (!gm_write(dev_mem(&p->hba->pci.dev), GPA(p->fb + at), fis, len)) {
		dev_guest_error(&p->hba->pci.dev, "received-FIS area outside of memory");
		ahci_event(p, IS_HBFS);
	}
}

static void put_registers(const struct ata_drive *u, uint8_t *f)
{
	f[2] = u->status;
	f[3] = u->error;
	f[4] = u->lo[0], f[5] = u->mid[0], f[6] = u->hi[0];
	f[7] = u->device;
	f[8] = u->lo[1], f[9] = u->mid[1], f[10] = u->hi[1];
	f[12] = u->count[0], f[13] = u->count[1];
}

void ahci_post_d2h(struct ahci_port *p, bool irq)
{
	uint8_t f[20] = { FIS_D2H, irq ? FIS_IRQ : 0 };

	put_registers(&p->ata.unit[0], f);
	put(p, AT_D2H, f, sizeof(f));
	if (irq)
		ahci_event(p, IS_DHRS);
}

void ahci_post_pio(struct ahci_port *p, bool to_host, uint32_t len)
{
	const struct ata_drive *u = &p->ata.unit[0];
	uint8_t f[20] = { FIS_PIO, FIS_IRQ | (to_host ? 0x20 : 0) };

	put_registers(u, f);
	f[2] = ST_DRDY | ST_DSC | ST_DRQ;
	f[15] = ST_DRDY | ST_DSC;		/* status at the end of the transfer */
	st_le16(f + 16, len);
	put(p, AT_PIO, f, sizeof(f));
	ahci_event(p, IS_PSS);
}

void ahci_post_sdb(struct ahci_port *p, uint32_t done, bool error)
{
	const struct ata_drive *u = &p->ata.unit[0];
	uint8_t f[8] = { FIS_SDB, FIS_IRQ, u->status & 0x77, u->error };

	st_le32(f + 4, done);
	put(p, AT_SDB, f, sizeof(f));
	ahci_event(p, IS_SDBS | (error ? IS_TFES : 0));
}

void ahci_signature(struct ahci_port *p)
{
	const struct ata_drive *u = &p->ata.unit[0];

	p->sig = u->count[0] | (uint32_t)u->lo[0] << 8 | (uint32_t)u->mid[0] << 16 |
		 (uint32_t)u->hi[0] << 24;
	p->fis_due = !(p->cmd & CMD_FRE);
	if (!p->fis_due)
		ahci_post_d2h(p, false);
}
