/* SPDX-License-Identifier: MIT */
/* A run and how it ends; see session.h. */
#include "session.h"
#include "control.h"
#include "diagnose.h"
#include "diskhold.h"
#include "expect.h"
#include "media.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NEWS_MAX (256u << 10)		/* output kept until the main thread looks */
#define SHUTDOWN_LIMIT_NS (60ull * 1000000000)
#define LOOKS 4u
#define LOOK_FIRST_NS (6ull * 1000000000)
#define RESET_LOOP_NS (10ull * 1000000000)
#define PICTURE_FIRST_NS (8ull * 1000000000)
#define PICTURE_NS (30ull * 1000000000)

struct session {
	struct vm *vm;
	const struct config *cfg;
	struct chardev *console;
	struct char_tap tap;
	struct expect *expect;
	struct disk_hold *disks;	/* NULL: none */
	int ep, news_fd, sig_fd;
	sigset_t old_mask;
	uint64_t deadline, shutdown_deadline;	/* host ns; 0: none */
	uint64_t triple_at[3];
	uint64_t look_at;		/* when to look whether the start gets anywhere */
	unsigned looks;
	const char *diagnosis;		/* said last */
	uint64_t picture_at;		/* when the next one is taken, 0: never */
	void (*picture)(void *opaque);
	void *picture_opaque;
	struct control *control;	/* NULL: none */
	char *show;			/* request for a window that waits for its answer */
	bool attended, reset_loop;
	bool script_done, over, guest_off;
	int exit_code;
	char message[1024];
	void (*wakeup)(void *);
	void *wakeup_opaque;

	pthread_mutex_t lock;		/* leaf; the rest is shared with other threads */
	char *out;
	size_t out_len;
	unsigned events;		/* bit per enum vm_event */
	unsigned debug_value;
	bool watching;			/* keep the end of what COM1 says, for look() */
	size_t tail_len;
	char tail[4096];
};

static void news(struct session *s)
{
	uint64_t one = 1;

	if (write(s->news_fd, &one, sizeof(one)) < 0)
		return;	/* already readable */
	if (s->wakeup)
		s->wakeup(s->wakeup_opaque);
}

/* The last 2 to 4 KiB of COM1, as text.  Under lock. */
static void keep_tail(struct session *s, const uint8_t *buf, size_t len)
{
	size_t half = sizeof(s->tail) / 2;

	if (len > half) {
		buf += len - half;
		len = half;
	}
	if (s->tail_len + len >= sizeof(s->tail)) {
		memmove(s->tail, s->tail + s->tail_len - half, half);
		s->tail_len = half;
	}
	for (size_t i = 0; i < len; i++)
		s->tail[s->tail_len++] = buf[i] ? (char)buf[i] : ' ';
	s->tail[s->tail_len] = 0;
}

/* Loop or vCPU thread, dev_lock held. */
static void on_output(void *opaque, const uint8_t *buf, size_t len)
{
	struct session *s = opaque;

	pthread_mutex_lock(&s->lock);
	if (s->watching)
		keep_tail(s, buf, len);
	if (!s->cfg->nsteps && !s->cfg->nfail_on) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	if (len > NEWS_MAX - s->out_len)
		len = NEWS_MAX - s->out_len;
	memcpy(s->out + s->out_len, buf, len);
	s->out_len += len;
	pthread_mutex_unlock(&s->lock);
	news(s);
}

static void on_event(void *opaque, enum vm_event ev, unsigned arg)
{
	struct session *s = opaque;

	pthread_mutex_lock(&s->lock);
	s->events |= 1u << ev;
	if (ev == VM_EV_DEBUG_EXIT)
		s->debug_value = arg;
	pthread_mutex_unlock(&s->lock);
	news(s);
}

static bool open_fds(struct session *s, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, &s->old_mask);
	s->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->ep = epoll_create1(EPOLL_CLOEXEC);
	if (s->news_fd < 0 || s->sig_fd < 0 || s->ep < 0 ||
	    epoll_ctl(s->ep, EPOLL_CTL_ADD, s->news_fd, &ev) < 0 ||
	    epoll_ctl(s->ep, EPOLL_CTL_ADD, s->sig_fd, &ev) < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot watch for events");
	return true;
}

struct session *session_new(struct vm *vm, const struct config *cfg, struct chardev *console,
			    struct err *e)
{
	struct session *s = hv_zalloc(sizeof(*s));

