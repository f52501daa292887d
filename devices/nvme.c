/* SPDX-License-Identifier: MIT */
/*
 * NVMe controller (NVM Express 1.4) with one namespace: registers, enabling,
 * reset, life.  Queues: nvme_queue.c, commands: nvme_admin.c,
 * nvme_identify.c, nvme_io.c, memory: nvme_prp.c.
 *
 * Left out: SGLs, metadata, fused commands, weighted arbitration, controller
 * memory buffer, boot partitions, firmware update, namespace management.
 */
#include "nvme_int.h"
#include "../src/media.h"
#include <stdio.h>

#define BAR_REGS 0
#define BAR_MSIX 4
#define REGS_SIZE 0x4000u
#define DOORBELLS 0x1000u

/* CAP (3.1.1): queues contiguous, 10 s to get ready, NVM command set, pages of 4 to 64 KiB */
#define CAP_VALUE ((uint64_t)(NVME_ENTRIES - 1) | 1u << 16 | 20u << 24 | 1ull << 37 | 4ull << 52)
#define VERSION 0x00010400u

#define CC_EN 1u
#define CC_RW 0x00fffff1u
#define CSTS_RDY 1u
#define CSTS_CFS 2u
#define CSTS_SHST_DONE (2u << 2)

enum { R_CAP = 0x00, R_VS = 0x08, R_INTMS = 0x0c, R_INTMC = 0x10, R_CC = 0x14, R_CSTS = 0x1c,
       R_AQA = 0x24, R_ASQ = 0x28, R_ACQ = 0x30, R_END = 0x38 };

static const struct state_field sq_state[] = {
	STATE_BOOL(struct nvme_sq, ready),
	STATE_U16(struct nvme_sq, cq),
	STATE_U16(struct nvme_sq, size),
	STATE_U16(struct nvme_sq, head),
	STATE_U16(struct nvme_sq, tail),
	STATE_U64(struct nvme_sq, base),
	STATE_END
};

static const struct state_field cq_state[] = {
	STATE_BOOL(struct nvme_cq, ready),
	STATE_BOOL(struct nvme_cq, irq_on),
	STATE_BOOL(struct nvme_cq, phase),
	STATE_U16(struct nvme_cq, vector),
	STATE_U16(struct nvme_cq, size),
	STATE_U16(struct nvme_cq, head),
	STATE_U16(struct nvme_cq, tail),
	STATE_U64(struct nvme_cq, base),
	STATE_END
};

static const struct state_field feature_state[] = {
	STATE_U32(struct nvme_features, arbitration),
	STATE_U32(struct nvme_features, power),
	STATE_U32(struct nvme_features, temp_over),
	STATE_U32(struct nvme_features, temp_under),
	STATE_U32(struct nvme_features, recovery),
	STATE_U32(struct nvme_features, coalescing),
	STATE_U32(struct nvme_features, atomicity),
	STATE_U32(struct nvme_features, events),
	STATE_U16S(struct nvme_features, vectors),
	STATE_BOOL(struct nvme_features, wcache),
	STATE_END
};

static const struct state_field nvme_state[] = {
	PCI_STATE(struct nvme, pci),
	STATE_U32(struct nvme, intm),
	STATE_U32(struct nvme, cc),
	STATE_U32(struct nvme, csts),
	STATE_U32(struct nvme, aqa),
	STATE_U64(struct nvme, asq),
	STATE_U64(struct nvme, acq),
	STATE_STRUCTS(struct nvme, sq, sq_state),
	STATE_STRUCTS(struct nvme, cq, cq_state),
	STATE_STRUCT(struct nvme, feat, feature_state),
	STATE_U16S(struct nvme, aer),
	STATE_U8(struct nvme, naers),
	STATE_U8(struct nvme, event),
	STATE_BOOL(struct nvme, event_masked),
	STATE_BOOL(struct nvme, changed),
	STATE_BOOL(struct nvme, notice),
	STATE_BOOL(struct nvme, notice_masked),
	STATE_U64(struct nvme, reads),
	STATE_U64(struct nvme, writes),
	STATE_U64(struct nvme, read_blocks),
	STATE_U64(struct nvme, written_blocks),
	STATE_U64(struct nvme, errors),
	STATE_U8S(struct nvme, last_error),
	STATE_END
};

static struct nvme *to_nvme(struct device *d)
{
	return container_of(d, struct nvme, pci.dev);
}

/* ---- Enable, reset, shut down (7.6) ---- */

