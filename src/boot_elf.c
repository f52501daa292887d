/* SPDX-License-Identifier: MIT */
/*
 * ELF kernels entered by PVH (Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/
 * start_info.h) or as a plain 64-bit Linux, and multiboot v1 images
 * (Multiboot Specification 0.6.96).
 *
 * Every offset and length from the file is range-checked where it is used;
 * headers are copied before they are looked at.
 */
#include "boot_int.h"
#include <elf.h>
#include <stdio.h>

#define MAX_PHDRS 256
#define PVH_NOTE_TYPE 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MAGIC 0x336ec578u
#define PVH_INFO_LEN 56
#define PVH_E820_LEN 24
#define PVH_MOD_LEN 32

#define MB_HDR_MAGIC 0x1badb002u
#define MB_BOOT_MAGIC 0x2badb002u
#define MB_SEARCH 8192
#define MB_ADDRS (1u << 16)	/* the a.out kludge fields are valid */
#define MB_KNOWN 0x00000007u	/* required features that can be satisfied */
#define MB_INFO_LEN 88
#define MBI_MEM (1u << 0)
#define MBI_CMDLINE (1u << 2)
#define MBI_MODS (1u << 3)
#define MBI_MMAP (1u << 6)
#define MBI_NAME (1u << 9)

/* ---- ELF ---- */

bool boot_is_elf(const struct boot_buf *k)
{
	return k->len > sizeof(Elf64_Ehdr) && !memcmp(k->data, ELFMAG, SELFMAG);
}

/* Program header @i in 64-bit form; false: outside the file. */
static bool get_phdr(const struct boot_buf *k, bool is64, uint64_t off, Elf64_Phdr *out)
{
	Elf32_Phdr p;

	if (is64) {
		if (!range_ok(off, sizeof(*out), k->len))
			return false;
		memcpy(out, k->data + off, sizeof(*out));
		return true;
	}
	if (!range_ok(off, sizeof(p), k->len))
		return false;
	memcpy(&p, k->data + off, sizeof(p));
	*out = (Elf64_Phdr){ .p_type = p.p_type, .p_flags = p.p_flags, .p_offset = p.p_offset,
			     .p_vaddr = p.p_vaddr, .p_paddr = p.p_paddr, .p_filesz = p.p_filesz,
			     .p_memsz = p.p_memsz, .p_align = p.p_align };
	return true;
}

/* The note that holds the 32-bit PVH entry point. */
static void scan_notes(const uint8_t *p, uint64_t n, uint64_t align, struct boot_elf *elf)
{
	uint64_t pos = 0;

	align = align == 8 ? 8 : 4;
	while (range_ok(pos, 12, n)) {
		uint32_t nlen = ld_le32(p + pos), dlen = ld_le32(p + pos + 4);
		uint32_t type = ld_le32(p + pos + 8);
		uint64_t name = pos + 12, desc = name + ((nlen + align - 1) & ~(align - 1));

		if (!range_ok(name, nlen, n) || !range_ok(desc, dlen, n))
			return;
		if (type == PVH_NOTE_TYPE && nlen == 4 && dlen >= 4 &&
		    !memcmp(p + name, "Xen", 4)) {
			elf->has_pvh = true;
			elf->pvh_entry = ld_le32(p + desc);
		}
		pos = desc + ((dlen + align - 1) & ~(align - 1));
	}
}

static bool load_phdr(struct boot *b, const struct boot_buf *k, const Elf64_Phdr *p,
		      struct boot_elf *elf, uint64_t *virt_entry, struct err *e)
{
	if (p->p_type != PT_LOAD && p->p_type != PT_NOTE)
		return true;
	if (!range_ok(p->p_offset, p->p_filesz, k->len))
		return err_set(e, HV_EXIT_IMAGE, "%s is cut off", b->kernel.path);
	if (p->p_type == PT_NOTE) {
		scan_notes(k->data + p->p_offset, p->p_filesz, p->p_align, elf);
		return true;
	}
	if (p->p_filesz > p->p_memsz)
		return err_set(e, HV_EXIT_IMAGE, "%s has a corrupt ELF segment", b->kernel.path);
	if (elf->entry >= p->p_vaddr && elf->entry - p->p_vaddr < p->p_memsz)
		*virt_entry = elf->entry - p->p_vaddr + p->p_paddr;
	if (!p->p_memsz)
		return true;
	return boot_put_segment(b, p->p_paddr, k->data + p->p_offset, p->p_filesz, p->p_memsz, e);
}