	s->vm = vm;
	s->cfg = cfg;
	s->console = console;
	s->ep = s->news_fd = s->sig_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	s->out = hv_zalloc(NEWS_MAX);
	s->expect = expect_new(cfg, e);
	s->look_at = host_now_ns() + LOOK_FIRST_NS;
	if (!s->expect || !open_fds(s, e)) {
		session_free(s);
		return NULL;
	}
	vm->notify = on_event;
	vm->notify_opaque = s;
	vm->reset_stops = cfg->reset_exits;
	s->script_done = !cfg->nsteps;
	if (console) {
		s->watching = true;
		s->tap = (struct char_tap){ .output = on_output, .opaque = s };
		chardev_add_tap(console, &s->tap);
	}
	if (cfg->timeout_ms)
		s->deadline = host_now_ns() + cfg->timeout_ms * 1000000;
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->ep >= 0)
		close(s->ep);
	if (s->news_fd >= 0)
		close(s->news_fd);
	if (s->sig_fd >= 0)
		close(s->sig_fd);
	expect_free(s->expect);
	pthread_mutex_destroy(&s->lock);
	free(s->show);
	free(s->out);
	free(s);
}

int session_fd(const struct session *s)
{
	return s->ep;
}

void session_set_wakeup(struct session *s, void (*fn)(void *opaque), void *opaque)
{
	s->wakeup = fn;
	s->wakeup_opaque = opaque;
}

int session_exit_code(const struct session *s)
{
	return s->exit_code;
}

const char *session_message(const struct session *s)
{
	return s->message;
}

static uint64_t next_deadline(const struct session *s)
{
	uint64_t a = s->deadline ? s->deadline : UINT64_MAX;
	uint64_t b = s->shutdown_deadline ? s->shutdown_deadline : UINT64_MAX;
	uint64_t c = s->look_at ? s->look_at : UINT64_MAX;
	uint64_t d = s->picture_at ? s->picture_at : UINT64_MAX;

	return MIN(MIN(a, b), MIN(c, d));
}

void session_set_picture(struct session *s, void (*fn)(void *opaque), void *opaque)
{
	s->picture = fn;
	s->picture_opaque = opaque;
	s->picture_at = host_now_ns() + PICTURE_FIRST_NS;
}

void session_set_control(struct session *s, struct control *c)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (epoll_ctl(s->ep, EPOLL_CTL_ADD, control_fd(c), &ev) == 0)
		s->control = c;
}

const char *session_show_wanted(const struct session *s)
{
	return s->show;
}

void session_show_answer(struct session *s, const char *text)
{
	control_answer(s->control, text);
	free(s->show);
	s->show = NULL;
}

void session_set_attended(struct session *s, bool attended)
{
	s->attended = attended && !s->cfg->nsteps && !s->cfg->nfail_on && !s->cfg->timeout_ms;
}

bool session_reset_loop(const struct session *s)
{
	return s->reset_loop;
}

const char *session_diagnosis(const struct session *s)
{
	return s->diagnosis;
}

void session_end_reset_loop(struct session *s)
{
	s->reset_loop = false;
	memset(s->triple_at, 0, sizeof(s->triple_at));
}

bool session_guest_off(const struct session *s)
{
	return s->guest_off;
}

static void disk_news(void *opaque)
{
	news(opaque);
}

void session_set_disks(struct session *s, struct disk_hold *h)
{
	s->disks = h;
	disk_hold_set_wakeup(h, disk_news, s);
}

bool session_disk_trouble(const struct session *s, struct disk_trouble *out)
{
	return s->disks && disk_hold_trouble(s->disks, out);
}

int session_timeout_ms(const struct session *s)
{
	uint64_t now = host_now_ns(), at = next_deadline(s);
	int disk = s->disks ? disk_hold_timeout_ms(s->disks) : -1, ms = -1;

	if (at != UINT64_MAX)
		ms = at <= now ? 0 : (int)MIN((at - now) / 1000000 + 1, 1000000000u);
	return disk < 0 ? ms : ms < 0 ? disk : MIN(ms, disk);
}

static void end(struct session *s, int exit_code, const char *fmt, ...) HV_PRINTF(3, 4);
static void end(struct session *s, int exit_code, const char *fmt, ...)
{
	va_list ap;

	if (s->over)
		return;
	s->over = true;
	s->exit_code = exit_code;
	va_start(ap, fmt);
	vsnprintf(s->message, sizeof(s->message), fmt, ap);
	va_end(ap);
}

void session_quit(struct session *s, int exit_code)
{
	end(s, exit_code, "%s", "");
}

