/* SPDX-License-Identifier: MIT */
/* The recording thread; see record.h. */
#include "record.h"
#include "display.h"
#include "log.h"
#include "vm.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define FRAME_MS 50

struct record {
	struct vm *vm;
	struct display *display;
	uint64_t serial;	/* display_serial() of the picture */
	struct film *film;
	uint64_t start;
	pthread_t thread;
	pthread_mutex_t lock;	/* leaf */
	pthread_cond_t cond;
	bool stop;
	uint32_t *now, *was;	/* the picture, tightly packed; as written last */
	unsigned w, h, was_w, was_h;
};

static uint64_t elapsed_ms(const struct record *r)
{
	return (host_now_ns() - r->start) / 1000000;
}

/* The guest waits for the copy only. */
static void copy_picture(struct record *r)
{
	const struct surface *s = display_surface(r->display);

	if (s->w != r->w || s->h != r->h) {
		free(r->now);
		r->w = s->w;
		r->h = s->h;
		r->now = hv_zalloc((size_t)r->w * r->h * 4 + 4);
	}
	for (unsigned y = 0; y < r->h; y++)
		memcpy(r->now + (size_t)y * r->w, s->pixels + (size_t)y * s->stride,
		       (size_t)r->w * 4);
}

/* false: it is still the one that was taken before. */
static bool take_picture(struct record *r)
{
	uint64_t serial;
	bool fresh;

	vm_lock(r->vm);
	display_refresh(r->display);
	serial = display_serial(r->display);
	fresh = !r->now || serial != r->serial;
	if (fresh)
		copy_picture(r);
	r->serial = serial;
	vm_unlock(r->vm);
	return fresh;
}

static bool is_news(const struct record *r)
{
	return !r->was || r->w != r->was_w || r->h != r->was_h ||
	       memcmp(r->now, r->was, (size_t)r->w * r->h * 4);
}

static bool step(struct record *r)
{
	uint32_t *t;

	if ((!take_picture(r) && r->was) || !is_news(r))
		return true;
	if (!film_frame(r->film, r->now, r->w, r->h, r->w, elapsed_ms(r)))
		return false;
	if (r->w != r->was_w || r->h != r->was_h) {
		free(r->was);
		r->was = hv_zalloc((size_t)r->w * r->h * 4 + 4);
		r->was_w = r->w;
		r->was_h = r->h;
	}
	t = r->was;
	r->was = r->now;
	r->now = t;
	return true;
}

static void *run(void *opaque)
{
	struct record *r = opaque;
	struct timespec at;
	bool ok = true;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		pthread_mutex_unlock(&r->lock);
		if (ok && !step(r)) {
			ok = false;
			log_error("the recording stopped: it cannot be written");
		}
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_nsec += FRAME_MS * 1000000l;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		pthread_mutex_lock(&r->lock);
		if (!r->stop)
			pthread_cond_timedwait(&r->cond, &r->lock, &at);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct record *record_start(struct vm *vm, unsigned screen, const char *path, struct err *e)
{
	struct record *r = hv_zalloc(sizeof(*r));

	r->vm = vm;
	r->display = display_scanout(vm->display, screen);
	r->start = host_now_ns();
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	take_picture(r);
	r->film = film_open(path, MAX(r->w, 16u), MAX(r->h, 16u), e);
	if (r->film && pthread_create(&r->thread, NULL, run, r) == 0)
		return r;
	if (r->film)
		film_close(r->film, 0, e);
	free(r->now);
	free(r);
	return NULL;
}

bool record_stop(struct record *r, struct err *e)
{
	bool ok;

	if (!r)
		return true;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	ok = film_close(r->film, elapsed_ms(r), e);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->lock);
	free(r->now);
	free(r->was);
	free(r);
	return ok;
}
