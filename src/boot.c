/* SPDX-License-Identifier: MIT */
/*
 * Direct boot: files, guest memory placement and the start state of the
 * first processor; see boot.h.  The loaders are in boot_linux.c and
 * boot_elf.c.
 *
 * Start states: Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst,
 * "64-bit boot protocol"), PVH (Xen "x86/HVM direct boot ABI") and multiboot
 * 0.6.96 section 3.2.  The latter two share 32-bit flat segments.
 */
#include "boot_int.h"
#include "cpu/vcpu.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KERNEL_MAX MiB(512)

/* ---- Files ---- */

void boot_buf_free(struct boot_buf *b)
{
	if (b->mapped)
		munmap(b->data, b->mapped);
	else
		free(b->data);
	memset(b, 0, sizeof(*b));
}

bool boot_file_open(struct boot_file *f, const char *path, struct err *e)
{
	struct stat st;

	f->path = path;
	/* O_NONBLOCK: a FIFO hangs nobody. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 && errno == ENOENT)
		return err_set(e, HV_EXIT_IMAGE, "cannot open %s: No such file or directory; check "
			       "the name (hvrun list shows the machines)", path);
	if (f->fd < 0)
		return err_errno(e, HV_EXIT_IMAGE, errno, "cannot open %s", path);
	if (fstat(f->fd, &st) < 0)
		return err_errno(e, HV_EXIT_IMAGE, errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, HV_EXIT_IMAGE, "cannot use %s: it is %s", path,
			       S_ISDIR(st.st_mode) ? "a directory; name a file in it" :
			       S_ISBLK(st.st_mode) ? "a block device; attach it with --disk" :
			       "not a regular file");
	f->size = st.st_size;
	if (!f->size)
		return err_set(e, HV_EXIT_IMAGE, "cannot use %s: the file is empty; an empty disk "
			       "is made by: hvrun img create FILE 20G", path);
	return true;
}

/* All of [off, off + len) or an error. */
static bool read_at(const struct boot_file *f, uint64_t off, void *dst, size_t len,
		    struct err *e)
{
	uint8_t *p = dst;

	while (len) {
		ssize_t n = pread(f->fd, p, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, HV_EXIT_IMAGE, errno, "cannot read %s", f->path);
		if (n == 0)
			return err_set(e, HV_EXIT_IMAGE, "cannot read %s: it became shorter",
				       f->path);
		p += n;
		off += n;
		len -= n;
	}
	return true;
}

bool boot_file_read(const struct boot_file *f, struct boot_buf *out, struct err *e)
{
	if (f->size > KERNEL_MAX)
		return err_set(e, HV_EXIT_IMAGE, "%s is too large for a kernel (%llu MiB)",
			       f->path, (unsigned long long)(f->size >> 20));
	out->data = malloc(f->size);
	if (!out->data)
		return err_set(e, HV_EXIT_HOST, "no memory to read %s", f->path);
	out->len = f->size;
	if (!read_at(f, 0, out->data, out->len, e)) {
		boot_buf_free(out);
		return false;
	}
	return true;
}

/* ---- Guest memory ---- */

static bool no_room(struct boot *b, const char *what, uint64_t len, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s (%llu KiB) does not fit into guest memory; give the"
		       " machine more with --memory", what, (unsigned long long)(len >> 10));
}

bool boot_put(struct boot *b, uint64_t at, const void *src, size_t len, struct err *e)
{
	if (!gm_write(b->vm->mem, GPA(at), src, len))
		return err_set(e, HV_EXIT_IMAGE, "%s wants to be loaded at %#llx, where there is"
			       " no memory", b->kernel.path, (unsigned long long)at);
	return true;
}

bool boot_clear(struct boot *b, uint64_t at, uint64_t len, struct err *e)
{
	while (len) {
		struct gm_span s;

		if (!gm_map(b->vm->mem, GPA(at), len, true, &s))
			return no_room(b, b->kernel.path, len, e);
		memset(s.host, 0, s.len);
		at += s.len;
		len -= s.len;
		gm_unmap(b->vm->mem, &s, s.len);
	}
	return true;
}

