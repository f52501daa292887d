/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine: composition, and the control thread that stops,
 * resets and resumes it; see vm.h.
 *
 * vCPUs run while vm->park is 0.  Whoever needs them still sets a PARK bit,
 * asks every vCPU to leave, and waits until all have reached vm_park_here().
 */
#include "vm.h"
#include "cpu/vcpu.h"
#include "loop.h"
#include "media.h"
#include <stdio.h>
#include <stdlib.h>

enum { PARK_PAUSE = 1, PARK_CTL = 2, PARK_DEAD = 4, PARK_SLEEP = 8 };
enum { CTL_RESET = 1, CTL_TRIPLE = 2, CTL_POWEROFF = 4, CTL_FAIL = 8, CTL_SLEEP = 16,
       CTL_WAKE = 32 };

struct vm *vm_new(bool manual_clock, struct err *e)
{
	struct vm *vm = hv_zalloc(sizeof(*vm));

	pthread_mutex_init(&vm->dev_lock, NULL);
	pthread_mutex_init(&vm->ctl_lock, NULL);
	pthread_cond_init(&vm->ctl_cond, NULL);
	vm->mem = gm_new();
	vm->bus = bus_new(&vm->dev_lock);
	vm->clock = vclock_new(manual_clock);
	vm->loop = loop_new(&vm->dev_lock, vm->clock, e);
	if (!vm->loop) {
		vm_free(vm);
		return NULL;
	}
	return vm;
}

static void free_cpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		if (!vm->cpus[i])
			continue;
		if (vm->cpus[i]->impl)
			vm->engine->vcpu_free(vm->cpus[i]);
		free(vm->cpus[i]);
	}
	if (vm->engine && vm->engine_data)
		vm->engine->vm_free(vm);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_stop(vm);
	devices_free(vm);
	free_cpus(vm);
	vm_media_free(vm);
	loop_free(vm->loop);
	vclock_free(vm->clock);
	bus_free(vm->bus);
	gm_free(vm->mem);
	pthread_cond_destroy(&vm->ctl_cond);
	pthread_mutex_destroy(&vm->ctl_lock);
	pthread_mutex_destroy(&vm->dev_lock);
	free(vm);
}

bool vm_set_engine(struct vm *vm, const struct cpu_ops *ops, unsigned ncpus, struct err *e)
{
	HV_BUG_ON(!ncpus || ncpus > VM_MAX_CPUS || vm->engine);
	vm->engine = ops;
	vm->ncpus = ncpus;
	if (!ops->vm_init(vm, e))
		return false;
	for (unsigned i = 0; i < ncpus; i++) {
		struct vcpu *v = hv_zalloc(sizeof(*v));

		v->vm = vm;
		v->index = i;
		v->ops = ops;
		v->wake_mask = UINT32_MAX;
		vm->cpus[i] = v;
		if (!ops->vcpu_init(v, e))
			return false;
	}
	return true;
}

bool vm_park_here(struct vm *vm)
{
	bool go;

	pthread_mutex_lock(&vm->ctl_lock);
	while (vm->park && !vm->quit) {
		vm->parked++;
		pthread_cond_broadcast(&vm->ctl_cond);
		pthread_cond_wait(&vm->ctl_cond, &vm->ctl_lock);
		vm->parked--;
	}
	go = !vm->quit;
	pthread_mutex_unlock(&vm->ctl_lock);
	return go;
}

static void ask_to_leave(struct vm *vm)
{
	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_request(vm->cpus[i], VCPU_REQ_LEAVE);
}

/* Set a reason and wait until every vCPU is parked.  ctl_lock held; drops it on the way. */
static void park_locked(struct vm *vm, unsigned why)
{
	vm->park |= why;
	pthread_mutex_unlock(&vm->ctl_lock);
	ask_to_leave(vm);
	pthread_mutex_lock(&vm->ctl_lock);
	while (vm->started && !vm->quit && vm->parked < vm->ncpus)
		pthread_cond_wait(&vm->ctl_cond, &vm->ctl_lock);
}

static void unpark_locked(struct vm *vm, unsigned why)
{
	vm->park &= ~why;
	pthread_cond_broadcast(&vm->ctl_cond);
}

static void reset_cpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		vcpu_clear(vm->cpus[i], UINT32_MAX);
		vm->engine->reset(vm->cpus[i]);
	}
}

