/* SPDX-License-Identifier: MIT */
/*
 * ATA commands (ATA/ATAPI-6 chapter 8): the table, the sector and the
 * non-data commands, IDENTIFY.
 *
 * Left out: SMART, security, power management beyond answering.
 */
#include "ata.h"

#define TRIM_BLOCKS 8		/* of ranges in one DATA SET MANAGEMENT */
#define SATA_NCQ_DEPTH 32

enum { F_ATA = 32, F_ATAPI = 64, F_ANY = F_ATA | F_ATAPI };

struct ata_cmd {
	uint8_t first, last, flags;
	void (*run)(struct ata_port *p, const struct ata_cmd *cmd);
};

/* Common part of all sector commands: false: ended with an error. */
static bool take_range(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);

	p->lba48 = cmd->flags & ATA_F_LBA48;
	p->fua = cmd->flags & ATA_F_FUA;
	p->lba = ata_get_lba(u, p->lba48);
	p->left = ata_get_count(u, p->lba48);
	p->block_sectors = cmd->flags & ATA_F_MULTI ? u->multi : 1;
	p->dma = cmd->flags & ATA_F_DMA;
	if ((cmd->flags & ATA_F_MULTI && !u->multi) || (cmd->flags & ATA_F_WRITE && u->readonly)) {
		ata_finish_abort(p);
		return false;
	}
	if (!range_ok(p->lba, p->left, u->nsectors)) {
		ata_finish(p, ST_DRDY | ST_DSC | ST_ERR, ER_IDNF);
		return false;
	}
	return true;
}

static void cmd_rw(struct ata_port *p, const struct ata_cmd *cmd)
{
	if (!take_range(p, cmd))
		return;
	if (cmd->flags & ATA_F_WRITE)
		ata_start_write(p);
	else
		ata_start_read(p);
}

static void cmd_verify(struct ata_port *p, const struct ata_cmd *cmd)
{
	if (take_range(p, cmd))
		ata_finish_ok(p);
}

static void cmd_ok(struct ata_port *p, const struct ata_cmd *cmd)
{
	ata_finish_ok(p);
}

static void cmd_flush(struct ata_port *p, const struct ata_cmd *cmd)
{
	if (ata_unit(p)->cdrom) {	/* write cache off: nothing to flush, maybe no medium */
		ata_finish_ok(p);
		return;
	}
	p->lba48 = true;
	p->lba = 0;
	p->xfer = XFER_NONE;
	ata_submit(p, BLOCK_FLUSH, 0, 0, ata_flushed);
}

static void cmd_native_max(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);
	bool lba48 = cmd->flags & ATA_F_LBA48;
	uint64_t last = u->nsectors - 1;

	ata_set_lba(u, lba48 ? last : MIN(last, 0xfffffff), lba48);
	ata_finish_ok(p);
}

static void cmd_set_multiple(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);
	uint8_t n = u->count[0];

	if (n > ATA_MULTI_MAX || (n && !is_pow2(n))) {
		ata_finish_abort(p);
		return;
	}
	u->multi = n;
	ata_finish_ok(p);
}

static void cmd_init_params(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);

	if (!u->count[0]) {
		ata_finish_abort(p);
		return;
	}
	u->heads = (u->device & 15) + 1;
	u->spt = u->count[0];
	ata_finish_ok(p);
}

static void cmd_check_power(struct ata_port *p, const struct ata_cmd *cmd)
{
	ata_unit(p)->count[0] = 0xff;	/* active or idle */
	ata_finish_ok(p);
}

/* SET FEATURES 03h, table 44: PIO 0-4, multiword DMA 0-2, ultra DMA 0-5 */
static bool set_transfer_mode(struct ata_drive *u, uint8_t mode)
{
	uint8_t n = mode & 7;

	switch (mode >> 3) {
	case 0:				/* PIO default, with or without IORDY */
		return n <= 1;
	case 1:				/* does not touch the choice of DMA mode */
		return n <= 4;
	case 4:
		u->dma_mode = n <= 2 ? mode : u->dma_mode;
		return n <= 2;
	case 8:
		u->dma_mode = n <= 5 ? mode : u->dma_mode;
		return n <= 5;
	default:
		return false;
	}
}

