/* SPDX-License-Identifier: MIT */
/* Private to devices/virtio/virtq*.c: what split and packed rings share. */
#ifndef HV_VIRTQ_INT_H
#define HV_VIRTQ_INT_H

#include "virtq.h"
#include <stdatomic.h>

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define DESC_SIZE 16u

/* Stops the queue; returns false. */
bool virtq_fail(struct virtq *q, const char *why);
/* Append one buffer to the request, checked. */
bool virtq_add_seg(struct virtq *q, struct virtq_elem *e, uint64_t at, uint32_t len,
		   uint16_t flags);
/* Is [at, at+len) usable as an indirect table?  *size: its descriptors. */
bool virtq_indirect(struct virtq *q, uint64_t at, uint32_t len, uint16_t flags, unsigned *size);

/* Packed rings (virtq_packed.c); as the functions of virtq.h */
bool packed_layout_ok(const struct virtq *q);
bool packed_waiting(struct virtq *q);
bool packed_pop(struct virtq *q, struct virtq_elem *e);
void packed_unpop(struct virtq *q, unsigned n);
void packed_push(struct virtq *q, uint16_t id, uint32_t len);
bool packed_flush(struct virtq *q);

#endif
