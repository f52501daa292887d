/* SPDX-License-Identifier: MIT */
/*
 * AHCI commands (AHCI 1.3.1, 4.2 and 5.5): command list, tables and PRDTs.
 *
 * Sector transfers by DMA, queued (NCQ) or not, map the PRDT and go to the
 * block layer without a copy; everything else runs through the ATA port's
 * buffer (ata.h).  A guest's header, FIS and PRD entries are each read once.
 * One command without queueing at a time; NCQ commands in any number, but
 * not beside it (Serial ATA 3.0, 13.6).
 */
#include "ahci_int.h"
#include "../src/vm.h"

#define HDR_LEN 32u
#define TABLE_ACMD 0x40u
#define TABLE_PRDT 0x80u
#define PRD_LEN 16u
#define PRD_IRQ (1u << 31)
#define PRD_MAX 8192u		/* entries of one command */

#define HDR_ATAPI (1u << 5)
#define HDR_RESET (1u << 8)
#define HDR_CLEAR (1u << 10)

#define FIS_H2D 0x27
#define FIS_COMMAND 0x80
#define CTL_SRST 0x04
#define DEV_FUA 0x80

struct header {
	uint32_t flags, prds;
	uint64_t table;
};

static struct ahci_port *port_of(struct ata_port *a)
{
	return container_of(a, struct ahci_port, ata);
}

static struct guest_mem *mem(struct ahci_port *p)
{
	return dev_mem(&p->hba->pci.dev);
}

static struct ata_drive *drive(struct ahci_port *p)
{
	return &p->ata.unit[0];
}

/* 6.2: the port stops fetching commands until PxCMD.ST was cleared. */
static void halt(struct ahci_port *p, uint32_t bits)
{
	p->halted = true;
	ahci_event(p, bits);
}

/* The header counts the bytes moved (4.2.2, PRDBC). */
static void put_prdbc(struct ahci_port *p, unsigned slot, uint32_t n)
{
	if (!gm_write_le32(mem(p), GPA(p->clb + slot * HDR_LEN + 4), n))
		halt(p, IS_HBFS);
}

/* ---- PRDT ---- */

static bool read_prd(struct ahci_port *p, uint64_t table, unsigned i, uint64_t *at, uint32_t *len,
		     bool *irq)
{
	uint8_t raw[PRD_LEN];

	if (!gm_read(mem(p), GPA(table + TABLE_PRDT + (uint64_t)i * PRD_LEN), raw, sizeof(raw)))
		return false;
	*at = ld_le64(raw) & ~1ull;
	*len = ((ld_le32(raw + 12) & 0x3fffff) | 1) + 1;
	*irq = ld_le32(raw + 12) & PRD_IRQ;
	return true;
}

/* Map the first @want bytes of the PRDT. */
static bool map_prdt(struct ahci_port *p, struct ahci_req *r, const struct header *h,
		     uint64_t want, bool *short_table)
{
	bool irq;

	*short_table = false;
	for (unsigned i = 0; i < h->prds && i < PRD_MAX && r->sg.len < want; i++) {
		uint64_t at;
		uint32_t len;

		if (!read_prd(p, h->table, i, &at, &len, &irq) ||
		    !sg_add(&r->sg, mem(p), at, MIN(len, want - r->sg.len), !r->write))
			return false;
	}
	*short_table = r->sg.len < want;
	return !*short_table;
}

/* Copy between buf[0, len) of the ATA port and the PRDT, from where the last copy ended. */
static bool prdt_copy(struct ahci_port *p, uint8_t *buf, uint32_t len, bool to_host)
{
	uint32_t done = 0;

	while (done < len) {
		uint64_t at;
		uint32_t n, size;
		bool irq, ok;

		if (p->prd >= p->prds || !read_prd(p, p->table, p->prd, &at, &size, &irq)) {
			ahci_event(p, p->prd >= p->prds ? IS_OFS : IS_HBFS);
			return false;
		}
		n = MIN(len - done, size - p->prd_off);
		at += p->prd_off;
		ok = to_host ? gm_write(mem(p), GPA(at), buf + done, n) :
			       gm_read(mem(p), GPA(at), buf + done, n);
		if (!ok) {
			ahci_event(p, IS_HBDS);
			return false;
		}
		done += n;
		p->prd_off += n;
		p->moved += n;
		if (p->prd_off == size) {
			p->prd++;
			p->prd_off = 0;
			if (irq)
				ahci_event(p, IS_DPS);
		}
	}
	return true;
}

