/* SPDX-License-Identifier: MIT */
/*
 * Bus master DMA of the PIIX3's IDE channels (Intel 290550-002 section 2.7,
 * "Programming Interface for Bus Master IDE Controller" revision 1.0).
 *
 * Every PRD entry is read once, and a table has at most 64 KiB of them.
 */
#include "ide_int.h"

#define BM_START 0x01
#define BM_TO_MEMORY 0x08
#define BM_ERROR 0x02
#define PRD_MAX 8192

static void bm_stop(struct ide_channel *c, uint8_t set)
{
	c->bm_status = (c->bm_status & ~BM_ACTIVE) | set;
}

/* Next region of the table; false: end, or not in memory. */
static bool next_prd(struct ide_channel *c, bool *bad)
{
	uint8_t raw[8];

	*bad = false;
	if (c->prd_last || c->prd_count >= PRD_MAX)
		return false;
	if (!gm_read(dev_mem(&c->ide->pci.dev), GPA(c->bm_next), raw, sizeof(raw))) {
		*bad = true;
		return false;
	}
	c->prd_addr = ld_le32(raw) & ~1u;
	c->prd_left = ld_le32(raw + 4) & 0xfffe;
	if (!c->prd_left)
		c->prd_left = 65536;
	c->prd_last = raw[7] & 0x80;
	c->prd_count++;
	c->bm_next += 8;
	return true;
}

/* Move buf[0, len) to or from the regions.  false: stopped, with the reason in bm_status. */
bool ide_dma_copy(struct ata_port *p, uint32_t len, bool to_memory)
{
	struct ide_channel *c = container_of(p, struct ide_channel, port);
	struct guest_mem *gm = dev_mem(&c->ide->pci.dev);
	uint32_t done = 0, n;
	bool bad = false;

	while (done < len) {
		if (!c->prd_left && !next_prd(c, &bad))
			break;
		n = MIN(len - done, c->prd_left);
		bad = to_memory ? !gm_write(gm, GPA(c->prd_addr), p->buf + done, n) :
				  !gm_read(gm, GPA(c->prd_addr), p->buf + done, n);
		if (bad)
			break;
		c->prd_addr += n;
		c->prd_left -= n;
		done += n;
	}
	if (done == len)
		return true;
	dev_guest_error(&c->ide->pci.dev, bad ? "PRD outside of memory" : "PRD table too short");
	bm_stop(c, bad ? BM_ERROR : 0);
	return false;
}

bool ide_dma_running(struct ata_port *p)
{
	return container_of(p, struct ide_channel, port)->bm_cmd & BM_START;
}

void ide_dma_stop(struct ata_port *p)
{
	bm_stop(container_of(p, struct ide_channel, port), 0);
}

void ide_dma_kick(struct ide_channel *c)
{
	struct ata_port *p = &c->port;
	bool from_host = p->xfer == XFER_WRITE || p->xfer == XFER_TRIM;

	if (!p->dma || p->xfer == XFER_PACKET || p->inflight || !(c->bm_cmd & BM_START) ||
	    !pci_master(&c->ide->pci))
		return;
	if (!(c->bm_cmd & BM_TO_MEMORY) != from_host) {
		bm_stop(c, BM_ERROR);	/* 3.1: direction does not match the command */
		ata_dma_refuse(p);
		return;
	}
	ata_dma_run(p);
}

static void bm_command(struct ide_channel *c, uint8_t v)
{
	bool start = v & BM_START && !(c->bm_cmd & BM_START);

	c->bm_cmd = v & (BM_START | BM_TO_MEMORY);
	if (!(v & BM_START)) {
		bm_stop(c, 0);
	} else if (start) {
		c->bm_next = c->bm_addr;
		c->prd_left = 0;
		c->prd_count = 0;
		c->prd_last = false;
		c->bm_status |= BM_ACTIVE;
		ide_dma_kick(c);
	}
}

static uint64_t bm_read(struct device *d, uint64_t off, unsigned size)
{
	struct ide_channel *c = &container_of(d, struct ide, pci.dev)->ch[off >> 3];
	uint8_t regs[8] = { c->bm_cmd, 0, c->bm_status, 0 };
	uint8_t out[4] = { 0 };

	st_le32(regs + 4, c->bm_addr);
	memcpy(out, regs + (off & 7), MIN(size, 8 - (off & 7)));
	return ld_le32(out);
}

static void bm_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ide_channel *c = &container_of(d, struct ide, pci.dev)->ch[off >> 3];
	uint8_t addr[4];

	st_le32(addr, c->bm_addr);
	for (unsigned i = 0; i < size && (off & 7) + i < 8; i++) {
		uint8_t v = val >> (8 * i), r = (off & 7) + i;

		if (r == 0)
			bm_command(c, v);
		else if (r == 2)
			c->bm_status = (c->bm_status & ~(v & (BM_ERROR | BM_INT)) & ~0x60) |
				       (v & 0x60);
		else if (r >= 4)
			addr[r - 4] = v;
	}
	c->bm_addr = ld_le32(addr) & ~3u;
}

const struct io_ops ide_bm_io = {
	.read = bm_read, .write = bm_write, .min_size = 1, .max_size = 4,
};