/* Commands in flight end unheard; queues and registers below CC go. */
static void controller_reset(struct nvme *n)
{
	n->quiet = true;
	while (n->inflight)
		block_drain(n->block);
	n->quiet = false;
	memset(n->sq, 0, sizeof(n->sq));
	memset(n->cq, 0, sizeof(n->cq));
	nvme_features_reset(n);
	memset(n->aer, 0, sizeof(n->aer));
	n->naers = n->event = 0;
	n->event_masked = n->stalled = false;
	n->changed = n->notice = n->notice_masked = false;
	n->csts = 0;
	nvme_update_intx(n);
}

static void enable(struct nvme *n)
{
	uint32_t sqs = (n->aqa & 0xfff) + 1, cqs = (n->aqa >> 16 & 0xfff) + 1;
	uint32_t mps = n->cc >> 7 & 15, page = 4096u << MIN(mps, 4);

	if (mps > 4 || n->cc >> 4 & 7 || n->cc >> 11 & 7 || sqs < 2 || cqs < 2 ||
	    sqs > NVME_ENTRIES || cqs > NVME_ENTRIES || (n->asq | n->acq) & (page - 1) ||
	    n->asq >= 1ull << 60 || n->acq >= 1ull << 60) {
		nvme_fatal(n, "controller enabled with bad values");
		return;
	}
	n->sq[0] = (struct nvme_sq){ .ready = true, .size = sqs, .base = n->asq };
	n->cq[0] = (struct nvme_cq){ .ready = true, .irq_on = true, .phase = true, .size = cqs,
				     .base = n->acq };
	n->csts |= CSTS_RDY;
}

static void write_cc(struct nvme *n, uint32_t v)
{
	uint32_t old = n->cc;

	v &= CC_RW;
	if (old & CC_EN && v & CC_EN)	/* 3.1.5: only SHN may change while enabled */
		v = (old & ~0xc000u) | (v & 0xc000);
	n->cc = v;
	if (!(v & CC_EN) && old & CC_EN)
		controller_reset(n);
	else if (v & CC_EN && !(old & CC_EN))
		enable(n);
	if (v & 0xc000 && !(old & 0xc000)) {
		while (n->inflight)
			block_drain(n->block);
		n->csts |= CSTS_SHST_DONE;
	} else if (!(v & 0xc000)) {
		n->csts &= ~(3u << 2);
	}
}

/* ---- Registers ---- */

static uint64_t regs_read(struct device *d, uint64_t off, unsigned size)
{
	struct nvme *n = to_nvme(d);
	uint8_t r[R_END + 8] = { 0 };

	if (off >= R_END)
		return 0;
	st_le64(r + R_CAP, CAP_VALUE);
	st_le32(r + R_VS, VERSION);
	st_le32(r + R_INTMS, n->intm);
	st_le32(r + R_INTMC, n->intm);
	st_le32(r + R_CC, n->cc);
	st_le32(r + R_CSTS, n->csts);
	st_le32(r + R_AQA, n->aqa);
	st_le64(r + R_ASQ, n->asq);
	st_le64(r + R_ACQ, n->acq);
	return size == 8 ? ld_le64(r + off) : ld_le32(r + off);
}

static void set_half(uint64_t *reg, bool high, uint32_t v)
{
	*reg = high ? (uint32_t)*reg | (uint64_t)v << 32 : (*reg & ~0xffffffffull) | v;
}

static void write32(struct nvme *n, uint64_t off, uint32_t v)
{
	if (off >= DOORBELLS) {
		nvme_doorbell(n, off - DOORBELLS, v);
		return;
	}
	switch (off) {
	case R_INTMS:
	case R_INTMC:
		n->intm = off == R_INTMS ? n->intm | v : n->intm & ~v;
		nvme_update_intx(n);
		break;
	case R_CC:
		write_cc(n, v);
		break;
	case R_AQA:
		n->aqa = v & 0x0fff0fff;
		break;
	case R_ASQ:
	case R_ASQ + 4:
		set_half(&n->asq, off & 4, off & 4 ? v : v & ~0xfffu);
		break;
	case R_ACQ:
	case R_ACQ + 4:
		set_half(&n->acq, off & 4, off & 4 ? v : v & ~0xfffu);
		break;
	}
}

static void regs_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	write32(to_nvme(d), off, val);
	if (size == 8)
		write32(to_nvme(d), off + 4, val >> 32);
}