static void cmd_set_features(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);

	switch (u->feature[0]) {
	case 0x02:
	case 0x82:
		if (u->cdrom) {		/* has no write cache */
			ata_finish_abort(p);
			return;
		}
		u->wcache = u->feature[0] == 0x02;
		if (u->wcache)
			break;
		cmd_flush(p, cmd);
		return;
	case 0x03:
		if (set_transfer_mode(u, u->count[0]))
			break;
		ata_finish_abort(p);
		return;
	case 0xaa: case 0x55: case 0xcc: case 0x66: case 0x05: case 0x85:
		break;
	default:
		ata_finish_abort(p);
		return;
	}
	ata_finish_ok(p);
}

void ata_signature(struct ata_drive *u)
{
	u->count[0] = u->lo[0] = 1;
	u->mid[0] = u->cdrom ? 0x14 : 0;
	u->hi[0] = u->cdrom ? 0xeb : 0;
	u->device &= DEV_SEL;
	u->error = 0x01;		/* diagnostics passed */
	u->status = !u->present || u->cdrom ? 0 : ST_DRDY | ST_DSC;
}

static void cmd_diagnose(struct ata_port *p, const struct ata_cmd *cmd)
{
	for (unsigned i = 0; i < 2; i++)
		ata_signature(&p->unit[i]);
	p->sel = 0;
	p->tr->raise(p);
}

static void cmd_device_reset(struct ata_port *p, const struct ata_cmd *cmd)
{
	ata_signature(ata_unit(p));	/* no interrupt */
}

/* DATA SET MANAGEMENT: TRIM is its only function. */
static void cmd_dsm(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);
	uint32_t n = ata_get_count(u, true);

	if (u->feature[0] != 1 || u->readonly || n > TRIM_BLOCKS) {
		ata_finish_abort(p);
		return;
	}
	p->dma = p->lba48 = true;
	ata_start_trim(p, n * ATA_SECTOR);
}

/*
 * READ LOG EXT (ACS-3 7.26): the directory and, behind an interface with
 * queueing, page 10h (A.14): which queued command failed.
 */
static void cmd_read_log(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);
	uint8_t *b = p->buf, sum = 0;

	if (!u->sata || (u->lo[0] != 0 && u->lo[0] != 0x10) || u->mid[0] || u->mid[1] ||
	    ata_get_count(u, true) != 1) {
		ata_finish_abort(p);
		return;
	}
	memset(b, 0, ATA_SECTOR);
	if (u->lo[0] == 0) {
		b[0] = 1;		/* version */
		b[0x20] = 1;		/* page 10h: one sector */
	} else {
		b[0] = u->ncq_failed ? u->ncq_tag : 0x80;
		b[2] = ST_DRDY | ST_DSC | ST_ERR;
		b[3] = u->ncq_error;
		for (unsigned i = 0; i < 6; i++)
			b[i < 3 ? 4 + i : 5 + i] = u->ncq_lba >> (8 * i);
		for (unsigned i = 0; i < ATA_SECTOR - 1; i++)
			sum += b[i];
		b[ATA_SECTOR - 1] = -sum;
		u->ncq_failed = false;
	}
	p->xfer = XFER_READ;
	p->left = 0;
	ata_open_window(p, ATA_SECTOR, true);
}

static void cmd_packet(struct ata_port *p, const struct ata_cmd *cmd)
{
	atapi_packet(p);
}

/* ATA strings: two characters a word, first one in the high byte. */
static void id_string(uint8_t *id, unsigned word, unsigned len, const char *s)
{
	for (unsigned i = 0; i < len; i++)
		id[(word * 2 + i) ^ 1] = *s ? *s++ : ' ';
}

static void id_word(uint8_t *id, unsigned word, uint16_t v)
{
	st_le16(id + 2 * word, v);
}

struct id_row { uint8_t word; uint16_t val; };

static void id_modes(uint8_t *id, const struct ata_drive *u)
{
	uint8_t class = u->dma_mode & 0xf8, n = u->dma_mode & 7;

	id_word(id, 63, 0x07 | (class == 0x20 && n < 3 ? 0x100 << n : 0));
	id_word(id, 88, 0x3f | (class == 0x40 && n < 6 ? 0x100 << n : 0));
}

