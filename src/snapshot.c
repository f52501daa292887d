/* SPDX-License-Identifier: MIT */
/*
 * Whole machines to and from a stream; see snapshot.h.
 *
 * Stream: "HVSNAP1\n" | u32 length, u32 CRC-32C | that many bytes of sections
 * (state.h): machine, cpu/N, one a device in creation order | memory: for
 * each block u16 name length, name, u64 size, then runs {u64 offset, u32
 * length, u32 CRC-32C, bytes} without zero pages, ended by a run of length 0 |
 * "HVSNAPE\n".
 *
 * Loading: clock, memory, CPUs, devices; so that a device's post_load sees the
 * rest as it was.  All of the stream is hostile.
 */
#include "snapshot.h"
#include "snapshot_int.h"
#include <stdlib.h>

#define MAGIC "HVSNAP1\n"
#define END_MAGIC "HVSNAPE\n"
#define MAX_SECTIONS MiB(256)
#define RUN_MAX MiB(1)
#define REQ_SAVED (VCPU_REQ_INTR | VCPU_REQ_NMI | VCPU_REQ_SMI | VCPU_REQ_INIT | VCPU_REQ_SIPI)

/* Is it the same machine? */
struct snap_machine {
	uint64_t clock, ram;
	uint32_t ncpus, ndevices, devices;	/* devices: CRC of their names and ids */
};

static const struct state_field machine_fields[] = {
	STATE_U64(struct snap_machine, clock),
	STATE_U64(struct snap_machine, ram),
	STATE_U32(struct snap_machine, ncpus),
	STATE_U32(struct snap_machine, ndevices),
	STATE_U32(struct snap_machine, devices),
	STATE_END
};

static struct snap_machine describe(struct vm *vm)
{
	struct snap_machine m = { .clock = vclock_now(vm->clock), .ram = gm_ram_size(vm->mem),
				  .ncpus = vm->ncpus };

	for (struct device *d = vm->devices; d; d = d->next) {
		m.devices = crc32c(m.devices, d->ops->name, strlen(d->ops->name) + 1);
		m.devices = crc32c(m.devices, d->id, strlen(d->id) + 1);
		m.ndevices++;
	}
	return m;
}

/* ---- Save ---- */

static void cpu_id(char id[12], unsigned i)
{
	snprintf(id, 12, "%u", i);
}

static void save_cpu(struct state_buf *b, struct vcpu *v)
{
	struct snap_cpu c = { 0 };
	char id[12];

	v->ops->get_state(v, &c.s);
	c.req = atomic_load(&v->req) & REQ_SAVED;
	c.sipi_vector = atomic_load(&v->sipi_vector) & 0xff;
	cpu_id(id, v->index);
	state_save(b, "cpu", id, SNAP_CPU_VERSION, snap_cpu_fields, &c);
}

/*
 * Finishing requests changes memory and raises interrupts: all of that comes
 * before the first section is made.  A completion may start the next request,
 * so a second round follows.
 */
static void quiesce(struct vm *vm)
{
	for (unsigned round = 0; round < 2; round++)
		for (struct device *d = vm->devices; d; d = d->next)
			if (d->realized && d->ops->pre_save)
				d->ops->pre_save(d);
}

static bool put(FILE *f, const void *p, size_t n)
{
	return fwrite(p, 1, n, f) == n;
}

static bool put32(FILE *f, uint32_t v)
{
	return put(f, &v, 4);
}

static bool put64(FILE *f, uint64_t v)
{
	return put(f, &v, 8);
}

static bool page_zero(const uint8_t *p)
{
	return !p[0] && !memcmp(p, p + 1, GM_PAGE - 1);
}

static bool put_run(FILE *f, uint64_t off, const uint8_t *p, size_t len)
{
	return !len || (put64(f, off) && put32(f, (uint32_t)len) &&
			put32(f, crc32c(0, p, len)) && put(f, p, len));
}

/* The pages of @buf (at @off of its block) that are not zero, in runs. */
static bool put_pages(FILE *f, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t start = 0, at;

	for (at = 0; at < len; at += GM_PAGE) {
		if (!page_zero(buf + at))
			continue;
		if (!put_run(f, off + start, buf + start, at - start))
			return false;
		start = at + GM_PAGE;
	}
	return put_run(f, off + start, buf + start, at - start);
}