static const struct io_ops regs_io = {
	.read = regs_read, .write = regs_write, .min_size = 4, .max_size = 8,
};

/* ---- Life ---- */

static void run_work(void *opaque)
{
	struct nvme *n = opaque;

	nvme_run(n);
	nvme_send_event(n);
}

static void cfg_written(struct pci_dev *d, unsigned off, unsigned size, uint32_t old)
{
	if (off <= PCI_COMMAND && PCI_COMMAND < off + size)	/* bus mastering may be on now */
		nvme_run(container_of(d, struct nvme, pci));
}

static bool nvme_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x1b36, .device = 0x0010, .class_code = 0x0108, .prog_if = 0x02,
		.revision = 2, .subsys_vendor = 0x1af4, .subsys_id = 0x1100, .int_pin = 1,
	};
	struct nvme *n = to_nvme(d);

	HV_BUG_ON(!n->block);
	n->readonly |= block_info(n->block)->readonly;
	n->blocks = block_info(n->block)->size / NVME_LBA;
	n->nio = MIN(MAX(d->vm->ncpus, 1u), NVME_MAX_IO);
	n->work = (struct loop_work){ .fn = run_work, .opaque = n };
	pci_init(&n->pci, &id);
	n->pci.cfg_written = cfg_written;
	nvme_io_init(n);
	return pci_bar_io(&n->pci, BAR_REGS, PCI_BAR_MEM64, REGS_SIZE, &regs_io, e) &&
	       pci_msix_init(&n->pci, n->nio + 1, BAR_MSIX, e);
}

static void nvme_reset(struct device *d)
{
	struct nvme *n = to_nvme(d);

	controller_reset(n);
	n->intm = n->cc = n->aqa = 0;
	n->asq = n->acq = 0;
	n->reads = n->writes = n->read_blocks = n->written_blocks = n->errors = 0;
	memset(n->last_error, 0, sizeof(n->last_error));
	pci_reset(&n->pci);
}

static void nvme_unrealize(struct device *d)
{
	controller_reset(to_nvme(d));
	to_nvme(d)->cc = 0;
	nvme_io_free(to_nvme(d));
}

static void nvme_pre_save(struct device *d)
{
	struct nvme *n = to_nvme(d);

	while (n->inflight)
		block_drain(n->block);
}

/* A page size that is not offered stays in CC when enabling failed; then there is no queue. */
static bool page_size_valid(const struct nvme *n)
{
	bool live = n->csts & CSTS_RDY;

	for (unsigned i = 0; i < NVME_QUEUES; i++)
		live = live || n->sq[i].ready || n->cq[i].ready;
	return !live || (n->cc >> 7 & 15) <= 4;
}

static bool nvme_post_load(struct device *d, struct err *e)
{
	struct nvme *n = to_nvme(d);

	n->cc &= CC_RW;
	n->aqa &= 0x0fff0fff;
	if (!page_size_valid(n) || !nvme_queues_valid(n) || n->event > 8)
		return err_set(e, HV_EXIT_IMAGE, "the saved NVMe state is not valid");
	for (unsigned i = 0; i < NVME_QUEUES; i++)
		n->cq[i].reserved = 0;
	if (!pci_post_load(&n->pci, e))
		return false;
	nvme_update_intx(n);
	loop_post(d->vm->loop, &n->work);
	return true;
}

void nvme_set_disk(struct device *d, struct block *block, bool readonly, const char *serial)
{
	struct nvme *n = to_nvme(d);

	n->block = block;
	n->readonly = readonly;
	snprintf(n->serial, sizeof(n->serial), "%s", serial);
}

/* 5.2, figure 150: namespace attribute changed; only who asked for it is told. */
static bool resized(struct device *d, unsigned unit)
{
	struct nvme *n = to_nvme(d);

	n->blocks = block_info(n->block)->size / NVME_LBA;
	if (!(n->csts & CSTS_RDY))
		return false;
	n->changed = true;
	n->notice = n->feat.events & NVME_NOTICE_NAMESPACE;
	nvme_send_event(n);
	return n->feat.events & NVME_NOTICE_NAMESPACE;
}

const struct media_ops nvme_media = { .resized = resized };

const struct device_ops nvme_ops = {
	.name = "nvme",
	.size = sizeof(struct nvme),
	.realize = nvme_realize,
	.reset = nvme_reset,
	.unrealize = nvme_unrealize,
	.state = nvme_state,
	.state_version = 2,
	.post_load = nvme_post_load,
	.pre_save = nvme_pre_save,
};