static void machine_reset(struct vm *vm, enum vm_reset_kind kind)
{
	void (*board)(void *opaque) = kind == VM_RESET_COLD ? vm->board_reset : vm->board_wake;

	vm_lock(vm);
	vm->reset_kind = kind;
	devices_reset(vm);
	vm->reset_kind = VM_RESET_COLD;
	if (kind != VM_RESET_SLEEP) {
		reset_cpus(vm);
		if (board)
			board(vm->board_opaque);
	}
	vm_unlock(vm);
}

static void notify(struct vm *vm, enum vm_event ev, unsigned arg)
{
	if (vm->notify)
		vm->notify(vm->notify_opaque, ev, arg);
}

/* The machine stays as it is, for a look at it; only vm_stop() follows. */
static void ctl_dead(struct vm *vm, enum vm_event ev)
{
	vclock_pause(vm->clock);
	vm->status = VM_STOPPED;
	pthread_mutex_unlock(&vm->ctl_lock);
	notify(vm, ev, 0);
	pthread_mutex_lock(&vm->ctl_lock);
}

/* Into S3 or out of it.  ctl_lock held; drops it on the way. */
static void ctl_sleep(struct vm *vm, bool sleep)
{
	if (vm->asleep == sleep) {
		unpark_locked(vm, PARK_CTL);
		return;
	}
	park_locked(vm, sleep ? PARK_SLEEP : PARK_CTL);
	if (vm->quit)
		return;
	vm->asleep = sleep;
	if (vm->status == (sleep ? VM_RUNNING : VM_SUSPENDED))	/* or paused by the user */
		vm->status = sleep ? VM_SUSPENDED : VM_RUNNING;
	pthread_mutex_unlock(&vm->ctl_lock);
	machine_reset(vm, sleep ? VM_RESET_SLEEP : VM_RESET_WAKE);
	notify(vm, sleep ? VM_EV_SUSPEND : VM_EV_WAKE, 0);
	pthread_mutex_lock(&vm->ctl_lock);
	unpark_locked(vm, sleep ? PARK_CTL : PARK_CTL | PARK_SLEEP);
}

static void ctl_handle(struct vm *vm, unsigned work)
{
	bool stop = work & (CTL_POWEROFF | CTL_FAIL) || vm->reset_stops;
	enum vm_event ev = work & CTL_FAIL ? VM_EV_ENGINE_FAIL :
			   work & CTL_POWEROFF ? VM_EV_POWEROFF :
			   work & CTL_TRIPLE ? VM_EV_TRIPLE_FAULT : VM_EV_RESET;

	park_locked(vm, stop ? PARK_DEAD : PARK_CTL);
	if (vm->quit)
		return;
	if (stop) {
		ctl_dead(vm, ev);
		return;
	}
	vm->asleep = false;
	if (vm->status == VM_SUSPENDED)
		vm->status = VM_RUNNING;
	pthread_mutex_unlock(&vm->ctl_lock);
	machine_reset(vm, VM_RESET_COLD);
	notify(vm, ev, 0);
	pthread_mutex_lock(&vm->ctl_lock);
	unpark_locked(vm, PARK_CTL | PARK_SLEEP);
}

static void ctl_work(struct vm *vm, unsigned work)
{
	if (work & ~(CTL_SLEEP | CTL_WAKE)) {
		ctl_handle(vm, work);
		return;
	}
	if (work & CTL_SLEEP)
		ctl_sleep(vm, true);
	if (work & CTL_WAKE && !vm->quit)
		ctl_sleep(vm, false);
}

static void *ctl_main(void *arg)
{
	struct vm *vm = arg;

	pthread_setname_np(pthread_self(), "control");
	pthread_mutex_lock(&vm->ctl_lock);
	while (!vm->quit) {
		unsigned work = vm->pending;

		vm->pending = 0;
		if (work && vm->status != VM_STOPPED)
			ctl_work(vm, work);
		else
			pthread_cond_wait(&vm->ctl_cond, &vm->ctl_lock);
	}
	pthread_mutex_unlock(&vm->ctl_lock);
	return NULL;
}

