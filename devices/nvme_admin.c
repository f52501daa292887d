/* SPDX-License-Identifier: MIT */
/* NVMe admin commands (NVMe 1.4, chapter 5): queues, features, abort, events. */
#include "nvme_int.h"

#define MAX_BASE (1ull << 60)	/* no queue reaches the end of the address space */

/* ---- Queues (5.3 to 5.6) ---- */

static bool base_ok(const struct nvme *n, uint64_t base)
{
	return !(base & (nvme_page(n) - 1)) && base < MAX_BASE;
}

static uint16_t create_cq(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint32_t id = c->dw[0] & 0xffff, size = (c->dw[0] >> 16) + 1, vector = c->dw[1] >> 16;

	if (!id || id > n->nio || n->cq[id].ready)
		return SC_QID | NVME_DNR;
	if (size < 2 || size > NVME_ENTRIES)
		return SC_QUEUE_SIZE | NVME_DNR;
	if (vector >= n->pci.msix.nvec || (!pci_msix_enabled(&n->pci) && vector))
		return SC_VECTOR | NVME_DNR;
	if (!(c->dw[1] & 1))	/* must be contiguous (CAP.CQR) */
		return SC_FIELD | NVME_DNR;
	if (!base_ok(n, c->prp1))
		return SC_PRP_OFFSET | NVME_DNR;
	if ((n->cc >> 20 & 15) != 4)
		return SC_QUEUE_SIZE | NVME_DNR;
	n->cq[id] = (struct nvme_cq){ .ready = true, .irq_on = c->dw[1] & 2, .phase = true,
				      .vector = vector, .size = size, .base = c->prp1 };
	return SC_OK;
}

static uint16_t create_sq(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint32_t id = c->dw[0] & 0xffff, size = (c->dw[0] >> 16) + 1, cq = c->dw[1] >> 16;

	if (!id || id > n->nio || n->sq[id].ready)
		return SC_QID | NVME_DNR;
	if (!cq || cq > n->nio || !n->cq[cq].ready)
		return SC_CQ_INVALID | NVME_DNR;
	if (size < 2 || size > NVME_ENTRIES)
		return SC_QUEUE_SIZE | NVME_DNR;
	if (!(c->dw[1] & 1))
		return SC_FIELD | NVME_DNR;
	if (!base_ok(n, c->prp1))
		return SC_PRP_OFFSET | NVME_DNR;
	if ((n->cc >> 16 & 15) != 6)
		return SC_QUEUE_SIZE | NVME_DNR;
	n->sq[id] = (struct nvme_sq){ .ready = true, .cq = cq, .size = size, .base = c->prp1 };
	return SC_OK;
}

/* 5.6: commands in flight end first. */
static uint16_t delete_sq(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint32_t id = c->dw[0] & 0xffff;

	if (!id || id > n->nio || !n->sq[id].ready)
		return SC_QID | NVME_DNR;
	n->sq[id].tail = n->sq[id].head;	/* fetch no more */
	n->draining = true;
	while (n->inflight)
		block_drain(n->block);
	n->draining = false;
	if (n->stalled)
		loop_post(n->pci.dev.vm->loop, &n->work);
	n->sq[id].ready = false;
	return SC_OK;
}

static uint16_t delete_cq(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint32_t id = c->dw[0] & 0xffff;

	if (!id || id > n->nio || !n->cq[id].ready)
		return SC_QID | NVME_DNR;
	for (unsigned i = 1; i <= n->nio; i++)
		if (n->sq[i].ready && n->sq[i].cq == id)
			return SC_QUEUE_DELETION | NVME_DNR;
	n->cq[id].ready = false;
	nvme_update_intx(n);
	return SC_OK;
}

/* ---- Features (5.21) ---- */

enum {
	FEAT_ARBITRATION = 1, FEAT_POWER = 2, FEAT_TEMPERATURE = 4, FEAT_RECOVERY = 5,
	FEAT_WCACHE = 6, FEAT_QUEUES = 7, FEAT_COALESCING = 8, FEAT_VECTOR = 9,
	FEAT_ATOMICITY = 10, FEAT_EVENTS = 11,
};

void nvme_features_reset(struct nvme *n)
{
	n->feat = (struct nvme_features){ .temp_over = 0x157, .wcache = true };
}