static bool save_block(FILE *f, const struct gm_block *b, uint8_t *buf)
{
	const char *name = gm_block_name(b);
	uint64_t size = gm_block_size(b);
	uint16_t n = (uint16_t)strlen(name);

	if (!put(f, &n, 2) || !put(f, name, n) || !put64(f, size))
		return false;
	for (uint64_t off = 0; off < size; off += RUN_MAX) {
		size_t len = MIN(size - off, RUN_MAX);

		HV_BUG_ON(!gm_block_read(b, off, buf, len));
		if (!put_pages(f, off, buf, len))
			return false;
	}
	return put64(f, 0) && put32(f, 0) && put32(f, 0);
}

static bool save_memory(struct vm *vm, FILE *f)
{
	uint8_t *buf = hv_zalloc(RUN_MAX);
	bool ok = true;

	for (struct gm_block *b = gm_block_next(vm->mem, NULL); ok && b;
	     b = gm_block_next(vm->mem, b))
		ok = save_block(f, b, buf);
	free(buf);
	return ok;
}

bool snapshot_save(struct vm *vm, FILE *out, struct err *e)
{
	struct state_buf b = { 0 };
	struct snap_machine m;
	bool ok;

	HV_BUG_ON(vm->started && vm_status(vm) == VM_RUNNING);
	vm_lock(vm);
	quiesce(vm);
	m = describe(vm);
	state_save(&b, "machine", "0", 1, machine_fields, &m);
	for (unsigned i = 0; i < vm->ncpus; i++)
		save_cpu(&b, vm->cpus[i]);
	for (struct device *d = vm->devices; d; d = d->next)
		if (d->realized)
			state_save_device(&b, d);
	ok = put(out, MAGIC, 8) && put32(out, (uint32_t)b.len) &&
	     put32(out, crc32c(0, b.data, b.len)) && put(out, b.data, b.len) &&
	     save_memory(vm, out) && put(out, END_MAGIC, 8) && fflush(out) == 0;
	vm_unlock(vm);
	state_buf_free(&b);
	return ok || err_set(e, HV_EXIT_HOST, "cannot write the saved state (disk full?)");
}

/* ---- Load ---- */

static bool damaged(struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "saved state: %s", what);
}

static bool get(FILE *f, void *p, size_t n)
{
	return fread(p, 1, n, f) == n;
}

static bool read_sections(FILE *f, uint8_t **data, uint32_t *len, struct err *e)
{
	char magic[8];
	uint32_t crc;

	if (!get(f, magic, 8) || memcmp(magic, MAGIC, 8))
		return damaged(e, "this is none, or of another version");
	if (!get(f, len, 4) || !get(f, &crc, 4) || *len > MAX_SECTIONS)
		return damaged(e, "cut short");
	*data = malloc(*len ? *len : 1);
	if (!*data)
		return err_set(e, HV_EXIT_HOST, "no memory for the saved state");
	if (!get(f, *data, *len))
		return damaged(e, "cut short");
	return crc32c(0, *data, *len) == crc || damaged(e, "damaged (checksum)");
}

static bool check_machine(struct vm *vm, const uint8_t *data, size_t len, size_t *pos,
			  struct snap_machine *m, struct err *e)
{
	struct snap_machine here = describe(vm);

	if (!state_load("machine", "0", 1, machine_fields, m, data, len, pos, e))
		return false;
	if (m->ram != here.ram || m->ncpus != here.ncpus || m->ndevices != here.ndevices ||
	    m->devices != here.devices)
		return damaged(e, "it belongs to a machine with other memory, processors or"
			       " devices");
	return m->clock <= INT64_MAX || damaged(e, "impossible clock");
}

static bool clear_page(struct gm_block *b, uint64_t off)
{
	static const uint8_t zero[GM_PAGE];
	uint8_t have[GM_PAGE];

	HV_BUG_ON(!gm_block_read(b, off, have, sizeof(have)));
	return page_zero(have) || gm_block_write(b, off, zero, sizeof(zero));
}