bool boot_put_file(struct boot *b, uint64_t at, const struct boot_file *f, struct err *e)
{
	uint64_t done = 0;

	while (done < f->size) {
		struct gm_span s;
		bool ok;

		if (!gm_map(b->vm->mem, GPA(at + done), f->size - done, true, &s))
			return no_room(b, f->path, f->size, e);
		ok = read_at(f, done, s.host, s.len, e);
		done += s.len;
		gm_unmap(b->vm->mem, &s, s.len);
		if (!ok)
			return false;
	}
	return true;
}

bool boot_put_segment(struct boot *b, uint64_t at, const uint8_t *src, uint64_t file_len,
		      uint64_t mem_len, struct err *e)
{
	if (at < BOOT_LOW_END)
		return err_set(e, HV_EXIT_IMAGE, "%s wants to be loaded at %#llx, below 1 MiB",
			       b->kernel.path, (unsigned long long)at);
	if (!range_ok(at, mem_len, b->cfg.ram_below_4g))
		return no_room(b, b->kernel.path, mem_len, e);
	b->low = MIN(b->low, at);
	b->high = MAX(b->high, at + mem_len);
	if (file_len && !boot_put(b, at, src, file_len, e))
		return false;
	if (b->zeroed)
		return true;
	return boot_clear(b, at + file_len, mem_len - file_len, e);
}

bool boot_put_cmdline(struct boot *b, const char *s, uint32_t max, struct err *e)
{
	size_t len = strlen(s);

	max = MIN(max, BOOT_CMDLINE_MAX - 1);
	if (len > max)
		return err_set(e, HV_EXIT_USAGE, "the kernel command line has %zu characters, the"
			       " kernel takes %u", len, max);
	return boot_put(b, BOOT_CMDLINE, s, len + 1, e);
}

bool boot_put_initrd(struct boot *b, uint64_t limit, uint64_t *at, struct err *e)
{
	uint64_t size = b->initrd.size;

	*at = 0;
	if (!b->cfg.initrd)
		return true;
	limit = MIN(limit, b->cfg.ram_below_4g);
	if (size > limit || ((limit - size) & ~0xfffull) < MAX(b->high, BOOT_LOW_END))
		return no_room(b, b->initrd.path, size, e);
	*at = (limit - size) & ~0xfffull;
	return boot_put_file(b, *at, &b->initrd, e);
}

/* ---- Sniffing ---- */

struct sniff_row {
	enum boot_kind kind;
	uint32_t off;
	uint8_t len;
	uint8_t magic[8];
};

/* First match wins: a bzImage and a hybrid ISO also carry the MBR signature. */
static const struct sniff_row sniff_rows[] = {
	{ BOOT_KERNEL_BZIMAGE, 0x202, 4, "HdrS" },
	{ BOOT_KERNEL_ELF, 0, 4, "\177ELF" },
	{ BOOT_ISO, 0x8001, 5, "CD001" },
	{ BOOT_DISK, 0, 4, "QFI\xfb" },
	{ BOOT_DISK, 0, 4, "KDMV" },
	{ BOOT_DISK, 0, 4, "# Di" },			/* VMDK descriptor */
	{ BOOT_DISK, 0x40, 4, "\x7f\x10\xda\xbe" },	/* VDI */
	{ BOOT_DISK, 0, 8, "conectix" },
	{ BOOT_DISK, 0, 8, "vhdxfile" },
	{ BOOT_DISK, 510, 2, "\x55\xaa" },
};

