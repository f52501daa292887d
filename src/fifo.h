/* SPDX-License-Identifier: MIT */
/* Checked byte FIFO of at most 256 bytes: the only place that indexes such buffers. */
#ifndef HV_FIFO_H
#define HV_FIFO_H

#include "state.h"

#define FIFO_MAX 256u

/* Saved with FIFO_STATE(); fifo_valid() belongs into post_load. */
struct fifo {
	uint8_t buf[FIFO_MAX];
	uint32_t head, count, cap;
};

void fifo_init(struct fifo *f, uint32_t cap);		/* 1..FIFO_MAX */
static inline void fifo_clear(struct fifo *f) { f->head = f->count = 0; }
static inline bool fifo_empty(const struct fifo *f) { return f->count == 0; }
static inline bool fifo_full(const struct fifo *f) { return f->count == f->cap; }
static inline uint32_t fifo_space(const struct fifo *f) { return f->cap - f->count; }
bool fifo_push(struct fifo *f, uint8_t v);		/* false: full, nothing stored */
bool fifo_pop(struct fifo *f, uint8_t *v);		/* false: empty, *v untouched */
bool fifo_peek(const struct fifo *f, uint8_t *v);
bool fifo_valid(const struct fifo *f);			/* hostile state: indices in range */

extern const struct state_field fifo_state_fields[];
#define FIFO_STATE(T, m) STATE_STRUCT(T, m, fifo_state_fields)

#endif