static bool parse_ehdr(const struct boot_buf *k, struct boot_elf *elf, uint64_t *phoff,
		       unsigned *phnum, unsigned *phsize)
{
	elf->is64 = k->data[EI_CLASS] == ELFCLASS64;
	if (k->data[EI_DATA] != ELFDATA2LSB)
		return false;
	if (elf->is64) {
		Elf64_Ehdr h;

		memcpy(&h, k->data, sizeof(h));
		elf->entry = h.e_entry;
		*phoff = h.e_phoff, *phnum = h.e_phnum, *phsize = h.e_phentsize;
		return h.e_machine == EM_X86_64 && *phsize >= sizeof(Elf64_Phdr);
	} else {
		Elf32_Ehdr h;

		memcpy(&h, k->data, sizeof(h));
		elf->entry = h.e_entry;
		*phoff = h.e_phoff, *phnum = h.e_phnum, *phsize = h.e_phentsize;
		return (h.e_machine == EM_386 || h.e_machine == EM_X86_64) &&
		       *phsize >= sizeof(Elf32_Phdr);
	}
}

bool boot_elf_load(struct boot *b, const struct boot_buf *k, struct boot_elf *elf, struct err *e)
{
	uint64_t phoff = 0, phys = 0;
	unsigned phnum = 0, phsize = 0;

	memset(elf, 0, sizeof(*elf));
	if (!parse_ehdr(k, elf, &phoff, &phnum, &phsize) || !phnum || phnum > MAX_PHDRS)
		return err_set(e, HV_EXIT_IMAGE, "%s is not an ELF kernel for x86", b->kernel.path);
	for (unsigned i = 0; i < phnum; i++) {
		Elf64_Phdr p;

		if (phoff > k->len || !get_phdr(k, elf->is64, phoff + (uint64_t)i * phsize, &p))
			return err_set(e, HV_EXIT_IMAGE, "%s is cut off", b->kernel.path);
		if (!load_phdr(b, k, &p, elf, &phys, e))
			return false;
	}
	if (b->low == UINT64_MAX)
		return err_set(e, HV_EXIT_IMAGE, "%s has nothing to load", b->kernel.path);
	/* Kernels give the entry as a physical address already; others as a virtual one. */
	if (elf->entry < b->low || elf->entry >= b->high)
		elf->entry = phys;
	if (elf->entry < b->low || elf->entry >= b->high)
		return err_set(e, HV_EXIT_IMAGE, "%s has its entry point outside of what it loads",
			       b->kernel.path);
	return true;
}

/* ---- PVH ---- */

static bool put_pvh_lists(struct boot *b, uint64_t initrd, uint8_t *info, struct err *e)
{
	uint8_t map[BOOT_MAX_E820 * PVH_E820_LEN] = { 0 }, mod[PVH_MOD_LEN] = { 0 };

	for (unsigned i = 0; i < b->cfg.ne820; i++) {
		st_le64(map + i * PVH_E820_LEN, b->cfg.e820[i].addr);
		st_le64(map + i * PVH_E820_LEN + 8, b->cfg.e820[i].len);
		st_le32(map + i * PVH_E820_LEN + 16, b->cfg.e820[i].type);
	}
	st_le64(info + 40, BOOT_LISTS);
	st_le32(info + 48, b->cfg.ne820);
	if (initrd) {
		st_le64(mod, initrd);
		st_le64(mod + 8, b->initrd.size);
		st_le32(info + 12, 1);
		st_le64(info + 16, BOOT_LISTS + sizeof(map));
	}
	return boot_put(b, BOOT_LISTS, map, sizeof(map), e) &&
	       boot_put(b, BOOT_LISTS + sizeof(map), mod, sizeof(mod), e);
}