bool boot_sniff(const char *path, enum boot_kind *kind, struct err *e)
{
	struct boot_file f = { .fd = -1 };
	uint8_t head[0x8800] = { 0 };
	uint32_t off;
	bool ok = boot_file_open(&f, path, e);
	size_t n = ok ? MIN(f.size, sizeof(head)) : 0;

	*kind = BOOT_UNKNOWN;
	ok = ok && read_at(&f, 0, head, n, e);
	if (f.fd >= 0)
		close(f.fd);
	if (!ok)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(sniff_rows); i++) {
		const struct sniff_row *r = &sniff_rows[i];

		if (r->off + r->len <= n && !memcmp(head + r->off, r->magic, r->len)) {
			*kind = r->kind;
			return true;
		}
	}
	if (boot_find_multiboot(head, n, &off))
		*kind = BOOT_KERNEL_MULTIBOOT;
	return true;
}

/* ---- Start state ---- */

#define ATTR_CODE64 0xa09b
#define ATTR_CODE32 0xc09b
#define ATTR_DATA32 0xc093
#define ATTR_TSS 0x008b

static struct x86_seg seg(uint16_t sel, uint32_t limit, uint32_t attr)
{
	return (struct x86_seg){ .sel = sel, .limit = limit, .attr = attr };
}