/* Serial ATA (SATA 3.0, 13.2.1): speeds and NCQ; else the 80-wire cable. */
static void id_transport(uint8_t *id, const struct ata_drive *u)
{
	if (!u->sata) {
		id_word(id, 93, 0x6001);
		return;
	}
	id_word(id, 76, 0x000e | (u->cdrom ? 0 : 0x0100));
	if (!u->cdrom)
		id_word(id, 75, SATA_NCQ_DEPTH - 1);
	id_word(id, 222, 0x107f);
	if (!u->cdrom) {	/* general purpose logging: 84, 87 */
		id_word(id, 84, 0x4060);
		id_word(id, 87, 0x4060);
	}
}

static void identify_ata(struct ata_drive *u, uint8_t *id)
{
	static const struct id_row rows[] = {
		{ 0, 0x0040 }, { 47, 0x8000 | ATA_MULTI_MAX }, { 48, 1 }, { 49, 0x0b00 },
		{ 50, 0x4000 }, { 51, 0x0200 }, { 52, 0x0200 }, { 53, 7 }, { 64, 3 }, { 65, 120 },
		{ 66, 120 }, { 67, 120 }, { 68, 120 }, { 80, 0x00f0 }, { 81, 0x16 },
		{ 82, 0x4020 }, { 83, 0x7400 }, { 84, 0x4040 }, { 86, 0x3400 }, { 87, 0x4040 },
	};
	uint32_t cyls = MIN(u->nsectors / (16 * 63), 16383);
	uint32_t cur = MIN(u->nsectors / (u->heads * u->spt), 65535), cap = cur * u->heads * u->spt;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		id_word(id, rows[i].word, rows[i].val);
	id_word(id, 1, cyls);
	id_word(id, 3, 16);
	id_word(id, 6, 63);
	id_string(id, 10, 20, u->serial);
	id_string(id, 23, 8, "1.0");
	id_string(id, 27, 40, "HVRUN HARDDISK");
	id_word(id, 54, cur);
	id_word(id, 55, u->heads);
	id_word(id, 56, u->spt);
	st_le32(id + 2 * 57, cap);
	id_word(id, 59, u->multi ? 0x100 | u->multi : 0);
	st_le32(id + 2 * 60, MIN(u->nsectors, 0xfffffff));
	id_modes(id, u);
	id_transport(id, u);
	if (!u->readonly) {
		id_word(id, 105, TRIM_BLOCKS);
		id_word(id, 169, 1);
	}
	id_word(id, 106, 0x6003);		/* 8 logical sectors to a physical one */
	id_word(id, 85, 0x4000 | (u->wcache ? 0x20 : 0));
	st_le64(id + 2 * 100, u->nsectors);
}

/* IDENTIFY DEVICE on a CD drive aborts and leaves the signature, and the other way round. */
static void cmd_identify(struct ata_port *p, const struct ata_cmd *cmd)
{
	struct ata_drive *u = ata_unit(p);
	bool packet = cmd->first == 0xa1;

	if (packet != u->cdrom) {
		if (u->cdrom)
			ata_signature(u);
		ata_finish_abort(p);
		return;
	}
	memset(p->buf, 0, ATA_SECTOR);
	if (packet) {
		atapi_identify(p->buf);
		id_transport(p->buf, u);
		id_string(p->buf, 10, 20, u->serial);
		id_string(p->buf, 23, 8, "1.0");
		id_string(p->buf, 27, 40, "HVRUN DVD-ROM");
		id_modes(p->buf, u);
	} else {
		identify_ata(u, p->buf);
	}
	p->xfer = XFER_READ;
	p->left = 0;
	ata_open_window(p, ATA_SECTOR, true);
}

