/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: kernel files.  First byte: which valid file the rest is
 * laid over (none, bzImage with compressed or plain payload, ELF with a PVH
 * note, multiboot).  Sniffed, loaded into a machine, entered twice.
 */
#include "fuzz.h"
#include "../../src/boot.h"
#include "../lib/stubcpu.h"
#include "../lib/testvm.h"
#include <elf.h>
#include <zlib.h>

#define RAM MiB(32)
#define MAX_LEN 65536u
#define LOAD MiB(4)

static uint8_t elf[1024], bz_plain[2560], bz_gzip[2560], multiboot[512];
static size_t elf_len, plain_len, gzip_len;

static void make_elf(void)
{
	Elf64_Ehdr h = { .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
		.e_entry = LOAD, .e_phoff = sizeof(h), .e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2 };
	Elf64_Phdr p[2] = {
		{ .p_type = PT_LOAD, .p_offset = 0x200, .p_vaddr = 0xffffffff81000000ull,
		  .p_paddr = LOAD, .p_filesz = 0x100, .p_memsz = 0x1000 },
		{ .p_type = PT_NOTE, .p_offset = 0x100, .p_filesz = 20, .p_align = 4 },
	};
	uint32_t note[] = { 4, 4, 18, 0, LOAD };

	memcpy(&note[3], "Xen", 4);
	memcpy(h.e_ident, "\177ELF\2\1\1", 7);
	memcpy(elf, &h, sizeof(h));
	memcpy(elf + sizeof(h), p, sizeof(p));
	memcpy(elf + 0x100, note, sizeof(note));
	elf_len = 0x300;
}

/* Linux' boot.rst, protocol 2.15: two setup sectors, then the payload. */
static size_t make_bzimage(uint8_t *out, const uint8_t *payload, size_t n)
{
	out[0x1f1] = 1;
	st_le16(out + 0x1fe, 0xaa55);
	memcpy(out + 0x202, "HdrS", 4);
	st_le16(out + 0x206, 0x020f);
	out[0x211] = 1;
	st_le32(out + 0x22c, 0x7fffffff);
	st_le16(out + 0x236, 1);
	st_le32(out + 0x238, 2047);
	st_le32(out + 0x248, 16);
	st_le32(out + 0x24c, (uint32_t)n);
	st_le64(out + 0x258, LOAD);
	st_le32(out + 0x260, MiB(1));
	memcpy(out + 1040, payload, n);
	return 1040 + n;
}

static size_t gzip(uint8_t *out, size_t max)
{
	z_stream z = { .next_in = elf, .avail_in = (uInt)elf_len, .next_out = out,
		       .avail_out = (uInt)max };

	HV_BUG_ON(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK);
	HV_BUG_ON(deflate(&z, Z_FINISH) != Z_STREAM_END);
	deflateEnd(&z);
	return max - z.avail_out;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint32_t mb[] = { 0x1badb002, 0x10003, 0u - 0x1badb002u - 0x10003u,
				       LOAD, LOAD, LOAD + 512, LOAD + 8192, LOAD + 48 };
	uint8_t packed[1400];

	log_open("/dev/null");
	make_elf();
	gzip_len = make_bzimage(bz_gzip, packed, gzip(packed, sizeof(packed)));
	plain_len = make_bzimage(bz_plain, elf, elf_len);
	memcpy(multiboot, mb, sizeof(mb));
	return 0;
}

static void load(const char *path, const char *other)
{
	const char *modules[] = { other, other };
	struct boot_config c = {
		.kernel = path, .append = "console=ttyS0", .initrd = other, .rsdp = 0xf5000,
		.ram_below_4g = RAM, .ne820 = 2,
		.e820 = { { 0, 0x9fc00, 1 }, { MiB(1), RAM - MiB(1), 1 } },
	};
	struct vm *vm = tvm_new(RAM);
	struct err e;
	struct boot *b;

	HV_BUG_ON(!vm_set_engine(vm, &stub_cpu_ops, 1, &e));
	for (unsigned multi = 0; multi < 2; multi++) {
		if (multi) {
			c.initrd = NULL;
			c.modules = modules;
			c.nmodules = 2;
		}
		b = boot_open(vm, &c, &e);
		if (!b)
			continue;
		vm_lock(vm);
		boot_enter(b, &e);
		boot_enter(b, &e);
		vm_unlock(vm);
		boot_close(b);
	}
	tvm_free(vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct { const uint8_t *p; size_t n; } bases[] = {
		{ NULL, 0 }, { bz_gzip, gzip_len }, { bz_plain, plain_len }, { elf, elf_len },
		{ multiboot, sizeof(multiboot) },
	};
	enum boot_kind kind;
	unsigned which;
	char path[64];
	struct err e;
	int fd;

	if (len < 1 || len > MAX_LEN)
		return 0;
	which = data[0] % ARRAY_SIZE(bases);
	fd = fuzz_file(data + 1, len - 1, bases[which].p, bases[which].n, path, sizeof(path));
	if (fd < 0)
		return 0;
	boot_sniff(path, &kind, &e);
	load(path, path);
	close(fd);
	return 0;
}