static void send_text(void *opaque, const char *buf, size_t len)
{
	struct session *s = opaque;

	vm_lock(s->vm);
	if (s->console)
		chardev_inject(s->console, (const uint8_t *)buf, len);
	vm_unlock(s->vm);
}

static void script_satisfied(struct session *s)
{
	enum cfg_then then = s->cfg->then;

	s->script_done = true;
	if (then == THEN_DEFAULT)
		then = s->cfg->display == DISPLAY_NONE ? THEN_POWEROFF : THEN_KEEP;
	if (then == THEN_POWEROFF)
		end(s, HV_EXIT_OK, "%s", "");
	if (then == THEN_SHUTDOWN) {
		s->shutdown_deadline = host_now_ns() + SHUTDOWN_LIMIT_NS;
		vm_power_button(s->vm);
	}
}

static void feed(struct session *s)
{
	char *buf = NULL;
	size_t len;
	enum expect_state st;

	pthread_mutex_lock(&s->lock);
	len = s->out_len;
	if (len) {
		buf = hv_zalloc(len);
		memcpy(buf, s->out, len);
		s->out_len = 0;
	}
	pthread_mutex_unlock(&s->lock);
	st = expect_feed(s->expect, buf, len, send_text, s);
	free(buf);
	if (st == EXPECT_FAILED)
		end(s, HV_EXIT_EXPECT, "%s", expect_why(s->expect));
	else if (st == EXPECT_DONE && !s->script_done)
		script_satisfied(s);
}

static void guest_ended(struct session *s)
{
	s->guest_off = !s->over;
	if (!s->script_done)
		end(s, HV_EXIT_EXPECT, "the guest powered off while waiting for %s",
		    expect_why(s->expect));
	else
		end(s, HV_EXIT_OK, "%s", "");
}

/* A guest that cannot even start resets for ever: say so instead. */
static void triple_fault(struct session *s)
{
	uint64_t now = host_now_ns(), third = s->triple_at[2];

	if (s->cfg->reset_exits) {
		end(s, HV_EXIT_ENGINE, "the guest crashed (triple fault)");
		return;
	}
	memmove(&s->triple_at[1], &s->triple_at[0], 2 * sizeof(s->triple_at[0]));
	s->triple_at[0] = now;
	third = s->triple_at[2];
	log_info("the guest crashed (triple fault) and was reset");
	if (!third || now - third >= RESET_LOOP_NS)
		return;
	if (s->attended) {
		s->reset_loop = true;
		vm_pause(s->vm);
	} else {
		end(s, HV_EXIT_ENGINE,
		    "the guest keeps crashing (triple fault three times in a row)");
	}
}

static void debug_exit(struct session *s, unsigned v)
{
	log_info("guest wrote %u to the debug-exit port", v);
	end(s, HV_EXIT_DEBUG_BASE + (int)MIN(v, 62u), "%s", "");
}

static void handle_events(struct session *s)
{
	unsigned ev, value;

	pthread_mutex_lock(&s->lock);
	ev = s->events;
	s->events = 0;
	value = s->debug_value;
	pthread_mutex_unlock(&s->lock);
	if (ev & 1u << VM_EV_DEBUG_EXIT)
		debug_exit(s, value);
	if (ev & 1u << VM_EV_ENGINE_FAIL) {
		vm_lock(s->vm);
		end(s, HV_EXIT_ENGINE, "%s", s->vm->fail);
		vm_unlock(s->vm);
	}
	if (ev & 1u << VM_EV_POWEROFF)
		guest_ended(s);
	if (ev & 1u << VM_EV_TRIPLE_FAULT)
		triple_fault(s);
	if (ev & 1u << VM_EV_SUSPEND)
		log_info("the guest sleeps (suspend to RAM): a key, the power button or its alarm"
			 " wakes it");
	if (ev & 1u << VM_EV_WAKE)
		log_info("the guest woke up");
	if (ev & 1u << VM_EV_RESET && s->cfg->reset_exits)
		end(s, HV_EXIT_RESET, "the guest reset (--on-reset exit)");
}

