/* SPDX-License-Identifier: MIT */
/*
 * Port and MMIO dispatch; see bus.h.
 *
 * Each address space is an array of enabled regions sorted by base, with the
 * last hit remembered.  Lookup is a binary search; there are about 60.
 */
#include "bus.h"
#include "device.h"
#include <stdlib.h>

#define BUS_MAX_REGIONS 256

struct space {
	struct io_region *r[BUS_MAX_REGIONS];
	unsigned n;
	struct io_region *last;
};

struct bus {
	pthread_mutex_t *lock;
	struct space sp[2];
};

struct bus *bus_new(pthread_mutex_t *dev_lock)
{
	struct bus *b = hv_zalloc(sizeof(*b));

	b->lock = dev_lock;
	return b;
}

void bus_free(struct bus *b)
{
	free(b);
}

/* Index of the first region that ends after @addr. */
static unsigned space_pos(const struct space *s, uint64_t addr)
{
	unsigned lo = 0, hi = s->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (s->r[mid]->base + (s->r[mid]->len - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool space_insert(struct space *s, struct io_region *r)
{
	unsigned pos = space_pos(s, r->base);
	uint64_t last = r->base + (r->len - 1);

	if (s->n == BUS_MAX_REGIONS || last < r->base)
		return false;
	if (pos < s->n && s->r[pos]->base <= last)
		return false;
	memmove(&s->r[pos + 1], &s->r[pos], (s->n - pos) * sizeof(s->r[0]));
	s->r[pos] = r;
	s->n++;
	r->enabled = true;
	return true;
}

bool bus_add(struct bus *b, struct io_region *r, struct err *e)
{
	HV_BUG_ON(r->enabled || !r->len || !r->ops || !is_pow2(r->ops->min_size) ||
		  !is_pow2(r->ops->max_size));
	if (r->kind == BUS_PIO && !range_ok(r->base, r->len, 0x10000))
		return err_set(e, HV_EXIT_GENERIC, "I/O region %s leaves the port space", r->name);
	if (!space_insert(&b->sp[r->kind], r))
		return err_set(e, HV_EXIT_GENERIC, "I/O region %s at %#llx overlaps another",
			       r->name, (unsigned long long)r->base);
	return true;
}

void bus_remove(struct bus *b, struct io_region *r)
{
	struct space *s = &b->sp[r->kind];

	if (!r->enabled)
		return;
	for (unsigned i = 0; i < s->n; i++) {
		if (s->r[i] != r)
			continue;
		memmove(&s->r[i], &s->r[i + 1], (s->n - i - 1) * sizeof(s->r[0]));
		s->n--;
		break;
	}
	s->last = NULL;
	r->enabled = false;
}

bool bus_move(struct bus *b, struct io_region *r, uint64_t base, bool enable)
{
	bus_remove(b, r);
	r->base = base;
	return !enable || bus_add(b, r, NULL);
}

static struct io_region *space_find(struct space *s, uint64_t addr)
{
	struct io_region *r = s->last;
	unsigned pos;

	if (likely(r && addr - r->base < r->len))
		return r;
	pos = space_pos(s, addr);
	if (pos == s->n || addr - s->r[pos]->base >= s->r[pos]->len)
		return NULL;
	return s->last = s->r[pos];
}

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

static uint64_t wrap(enum bus_kind k, uint64_t addr)
{
	return k == BUS_PIO ? addr & 0xffff : addr;
}

/* One naturally dispatchable piece: inside one region, size the handler takes. */
static uint64_t read_piece(struct io_region *r, uint64_t off, unsigned size)
{
	unsigned min = r->ops->min_size;
	uint64_t v;

	if (!r->ops->read)
		return size_mask(size);
	if (size >= min)
		return r->ops->read(r->dev, off, size) & size_mask(size);
	v = r->ops->read(r->dev, off & ~(uint64_t)(min - 1), min);
	return v >> (off & (min - 1)) * 8 & size_mask(size);
}

/* How many bytes of an access of @size at @off one handler call may cover. */
static unsigned piece_size(const struct io_region *r, uint64_t off, unsigned size)
{
	unsigned n = MIN(size, r->ops->max_size);

	while (n > 1 && !range_ok(off, n, r->len))
		n >>= 1;
	return n;
}

uint64_t bus_read_locked(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size)
{
	uint64_t v = 0;

	for (unsigned done = 0, n; done < size; done += n) {
		uint64_t at = wrap(k, addr + done), piece;
		struct io_region *r = space_find(&b->sp[k], at);

		n = 1;
		piece = 0xff;
		if (r) {
			n = piece_size(r, at - r->base, size - done);
			if (!is_pow2(n))
				n = 1;
			piece = read_piece(r, at - r->base, n);
		}
		v |= piece << done * 8;
	}
	return v;
}

void bus_write_locked(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size, uint64_t val)
{
	for (unsigned done = 0, n; done < size; done += n) {
		uint64_t at = wrap(k, addr + done);
		struct io_region *r = space_find(&b->sp[k], at);

		n = 1;
		if (!r)
			continue;
		n = piece_size(r, at - r->base, size - done);
		if (!is_pow2(n))
			n = 1;
		if (n < r->ops->min_size)
			log_limited(LOG_DEBUG, "%s: write of %u bytes ignored", r->name, n);
		else if (r->ops->write)
			r->ops->write(r->dev, at - r->base, n, val >> done * 8 & size_mask(n));
	}
}

uint64_t bus_read(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size)
{
	uint64_t v;

	pthread_mutex_lock(b->lock);
	v = bus_read_locked(b, k, addr, size);
	pthread_mutex_unlock(b->lock);
	return v;
}

void bus_write(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size, uint64_t val)
{
	pthread_mutex_lock(b->lock);
	bus_write_locked(b, k, addr, size, val);
	pthread_mutex_unlock(b->lock);
}