static bool enter_pvh(struct boot *b, uint32_t entry, struct err *e)
{
	uint8_t info[PVH_INFO_LEN] = { 0 };
	uint64_t initrd;

	if (entry < b->low || entry >= b->high)
		return err_set(e, HV_EXIT_IMAGE, "%s has its PVH entry outside of what it loads",
			       b->kernel.path);
	if (!boot_put_initrd(b, GiB(2), &initrd, e) ||
	    !boot_put_cmdline(b, b->cfg.append ? b->cfg.append : "", UINT32_MAX, e) ||
	    !put_pvh_lists(b, initrd, info, e))
		return false;
	st_le32(info, PVH_MAGIC);
	st_le32(info + 4, 1);
	st_le64(info + 24, BOOT_CMDLINE);
	st_le64(info + 32, b->cfg.rsdp);
	b->entry = (struct boot_entry){ .rip = entry, .rbx = BOOT_INFO };
	return boot_put(b, BOOT_INFO, info, sizeof(info), e);
}

bool boot_load_elf(struct boot *b, const struct boot_buf *k, struct err *e)
{
	struct boot_elf elf;

	if (!boot_elf_load(b, k, &elf, e))
		return false;
	if (elf.has_pvh)
		return enter_pvh(b, elf.pvh_entry, e);
	if (!elf.is64)
		return err_set(e, HV_EXIT_IMAGE, "%s is a 32-bit ELF without a PVH note or a"
			       " multiboot header: there is no way to start it", b->kernel.path);
	b->entry = (struct boot_entry){ .long_mode = true, .rip = elf.entry, .rsi = BOOT_INFO };
	return boot_linux_params(b, NULL, 0, e);
}

/* ---- Multiboot v1 ---- */

bool boot_find_multiboot(const uint8_t *p, size_t n, uint32_t *off)
{
	n = MIN(n, MB_SEARCH);
	for (uint32_t i = 0; i + 12 <= n; i += 4) {
		if (ld_le32(p + i) != MB_HDR_MAGIC)
			continue;
		if (ld_le32(p + i) + ld_le32(p + i + 4) + ld_le32(p + i + 8) == 0) {
			*off = i;
			return true;
		}
	}
	return false;
}

/* 3.1.3: addresses in the header instead of ELF. */
static bool load_flat(struct boot *b, const struct boot_buf *k, uint32_t hdr, struct err *e)
{
	uint32_t f[5];		/* header, load, load end, bss end, entry */
	uint64_t start, len;

	if (!range_ok(hdr, 32, k->len))
		return err_set(e, HV_EXIT_IMAGE, "%s is cut off", b->kernel.path);
	for (unsigned i = 0; i < 5; i++)
		f[i] = ld_le32(k->data + hdr + 12 + 4 * i);
	if (f[1] > f[0] || f[0] - f[1] > hdr)
		return err_set(e, HV_EXIT_IMAGE, "%s has a corrupt multiboot header",
			       b->kernel.path);
	start = hdr - (f[0] - f[1]);
	len = f[2] ? (uint64_t)f[2] - f[1] : k->len - start;
	if ((f[2] && f[2] < f[1]) || !range_ok(start, len, k->len))
		return err_set(e, HV_EXIT_IMAGE, "%s has a corrupt multiboot header or is cut off",
			       b->kernel.path);
	b->entry = (struct boot_entry){ .rip = f[4], .rax = MB_BOOT_MAGIC, .rbx = BOOT_INFO };
	return boot_put_segment(b, f[1], k->data + start, len,
				f[3] ? MAX(len, (uint64_t)f[3] - MIN(f[1], f[3])) : len, e);
}

