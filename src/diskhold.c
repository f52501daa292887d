/* SPDX-License-Identifier: MIT */
/* Pausing for the host's disk; see diskhold.h. */
#include "diskhold.h"
#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DISKS 32
#define RETRY_NS 1000000000ull

struct disk_hold {
	struct vm *vm;
	struct block *disks[MAX_DISKS];
	unsigned n;
	void (*wakeup)(void *opaque);
	void *wakeup_opaque;
	bool holding, paused;		/* paused: by us, so it is ours to resume */
	uint64_t retry_at;
	struct disk_trouble trouble;	/* while holding */

	pthread_mutex_t lock;		/* leaf */
	struct block *failed;		/* news from block.c; NULL: none */
	int error;
	enum block_op op;
};

struct disk_hold *disk_hold_new(struct vm *vm)
{
	struct disk_hold *h = hv_zalloc(sizeof(*h));

	h->vm = vm;
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void disk_hold_free(struct disk_hold *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static void stopped(void *opaque, struct block *b, enum block_op op, int error)
{
	struct disk_hold *h = opaque;

	pthread_mutex_lock(&h->lock);
	h->failed = b;
	h->op = op;
	h->error = error;
	pthread_mutex_unlock(&h->lock);
	if (h->wakeup)
		h->wakeup(h->wakeup_opaque);
}

void disk_hold_add(struct disk_hold *h, struct block *b)
{
	HV_BUG_ON(h->n == MAX_DISKS);
	h->disks[h->n++] = b;
	block_on_stop(b, stopped, h);
}

void disk_hold_remove(struct disk_hold *h, struct block *b)
{
	pthread_mutex_lock(&h->lock);
	if (h->failed == b)
		h->failed = NULL;
	pthread_mutex_unlock(&h->lock);
	for (unsigned i = 0; i < h->n; i++)
		if (h->disks[i] == b)
			h->disks[i--] = h->disks[--h->n];
}

bool disk_hold_trouble(const struct disk_hold *h, struct disk_trouble *out)
{
	if (h->holding)
		*out = h->trouble;
	return h->holding;
}

void disk_hold_set_wakeup(struct disk_hold *h, void (*fn)(void *opaque), void *opaque)
{
	h->wakeup = fn;
	h->wakeup_opaque = opaque;
}

static void tell(struct disk_trouble *t, const struct block *b, enum block_op op, int error)
{
	*t = (struct disk_trouble){ .op = op, .error = error };
	snprintf(t->path, sizeof(t->path), "%s", block_info(b)->path);
	if (error == ENOSPC || error == EDQUOT)
		snprintf(t->text, sizeof(t->text), "%.300s: no space is left on the host's disk; "
			 "the guest is paused and goes on when there is space again", t->path);
	else
		snprintf(t->text, sizeof(t->text), "%.300s: cannot %s: %s; the guest is paused, "
			 "and this is tried again every second (werror=report, rerror=report "
			 "would tell the guest instead)", t->path,
			 op == BLOCK_READ ? "read" : "write", strerror(error));
	log_error("%s", t->text);
}

static void hold(struct disk_hold *h, struct block *b, enum block_op op, int error)
{
	h->retry_at = host_now_ns() + RETRY_NS;
	if (h->holding)
		return;
	h->holding = true;
	h->paused = vm_status(h->vm) == VM_RUNNING;
	if (h->paused)
		vm_pause(h->vm);
	tell(&h->trouble, b, op, error);
}

static bool any_held(struct disk_hold *h)
{
	bool held = false;

	for (unsigned i = 0; i < h->n; i++)
		held |= block_held(h->disks[i]);
	return held;
}

static void go_on(struct disk_hold *h)
{
	h->holding = false;
	log_info("the host's disk works again; the guest goes on");
	if (h->paused)
		vm_resume(h->vm);
}

int disk_hold_timeout_ms(const struct disk_hold *h)
{
	uint64_t now = host_now_ns();

	if (!h->holding)
		return -1;
	return h->retry_at <= now ? 0 : (int)((h->retry_at - now) / 1000000) + 1;
}

void disk_hold_step(struct disk_hold *h)
{
	struct block *b;
	enum block_op op;
	int error;

	pthread_mutex_lock(&h->lock);
	b = h->failed;
	op = h->op;
	error = h->error;
	h->failed = NULL;
	pthread_mutex_unlock(&h->lock);
	if (b)
		hold(h, b, op, error);
	if (!h->holding || host_now_ns() < h->retry_at)
		return;
	if (!any_held(h)) {
		go_on(h);
		return;
	}
	for (unsigned i = 0; i < h->n; i++)
		block_retry(h->disks[i]);
	h->retry_at = host_now_ns() + RETRY_NS;
}