/* ---- The end of a command that is not queued ---- */

static void complete(struct ahci_port *p)
{
	unsigned slot = (unsigned)p->slot;
	bool error = drive(p)->status & ST_ERR;

	p->slot = -1;
	p->issued &= ~(1u << slot);
	put_prdbc(p, slot, p->moved);
	if (error) {		/* 6.2.2.1: PxCI keeps the bit */
		ahci_post_d2h(p, true);
		halt(p, IS_TFES);
		return;
	}
	p->ci &= ~(1u << slot);
	if (!p->pio)		/* else the PIO setup FIS has said it all */
		ahci_post_d2h(p, true);
	ahci_process(p);
}

static void check_complete(struct ahci_port *p)
{
	if (p->slot >= 0 && !ata_busy(&p->ata) && !p->aborting)
		complete(p);
}

/* ---- The ATA port's view: all data is in reach at once ---- */

static void raise_irq(struct ata_port *a)
{
	check_complete(port_of(a));
}

/* One PIO window; the last one of a read ends the command. */
static void move_window(struct ahci_port *p)
{
	struct ata_port *a = &p->ata;
	uint32_t n = a->end - a->pos;
	bool ok;

	if (a->xfer == XFER_PACKET) {
		ok = gm_read(mem(p), GPA(p->table + TABLE_ACMD), a->buf, ATA_PACKET_LEN);
		p->pio = false;
	} else {
		bool to_host = a->xfer == XFER_READ || a->xfer == XFER_REPLY;

		ok = prdt_copy(p, a->buf + a->pos, n, to_host);
		p->pio = a->xfer == XFER_READ;
		ahci_post_pio(p, to_host, n);
	}
	a->pos = a->end;
	if (ok)
		ata_window_done(a);
	else
		ata_finish_abort(a);
}

static void window(struct ata_port *a)
{
	struct ahci_port *p = port_of(a);

	p->window = true;
	if (p->pumping)
		return;
	p->pumping = true;
	while (p->window) {
		p->window = false;
		move_window(p);
	}
	p->pumping = false;
	check_complete(p);
}

static void dma_kick(struct ata_port *a)
{
	ata_dma_run(a);
}

static bool dma_running(struct ata_port *a)
{
	return true;
}

static bool dma_copy(struct ata_port *a, uint32_t len, bool to_host)
{
	return prdt_copy(port_of(a), a->buf, len, to_host);
}

static void dma_stop(struct ata_port *a)
{
}

const struct ata_transport ahci_transport = {
	.raise = raise_irq, .window = window, .dma_kick = dma_kick, .dma_running = dma_running,
	.dma_copy = dma_copy, .dma_stop = dma_stop,
};

/* ---- Sector transfers without a copy ---- */

static void queued_end(struct ahci_port *p, struct ahci_req *r, uint8_t error)
{
	struct ata_drive *u = drive(p);
	uint32_t bit = 1u << r->slot;

	p->queued--;
	p->issued &= ~bit;
	if (!error) {
		u->status = ST_DRDY | ST_DSC;
		u->error = 0;
		p->sact &= ~bit;
		ahci_post_sdb(p, bit, false);
		ahci_process(p);
		return;
	}
	/* 6.2.2.2 and ACS-3 4.15: the queue stops; log 10h says which command it was. */
	u->status = ST_DRDY | ST_DSC | ST_ERR;
	u->error = error;
	u->ncq_failed = true;
	u->ncq_tag = r->slot;
	u->ncq_lba = r->lba;
	u->ncq_error = error;
	p->halted = true;
	ahci_post_sdb(p, 0, true);
}

static void single_end(struct ahci_port *p, struct ahci_req *r, uint8_t error)
{
	struct ata_drive *u = drive(p);

	u->status = ST_DRDY | ST_DSC | (error ? ST_ERR : 0);
	u->error = error;
	if (error)
		ata_set_lba(u, r->lba, true);
	else
		p->moved = r->sectors * ATA_SECTOR;
	p->pio = false;
	complete(p);
}