/* Modules one after another, page-aligned, after the kernel. */
static bool put_modules(struct boot *b, uint8_t *info, struct err *e)
{
	uint8_t list[BOOT_MAX_MODULES * 16] = { 0 };
	uint64_t at = b->high, str = BOOT_STRINGS;

	for (unsigned i = 0; i < b->cfg.nmodules; i++) {
		const char *s = b->module_args[i];

		at = (at + 0xfff) & ~0xfffull;
		if (!range_ok(at, b->modules[i].size, b->cfg.ram_below_4g))
			return err_set(e, HV_EXIT_USAGE, "module %s does not fit into guest memory",
				       b->modules[i].path);
		if (!boot_put_file(b, at, &b->modules[i], e))
			return false;
		if (str + strlen(s) + 1 > BOOT_STRINGS + 0x10000)
			return err_set(e, HV_EXIT_USAGE, "the module arguments are too long");
		if (!boot_put(b, str, s, strlen(s) + 1, e))
			return false;
		st_le32(list + 16 * i, at);
		st_le32(list + 16 * i + 4, at + b->modules[i].size);
		st_le32(list + 16 * i + 8, str);
		at += b->modules[i].size;
		str += strlen(s) + 1;
	}
	st_le32(info + 20, b->cfg.nmodules);
	st_le32(info + 24, BOOT_LISTS);
	return boot_put(b, BOOT_LISTS, list, sizeof(list), e);
}

static bool put_mmap(struct boot *b, uint8_t *info, struct err *e)
{
	uint8_t map[BOOT_MAX_E820 * 24] = { 0 };
	uint32_t at = BOOT_LISTS + BOOT_MAX_MODULES * 16;

	for (unsigned i = 0; i < b->cfg.ne820; i++) {
		uint8_t *p = map + 24 * i;

		st_le32(p, 20);
		st_le64(p + 4, b->cfg.e820[i].addr);
		st_le64(p + 12, b->cfg.e820[i].len);
		st_le32(p + 20, b->cfg.e820[i].type);
	}
	st_le32(info + 44, 24 * b->cfg.ne820);
	st_le32(info + 48, at);
	return boot_put(b, at, map, sizeof(map), e);
}

/* 3.3; cmdline: the kernel's path, then the arguments, as boot loaders do. */
static bool put_mbi(struct boot *b, struct err *e)
{
	static const char name[] = "hvrun";
	uint8_t info[MB_INFO_LEN] = { 0 };
	char cmdline[4096];
	uint32_t name_at = BOOT_INFO + MB_INFO_LEN;

	snprintf(cmdline, sizeof(cmdline), "%s%s%s", b->kernel.path,
		 b->cfg.append ? " " : "", b->cfg.append ? b->cfg.append : "");
	st_le32(info, MBI_MEM | MBI_CMDLINE | MBI_MODS | MBI_MMAP | MBI_NAME);
	st_le32(info + 4, 639);
	st_le32(info + 8, (b->cfg.ram_below_4g - MiB(1)) >> 10);
	st_le32(info + 16, BOOT_CMDLINE);
	st_le32(info + 64, name_at);
	return put_modules(b, info, e) && put_mmap(b, info, e) &&
	       boot_put_cmdline(b, cmdline, UINT32_MAX, e) &&
	       boot_put(b, name_at, name, sizeof(name), e) &&
	       boot_put(b, BOOT_INFO, info, sizeof(info), e);
}

bool boot_load_multiboot(struct boot *b, const struct boot_buf *k, uint32_t hdr, struct err *e)
{
	uint32_t flags = ld_le32(k->data + hdr + 4);
	struct boot_elf elf;

	if (flags & 0xffff & ~MB_KNOWN)
		return err_set(e, HV_EXIT_IMAGE, "%s asks for unknown multiboot features (%#x)",
			       b->kernel.path, flags & 0xffff);
	if (flags & MB_ADDRS) {
		if (!load_flat(b, k, hdr, e))
			return false;
	} else {
		if (!boot_is_elf(k))
			return err_set(e, HV_EXIT_IMAGE, "%s has a multiboot header, but neither"
				       " addresses in it nor an ELF header", b->kernel.path);
		if (!boot_elf_load(b, k, &elf, e))
			return false;
		b->entry = (struct boot_entry){ .rip = elf.entry, .rax = MB_BOOT_MAGIC,
						.rbx = BOOT_INFO };
	}
	return put_mbi(b, e);
}