static void handle_signals(struct session *s)
{
	struct signalfd_siginfo si;

	while (read(s->sig_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		end(s, 128 + (int)si.ssi_signo, "stopped by signal %u", si.ssi_signo);
}

/* DEV INO =BYTES or +BYTES */
static bool resize(struct session *s, const char *args, char *answer, size_t len, struct err *e)
{
	unsigned long long dev, ino, n;
	struct media_info i;
	char plus = 0;
	bool told;
	int slot;

	/* %llu alone would take the sign for a part of the number. */
	if (sscanf(args, "%llu %llu %c%llu", &dev, &ino, &plus, &n) != 4 ||
	    (plus != '+' && plus != '='))
		return err_set(e, HV_EXIT_USAGE, "resize needs a file and a size");
	slot = vm_disk_of_file(s->vm, dev, ino);
	if (slot < 0 || !vm_media_info(s->vm, (unsigned)slot, &i))
		return err_set(e, HV_EXIT_LOCKED, "the running machine has the image, but not as a "
			       "disk that it could make larger (a backing file, or --discard); "
			       "stop it first");
	if (plus == '+' && __builtin_add_overflow(i.size, n, &n))
		n = UINT64_MAX;
	if (!vm_disk_resize(s->vm, (unsigned)slot, n, &told, e))
		return false;
	log_info("%s has %llu bytes now; the guest %s", i.label, n,
		 told ? "was told" : "sees it after its next reset");
	snprintf(answer, len, "ok %llu %llu %s", (unsigned long long)i.size, n,
		 told ? "told" : "later");
	return true;
}

static void answer_resize(struct session *s, const char *args)
{
	struct err e = { 0 };
	char answer[80];

	control_answer(s->control, resize(s, args, answer, sizeof(answer), &e) ? answer : e.msg);
}

static void handle_requests(struct session *s)
{
	static const char *const states[] = {
		[VM_CREATED] = "stopped", [VM_RUNNING] = "running", [VM_PAUSED] = "paused",
		[VM_STOPPED] = "stopped", [VM_SUSPENDED] = "asleep",
	};
	char *r = s->control && !s->show ? control_next(s->control) : NULL;
	size_t n = r ? strcspn(r, "\n") : 0;

	if (!r)
		return;
	if (n == 4 && !memcmp(r, "show", 4)) {
		s->show = hv_strdup(r);
	} else if (n == 6 && !memcmp(r, "status", 6)) {
		control_answer(s->control, states[vm_status(s->vm)]);
	} else if (n == 4 && !memcmp(r, "quit", 4)) {
		control_answer(s->control, "ok");
		session_quit(s, HV_EXIT_OK);
	} else if (n == 6 && r[n] && !memcmp(r, "resize", 6)) {
		answer_resize(s, r + n + 1);
	} else {
		control_answer(s->control, "unknown command");
	}
}

/* A few looks in the first minute and a half, each twice as long after the last. */
static void look(struct session *s)
{
	char tail[sizeof(s->tail)];
	const char *say;

	s->look_at = ++s->looks < LOOKS ? host_now_ns() + (LOOK_FIRST_NS << s->looks) : 0;
	pthread_mutex_lock(&s->lock);
	memcpy(tail, s->tail, s->tail_len + 1);
	s->watching = s->look_at != 0;
	pthread_mutex_unlock(&s->lock);
	say = diagnose(s->vm, s->cfg, tail);
	if (say && say != s->diagnosis)
		log_warn("this start gets nowhere: %s", say);
	s->diagnosis = say;
}

static void handle_deadlines(struct session *s)
{
	uint64_t now = host_now_ns();

	if (s->look_at && now >= s->look_at)
		look(s);
	if (s->picture_at && now >= s->picture_at) {
		s->picture_at = now + PICTURE_NS;
		if (vm_status(s->vm) == VM_RUNNING)
			s->picture(s->picture_opaque);
	}
	if (s->deadline && now >= s->deadline && s->look_at)
		look(s);
	if (s->deadline && now >= s->deadline)
		end(s, s->diagnosis ? HV_EXIT_NO_START : HV_EXIT_TIMEOUT,
		    s->script_done ? "--timeout ran out%s" :
		    "--timeout ran out while waiting for %s",
		    s->script_done ? "" : expect_why(s->expect));
	if (s->shutdown_deadline && now >= s->shutdown_deadline)
		end(s, HV_EXIT_TIMEOUT, "the guest did not shut down within 60 s");
}

bool session_step(struct session *s)
{
	uint64_t n;

	if (read(s->news_fd, &n, sizeof(n)) < 0)
		n = 0;	/* called for another reason */
	feed(s);
	handle_events(s);
	handle_signals(s);
	handle_requests(s);
	handle_deadlines(s);
	if (s->disks && !s->over)
		disk_hold_step(s->disks);
	if (!s->over)
		return true;
	if (s->exit_code == HV_EXIT_EXPECT || s->exit_code == HV_EXIT_TIMEOUT) {
		const char *tail = expect_tail(s->expect, 20);

		if (*tail)
			log_info("last lines of the guest:\n%s", tail);
	}
	return false;
}
