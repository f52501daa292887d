/* SPDX-License-Identifier: MIT */
/*
 * NVMe queues (NVMe 1.4, 4.1): doorbells, fetching commands, completions,
 * interrupts, asynchronous events.
 *
 * A command is fetched only when a request and an entry of its completion
 * queue are there for it, so a completion never has to wait.
 */
#include "nvme_int.h"

#define SQE 64u
#define CQE 16u
#define BUDGET 64u		/* commands of one queue before others get a turn */

void nvme_fatal(struct nvme *n, const char *why)
{
	dev_guest_error(&n->pci.dev, "%s; stopped until the controller is reset", why);
	n->csts |= 2;		/* CFS */
}

static bool running(const struct nvme *n)
{
	return (n->csts & 3) == 1 && !n->quiet && pci_master(&n->pci);
}

/* ---- Interrupts (7.5) ---- */

void nvme_update_intx(struct nvme *n)
{
	bool level = false;

	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_cq *q = &n->cq[i];

		level |= q->ready && q->irq_on && q->head != q->tail && q->vector < 32 &&
			 !(n->intm >> q->vector & 1);
	}
	pci_set_irq(&n->pci, level);
}

void nvme_interrupts(struct nvme *n)
{
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		struct nvme_cq *q = &n->cq[i];

		if (q->dirty && q->ready && q->irq_on)
			pci_msix_notify(&n->pci, q->vector);
		q->dirty = false;
	}
	nvme_update_intx(n);
}

/* ---- Completion queues ---- */

static unsigned cq_room(const struct nvme_cq *q)
{
	unsigned used = (q->tail + q->size - q->head) % q->size + q->reserved;

	return used < q->size - 1u ? q->size - 1u - used : 0;
}

static void post(struct nvme *n, struct nvme_cq *q, const struct nvme_sq *sq, unsigned sqid,
		 uint16_t cid, uint16_t status, uint32_t dw0)
{
	uint8_t e[CQE] = { 0 };

	st_le32(e, dw0);
	st_le16(e + 8, sq->head);
	st_le16(e + 10, sqid);
	st_le16(e + 12, cid);
	st_le16(e + 14, status << 1);
	/* 4.6: the phase tag is what the host looks at, so it is written last. */
	if (!gm_write(nvme_mem(n), GPA(q->base + (uint64_t)q->tail * CQE), e, 12) ||
	    !gm_write_le32(nvme_mem(n), GPA(q->base + (uint64_t)q->tail * CQE + 12),
			   ld_le32(e + 12) | (uint32_t)q->phase << 16)) {
		nvme_fatal(n, "completion queue outside of memory");
		return;
	}
	if (++q->tail == q->size) {
		q->tail = 0;
		q->phase = !q->phase;
	}
	q->dirty = true;
}

static void note_error(struct nvme *n, unsigned sqid, uint16_t cid, uint16_t status)
{
	uint8_t *e = n->last_error;

	memset(e, 0, sizeof(n->last_error));
	n->errors++;
	st_le64(e, n->errors);
	st_le16(e + 8, sqid);
	st_le16(e + 10, cid);
	st_le16(e + 12, status << 1);
	st_le16(e + 14, 0xffff);	/* no parameter to blame */
}

void nvme_complete(struct nvme *n, unsigned sqid, uint16_t cid, uint16_t status, uint32_t dw0)
{
	struct nvme_sq *sq = &n->sq[sqid];
	struct nvme_cq *q = &n->cq[sq->cq];

	if (n->quiet || !sq->ready || !q->ready)
		return;
	HV_BUG_ON(!q->reserved);
	q->reserved--;
	if (status)
		note_error(n, sqid, cid, status);
	post(n, q, sq, sqid, cid, status, dw0);
}

/* ---- Asynchronous events (5.2) ---- */

/* Type, information, log page: complete one waiting request. */
static bool send_event(struct nvme *n, uint32_t dw0)
{
	struct nvme_cq *q = &n->cq[0];

	if (!n->naers || !q->ready || !cq_room(q))
		return false;
	n->naers--;
	q->reserved++;
	nvme_complete(n, 0, n->aer[n->naers], SC_OK, dw0);
	nvme_interrupts(n);
	return true;
}

void nvme_send_event(struct nvme *n)
{
	if (n->event && !n->event_masked &&
	    send_event(n, (uint32_t)(n->event - 1) << 8 | 1u << 16)) {	/* error */
		n->event_masked = true;
		n->event = 0;
	}
	if (n->notice && !n->notice_masked && send_event(n, 2 | 0u << 8 | 4u << 16)) {
		n->notice_masked = true;	/* notice: namespace attribute changed */
		n->notice = false;
	}
}