static void end_request(struct ahci_port *p, struct ahci_req *r, uint8_t error)
{
	r->active = false;
	if (p->aborting)
		return;
	if (r->ncq)
		queued_end(p, r, error);
	else
		single_end(p, r, error);
}

static void request_done(struct block_req *br, int error)
{
	struct ahci_req *r = br->opaque;
	struct ahci_port *p = r->port;

	if (!error && r->flush_after) {
		r->flush_after = false;
		*br = (struct block_req){ .op = BLOCK_FLUSH, .done = request_done, .opaque = r };
		block_submit(drive(p)->block, br);
		return;
	}
	sg_end(&r->sg, mem(p), r->write ? 0 : UINT64_MAX);
	end_request(p, r, !error ? 0 : r->write ? ER_ABRT : ER_UNC);
}

static void start_transfer(struct ahci_port *p, struct ahci_req *r, const struct header *h,
			   bool fua)
{
	struct ata_drive *u = drive(p);
	uint64_t len = (uint64_t)r->sectors * ATA_SECTOR;
	bool short_table;

	r->active = true;
	if ((r->write && u->readonly) || !range_ok(r->lba, r->sectors, u->nsectors)) {
		end_request(p, r, r->write && u->readonly ? ER_ABRT : ER_IDNF);
		return;
	}
	if (!map_prdt(p, r, h, len, &short_table)) {
		sg_end(&r->sg, mem(p), 0);
		ahci_event(p, short_table ? IS_OFS : IS_HBDS);
		end_request(p, r, ER_ABRT);
		return;
	}
	r->flush_after = r->write && (fua || !u->wcache);
	r->req = (struct block_req){ .op = r->write ? BLOCK_WRITE : BLOCK_READ,
				     .off = r->lba * ATA_SECTOR, .len = len, .iov = r->sg.iov,
				     .niov = r->sg.n, .done = request_done, .opaque = r };
	block_submit(u->block, &r->req);
}

/* READ and WRITE FPDMA QUEUED (Serial ATA 3.0, 13.6.4). */
static void start_queued(struct ahci_port *p, unsigned slot, const struct header *h,
			 const uint8_t *fis)
{
	struct ahci_req *r = &p->req[slot];
	uint32_t n = fis[3] | fis[11] << 8;

	r->ncq = true;
	r->write = fis[2] == 0x61;
	r->sectors = n ? n : 65536;
	r->lba = fis[4] | fis[5] << 8 | fis[6] << 16 | (uint64_t)fis[8] << 24 |
		 (uint64_t)fis[9] << 32 | (uint64_t)fis[10] << 40;
	p->queued++;
	p->ci &= ~(1u << slot);		/* the device has taken it */
	if (fis[12] >> 3 != slot) {
		dev_guest_error(&p->hba->pci.dev, "NCQ tag %u in slot %u", fis[12] >> 3, slot);
		end_request(p, r, ER_ABRT);
		return;
	}
	start_transfer(p, r, h, fis[7] & DEV_FUA);
}

/* The sector transfers by DMA: opcode, flags. */
static int transfer_flags(uint8_t op)
{
	switch (op) {
	case 0x25:
		return ATA_F_LBA48;
	case 0x35:
		return ATA_F_LBA48 | ATA_F_WRITE;
	case 0x3d:
		return ATA_F_LBA48 | ATA_F_WRITE | ATA_F_FUA;
	case 0xc8: case 0xc9:
		return 0;
	case 0xca: case 0xcb:
		return ATA_F_WRITE;
	default:
		return -1;
	}
}

static void start_single(struct ahci_port *p, unsigned slot, const struct header *h, int flags)
{
	struct ahci_req *r = &p->req[slot];
	struct ata_drive *u = drive(p);

	r->ncq = false;
	r->write = flags & ATA_F_WRITE;
	r->lba = ata_get_lba(u, flags & ATA_F_LBA48);
	r->sectors = ata_get_count(u, flags & ATA_F_LBA48);
	u->status = ST_BSY;
	start_transfer(p, r, h, flags & ATA_F_FUA);
}

/* ---- Command list ---- */

static void load_task_file(struct ata_drive *u, const uint8_t *f)
{
	u->feature[0] = f[3], u->feature[1] = f[11];
	u->lo[0] = f[4], u->mid[0] = f[5], u->hi[0] = f[6];
	u->device = f[7];
	u->lo[1] = f[8], u->mid[1] = f[9], u->hi[1] = f[10];
	u->count[0] = f[12], u->count[1] = f[13];
}

