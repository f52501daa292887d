/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: virtqueues over rings full of rubbish.  The input gives
 * size, flags and addresses, the descriptor table and the rings, and then
 * what the device does with what it pops.
 */
#include "fuzz.h"
#include "../../devices/virtio/virtq.h"
#include "../lib/testvm.h"

#define RAM MiB(1)
#define BASE 0x1000u
#define MAX_RINGS 0x3000u

static struct vm *vm;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open("/dev/null");
	vm = tvm_new(RAM);
	return 0;
}

static void on_fail(struct virtq *q, const char *why)
{
	q->ready = false;
}

/* Descriptors that point near RAM are worth more than random ones. */
static void tame(uint8_t *rings, size_t n)
{
	for (size_t i = 0; i + 16 <= n; i += 16)
		if (rings[i + 15] & 1)
			st_le64(rings + i, ld_le64(rings + i) & 0x1fffff);
}

static void serve(struct virtq *q, struct virtq_elem *el, struct fuzz_input *in)
{
	static struct virtq_io io;
	uint8_t buf[512] = { 0 };
	uint64_t off = fuzz_take(in, 2), n = fuzz_take(in, 2) % sizeof(buf);
	bool to_guest = fuzz_take(in, 1) & 1;

	HV_BUG_ON(el->nout + el->nin > VIRTQ_MAX_SEGS || el->head >= q->size);
	if (virtq_read(q, el, off, buf, n))
		HV_BUG_ON(n && off + n > el->out_len);
	if (virtq_write(q, el, off, buf, n))
		HV_BUG_ON(n && off + n > el->in_len);
	if (virtq_map(q, el, to_guest, off, n << 4, &io)) {
		for (unsigned i = 0; to_guest && i < io.n; i++)
			memset(io.iov[i].iov_base, 0x55, io.iov[i].iov_len);
		virtq_unmap(q, &io, to_guest ? n << 4 : 0);
	}
	virtq_push(q, el->head, (uint32_t)n);
}

static void run(struct virtq *q, struct fuzz_input *in)
{
	static struct virtq_elem el;

	for (unsigned i = 0; i < 64 && in->left; i++) {
		switch (fuzz_take(in, 1) % 8) {
		case 0:
			virtq_waiting(q);
			break;
		case 1:
			virtq_flush(q);
			break;
		case 2:
			if (virtq_pop(q, &el))
				virtq_unpop(q, 1);
			break;
		case 3:		/* the driver offers more */
			HV_BUG_ON(!gm_write(vm->mem, GPA(q->avail % (RAM - 4) + 2),
					    (uint16_t[]){ (uint16_t)fuzz_take(in, 2) }, 2));
			break;
		default:
			if (virtq_pop(q, &el))
				serve(q, &el, in);
		}
	}
	virtq_flush(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t rings[MAX_RINGS];
	struct fuzz_input in = { data, len };
	struct virtq q = { 0 };
	size_t n;

	if (len < 16 || len > 4096)
		return 0;
	virtq_init(&q, vm->mem, 1u << fuzz_take(&in, 1) % 9, on_fail, NULL);
	q.size = (uint16_t)(q.max >> fuzz_take(&in, 1) % 3);
	q.event_idx = fuzz_take(&in, 1) & 1;
	q.desc = BASE + (fuzz_take(&in, 1) << 4);
	q.avail = BASE + (fuzz_take(&in, 2) << 1);
	q.used = BASE + (fuzz_take(&in, 2) << 2);
	q.last_avail = (uint16_t)fuzz_take(&in, 1);
	q.used_idx = (uint16_t)fuzz_take(&in, 1);
	n = MIN(in.left * 3 / 4, sizeof(rings));
	memset(rings, 0, sizeof(rings));
	memcpy(rings, in.p, n);
	in.p += n;
	in.left -= n;
	tame(rings, n);
	HV_BUG_ON(!gm_write(vm->mem, GPA(BASE), rings, sizeof(rings)));
	q.ready = true;
	if (!virtq_layout_ok(&q) || !virtq_post_load(&q))
		return 0;
	run(&q, &in);
	virtq_reset(&q);
	return 0;
}
