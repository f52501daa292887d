/* SPDX-License-Identifier: MIT */
/*
 * Scatter-gather lists of guest memory for controllers that hand it straight
 * to the block layer (AHCI, NVMe, virtio-scsi): spans are mapped as they are
 * added and given back together.
 */
#ifndef HV_DMA_SG_H
#define HV_DMA_SG_H

#include "../src/mem.h"
#include <sys/uio.h>

struct dma_sg {
	unsigned n, cap;
	uint64_t len;		/* bytes so far */
	struct iovec *iov;	/* NULL until the first add */
	struct gm_span *span;
};

/* Append [at, at+len); @writable: the device writes there.  false: not RAM; sg_end() then. */
HV_MUSTCHECK bool sg_add(struct dma_sg *sg, struct guest_mem *gm, uint64_t at, uint64_t len,
			 bool writable);
/* Unmap, with the first @dirtied bytes written; the list is empty and keeps its room. */
void sg_end(struct dma_sg *sg, struct guest_mem *gm, uint64_t dirtied);
void sg_free(struct dma_sg *sg);	/* after sg_end() */

#endif
