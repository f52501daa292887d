/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues: the rings between a guest driver and a virtio device.
 *
 * Split and packed rings (VIRTIO 1.2, 2.7 and 2.8) with indirect descriptors and events.
 * virtq_pop() hands out a request that has been copied and checked: nothing
 * in it is read from guest memory twice.  What a guest may not do (a loop, a
 * bad index, a ring outside RAM) calls fail() and stops the queue until it is
 * reset.  The interface names no ring layout.
 *
 * Everything runs under vm->dev_lock.
 */
#ifndef HV_VIRTQ_H
#define HV_VIRTQ_H

#include "../../src/mem.h"
#include "../../src/state.h"
#include <sys/uio.h>

#define VIRTQ_MAX_SIZE 256u	/* largest ring offered */
#define VIRTQ_MAX_SEGS 256u	/* longest chain, indirect tables included */
#define VIRTQ_MAX_IOV (VIRTQ_MAX_SEGS + 16)	/* a segment may cross memory slots */
#define VIRTQ_NO_VECTOR 0xffffu

struct virtq {
	struct guest_mem *gm;	/* immutable after virtq_init() */
	void (*fail)(struct virtq *q, const char *why);
	void *opaque;
	uint16_t max;		/* size offered */
	bool event_idx;		/* VIRTIO_F_EVENT_IDX negotiated */
	bool packed;		/* VIRTIO_F_RING_PACKED negotiated */

	/* Guest-programmed; size is a power of two in 1..max. */
	uint16_t size, vector;
	bool ready;
	uint64_t desc, avail, used;

	uint16_t last_avail;	/* next available entry to take; packed: place in the ring */
	uint16_t used_idx;	/* next used entry to write; likewise */
	bool avail_wrap, used_wrap;	/* packed: wrap counters */

	/* Derived, not saved */
	uint16_t shadow;	/* avail.idx as last read */
	uint16_t published;	/* used.idx as last written */
	uint16_t inflight;	/* popped and not yet pushed */
	bool broken;
	/* packed: */
	uint16_t inflight_descs;	/* descriptors of what is in flight */
	uint16_t batch;			/* descriptors pushed and not yet published ... */
	uint16_t first_flags;		/* ... of which the first gets these flags last */
	uint64_t first_at;
	uint16_t pops;			/* counts, for order[] */
	uint16_t taken[VIRTQ_MAX_SIZE];	/* by buffer ID: descriptors in flight */
	uint16_t order[VIRTQ_MAX_SIZE];	/* IDs in the order in which they were popped */
};

struct virtq_seg {
	uint64_t at;
	uint32_t len;
};

/* One request: nout segments the device reads, then nin segments it writes. */
struct virtq_elem {
	uint16_t head;		/* identifies the request to virtq_push() */
	uint16_t nout, nin;
	uint64_t out_len, in_len;
	struct virtq_seg seg[VIRTQ_MAX_SEGS];
};

/* Part of a request mapped for I/O. */
struct virtq_io {
	unsigned n;
	struct iovec iov[VIRTQ_MAX_IOV];
	struct gm_span span[VIRTQ_MAX_IOV];
};

extern const struct state_field virtq_state_fields[];

void virtq_init(struct virtq *q, struct guest_mem *gm, uint16_t max,
		void (*fail)(struct virtq *q, const char *why), void *opaque);
void virtq_reset(struct virtq *q);
/* True if the guest's size and addresses are usable; then the ring may be enabled. */
bool virtq_layout_ok(const struct virtq *q);
/* Loaded fields are hostile; requires that nothing is in flight. */
bool virtq_post_load(struct virtq *q);

/* Next request; false: none now (or the queue is stopped).  A later one will be notified. */
bool virtq_pop(struct virtq *q, struct virtq_elem *e);
/* Give back the last @n requests popped, untouched. */
void virtq_unpop(struct virtq *q, unsigned n);
/* Any request waiting?  As virtq_pop(): when not, the guest is asked to notify. */
bool virtq_waiting(struct virtq *q);
/* Complete @head with @len bytes written; the guest sees it at virtq_flush(). */
void virtq_push(struct virtq *q, uint16_t head, uint32_t len);
/* Publish; true: the guest wants an interrupt. */
bool virtq_flush(struct virtq *q);

/* Copy from the readable / to the writable part at @off; false: too short, or not RAM. */
HV_MUSTCHECK bool virtq_read(struct virtq *q, const struct virtq_elem *e, uint64_t off, void *dst,
			     size_t len);
HV_MUSTCHECK bool virtq_write(struct virtq *q, const struct virtq_elem *e, uint64_t off,
			      const void *src, size_t len);
/* Map [off, off+len) of the readable or (@in) writable part; false: nothing is mapped. */
HV_MUSTCHECK bool virtq_map(struct virtq *q, const struct virtq_elem *e, bool in, uint64_t off,
			    uint64_t len, struct virtq_io *io);
void virtq_unmap(struct virtq *q, struct virtq_io *io, uint64_t dirtied);

#endif
