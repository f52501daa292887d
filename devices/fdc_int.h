/* SPDX-License-Identifier: MIT */
/* Private to devices/fdc*.c: the controller's state, and who offers what of it. */
#ifndef HV_FDC_INT_H
#define HV_FDC_INT_H

#include "fdc.h"
#include "../src/block.h"

#define FDC_SECTOR 512u
#define FDC_TRACK (36 * FDC_SECTOR)	/* one side of the largest track */
#define FDC_MAX_CYL 83			/* where heads stop */

/* A way to write a disk; cmos: the drive for it. */
struct fdc_format {
	uint16_t sectors;
	uint8_t cyls, heads, spt, rate, cmos;
};

struct fdc_drive {
	/* wiring */
	bool present, readonly;
	uint8_t cmos;
	struct block *block;
	const struct fdc_format *fmt;	/* of the disk in it; NULL: none */
	/* state */
	uint8_t pos;			/* cylinder the heads are at */
	bool changed;			/* the change line */
};

enum fdc_phase { PH_COMMAND, PH_EXEC, PH_RESULT };

enum fdc_kind {
	K_READ, K_READ_DELETED, K_READ_TRACK, K_WRITE, K_VERIFY, K_FORMAT,
	K_SCAN_EQ, K_SCAN_LE, K_SCAN_GE, K_MAX,
};

/* A data command in progress. */
struct fdc_xfer {
	uint8_t kind;
	uint8_t c, h, r, n, eot;	/* of the next sector */
	uint8_t head;			/* side */
	bool multi, skip, tc;
	bool to_host;			/* data goes that way */
	bool data;			/* the host may move buf[pos, len) now */
	uint32_t pos, len;
	uint16_t left;			/* verify: sectors */
	uint8_t st0, st1, st2;
};

struct fdc {
	struct device dev;
	struct fdc_drive drive[FDC_DRIVES];
	struct irq_line irq;		/* immutable after realize, as dma */
	struct device *dma;
	/* registers */
	uint8_t dor, tdr, rate, precomp;
	/* phases */
	uint8_t phase;
	uint8_t cmd[9], ncmd;
	uint8_t result[10], nres, res_pos;
	bool irq_level;
	/* SPECIFY, CONFIGURE, PERPENDICULAR, LOCK */
	uint8_t srt_hut, hlt_nd, config, pretrk, perp;
	uint8_t sc_eot;			/* of the last data command, for DUMPREG */
	bool lock;
	/* seeks: one bit a drive */
	uint8_t seeking, sense;		/* under way; ended and not yet sensed */
	uint8_t pcn[4], sense_st0[4];
	bool resetting;			/* the interrupt after a reset is due */
	bool starting;			/* a data command or READ ID is due */
	struct vtimer timer, overrun;
	struct fdc_xfer x;
	uint8_t buf[FDC_TRACK], host[FDC_SECTOR];
	/* the disk request in flight; saving waits for it */
	bool inflight, aborting;
	uint32_t span;			/* bytes it stands for */
	struct block_req req;
	struct iovec iov;
	struct io_region io[2];
};
DEVICE_CHECK(struct fdc);

#define DOR_NRESET 0x04
#define DOR_DMAGATE 0x08
#define HLT_ND 0x01		/* no DMA */
#define CONF_EIS 0x40
#define CONF_NOFIFO 0x20
#define CONF_NOPOLL 0x10

/* ST0 */
#define ST0_ABNORMAL 0x40
#define ST0_INVALID 0x80
#define ST0_SEEK_END 0x20
#define ST0_EC 0x10
/* ST1 */
#define ST1_EN 0x80
#define ST1_DE 0x20
#define ST1_OR 0x10
#define ST1_ND 0x04
#define ST1_NW 0x02
#define ST1_MA 0x01
/* ST2 */
#define ST2_CM 0x40
#define ST2_DD 0x20
#define ST2_WC 0x10
#define ST2_SH 0x08
#define ST2_SN 0x04

#define MFM_BIT 0x40

static inline struct fdc *to_fdc(struct device *d)
{
	return (struct fdc *)d;
}

extern const struct state_field fdc_xfer_state[];

/* fdc.c: the interrupt and the phases */
void fdc_set_irq(struct fdc *s, bool level);
/* The result phase; data commands raise the interrupt with it. */
void fdc_result(struct fdc *s, const uint8_t *bytes, unsigned n, bool irq);
/* The command phase: the next byte begins a command. */
void fdc_end_command(struct fdc *s);
/* What is under way (seeking, starting, resetting) is due in @ns at the latest. */
void fdc_arm(struct fdc *s, uint64_t ns);

/* fdc_cmd.c */
void fdc_command_byte(struct fdc *s, uint8_t v);	/* written in the command phase */
void fdc_command_due(struct fdc *s);			/* what it started can happen now */
unsigned fdc_command_len(uint8_t code);			/* bytes; 0: there is none such */

/* fdc_drive.c */
/* The drive that the DOR selects, with its motor on; NULL: none answers. */
struct fdc_drive *fdc_selected(struct fdc *s);
/* The format a READ of the selected drive would find on side @head; NULL: nothing readable. */
const struct fdc_format *fdc_readable(struct fdc *s, bool mfm, unsigned head);
/* Step pulses for cylinder @cyl, from where the controller thinks that @unit is. */
void fdc_step_to(struct fdc *s, struct fdc_drive *dr, unsigned unit, int cyl);

/* fdc_data.c */
void fdc_data_command(struct fdc *s, enum fdc_kind kind);	/* cmd[] is complete */
void fdc_data_start(struct fdc *s);				/* its time has come */
void fdc_data_abort(struct fdc *s);
void fdc_data_drain(struct fdc *s);
uint8_t fdc_pio_read(struct fdc *s);
void fdc_pio_write(struct fdc *s, uint8_t v);
void fdc_dma_granted(void *opaque);
void fdc_overrun(void *opaque);
bool fdc_data_valid(const struct fdc *s);			/* of loaded state */

#endif
