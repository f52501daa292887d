/* SPDX-License-Identifier: MIT */
/* NVMe: what the controller says about itself: IDENTIFY (5.15) and GET LOG PAGE (5.14). */
#include "nvme_int.h"
#include <stdio.h>

#define ID_LEN 4096u

static void text(uint8_t *p, unsigned len, const char *s)
{
	for (unsigned i = 0; i < len; i++)
		p[i] = *s ? *s++ : ' ';
}

/* A name that stays the same for the same serial number (FNV-1a). */
static uint64_t stable_id(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	return h;
}

/* Figure 247 */
static void controller(const struct nvme *n, uint8_t *b)
{
	static const struct { uint16_t at; uint8_t val; } rows[] = {
		{ 77, NVME_MDTS }, { 93, NVME_NOTICE_NAMESPACE >> 8 },
		{ 111, 1 /* I/O controller */ }, { 258, 3 /* aborts */ },
		{ 259, NVME_AERS - 1 }, { 260, 0x03 /* one firmware slot, read-only */ },
		{ 261, 0x04 /* log page offsets */ },
		{ 512, 0x66 }, { 513, 0x44 }, { 516, 1 /* namespaces */ },
		{ 520, 0x0c /* write zeroes, dataset management */ },
		{ 525, 0x07 /* write cache; flush of all namespaces */ },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		b[rows[i].at] = rows[i].val;
	st_le16(b, n->pci.id.vendor);
	st_le16(b + 2, n->pci.id.subsys_vendor);
	text(b + 4, 20, n->serial);
	text(b + 24, 40, "HVRUN NVME DISK");
	text(b + 64, 8, "1.0");
	st_le32(b + 80, 0x00010400);
	st_le16(b + 266, 0x157);		/* warning temperature, K */
	st_le16(b + 268, 0x175);
	snprintf((char *)b + 768, 256, "nqn.2025-01.org.hvrun:nvme:%s", n->serial);
	st_le16(b + 2048, 0x09c4);		/* power state 0: 25 W */
}

/* Figure 245 */
static void name_space(const struct nvme *n, uint8_t *b)
{
	st_le64(b, n->blocks);
	st_le64(b + 8, n->blocks);
	st_le64(b + 16, n->blocks);
	b[24] = 0x10;				/* preferred sizes below are valid */
	b[33] = 0x08;				/* write zeroes may deallocate */
	for (unsigned i = 0; i < 5; i++)
		st_le16(b + 64 + 2 * i, 4096 / NVME_LBA - 1);
	b[99] = n->readonly;			/* write protected now */
	st_be64(b + 120, stable_id(n->serial));
	b[128 + 2] = 9;				/* the one format: 512 bytes */
}

static void descriptors(const struct nvme *n, uint8_t *b)
{
	b[0] = 1;				/* EUI-64 */
	b[1] = 8;
	st_be64(b + 4, stable_id(n->serial));
}

uint16_t nvme_identify(struct nvme *n, const struct nvme_cmd *c)
{
	uint8_t b[ID_LEN] = { 0 }, cns = c->dw[0] & 0xff;

	switch (cns) {
	case 0x00:
	case 0x03:
		if (c->nsid != 1 && (c->nsid != UINT32_MAX || cns))
			return SC_NAMESPACE | NVME_DNR;
		(cns ? descriptors : name_space)(n, b);
		break;
	case 0x01:
		controller(n, b);
		break;
	case 0x02:
		if (c->nsid >= 0xfffffffe)
			return SC_NAMESPACE | NVME_DNR;
		if (c->nsid < 1)
			st_le32(b, 1);
		break;
	default:
		return SC_FIELD | NVME_DNR;
	}
	return nvme_copy(n, c, b, sizeof(b), true);
}

/* Figure 194 */
static void smart(const struct nvme *n, uint8_t *b)
{
	st_le16(b + 1, 0x139);			/* 40 degrees */
	b[3] = 100;				/* spare, per cent */
	b[4] = 10;
	st_le64(b + 32, (n->read_blocks + 999) / 1000);
	st_le64(b + 48, (n->written_blocks + 999) / 1000);
	st_le64(b + 64, n->reads);
	st_le64(b + 80, n->writes);
	st_le64(b + 112, 1);			/* power cycles */
	st_le64(b + 176, n->errors);
}

uint16_t nvme_log_page(struct nvme *n, const struct nvme_cmd *c)
{
	uint64_t len = ((uint64_t)(c->dw[0] >> 16) | (uint64_t)(c->dw[1] & 0xffff) << 16) + 1;
	uint64_t off = c->dw[2] | (uint64_t)c->dw[3] << 32, have;
	uint8_t b[ID_LEN] = { 0 }, page = c->dw[0] & 0xff;
	uint16_t sc;

	switch (page) {
	case 1:
		memcpy(b, n->last_error, sizeof(n->last_error));
		have = sizeof(n->last_error);
		break;
	case 2:
		smart(n, b);
		have = 512;
		break;
	case 3:
		b[0] = 1;			/* slot 1 is active */
		text(b + 8, 8, "1.0");
		have = 512;
		break;
	case 4:				/* 5.14.1.4: changed namespaces, a list */
		b[0] = n->changed;
		have = ID_LEN;
		break;
	default:
		return SC_LOG_PAGE | NVME_DNR;
	}
	if (off & 3 || off > have)
		return SC_FIELD | NVME_DNR;
	/* 5.14: past the end of the page is undefined; it is left alone. */
	sc = nvme_copy(n, c, b + off, MIN(len * 4, have - off), true);
	if (sc || c->dw[0] & 0x8000)		/* RAE: no further event until it is clear */
		return sc;
	if (page == 1)
		n->event_masked = false;
	else if (page == 4)
		n->changed = n->notice_masked = false;
	return sc;
}
