/* SPDX-License-Identifier: MIT */
/* Memory access of any size, and read-modify-write with and without LOCK. */
#include "intops.h"

static pthread_mutex_t split_mutex = PTHREAD_MUTEX_INITIALIZER;

void soft_split_lock(struct soft *s)
{
	pthread_mutex_lock(&split_mutex);
	s->split_locked = true;
}

void soft_split_unlock(struct soft *s)
{
	s->split_locked = false;
	pthread_mutex_unlock(&split_mutex);
}

uint64_t soft_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	switch (size) {
	case 1:
		return soft_ld8(s, u, lin);
	case 2:
		return soft_ld16(s, u, lin);
	case 4:
		return soft_ld32(s, u, lin);
	default:
		return soft_ld64(s, u, lin);
	}
}

void soft_st(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		soft_st8(s, u, lin, (uint8_t)v);
		break;
	case 2:
		soft_st16(s, u, lin, (uint16_t)v);
		break;
	case 4:
		soft_st32(s, u, lin, (uint32_t)v);
		break;
	default:
		soft_st64(s, u, lin, v);
	}
}

uint64_t soft_rmw_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	if (!tlb_w(s, lin, size))
		soft_probe_write(s, u, lin, size);
	return soft_ld(s, u, lin, size);
}

static uint64_t atomic_ld(const void *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)p;
	case 2:
		return *(const volatile mem16_t *)p;
	case 4:
		return *(const volatile mem32_t *)p;
	default:
		return *(const volatile mem64_t *)p;
	}
}

/* Guest atomics may be unaligned inside a page: the host does those too. */
#define CAS(n) \
	static __attribute__((no_sanitize("alignment"))) \
	bool cas##n(void *p, uint64_t *old, uint64_t v) \
	{ \
		uint##n##_t o = (uint##n##_t)*old; \
		bool ok = __atomic_compare_exchange_n((uint##n##_t *)p, &o, (uint##n##_t)v, false, \
						      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED); \
		*old = o; \
		return ok; \
	}
CAS(8) CAS(16) CAS(32) CAS(64)
#undef CAS

uint64_t rmw_begin(struct soft *s, const struct uop *u, struct rmw *r, uint64_t lin, unsigned size,
		   bool lock)
{
	*r = (struct rmw){ .lin = lin, .size = size };
	if (lock) {
		r->p = soft_rmw_ptr(s, u, lin, size);
		if (r->p)
			return atomic_ld(r->p, size);
		soft_split_lock(s);
		r->split = true;
	}
	return soft_rmw_ld(s, u, lin, size);
}

bool rmw_commit(struct soft *s, const struct uop *u, struct rmw *r, uint64_t *old, uint64_t v)
{
	static bool (*const cas[4])(void *p, uint64_t *old, uint64_t v) = {
		cas8, cas16, cas32, cas64,
	};

	if (r->p) {
		if (!cas[lg_size(r->size)](r->p, old, v))
			return false;
		soft_rmw_done(s, u, r->size);
		return true;
	}
	soft_st(s, u, r->lin, r->size, v);
	if (r->split)
		soft_split_unlock(s);
	return true;
}
