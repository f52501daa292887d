/* SPDX-License-Identifier: MIT */
/*
 * The vCPU thread: runs the engine, sleeps in HLT, parks for pause and
 * reset; see vcpu.h.
 */
#include "vcpu.h"
#include "../loop.h"
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex_wait(_Atomic uint32_t *word, uint32_t val)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, val, NULL, NULL, 0);
}

void vcpu_request(struct vcpu *v, uint32_t bits)
{
	atomic_fetch_or(&v->req, bits);
	if (atomic_exchange(&v->sleeping, 0))
		syscall(SYS_futex, &v->sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	else
		v->ops->kick(v);
}

/* Until one of @mask is requested.  The word goes to 1 before the last look at req. */
static void vcpu_sleep(struct vcpu *v, uint32_t mask)
{
	mask |= VCPU_REQ_LEAVE;
	for (;;) {
		loop_idle(v->vm->loop, &v->req, mask);
		atomic_store(&v->sleeping, 1);
		if (atomic_load(&v->req) & mask)
			break;
		futex_wait(&v->sleeping, 1);
	}
	atomic_store(&v->sleeping, 0);
}

static void vcpu_handle(struct vcpu *v, enum vcpu_exit why)
{
	switch (why) {
	case EXIT_KICKED:
		break;
	case EXIT_HLT:
		vcpu_sleep(v, v->wake_mask);
		break;
	case EXIT_WAIT_SIPI:
		vcpu_sleep(v, VCPU_REQ_INIT | VCPU_REQ_SIPI);
		break;
	case EXIT_TRIPLE_FAULT:
		vm_triple_fault(v->vm);
		vcpu_sleep(v, 0);
		break;
	case EXIT_FAIL:
		vm_engine_failed(v->vm, v->fail);
		vcpu_sleep(v, 0);
		break;
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		/* Before the look at the parking place: a later request must not be lost. */
		vcpu_clear(v, VCPU_REQ_LEAVE);
		if (!vm_park_here(v->vm))
			break;
		vcpu_handle(v, v->ops->run(v));
	}
	return NULL;
}

bool vcpu_start_thread(struct vcpu *v, struct err *e)
{
	int rc = pthread_create(&v->thread, NULL, vcpu_main, v);

	if (rc)
		return err_errno(e, HV_EXIT_HOST, rc, "cannot start the thread of vCPU %u",
				 v->index);
	v->started = true;
	return true;
}