bool vm_start(struct vm *vm, struct err *e)
{
	int rc;

	HV_BUG_ON(vm->started);
	if (!vm->loaded)
		machine_reset(vm, VM_RESET_COLD);
	vm->asleep = vm->asleep && vm->loaded;
	vm->loaded = false;
	vm->started = true;
	vm->status = vm->asleep ? VM_SUSPENDED : VM_RUNNING;
	vm->park = vm->asleep ? PARK_SLEEP : 0;
	vclock_resume(vm->clock);
	rc = pthread_create(&vm->ctl_thread, NULL, ctl_main, vm);
	if (rc) {
		vm->started = false;
		return err_errno(e, HV_EXIT_HOST, rc, "cannot start the control thread");
	}
	if (!loop_start(vm->loop, e))
		return false;
	for (unsigned i = 0; i < vm->ncpus; i++)
		if (!vcpu_start_thread(vm->cpus[i], e))
			return false;
	return true;
}

void vm_stop(struct vm *vm)
{
	if (!vm->started)
		return;
	pthread_mutex_lock(&vm->ctl_lock);
	vm->quit = true;
	vm->status = VM_STOPPED;
	pthread_cond_broadcast(&vm->ctl_cond);
	pthread_mutex_unlock(&vm->ctl_lock);
	ask_to_leave(vm);
	pthread_join(vm->ctl_thread, NULL);
	for (unsigned i = 0; i < vm->ncpus; i++)
		if (vm->cpus[i]->started)
			pthread_join(vm->cpus[i]->thread, NULL);
	loop_stop(vm->loop);
	vm->started = false;
}

void vm_pause(struct vm *vm)
{
	pthread_mutex_lock(&vm->ctl_lock);
	if (vm->status == VM_RUNNING || vm->status == VM_SUSPENDED) {
		park_locked(vm, PARK_PAUSE);
		vclock_pause(vm->clock);
		vm->status = VM_PAUSED;
	}
	pthread_mutex_unlock(&vm->ctl_lock);
}

void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->ctl_lock);
	if (vm->status == VM_PAUSED) {
		vclock_resume(vm->clock);
		vm->status = vm->asleep ? VM_SUSPENDED : VM_RUNNING;
		unpark_locked(vm, PARK_PAUSE);
	}
	pthread_mutex_unlock(&vm->ctl_lock);
}

enum vm_status vm_status(struct vm *vm)
{
	enum vm_status s;

	pthread_mutex_lock(&vm->ctl_lock);
	s = vm->status;
	pthread_mutex_unlock(&vm->ctl_lock);
	return s;
}

/* The parking bit goes up at once: the vCPU that asked runs no further block. */
static void ctl_request(struct vm *vm, unsigned work)
{
	pthread_mutex_lock(&vm->ctl_lock);
	vm->pending |= work;
	if (vm->started && vm->status != VM_STOPPED)
		vm->park |= PARK_CTL;
	pthread_cond_broadcast(&vm->ctl_cond);
	pthread_mutex_unlock(&vm->ctl_lock);
	if (vm->started)
		ask_to_leave(vm);
}

void vm_request_reset(struct vm *vm)
{
	ctl_request(vm, CTL_RESET);
}

void vm_request_poweroff(struct vm *vm)
{
	ctl_request(vm, CTL_POWEROFF);
}

void vm_request_suspend(struct vm *vm)
{
	ctl_request(vm, CTL_SLEEP);
}

void vm_request_wake(struct vm *vm)
{
	ctl_request(vm, CTL_WAKE);
}

void vm_triple_fault(struct vm *vm)
{
	ctl_request(vm, CTL_TRIPLE);
}

void vm_engine_failed(struct vm *vm, const char *text)
{
	vm_lock(vm);
	snprintf(vm->fail, sizeof(vm->fail), "%s", text);
	vm_unlock(vm);
	ctl_request(vm, CTL_FAIL);
}

void vm_debug_exit(struct vm *vm, unsigned value)
{
	notify(vm, VM_EV_DEBUG_EXIT, value);
}

void vm_power_button(struct vm *vm)
{
	vm_lock(vm);
	if (vm->power_button)
		vm->power_button(vm->power_button_opaque);
	vm_unlock(vm);
	notify(vm, VM_EV_POWERDOWN_REQ, 0);
}

void vm_sleep_button(struct vm *vm)
{
	vm_lock(vm);
	if (vm->sleep_button)
		vm->sleep_button(vm->power_button_opaque);
	vm_unlock(vm);
}