/* Boot protocol: CS 0x10, data 0x18, flat; also fine for PVH and multiboot. */
static bool put_gdt(struct boot *b, bool long_mode, struct err *e)
{
	uint8_t gdt[5 * 8] = { 0 };

	st_le64(gdt + 0x10, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
	st_le64(gdt + 0x18, 0x00cf93000000ffffull);
	st_le64(gdt + 0x20, 0x00008b0000000067ull);
	return boot_put(b, BOOT_GDT, gdt, sizeof(gdt), e);
}

/* 4 GiB one to one by 2 MiB pages. */
static bool put_pages(struct boot *b, struct err *e)
{
	uint8_t page[4096] = { 0 };
	bool ok;

	st_le64(page, (BOOT_PAGES + 0x1000) | 3);
	ok = boot_put(b, BOOT_PAGES, page, sizeof(page), e);
	for (unsigned i = 0; i < 4; i++)
		st_le64(page + 8 * i, (BOOT_PAGES + 0x2000 + 0x1000 * i) | 3);
	ok = ok && boot_put(b, BOOT_PAGES + 0x1000, page, sizeof(page), e);
	for (unsigned d = 0; ok && d < 4; d++) {
		for (unsigned i = 0; i < 512; i++)
			st_le64(page + 8 * i, GiB(d) + MiB(2) * i + 0x83);
		ok = boot_put(b, BOOT_PAGES + 0x2000 + 0x1000 * d, page, sizeof(page), e);
	}
	return ok;
}

static bool set_cpu(struct boot *b, struct err *e)
{
	const struct boot_entry *en = &b->entry;
	struct vcpu *v = b->vm->cpus[0];
	struct x86_state s;

	v->ops->get_state(v, &s);
	memset(s.gpr, 0, sizeof(s.gpr));
	s.gpr[R_RAX] = en->rax;
	s.gpr[R_RBX] = en->rbx;
	s.gpr[R_RSI] = en->rsi;
	s.gpr[R_RSP] = BOOT_STACK;
	s.rip = en->rip;
	s.rflags = 2;
	s.cr0 = 0x31;			/* PE, ET, NE */
	s.seg[SEG_CS] = seg(0x10, UINT32_MAX, en->long_mode ? ATTR_CODE64 : ATTR_CODE32);
	for (unsigned i = 0; i < SEG_NUM; i++)
		if (i != SEG_CS)
			s.seg[i] = seg(0x18, UINT32_MAX, ATTR_DATA32);
	s.tr = seg(0x20, 0x67, ATTR_TSS);
	s.gdt = (struct x86_dtable){ .base = BOOT_GDT, .limit = 5 * 8 - 1 };
	s.idt = (struct x86_dtable){ 0 };
	if (en->long_mode) {
		s.cr0 |= 0x80000000;
		s.cr3 = BOOT_PAGES;
		s.cr4 = 0x20;		/* PAE */
		s.efer = 0x500;		/* LME, LMA */
	}
	s.mtrr_def = 0x806;		/* as firmware leaves it: enabled, write-back */
	s.mp_state = MP_RUNNABLE;
	return v->ops->set_state(v, &s, e);
}

/* ---- Life ---- */

static bool open_modules(struct boot *b, struct err *e)
{
	for (unsigned i = 0; i < b->cfg.nmodules; i++) {
		char *args;

		b->module_paths[i] = hv_strdup(b->cfg.modules[i]);
		args = strchr(b->module_paths[i], ' ');
		if (args)
			*args++ = 0;
		b->module_args[i] = b->cfg.modules[i];
		if (!boot_file_open(&b->modules[i], b->module_paths[i], e))
			return false;
	}
	return true;
}

static bool load(struct boot *b, struct err *e)
{
	struct boot_buf k = { 0 };
	uint32_t off;
	bool ok;

	b->low = UINT64_MAX;
	b->high = 0;
	if (!boot_file_read(&b->kernel, &k, e))
		return false;
	if (k.len >= 0x206 && !memcmp(k.data + 0x202, "HdrS", 4))
		ok = boot_load_bzimage(b, &k, e);
	else if (boot_find_multiboot(k.data, k.len, &off))
		ok = boot_load_multiboot(b, &k, off, e);
	else if (boot_is_elf(&k))
		ok = boot_load_elf(b, &k, e);
	else
		ok = err_set(e, HV_EXIT_IMAGE, "%s is not a kernel: neither a Linux bzImage nor an"
			     " x86 ELF nor a multiboot image", b->kernel.path);
	boot_buf_free(&k);
	return ok && put_gdt(b, b->entry.long_mode, e) && put_pages(b, e);
}

struct boot *boot_open(struct vm *vm, const struct boot_config *cfg, struct err *e)
{
	struct boot *b = hv_zalloc(sizeof(*b));

	b->vm = vm;
	b->cfg = *cfg;
	b->kernel.fd = b->initrd.fd = -1;
	for (unsigned i = 0; i < BOOT_MAX_MODULES; i++)
		b->modules[i].fd = -1;
	HV_BUG_ON(cfg->nmodules > BOOT_MAX_MODULES || cfg->ne820 > BOOT_MAX_E820);
	b->zeroed = true;
	if (!boot_file_open(&b->kernel, cfg->kernel, e) ||
	    (cfg->initrd && !boot_file_open(&b->initrd, cfg->initrd, e)) ||
	    !open_modules(b, e) || !load(b, e)) {
		boot_close(b);
		return NULL;
	}
	b->zeroed = false;
	b->fresh = true;
	return b;
}

bool boot_enter(struct boot *b, struct err *e)
{
	if (!b->fresh && !load(b, e))
		return false;
	b->fresh = false;
	return set_cpu(b, e);
}

/* ACPI 6.5, 16.3.2: real mode, CS:IP made of the vector's upper and lowest bits. */
bool boot_wake(struct vm *vm, uint32_t vector, struct err *e)
{
	struct vcpu *v = vm->cpus[0];
	struct x86_state s;

	v->ops->get_state(v, &s);
	s.seg[SEG_CS].sel = (uint16_t)(vector >> 4);
	s.seg[SEG_CS].base = (uint64_t)(uint16_t)(vector >> 4) << 4;
	s.rip = vector & 15;
	s.mp_state = MP_RUNNABLE;
	return v->ops->set_state(v, &s, e);
}

void boot_close(struct boot *b)
{
	if (!b)
		return;
	if (b->kernel.fd >= 0)
		close(b->kernel.fd);
	if (b->initrd.fd >= 0)
		close(b->initrd.fd);
	for (unsigned i = 0; i < BOOT_MAX_MODULES; i++) {
		if (b->modules[i].fd >= 0)
			close(b->modules[i].fd);
		free(b->module_paths[i]);
	}
	free(b);
}
