/* SPDX-License-Identifier: MIT */
/*
 * The progress bar of `hvrun img` (standard error, terminals or --progress)
 * and the flag that Ctrl-C sets.
 */
#include "img_int.h"
#include "log.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

#define CELLS 24
#define REDRAW_NS 100000000ull

atomic_bool img_cancelled;

static void on_signal(int sig)
{
	atomic_store(&img_cancelled, true);
}

void img_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* A reader of our output that went away, a limit on file sizes: errors, not the end. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

bool img_was_cancelled(struct err *e)
{
	return err_set(e, 130, "cancelled; nothing is left of the target");
}

const char *img_bytes(uint64_t n)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	static _Thread_local char buf[8][32];
	static _Thread_local unsigned next;
	char *b = buf[next++ % 8];
	double v = (double)n;
	unsigned u = 0;

	for (; v >= 1024 && u < 5; u++)
		v /= 1024;
	snprintf(b, sizeof(buf[0]), u && v < 100 && floor(v) < v ? "%.1f %s" : "%.0f %s", v,
		 unit[u]);
	return b;
}

void img_bar_begin(struct img_bar *b, const struct img_args *a, const char *what, uint64_t total)
{
	*b = (struct img_bar){ .what = what, .total = total, .start_ns = host_now_ns() };
	b->shown = a->progress || (!a->quiet && !a->json && isatty(STDERR_FILENO));
	b->wide = isatty(STDERR_FILENO);
}

static void draw(struct img_bar *b, uint64_t now)
{
	uint64_t done = atomic_load(&b->done);
	double part = b->total ? (double)done / (double)b->total : 1;
	double s = (double)(now - b->start_ns) / 1e9, rate = s > 0 ? (double)done / s : 0;
	double left = rate > 0 ? (double)(b->total - done) / rate : 0;
	char cells[CELLS + 1];

	for (unsigned i = 0; i < CELLS; i++)
		cells[i] = i < part * CELLS ? '#' : '.';
	cells[CELLS] = '\0';
	fprintf(stderr, "%s%s [%s] %5.1f %%  %s of %s  %s/s  %u:%02u left %s", b->wide ? "\r" : "",
		b->what, cells, part * 100, img_bytes(done), img_bytes(b->total),
		img_bytes((uint64_t)rate), (unsigned)left / 60, (unsigned)left % 60,
		b->wide ? " " : "\n");
	fflush(stderr);
}

void img_bar_update(struct img_bar *b, uint64_t done)
{
	uint64_t now;

	atomic_store(&b->done, done);
	if (!b->shown)
		return;
	now = host_now_ns();
	if (now - b->last_ns < (b->wide ? REDRAW_NS : 10 * REDRAW_NS))
		return;
	b->last_ns = now;
	draw(b, now);
}

void img_bar_end(struct img_bar *b, bool ok)
{
	if (!b->shown)
		return;
	if (ok)
		atomic_store(&b->done, b->total);
	draw(b, host_now_ns());
	if (b->wide)
		fputc('\n', stderr);
	b->shown = false;
}
