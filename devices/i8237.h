/* SPDX-License-Identifier: MIT */
/*
 * ISA DMA: the pair of 8237A controllers with their page registers, and what
 * a device on a channel sees of them.
 *
 * A device raises DREQ with isa_dma_request(); when the channel serves it,
 * its peer's granted() is called: from inside isa_dma_request(), or later
 * from a write of the guest.  In granted() the device moves what it has.
 */
#ifndef HV_I8237_H
#define HV_I8237_H

#include "../src/device.h"

extern const struct device_ops i8237_ops;

struct isa_dma_peer {
	void (*granted)(void *opaque);
	void *opaque;
};

/* Before device_realize().  Channels 0-3 move bytes, 5-7 words. */
void isa_dma_attach(struct device *dma, unsigned chan, struct isa_dma_peer peer);
void isa_dma_request(struct device *dma, unsigned chan, bool level);

/*
 * Move up to @len bytes (channels 5-7: even) between @buf and guest memory,
 * as far as the channel's count goes; returns how many.  *@tc: the count ran
 * out with the last of them.  A channel set to verify moves nothing and
 * counts; one set the other way does not move a byte.  0: the channel does not
 * serve requests now.
 */
size_t isa_dma_to_memory(struct device *dma, unsigned chan, const void *buf, size_t len, bool *tc);
size_t isa_dma_from_memory(struct device *dma, unsigned chan, void *buf, size_t len, bool *tc);

#endif
