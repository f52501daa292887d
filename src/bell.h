/* SPDX-License-Identifier: MIT */
/*
 * A bell: whoever waits arms it and then looks at what it is about; whoever
 * changes that rings.  It is heard once for each time it was armed, so it
 * costs next to nothing while nobody waits.
 */
#ifndef HV_BELL_H
#define HV_BELL_H

#include <stdatomic.h>
#include <stdbool.h>

struct bell {
	void (*fn)(void *opaque);	/* any thread, with any locks held: may only signal */
	void *opaque;
	_Atomic bool armed;
};

static inline void bell_arm(struct bell *b)
{
	atomic_store(&b->armed, true);
}

/* @b NULL: nobody ever waits. */
static inline void bell_ring(struct bell *b)
{
	if (b && atomic_load_explicit(&b->armed, memory_order_relaxed) &&
	    atomic_exchange(&b->armed, false))
		b->fn(b->opaque);
}

#endif