void nvme_event(struct nvme *n, uint8_t info)
{
	if (!n->event)
		n->event = info + 1;
	nvme_send_event(n);
}

/* ---- Submission queues ---- */

static bool fetch(struct nvme *n, struct nvme_sq *q, struct nvme_cmd *c)
{
	uint8_t e[SQE];

	if (!gm_read(nvme_mem(n), GPA(q->base + (uint64_t)q->head * SQE), e, sizeof(e))) {
		nvme_fatal(n, "submission queue outside of memory");
		return false;
	}
	q->head = q->head + 1 == q->size ? 0 : q->head + 1;
	c->op = e[0];
	c->flags = e[1];
	c->cid = ld_le16(e + 2);
	c->nsid = ld_le32(e + 4);
	c->prp1 = ld_le64(e + 24);
	c->prp2 = ld_le64(e + 32);
	for (unsigned i = 0; i < 6; i++)
		c->dw[i] = ld_le32(e + 40 + 4 * i);
	return true;
}

static void execute(struct nvme *n, unsigned sqid, const struct nvme_cmd *c)
{
	uint32_t dw0 = 0;
	uint16_t status;

	n->cq[n->sq[sqid].cq].reserved++;
	if (c->flags & 3)	/* fused */
		status = SC_FIELD | NVME_DNR;
	else
		status = sqid ? nvme_io(n, sqid, c) : nvme_admin(n, c, &dw0);
	if (status != SC_PENDING)
		nvme_complete(n, sqid, c->cid, status, dw0);
}

/* Serve queue @i; true: it has more. */
static bool serve(struct nvme *n, unsigned i)
{
	struct nvme_sq *q = &n->sq[i];
	struct nvme_cmd c;

	for (unsigned k = 0; k < BUDGET; k++) {
		if (!running(n) || !q->ready || q->head == q->tail)
			return false;
		if (!n->free || !cq_room(&n->cq[q->cq])) {
			n->stalled = true;
			return false;
		}
		if (!fetch(n, q, &c))
			return false;
		execute(n, i, &c);
	}
	return true;
}

void nvme_run(struct nvme *n)
{
	bool more = false;

	n->stalled = false;
	for (unsigned i = 0; i < NVME_QUEUES; i++)
		more |= serve(n, i);
	block_poll(n->block);
	nvme_interrupts(n);
	if (more)
		loop_post(n->pci.dev.vm->loop, &n->work);
}

/* ---- Doorbells (3.1.24, 3.1.25) ---- */

static void sq_doorbell(struct nvme *n, unsigned i, uint32_t val)
{
	struct nvme_sq *q = &n->sq[i];

	if (val >= q->size) {
		nvme_event(n, 1);	/* invalid doorbell value */
		return;
	}
	q->tail = val;
	if (serve(n, i))
		loop_post(n->pci.dev.vm->loop, &n->work);
	block_poll(n->block);
	nvme_interrupts(n);
}

static void cq_doorbell(struct nvme *n, unsigned i, uint32_t val)
{
	struct nvme_cq *q = &n->cq[i];
	unsigned used = (q->tail + q->size - q->head) % q->size;

	/* Only what was posted can be taken. */
	if (val >= q->size || (val + q->size - q->head) % q->size > used) {
		nvme_event(n, 1);
		return;
	}
	q->head = val;
	nvme_update_intx(n);
	if (i == 0)
		nvme_send_event(n);
	if (n->stalled)
		nvme_run(n);
}

void nvme_doorbell(struct nvme *n, uint64_t off, uint32_t val)
{
	unsigned i = off / 8;
	bool cq = off & 4;

	if (!running(n))
		return;
	if (i >= NVME_QUEUES || (cq ? !n->cq[i].ready : !n->sq[i].ready)) {
		dev_guest_error(&n->pci.dev, "doorbell of a queue that does not exist");
		nvme_event(n, 0);
	} else if (cq) {
		cq_doorbell(n, i, val);
	} else {
		sq_doorbell(n, i, val);
	}
}

/* Of loaded state. */
bool nvme_queues_valid(const struct nvme *n)
{
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_sq *s = &n->sq[i];
		const struct nvme_cq *c = &n->cq[i];

		if (s->ready && (s->size < 2 || s->size > NVME_ENTRIES || s->head >= s->size ||
				 s->tail >= s->size || s->cq >= NVME_QUEUES ||
				 !n->cq[s->cq].ready || s->base > 1ull << 60))
			return false;
		if (c->ready && (c->size < 2 || c->size > NVME_ENTRIES || c->head >= c->size ||
				 c->tail >= c->size || c->base > 1ull << 60))
			return false;
	}
	return n->naers <= NVME_AERS;
}
