/* SPDX-License-Identifier: MIT */
/* Physical region pages (NVMe 1.4, 4.3): each entry is read once, lists are bounded by length. */
#include "nvme_int.h"

struct prp_walk {
	struct nvme *n;
	struct dma_sg *sg;
	uint64_t left;
	bool to_host;
};

static uint16_t add(struct prp_walk *w, uint64_t at, uint64_t len)
{
	len = MIN(len, w->left);
	if (!sg_add(w->sg, nvme_mem(w->n), at, len, w->to_host))
		return SC_DATA;
	w->left -= len;
	return SC_OK;
}

/* One page of a list; the last entry leads on if more than it is left. */
static uint16_t walk_list(struct prp_walk *w, uint64_t *list)
{
	uint32_t page = nvme_page(w->n), at = *list & (page - 1);
	uint64_t base = *list;
	uint16_t sc = SC_OK;

	for (uint32_t off = 0; w->left && at + off < page && !sc; off += 8) {
		uint64_t entry;

		if (!gm_read_le64(nvme_mem(w->n), GPA(base + off), &entry))
			return SC_DATA;
		if (at + off + 8 == page && w->left > page) {
			*list = entry;	/* aligned, so that every list page brings data */
			return entry & (page - 1) ? SC_PRP_OFFSET | NVME_DNR : SC_OK;
		}
		if (entry & (page - 1))
			return SC_PRP_OFFSET | NVME_DNR;
		sc = add(w, entry, page);
	}
	return sc;
}

static uint16_t walk(struct prp_walk *w, const struct nvme_cmd *c)
{
	uint32_t page = nvme_page(w->n);
	uint64_t list = c->prp2;
	uint16_t sc;

	if (c->flags >> 6)		/* SGLs are not offered */
		return SC_FIELD | NVME_DNR;
	if (c->prp1 & 3)
		return SC_PRP_OFFSET | NVME_DNR;
	sc = add(w, c->prp1, page - (c->prp1 & (page - 1)));
	if (sc || !w->left)
		return sc;
	if (w->left <= page)
		return c->prp2 & (page - 1) ? SC_PRP_OFFSET | NVME_DNR : add(w, c->prp2, page);
	if (list & 7)
		return SC_PRP_OFFSET | NVME_DNR;
	while (w->left && !sc)
		sc = walk_list(w, &list);
	return sc;
}

uint16_t nvme_map(struct nvme *n, const struct nvme_cmd *c, uint64_t len, bool to_host,
		  struct dma_sg *sg)
{
	struct prp_walk w = { n, sg, len, to_host };
	uint16_t sc = walk(&w, c);

	if (sc)
		sg_end(sg, nvme_mem(n), 0);
	return sc;
}

uint16_t nvme_copy(struct nvme *n, const struct nvme_cmd *c, void *buf, uint32_t len,
		   bool to_host)
{
	struct dma_sg sg = { 0 };
	uint16_t sc = nvme_map(n, c, len, to_host, &sg);
	uint8_t *p = buf;

	for (unsigned i = 0; i < sg.n; i++) {
		if (to_host)
			memcpy(sg.iov[i].iov_base, p, sg.iov[i].iov_len);
		else
			memcpy(p, sg.iov[i].iov_base, sg.iov[i].iov_len);
		p += sg.iov[i].iov_len;
	}
	sg_end(&sg, nvme_mem(n), to_host ? UINT64_MAX : 0);
	sg_free(&sg);
	return sc;
}
