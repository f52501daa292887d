/* SPDX-License-Identifier: MIT */
/* Doorbells: the engine's, if it has any; see doorbell.h. */
#include "doorbell.h"
#include "vm.h"
#include "cpu/vcpu.h"

bool vm_doorbell_add(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len, int eventfd,
		     const uint64_t *match)
{
	if (!vm->engine || !vm->engine->doorbell)
		return false;
	return vm->engine->doorbell(vm, kind, addr, len, eventfd, match, true);
}

void vm_doorbell_del(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len, int eventfd,
		     const uint64_t *match)
{
	if (vm->engine && vm->engine->doorbell)
		vm->engine->doorbell(vm, kind, addr, len, eventfd, match, false);
}