static const struct ata_cmd commands[] = {
	{ 0x06, 0x06, F_ATA | ATA_F_LBA48, cmd_dsm },
	{ 0x08, 0x08, F_ATAPI, cmd_device_reset },
	{ 0x10, 0x1f, F_ATA, cmd_ok },				/* recalibrate */
	{ 0x20, 0x21, F_ATA, cmd_rw },
	{ 0x24, 0x24, F_ATA | ATA_F_LBA48, cmd_rw },
	{ 0x25, 0x25, F_ATA | ATA_F_LBA48 | ATA_F_DMA, cmd_rw },
	{ 0x27, 0x27, F_ATA | ATA_F_LBA48, cmd_native_max },
	{ 0x29, 0x29, F_ATA | ATA_F_LBA48 | ATA_F_MULTI, cmd_rw },
	{ 0x2f, 0x2f, F_ATA | ATA_F_LBA48, cmd_read_log },
	{ 0x30, 0x31, F_ATA | ATA_F_WRITE, cmd_rw },
	{ 0x34, 0x34, F_ATA | ATA_F_WRITE | ATA_F_LBA48, cmd_rw },
	{ 0x35, 0x35, F_ATA | ATA_F_WRITE | ATA_F_LBA48 | ATA_F_DMA, cmd_rw },
	{ 0x39, 0x39, F_ATA | ATA_F_WRITE | ATA_F_LBA48 | ATA_F_MULTI, cmd_rw },
	{ 0x3d, 0x3d, F_ATA | ATA_F_WRITE | ATA_F_LBA48 | ATA_F_DMA | ATA_F_FUA, cmd_rw },
	{ 0x40, 0x41, F_ATA, cmd_verify },
	{ 0x42, 0x42, F_ATA | ATA_F_LBA48, cmd_verify },
	{ 0x70, 0x7f, F_ATA, cmd_ok },				/* seek */
	{ 0x90, 0x90, F_ANY, cmd_diagnose },
	{ 0x91, 0x91, F_ATA, cmd_init_params },
	{ 0x94, 0x97, F_ANY, cmd_ok },				/* ATA-3 names of E0-E3, */
	{ 0x98, 0x98, F_ANY, cmd_check_power },			/* E5 */
	{ 0x99, 0x99, F_ANY, cmd_ok },				/* and E6 */
	{ 0xa0, 0xa0, F_ATAPI, cmd_packet },
	{ 0xa1, 0xa1, F_ANY, cmd_identify },
	{ 0xc4, 0xc4, F_ATA | ATA_F_MULTI, cmd_rw },
	{ 0xc5, 0xc5, F_ATA | ATA_F_WRITE | ATA_F_MULTI, cmd_rw },
	{ 0xc6, 0xc6, F_ATA, cmd_set_multiple },
	{ 0xc8, 0xc9, F_ATA | ATA_F_DMA, cmd_rw },
	{ 0xca, 0xcb, F_ATA | ATA_F_WRITE | ATA_F_DMA, cmd_rw },
	{ 0xce, 0xce, F_ATA | ATA_F_WRITE | ATA_F_LBA48 | ATA_F_MULTI | ATA_F_FUA, cmd_rw },
	{ 0xe0, 0xe3, F_ANY, cmd_ok },				/* standby, idle */
	{ 0xe5, 0xe5, F_ANY, cmd_check_power },
	{ 0xe6, 0xe6, F_ANY, cmd_ok },				/* sleep */
	{ 0xe7, 0xe7, F_ATA, cmd_flush },
	{ 0xea, 0xea, F_ATA | ATA_F_LBA48, cmd_flush },
	{ 0xec, 0xec, F_ANY, cmd_identify },
	{ 0xef, 0xef, F_ANY, cmd_set_features },
	{ 0xf8, 0xf8, F_ATA, cmd_native_max },
};

void ata_execute(struct ata_port *p, uint8_t op)
{
	struct ata_drive *u = ata_unit(p);

	if (!u->present && op != 0x90)
		return;
	if (p->inflight) {
		dev_guest_error(p->dev, "command %#x while busy", op);
		return;
	}
	p->xfer = XFER_NONE;
	p->dma = false;
	u->error = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct ata_cmd *cmd = &commands[i];

		if (op >= cmd->first && op <= cmd->last &&
		    cmd->flags & (u->cdrom ? F_ATAPI : F_ATA)) {
			cmd->run(p, cmd);
			return;
		}
	}
	ata_finish_abort(p);
}
