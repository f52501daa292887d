/* SPDX-License-Identifier: MIT */
/* Scatter-gather lists of guest memory; see dma_sg.h. */
#include "dma_sg.h"
#include <stdlib.h>

#define FIRST_CAP 64u
#define KEEP_CAP 1024u		/* room that an empty list keeps */
#define MAX_CAP (1u << 17)	/* spans of one request */

static bool grow(struct dma_sg *sg)
{
	unsigned cap = sg->cap ? sg->cap * 2 : FIRST_CAP;
	struct gm_span *span;
	struct iovec *iov;

	if (cap > MAX_CAP)
		return false;
	iov = realloc(sg->iov, cap * sizeof(*iov));
	if (iov)
		sg->iov = iov;
	span = iov ? realloc(sg->span, cap * sizeof(*span)) : NULL;
	if (!span)
		return false;
	sg->span = span;
	sg->cap = cap;
	return true;
}

/* @s is the one after the last: joined to it where they touch. */
static void add_span(struct dma_sg *sg, const struct gm_span *s)
{
	struct gm_span *last = sg->n ? &sg->span[sg->n - 1] : NULL;

	if (last && last->at.v + last->len == s->at.v &&
	    (uint8_t *)last->host + last->len == s->host) {
		last->len += s->len;
		sg->iov[sg->n - 1].iov_len += s->len;
	} else {
		sg->iov[sg->n++] = (struct iovec){ s->host, s->len };
	}
}

bool sg_add(struct dma_sg *sg, struct guest_mem *gm, uint64_t at, uint64_t len, bool writable)
{
	if (len && at > UINT64_MAX - (len - 1))
		return false;
	while (len) {
		struct gm_span *s;

		if (sg->n == sg->cap && !grow(sg))
			return false;
		s = &sg->span[sg->n];
		if (!gm_map(gm, GPA(at), len, writable, s))
			return false;
		HV_BUG_ON(!s->len || s->len > len);
		sg->len += s->len;
		at += s->len;
		len -= s->len;
		add_span(sg, s);
	}
	return true;
}

void sg_end(struct dma_sg *sg, struct guest_mem *gm, uint64_t dirtied)
{
	for (unsigned i = 0; i < sg->n; i++) {
		size_t d = MIN(dirtied, sg->span[i].len);

		gm_unmap(gm, &sg->span[i], d);
		dirtied -= d;
	}
	sg->n = 0;
	sg->len = 0;
	if (sg->cap > KEEP_CAP)
		sg_free(sg);
}

void sg_free(struct dma_sg *sg)
{
	free(sg->iov);
	free(sg->span);
	*sg = (struct dma_sg){ 0 };
}
