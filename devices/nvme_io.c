/* SPDX-License-Identifier: MIT */
/*
 * NVM commands (NVMe 1.4, chapter 6): read, write, flush, write zeroes,
 * dataset management (deallocate).
 */
#include "nvme_int.h"
#include <stdlib.h>

#define DW12_FUA (1u << 30)

static struct nvme_req *req_get(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	struct nvme_req *r = n->free;

	HV_BUG_ON(!r);		/* serve() looked */
	n->free = r->next;
	r->sq = sq;
	r->cid = c->cid;
	r->write = r->flush_after = false;
	r->nranges = r->range = 0;
	return r;
}

static void req_put(struct nvme_req *r)
{
	r->next = r->n->free;
	r->n->free = r;
	free(r->ranges);
	r->ranges = NULL;
}

/* The end of a batch: interrupts, and queues that waited for a free request. */
static void batch_end(void *opaque)
{
	struct nvme *n = opaque;

	if (n->quiet)
		return;
	nvme_interrupts(n);
	if (n->stalled && !n->draining)
		nvme_run(n);
}

void nvme_io_init(struct nvme *n)
{
	for (unsigned i = NVME_REQS; i-- > 0;) {
		n->reqs[i].n = n;
		n->reqs[i].next = n->free;
		n->free = &n->reqs[i];
	}
	block_set_batch(n->block, batch_end, n);
}

void nvme_io_free(struct nvme *n)
{
	block_set_batch(n->block, NULL, NULL);
	for (unsigned i = 0; i < NVME_REQS; i++)
		sg_free(&n->reqs[i].sg);
}

static bool next_range(struct nvme_req *r);

static void io_done(struct block_req *br, int error)
{
	struct nvme_req *r = br->opaque;
	struct nvme *n = r->n;
	uint16_t status = SC_OK;

	if (!error && r->flush_after && !n->quiet) {
		r->flush_after = false;
		br->op = BLOCK_FLUSH;
		br->off = br->len = 0;
		block_submit(n->block, br);
		return;
	}
	if (!error && br->op == BLOCK_DISCARD && !n->quiet && next_range(r))
		return;
	sg_end(&r->sg, nvme_mem(n), br->op == BLOCK_READ ? UINT64_MAX : 0);
	if (error)
		status = br->op == BLOCK_READ ? SC_READ_ERROR : SC_WRITE_FAULT;
	n->inflight--;
	nvme_complete(n, r->sq, r->cid, status, 0);
	req_put(r);
}

static uint16_t submit(struct nvme_req *r, enum block_op op, uint64_t lba, uint64_t blocks)
{
	r->req = (struct block_req){ .op = op, .off = lba * NVME_LBA, .len = blocks * NVME_LBA,
				     .iov = r->sg.iov, .niov = r->sg.n, .done = io_done,
				     .opaque = r };
	r->n->inflight++;
	block_submit(r->n->block, &r->req);
	return SC_PENDING;
}

static uint16_t read_write(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	uint64_t lba = c->dw[0] | (uint64_t)c->dw[1] << 32;
	uint32_t blocks = (c->dw[2] & 0xffff) + 1;
	uint64_t len = (uint64_t)blocks * NVME_LBA;
	bool write = c->op == 1;
	struct nvme_req *r;
	uint16_t sc;

	if (write && n->readonly)
		return SC_PROTECTED | NVME_DNR;
	if (len > 4096ull << NVME_MDTS)
		return SC_FIELD | NVME_DNR;
	if (!range_ok(lba, blocks, n->blocks))
		return SC_LBA_RANGE | NVME_DNR;
	r = req_get(n, sq, c);
	sc = nvme_map(n, c, len, !write, &r->sg);
	if (sc) {
		req_put(r);
		return sc;
	}
	*(write ? &n->writes : &n->reads) += 1;
	*(write ? &n->written_blocks : &n->read_blocks) += blocks;
	r->flush_after = write && (c->dw[2] & DW12_FUA || !n->feat.wcache);
	return submit(r, write ? BLOCK_WRITE : BLOCK_READ, lba, blocks);
}

static uint16_t flush(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	return submit(req_get(n, sq, c), BLOCK_FLUSH, 0, 0);
}

static uint16_t write_zeroes(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	uint64_t lba = c->dw[0] | (uint64_t)c->dw[1] << 32;
	uint32_t blocks = (c->dw[2] & 0xffff) + 1;
	struct nvme_req *r;

	if (n->readonly)
		return SC_PROTECTED | NVME_DNR;
	if (!range_ok(lba, blocks, n->blocks))
		return SC_LBA_RANGE | NVME_DNR;
	r = req_get(n, sq, c);
	r->flush_after = c->dw[2] & DW12_FUA || !n->feat.wcache;
	return submit(r, BLOCK_WRITE_ZEROES, lba, blocks);
}

/* Submit the next range that is not empty; false: none is left. */
static bool next_range(struct nvme_req *r)
{
	while (r->range < r->nranges) {
		const uint8_t *e = r->ranges + 16 * r->range++;
		uint64_t blocks = ld_le32(e + 4), lba = ld_le64(e + 8);

		if (!blocks)
			continue;
		r->req = (struct block_req){ .op = BLOCK_DISCARD, .off = lba * NVME_LBA,
					     .len = blocks * NVME_LBA, .done = io_done,
					     .opaque = r };
		block_submit(r->n->block, &r->req);
		return true;
	}
	return false;
}

static uint16_t take_ranges(struct nvme *n, const struct nvme_cmd *c, struct nvme_req *r)
{
	uint16_t sc;

	r->nranges = (c->dw[0] & 0xff) + 1;
	r->ranges = malloc(16 * r->nranges);
	if (!r->ranges)
		return SC_INTERNAL;
	sc = nvme_copy(n, c, r->ranges, 16 * r->nranges, false);
	for (unsigned i = 0; i < r->nranges && !sc; i++)
		if (!range_ok(ld_le64(r->ranges + 16 * i + 8), ld_le32(r->ranges + 16 * i + 4),
			      n->blocks))
			sc = SC_LBA_RANGE | NVME_DNR;
	return sc;
}

static uint16_t dataset_management(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	struct nvme_req *r;
	uint16_t sc;

	if (n->readonly)
		return SC_PROTECTED | NVME_DNR;
	if (!(c->dw[1] & 4))		/* hints only: nothing to do */
		return SC_OK;
	r = req_get(n, sq, c);
	sc = take_ranges(n, c, r);
	n->inflight++;
	if (!sc && next_range(r))
		return SC_PENDING;
	n->inflight--;
	req_put(r);
	return sc;
}

uint16_t nvme_io(struct nvme *n, unsigned sq, const struct nvme_cmd *c)
{
	if (c->nsid != 1 && !(c->op == 0 && c->nsid == UINT32_MAX))
		return SC_NAMESPACE | NVME_DNR;
	switch (c->op) {
	case 0x00:
		return flush(n, sq, c);
	case 0x01:
	case 0x02:
		return read_write(n, sq, c);
	case 0x08:
		return write_zeroes(n, sq, c);
	case 0x09:
		return dataset_management(n, sq, c);
	default:
		return SC_OPCODE | NVME_DNR;
	}
}