/* The plain ones: a value that is stored and told. */
static uint32_t *plain_feature(struct nvme *n, uint8_t id, uint32_t *mask)
{
	static const uint32_t masks[] = {
		[FEAT_ARBITRATION] = 0xffffff07, [FEAT_POWER] = 0, [FEAT_RECOVERY] = 0xffff,
		[FEAT_COALESCING] = 0xffff, [FEAT_ATOMICITY] = 1,
		[FEAT_EVENTS] = 0x1f | NVME_NOTICE_NAMESPACE,
	};

	*mask = id < ARRAY_SIZE(masks) ? masks[id] : 0;
	switch (id) {
	case FEAT_ARBITRATION:
		return &n->feat.arbitration;
	case FEAT_POWER:
		return &n->feat.power;
	case FEAT_RECOVERY:
		return &n->feat.recovery;
	case FEAT_COALESCING:
		return &n->feat.coalescing;
	case FEAT_ATOMICITY:
		return &n->feat.atomicity;
	case FEAT_EVENTS:
		return &n->feat.events;
	default:
		return NULL;
	}
}

static uint32_t queue_count(const struct nvme *n)
{
	return (n->nio - 1) | (n->nio - 1) << 16;
}

static uint16_t set_features(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint8_t id = c->dw[0] & 0xff;
	uint32_t v = c->dw[1], mask, *plain = plain_feature(n, id, &mask);

	if (c->dw[0] >> 31)
		return SC_NOT_SAVEABLE | NVME_DNR;
	if (plain) {
		if (id == FEAT_POWER && v & 31)		/* there is one power state */
			return SC_FIELD | NVME_DNR;
		*plain = v & mask;
		return SC_OK;
	}
	switch (id) {
	case FEAT_TEMPERATURE:
		if ((v >> 20 & 3) > 1 || (v >> 16 & 15) > 0)
			return SC_FIELD | NVME_DNR;
		*(v >> 20 & 3 ? &n->feat.temp_under : &n->feat.temp_over) = v & 0xffff;
		return SC_OK;
	case FEAT_WCACHE:
		n->feat.wcache = v & 1;
		return SC_OK;
	case FEAT_QUEUES:
		if ((v & 0xffff) == 0xffff || v >> 16 == 0xffff)
			return SC_FIELD | NVME_DNR;
		*dw0 = queue_count(n);
		return SC_OK;
	case FEAT_VECTOR:
		if ((v & 0xffff) >= n->pci.msix.nvec)
			return SC_FIELD | NVME_DNR;
		n->feat.vectors[v & 0xffff] = v >> 16 & 1;
		return SC_OK;
	default:
		return SC_FIELD | NVME_DNR;
	}
}

static uint16_t get_features(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	uint8_t id = c->dw[0] & 0xff;
	uint32_t v = c->dw[1], mask, *plain = plain_feature(n, id, &mask);

	if (plain) {
		*dw0 = *plain;
		return SC_OK;
	}
	switch (id) {
	case FEAT_TEMPERATURE:
		*dw0 = v >> 20 & 3 ? n->feat.temp_under : n->feat.temp_over;
		return SC_OK;
	case FEAT_WCACHE:
		*dw0 = n->feat.wcache;
		return SC_OK;
	case FEAT_QUEUES:
		*dw0 = queue_count(n);
		return SC_OK;
	case FEAT_VECTOR:
		if ((v & 0xffff) >= n->pci.msix.nvec)
			return SC_FIELD | NVME_DNR;
		*dw0 = (v & 0xffff) | (uint32_t)n->feat.vectors[v & 0xffff] << 16;
		return SC_OK;
	default:
		return SC_FIELD | NVME_DNR;
	}
}

/* ---- The rest ---- */

static uint16_t identify(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	return nvme_identify(n, c);
}

static uint16_t log_page(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	return nvme_log_page(n, c);
}

/* 5.1: best effort; what runs in the host runs to its end. */
static uint16_t abort_command(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	*dw0 = 1;		/* not aborted */
	return SC_OK;
}

/* 5.2: the command waits for an event; it holds no completion entry meanwhile. */
static uint16_t event_request(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	if (n->naers == NVME_AERS)
		return SC_AER_LIMIT | NVME_DNR;
	n->aer[n->naers++] = c->cid;
	n->cq[0].reserved--;
	nvme_send_event(n);
	return SC_PENDING;
}

static const struct {
	uint8_t op;
	uint16_t (*run)(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0);
} commands[] = {
	{ 0x00, delete_sq }, { 0x01, create_sq }, { 0x02, log_page }, { 0x04, delete_cq },
	{ 0x05, create_cq }, { 0x06, identify }, { 0x08, abort_command },
	{ 0x09, set_features }, { 0x0a, get_features }, { 0x0c, event_request },
};

uint16_t nvme_admin(struct nvme *n, const struct nvme_cmd *c, uint32_t *dw0)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].op == c->op)
			return commands[i].run(n, c, dw0);
	return SC_OPCODE | NVME_DNR;
}
