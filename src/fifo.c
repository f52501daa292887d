/* SPDX-License-Identifier: MIT */
/* Checked byte FIFO; see fifo.h. */
#include "fifo.h"

const struct state_field fifo_state_fields[] = {
	STATE_U8S(struct fifo, buf), STATE_U32(struct fifo, head), STATE_U32(struct fifo, count),
	STATE_END
};

void fifo_init(struct fifo *f, uint32_t cap)
{
	HV_BUG_ON(cap == 0 || cap > FIFO_MAX);
	memset(f, 0, sizeof(*f));
	f->cap = cap;
}

bool fifo_push(struct fifo *f, uint8_t v)
{
	if (f->count >= f->cap)
		return false;
	f->buf[(f->head + f->count) % f->cap] = v;
	f->count++;
	return true;
}

bool fifo_peek(const struct fifo *f, uint8_t *v)
{
	if (!f->count)
		return false;
	*v = f->buf[f->head % FIFO_MAX];
	return true;
}

bool fifo_pop(struct fifo *f, uint8_t *v)
{
	if (!fifo_peek(f, v))
		return false;
	f->head = (f->head + 1) % f->cap;
	f->count--;
	return true;
}

bool fifo_valid(const struct fifo *f)
{
	return f->cap && f->cap <= FIFO_MAX && f->head < f->cap && f->count <= f->cap;
}