/* A FIS that writes the control register: software reset in two steps (10.4.1). */
static void control(struct ahci_port *p, unsigned slot, const uint8_t *fis)
{
	p->issued &= ~(1u << slot);
	p->ci &= ~(1u << slot);
	if (fis[15] & CTL_SRST) {
		p->srst = true;
	} else if (p->srst) {
		p->srst = false;
		ata_abort(&p->ata);
		ata_signature(drive(p));
		ahci_signature(p);
	}
}

static void start_command(struct ahci_port *p, unsigned slot, const struct header *h,
			  const uint8_t *fis)
{
	int flags = transfer_flags(fis[2]);

	load_task_file(drive(p), fis);
	p->slot = (int)slot;
	p->table = h->table;
	p->prds = MIN(h->prds, PRD_MAX);
	p->prd = p->prd_off = p->moved = 0;
	p->pio = false;
	if (flags >= 0 && !drive(p)->cdrom) {
		start_single(p, slot, h, flags);
		return;
	}
	ata_execute(&p->ata, fis[2]);
	check_complete(p);
}

static bool read_header(struct ahci_port *p, unsigned slot, struct header *h, uint8_t *fis)
{
	uint8_t raw[16];

	if (!gm_read(mem(p), GPA(p->clb + slot * HDR_LEN), raw, sizeof(raw)))
		return false;
	h->flags = ld_le32(raw);
	h->prds = h->flags >> 16;
	h->table = ld_le64(raw + 8) & ~127ull;
	return h->table <= UINT64_MAX - GiB(1) && gm_read(mem(p), GPA(h->table), fis, 20);
}

static bool is_queued(struct ahci_port *p, const uint8_t *fis)
{
	return (fis[2] == 0x60 || fis[2] == 0x61) && !drive(p)->cdrom;
}

/* false: it has to wait. */
static bool start_slot(struct ahci_port *p, unsigned slot)
{
	struct header h;
	uint8_t fis[20];

	if (!read_header(p, slot, &h, fis)) {
		dev_guest_error(&p->hba->pci.dev, "command list or table outside of memory");
		halt(p, IS_HBFS);
		return false;
	}
	if (fis[0] == FIS_H2D && fis[1] & FIS_COMMAND && !is_queued(p, fis) && p->queued)
		return false;
	p->issued |= 1u << slot;
	if (fis[0] != FIS_H2D) {
		dev_guest_error(&p->hba->pci.dev, "frame of type %#x in a command", fis[0]);
		p->issued &= ~(1u << slot);
		halt(p, IS_HBFS);
		return false;
	}
	if (!(fis[1] & FIS_COMMAND))
		control(p, slot, fis);
	else if (is_queued(p, fis))
		start_queued(p, slot, &h, fis);
	else
		start_command(p, slot, &h, fis);
	return true;
}

static bool may_start(const struct ahci_port *p)
{
	return p->link && p->cmd & CMD_ST && !p->halted && !p->aborting && p->slot < 0 &&
	       p->ci & ~p->issued && pci_master(&p->hba->pci);
}

void ahci_process(struct ahci_port *p)
{
	p->again = true;
	if (p->processing)
		return;
	p->processing = true;
	while (p->again) {
		p->again = false;
		for (unsigned i = 0; i < AHCI_SLOTS && may_start(p); i++)
			if ((p->ci & ~p->issued) >> i & 1 && !start_slot(p, i))
				break;
	}
	p->processing = false;
}

void ahci_drain(struct ahci_port *p)
{
	while (p->queued || p->slot >= 0) {
		struct block *b = drive(p)->cdrom ? drive(p)->cd.block : drive(p)->block;

		if (!b)
			break;
		block_drain(b);
		ata_drain(&p->ata);
	}
}

void ahci_abandon(struct ahci_port *p)
{
	bool busy = false;

	p->aborting = true;
	ata_abort(&p->ata);
	for (unsigned i = 0; i < AHCI_SLOTS; i++)
		busy |= p->req[i].active;
	if (busy)
		block_drain(drive(p)->block);
	p->aborting = false;
	p->issued = 0;
	p->slot = -1;
	p->queued = 0;
	p->window = false;
}
