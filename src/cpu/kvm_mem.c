/* SPDX-License-Identifier: MIT */
/*
 * Guest memory slots to KVM memory slots.  KVM cannot move the host side or
 * the read-only flag of a slot in place: such a change deletes and adds.
 * Everything under dev_lock.
 */
#include "kvm_int.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static void slot_ioctl(struct kvm_vm *kv, unsigned id, const struct kvm_slot *k)
{
	struct kvm_userspace_memory_region r = {
		.slot = id, .flags = k->flags, .guest_phys_addr = k->gpa,
		.memory_size = k->len, .userspace_addr = (uintptr_t)k->host,
	};

	if (!ioctl(kv->vm_fd, KVM_SET_USER_MEMORY_REGION, &r)) {
		kv->slots[id] = *k;
		return;
	}
	/* Called from deep inside a device access: the next run() reports it. */
	snprintf(kv->mem_text, sizeof(kv->mem_text),
		 "KVM refused memory slot %u at %#llx, %#llx bytes: %s", id,
		 (unsigned long long)k->gpa, (unsigned long long)k->len, strerror(errno));
	atomic_store(&kv->mem_failed, true);
}

static void slot_delete(struct kvm_vm *kv, unsigned id)
{
	struct kvm_slot none = { .gpa = kv->slots[id].gpa };

	slot_ioctl(kv, id, &none);
}

static void mark_all_dirty(struct gm_slot *s)
{
	for (uint64_t at = 0; at < s->len; at += GM_PAGE)
		gm_mark_dirty(s->block, s->off + at);
}

static void slot_changed(void *opaque, struct gm_slot *s, const struct gm_slot *old)
{
	struct kvm_vm *kv = opaque;
	struct kvm_slot *have = &kv->slots[s->id];
	struct kvm_slot want = { 0 };

	if (s->used && !(s->flags & GM_DISABLED))
		want = (struct kvm_slot){
			.gpa = s->gpa, .len = s->len, .host = s->block->host + s->off,
			.flags = (s->flags & GM_READONLY ? KVM_MEM_READONLY : 0) |
				 (s->flags & GM_DIRTY_LOG ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		};
	if (!memcmp(&want, have, sizeof(want)))
		return;
	if (have->len && (!want.len || want.host != have->host || want.gpa != have->gpa ||
			  (want.flags ^ have->flags) & KVM_MEM_READONLY))
		slot_delete(kv, s->id);
	if (!want.len)
		return;
	slot_ioctl(kv, s->id, &want);
	/* The old log went with the old slot. */
	if (want.flags & KVM_MEM_LOG_DIRTY_PAGES)
		mark_all_dirty(s);
}

static void slot_dirty_sync(void *opaque, struct gm_slot *s)
{
	struct kvm_vm *kv = opaque;
	size_t words = (s->len / GM_PAGE + 63) / 64;
	struct kvm_dirty_log log = { .slot = s->id };
	uint64_t *bits;

	if (!(kv->slots[s->id].flags & KVM_MEM_LOG_DIRTY_PAGES))
		return;
	bits = hv_zalloc(words * sizeof(*bits));
	log.dirty_bitmap = bits;
	if (ioctl(kv->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		mark_all_dirty(s);
	for (size_t w = 0; w < words; w++)
		for (uint64_t b = bits[w]; b; b &= b - 1)
			gm_mark_dirty(s->block, s->off +
				      (w * 64 + (uint64_t)__builtin_ctzll(b)) * GM_PAGE);
	free(bits);
}

static void slot_first(void *opaque, struct gm_slot *s)
{
	slot_changed(opaque, s, NULL);
}

void kvm_mem_attach(struct kvm_vm *kv)
{
	struct gm_listener l = {
		.changed = slot_changed, .dirty_sync = slot_dirty_sync, .opaque = kv,
	};

	gm_set_listener(kv->vm->mem, &l);
	gm_for_each_slot(kv->vm->mem, slot_first, kv);
}