/* Runs come in order; what lies between them is zero. */
static bool load_runs(FILE *f, struct gm_block *b, uint8_t *buf, struct err *e)
{
	uint64_t size = gm_block_size(b), done = 0, off;
	uint32_t len, crc;

	do {
		if (!get(f, &off, 8) || !get(f, &len, 4) || !get(f, &crc, 4))
			return damaged(e, "memory is cut short");
		if (!len)
			off = size;
		if (len > RUN_MAX || len % GM_PAGE || off % GM_PAGE || off < done ||
		    !range_ok(off, len, size))
			return damaged(e, "memory with impossible addresses");
		for (; done < off; done += GM_PAGE)
			HV_BUG_ON(!clear_page(b, done));
		if (len && !get(f, buf, len))
			return damaged(e, "memory is cut short");
		if (len && crc32c(0, buf, len) != crc)
			return damaged(e, "memory is damaged (checksum)");
		HV_BUG_ON(!gm_block_write(b, off, buf, len));
		done = off + len;
	} while (len);
	return true;
}

static bool load_memory(struct vm *vm, FILE *f, struct err *e)
{
	uint8_t *buf = hv_zalloc(RUN_MAX);
	bool ok = true;

	for (struct gm_block *b = gm_block_next(vm->mem, NULL); ok && b;
	     b = gm_block_next(vm->mem, b)) {
		char name[64] = { 0 };
		uint64_t size;
		uint16_t n;

		if (!get(f, &n, 2) || n >= sizeof(name) || !get(f, name, n) || !get(f, &size, 8) ||
		    strcmp(name, gm_block_name(b)) || size != gm_block_size(b))
			ok = damaged(e, "memory of another machine");
		else
			ok = load_runs(f, b, buf, e);
	}
	free(buf);
	return ok;
}

static bool load_cpu(struct vcpu *v, const uint8_t *data, size_t len, size_t *pos,
		     struct snap_cpu *c, struct err *e)
{
	char id[12];

	memset(c, 0, sizeof(*c));
	cpu_id(id, v->index);
	if (!state_load("cpu", id, SNAP_CPU_VERSION, snap_cpu_fields, c, data, len, pos, e) ||
	    !snap_cpu_valid(c, e))
		return false;
	return v->ops->set_state(v, &c->s, e);
}

/* Loading devices raises events anew; the CPU's own requests come on top. */
static bool load_sections(struct vm *vm, const uint8_t *data, size_t len, size_t *pos,
			  struct err *e)
{
	struct snap_cpu *cpus = hv_zalloc(vm->ncpus * sizeof(*cpus));
	bool ok = true;

	for (unsigned i = 0; ok && i < vm->ncpus; i++)
		ok = load_cpu(vm->cpus[i], data, len, pos, &cpus[i], e);
	for (struct device *d = vm->devices; ok && d; d = d->next)
		if (d->realized)
			ok = state_load_device(d, data, len, pos, e);
	for (unsigned i = 0; ok && i < vm->ncpus; i++) {
		atomic_store(&vm->cpus[i]->sipi_vector, cpus[i].sipi_vector);
		atomic_fetch_or(&vm->cpus[i]->req, cpus[i].req);
	}
	free(cpus);
	return ok && (*pos == len || damaged(e, "more in it than the machine has"));
}

bool snapshot_load(struct vm *vm, FILE *in, struct err *e)
{
	struct snap_machine m = { 0 };
	uint8_t *data = NULL;
	uint32_t len = 0;
	size_t pos = 0;
	char end[8];
	bool ok;

	HV_BUG_ON(vm->started);
	vm_lock(vm);
	devices_reset(vm);
	for (unsigned i = 0; i < vm->ncpus; i++)
		vm->engine->reset(vm->cpus[i]);
	if (vm->board_reset)	/* a later reset must know that the guest ran */
		vm->board_reset(vm->board_opaque);
	ok = read_sections(in, &data, &len, e) && check_machine(vm, data, len, &pos, &m, e);
	if (ok)
		vclock_set(vm->clock, m.clock);
	ok = ok && load_memory(vm, in, e);
	if (ok && (!get(in, end, 8) || memcmp(end, END_MAGIC, 8)))
		ok = damaged(e, "its end is missing");
	ok = ok && load_sections(vm, data, len, &pos, e);
	vm->loaded = ok;
	vm_unlock(vm);
	free(data);
	return ok;
}
