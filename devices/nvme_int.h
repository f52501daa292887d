/* SPDX-License-Identifier: MIT */
/* Private to devices/nvme*.c; sections and figures of NVM Express 1.4. */
#ifndef HV_NVME_INT_H
#define HV_NVME_INT_H

#include "dma_sg.h"
#include "nvme.h"
#include "../src/block.h"
#include "../src/loop.h"
#include "../src/vm.h"

#define NVME_MAX_IO 16u			/* I/O queue pairs */
#define NVME_QUEUES (NVME_MAX_IO + 1)
#define NVME_ENTRIES 1024u		/* of a queue at most */
#define NVME_REQS 512u			/* commands in flight at most */
#define NVME_AERS 4u
#define NVME_LBA 512u
#define NVME_MDTS 8u			/* 2^8 pages of 4 KiB: 1 MiB a transfer */
#define NVME_RANGES 256u		/* of one dataset management command */

/* Status: type << 8 | code (4.6.1); NVME_DNR: a retry would not help */
enum {
	SC_OK = 0, SC_OPCODE = 0x01, SC_FIELD = 0x02, SC_DATA = 0x04, SC_INTERNAL = 0x06,
	SC_NAMESPACE = 0x0b, SC_SEQUENCE = 0x0c, SC_PRP_OFFSET = 0x13, SC_PROTECTED = 0x20,
	SC_LBA_RANGE = 0x80,
	SC_CQ_INVALID = 0x100, SC_QID = 0x101, SC_QUEUE_SIZE = 0x102, SC_AER_LIMIT = 0x105,
	SC_LOG_PAGE = 0x109, SC_VECTOR = 0x108, SC_QUEUE_DELETION = 0x10c,
	SC_NOT_SAVEABLE = 0x10d, SC_NOT_CHANGEABLE = 0x10e,
	SC_WRITE_FAULT = 0x280, SC_READ_ERROR = 0x281,
	NVME_DNR = 0x4000,
	SC_PENDING = 0xffff,		/* not a status: completes later */
};

struct nvme_cmd {		/* a copy of the submission queue entry (figure 105) */
	uint8_t op, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t prp1, prp2;
	uint32_t dw[6];		/* command dwords 10 to 15 */
};

struct nvme_sq {
	bool ready;
	uint16_t cq, size, head, tail;
	uint64_t base;
};

struct nvme_cq {
	bool ready, irq_on, phase;
	uint16_t vector, size, head, tail;
	uint64_t base;
	/* not saved */
	uint16_t reserved;	/* entries that commands in flight will need */
	bool dirty;		/* completions since the last interrupt */
};

struct nvme;

struct nvme_req {
	struct nvme *n;
	struct nvme_req *next;	/* free list */
	uint16_t sq, cid;
	bool write, flush_after;
	struct block_req req;
	struct dma_sg sg;
	unsigned nranges, range;
	uint8_t *ranges;	/* dataset management: a copy of the list */
};

struct nvme_features {
	uint32_t arbitration, power, temp_over, temp_under, recovery, coalescing, atomicity;
	uint32_t events;	/* asynchronous event configuration */
	uint16_t vectors[NVME_QUEUES];	/* coalescing disable bits */
	bool wcache;
};

struct nvme {
	struct pci_dev pci;
	/* immutable after realize */
	struct block *block;
	bool readonly;
	char serial[21];
	unsigned nio;		/* I/O queue pairs offered */
	uint64_t blocks;
	/* registers (3.1) */
	uint32_t intm, cc, csts, aqa;
	uint64_t asq, acq;
	struct nvme_sq sq[NVME_QUEUES];
	struct nvme_cq cq[NVME_QUEUES];
	struct nvme_features feat;
	uint16_t aer[NVME_AERS];	/* command identifiers */
	uint8_t naers;
	uint8_t event;		/* of type error: information + 1, not yet told; 0: none */
	bool event_masked;	/* until its log page is read */
	bool changed;		/* log page 4: the namespace has another size */
	bool notice, notice_masked;	/* of type notice: not yet told; until page 4 is read */
	uint64_t reads, writes, read_blocks, written_blocks, errors;
	uint8_t last_error[64];
	/* not saved */
	struct nvme_req *free;
	struct nvme_req reqs[NVME_REQS];
	unsigned inflight;
	bool draining;		/* a command waits for others: start none */
	bool quiet;		/* a reset: completions are dropped */
	bool stalled;		/* a queue waits for requests or completion entries */
	struct loop_work work;
};

static inline uint32_t nvme_page(const struct nvme *n)
{
	return 4096u << (n->cc >> 7 & 15);
}

static inline struct guest_mem *nvme_mem(struct nvme *n)
{
	return dev_mem(&n->pci.dev);
}

/* nvme_queue.c */
void nvme_doorbell(struct nvme *n, uint64_t off, uint32_t val);
void nvme_run(struct nvme *n);			/* look at all queues */
void nvme_complete(struct nvme *n, unsigned sq, uint16_t cid, uint16_t status, uint32_t dw0);
void nvme_interrupts(struct nvme *n);		/* for what was completed */
void nvme_update_intx(struct nvme *n);
void nvme_fatal(struct nvme *n, const char *why);
void nvme_event(struct nvme *n, uint8_t info);	/* error event (figure 151) */
void nvme_send_event(struct nvme *n);		/* what waits and is wanted */
#define NVME_NOTICE_NAMESPACE (1u << 8)	/* of OAES and feature 0Bh */
bool nvme_queues_valid(const struct nvme *n);

/* nvme_prp.c */
uint16_t nvme_map(struct nvme *n, const struct nvme_cmd *c, uint64_t len, bool to_host,
		  struct dma_sg *sg);
/* Copy a small structure to or from the command's buffer. */
uint16_t nvme_copy(struct nvme *n, const struct nvme_cmd *c, void *buf, uint32_t len,
		   bool to_host);

/* nvme_admin.c, nvme_identify.c, nvme_io.c: a status, or SC_PENDING */
uint16_t nvme_admin(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0);
uint16_t nvme_identify(struct nvme *n, const struct nvme_cmd *c);
uint16_t nvme_log_page(struct nvme *n, const struct nvme_cmd *c);
uint16_t nvme_io(struct nvme *n, unsigned sq, const struct nvme_cmd *c);
void nvme_io_init(struct nvme *n);
void nvme_io_free(struct nvme *n);
void nvme_features_reset(struct nvme *n);

#endif
