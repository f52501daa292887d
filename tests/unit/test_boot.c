/* SPDX-License-Identifier: MIT */
/*
 * Direct boot: kernels made here, with every compression, entered by every
 * protocol; hostile files; and Debian's kernel where it was fetched
 * (scripts/make-kernel, or HV_TEST_KERNEL).
 */
#include "../lib/stubcpu.h"
#include "../lib/testvm.h"
#include "../../src/boot.h"
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RAM MiB(64)
#define RAM_TOP (RAM - 0x2000)
#define KLOAD MiB(16)

static char dir[] = "/tmp/hv-boot-XXXXXX";
static char path[200];

static struct vm *new_vm(void)
{
	struct err e = { 0 };
	struct vm *vm = tvm_new(RAM);

	assert_true(vm_set_engine(vm, &stub_cpu_ops, 1, &e));
	return vm;
}

static void put_file(const char *name, const void *p, size_t n)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static struct boot_config config(const char *kernel)
{
	struct boot_config c = { .kernel = kernel, .append = "console=ttyS0 x=1",
		.ram_below_4g = RAM_TOP, .rsdp = 0xf5000, .ne820 = 2 };

	c.e820[0] = (struct boot_e820){ 0, 0x9fc00, 1 };
	c.e820[1] = (struct boot_e820){ MiB(1), RAM_TOP - MiB(1), 1 };
	return c;
}

/* ---- Kernels ---- */

#define CODE_LEN 3000
#define BSS_LEN 5000

/* ELF64 with one segment and, optionally, a PVH note. */
static size_t make_elf(uint8_t *out, bool pvh)
{
	Elf64_Ehdr h = { .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
		.e_entry = KLOAD + 0x40, .e_phoff = sizeof(h), .e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2 };
	Elf64_Phdr p[2] = {
		{ .p_type = PT_LOAD, .p_offset = 0x200, .p_vaddr = 0xffffffff81000000ull,
		  .p_paddr = KLOAD, .p_filesz = CODE_LEN, .p_memsz = CODE_LEN + BSS_LEN },
		{ .p_type = pvh ? PT_NOTE : PT_NULL, .p_offset = 0x100, .p_filesz = 40,
		  .p_align = 4 },
	};
	uint32_t note[] = { 4, 4, 99, ld_le32("Xen"), 1, 4, 4, 18, ld_le32("Xen"), KLOAD + 0x80 };

	memcpy(h.e_ident, "\177ELF\2\1\1", 7);
	memset(out, 0, 0x200);
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), p, sizeof(p));
	memcpy(out + 0x100, note, sizeof(note));
	for (unsigned i = 0; i < CODE_LEN; i++)
		out[0x200 + i] = i * 7 + i / 256;
	return 0x200 + CODE_LEN;
}

/* boot.rst: two setup sectors, then the payload at once. */
static size_t make_bzimage(uint8_t *out, const uint8_t *payload, size_t n)
{
	memset(out, 0, 1024);
	out[0x1f1] = 1;
	st_le16(out + 0x1fe, 0xaa55);
	out[0x200] = 0xeb;
	out[0x201] = 0x66;
	memcpy(out + 0x202, "HdrS", 4);
	st_le16(out + 0x206, 0x020f);
	out[0x211] = 1;
	st_le32(out + 0x22c, 0x7fffffff);
	st_le16(out + 0x236, 1);
	st_le32(out + 0x238, 2047);
	st_le32(out + 0x248, 16);
	st_le32(out + 0x24c, n);
	st_le64(out + 0x258, KLOAD);
	st_le32(out + 0x260, MiB(2));
	memset(out + 1024, 0x90, 16);
	memcpy(out + 1040, payload, n);
	return 1040 + n;
}

static void check_code(struct vm *vm)
{
	uint8_t got[CODE_LEN + BSS_LEN];

	assert_true(gm_read(vm->mem, GPA(KLOAD), got, sizeof(got)));
	for (unsigned i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], i < CODE_LEN ? (uint8_t)(i * 7 + i / 256) : 0);
}

static void check_zero_page(struct vm *vm)
{
	uint8_t z[4096];
	char cmd[32];

	assert_int_equal(stub_cpu_state.gpr[R_RSI], 0x7000);
	assert_true(gm_read(vm->mem, GPA(stub_cpu_state.gpr[R_RSI]), z, sizeof(z)));
	assert_int_equal(z[0x210], 0xff);
	assert_int_equal(z[0x1e8], 2);
	assert_int_equal(ld_le64(z + 0x2d0 + 20), MiB(1));
	assert_int_equal(ld_le64(z + 0x70), 0xf5000);
	assert_true(gm_read(vm->mem, GPA(ld_le32(z + 0x228)), cmd, sizeof(cmd)));
	assert_string_equal(cmd, "console=ttyS0 x=1");
}

static struct boot *open_ok(struct vm *vm, const struct boot_config *c)
{
	struct err e = { 0 };
	struct boot *b = boot_open(vm, c, &e);

	if (!b)
		fail_msg("%s", e.msg);
	if (!boot_enter(b, &e))
		fail_msg("%s", e.msg);
	return b;
}

/* ---- Linux ---- */

static size_t compress(const char *tool, const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	char cmd[500];
	FILE *f;
	size_t got;

	put_file("raw", in, n);
	snprintf(cmd, sizeof(cmd),
		 "command -v %.*s >/dev/null && %s < %s/raw > %s/packed 2>/dev/null",
		(int)strcspn(tool, " "), tool, tool, dir, dir);
	if (system(cmd) != 0)
		return 0;
	snprintf(path, sizeof(path), "%s/packed", dir);
	f = fopen(path, "rb");
	assert_non_null(f);
	got = fread(out, 1, cap, f);
	fclose(f);
	return got;
}

static void test_compressions(void **st)
{
	static const char *const tools[] = { "gzip -9", "xz --check=crc32", "lz4 -l", "zstd -19",
					     "bzip2", "xz --format=lzma" };
	static uint8_t elf[8192], packed[8192], image[16384];
	unsigned done = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(tools); i++) {
		size_t n = compress(tools[i], elf, make_elf(elf, false), packed, 8000);
		struct vm *vm;
		struct boot *b;
		struct boot_config c;

		if (!n)
			continue;	/* the tool is not installed */
		st_le32(packed + n, 0x200 + CODE_LEN);	/* as kernel builds append it */
		put_file("k", image, make_bzimage(image, packed, n + 4));
		vm = new_vm();
		c = config(path);
		b = open_ok(vm, &c);
		check_code(vm);
		check_zero_page(vm);
		assert_int_equal(stub_cpu_state.rip, KLOAD + 0x40);
		assert_int_equal(stub_cpu_state.efer, 0x500);
		assert_int_equal(stub_cpu_state.seg[SEG_CS].attr >> 13 & 1, 1);
		assert_int_equal(stub_cpu_state.cr0 >> 31, 1);
		boot_close(b);
		tvm_free(vm);
		done++;
	}
	assert_true(done >= 2);
}

/* Unknown compression: the image's own 64-bit entry, 0x200 after its start. */
static void test_unknown_payload(void **st)
{
	static uint8_t image[16384], junk[600];
	struct vm *vm = new_vm();
	struct boot_config c;
	struct boot *b;
	uint8_t got[16];

	memset(junk, 0x33, sizeof(junk));
	put_file("k", image, make_bzimage(image, junk, sizeof(junk)));
	c = config(path);
	b = open_ok(vm, &c);
	assert_int_equal(stub_cpu_state.rip, KLOAD + 0x200);
	assert_true(gm_read(vm->mem, GPA(KLOAD + 16), got, sizeof(got)));
	assert_memory_equal(got, junk, sizeof(got));
	check_zero_page(vm);
	boot_close(b);
	tvm_free(vm);
}

/* The guest has overwritten everything; a reset places it again. */
static void test_again(void **st)
{
	static uint8_t elf[8192], image[16384], packed[8192];
	size_t n = compress("gzip", elf, make_elf(elf, false), packed, 8000);
	struct vm *vm = new_vm();
	struct boot_config c;
	struct boot *b;
	struct err e = { 0 };
	char initrd[200];

	put_file("initrd", "INITRD-CONTENT", 14);
	strcpy(initrd, path);
	put_file("k", image, make_bzimage(image, packed, n));
	c = config(path);
	c.initrd = initrd;
	b = open_ok(vm, &c);
	for (uint64_t a = 0; a < RAM; a += sizeof(image))
		assert_true(gm_write(vm->mem, GPA(a), image, MIN(sizeof(image), RAM - a)));
	assert_true(boot_enter(b, &e));
	check_code(vm);
	check_zero_page(vm);
	assert_true(gm_read(vm->mem, GPA((RAM_TOP - 14) & ~0xfffull), packed, 14));
	assert_memory_equal(packed, "INITRD-CONTENT", 14);
	boot_close(b);
	tvm_free(vm);
}

/* ---- PVH, plain ELF, multiboot ---- */

static void test_pvh(void **st)
{
	static uint8_t elf[8192];
	struct vm *vm = new_vm();
	struct boot_config c;
	struct boot *b;
	uint8_t info[56], map[48];

	put_file("k", elf, make_elf(elf, true));
	c = config(path);
	b = open_ok(vm, &c);
	check_code(vm);
	assert_int_equal(stub_cpu_state.rip, KLOAD + 0x80);
	assert_int_equal(stub_cpu_state.cr0 & 0x80000001u, 1);
	assert_int_equal(stub_cpu_state.efer, 0);
	assert_true(gm_read(vm->mem, GPA(stub_cpu_state.gpr[R_RBX]), info, sizeof(info)));
	assert_int_equal(ld_le32(info), 0x336ec578);
	assert_int_equal(ld_le64(info + 32), 0xf5000);
	assert_int_equal(ld_le32(info + 48), 2);
	assert_true(gm_read(vm->mem, GPA(ld_le64(info + 40)), map, sizeof(map)));
	assert_int_equal(ld_le64(map + 24), MiB(1));
	boot_close(b);
	put_file("k", elf, make_elf(elf, false));
	b = open_ok(vm, &c);
	assert_int_equal(stub_cpu_state.rip, KLOAD + 0x40);
	check_zero_page(vm);
	boot_close(b);
	tvm_free(vm);
}

static void test_multiboot(void **st)
{
	static uint8_t image[4096];
	uint32_t *h = (uint32_t *)(image + 64);
	struct vm *vm = new_vm();
	struct boot_config c;
	const char *mods[2];
	char mod[2][240];
	struct boot *b;
	uint8_t info[88], list[32], byte;

	put_file("m0", "first", 5);
	snprintf(mod[0], sizeof(mod[0]), "%s arg=1", path);
	put_file("m1", "second", 6);
	snprintf(mod[1], sizeof(mod[1]), "%s", path);
	mods[0] = mod[0], mods[1] = mod[1];
	for (unsigned i = 0; i < sizeof(image); i++)
		image[i] = i;
	h[0] = 0x1badb002, h[1] = 0x10003, h[2] = -(h[0] + h[1]);
	h[3] = MiB(2) + 64, h[4] = MiB(2), h[5] = 0, h[6] = MiB(2) + 8192, h[7] = MiB(2) + 0x123;
	put_file("k", image, sizeof(image));
	c = config(path);
	c.modules = mods;
	c.nmodules = 2;
	b = open_ok(vm, &c);
	assert_int_equal(stub_cpu_state.rip, MiB(2) + 0x123);
	assert_int_equal(stub_cpu_state.gpr[R_RAX], 0x2badb002);
	assert_true(gm_read(vm->mem, GPA(MiB(2) + 4095), &byte, 1));
	assert_int_equal(byte, 0xff);
	assert_true(gm_read(vm->mem, GPA(stub_cpu_state.gpr[R_RBX]), info, sizeof(info)));
	assert_int_equal(ld_le32(info + 20), 2);
	assert_true(gm_read(vm->mem, GPA(ld_le32(info + 24)), list, sizeof(list)));
	assert_int_equal(ld_le32(list), MiB(2) + 8192);
	assert_int_equal(ld_le32(list + 4) - ld_le32(list), 5);
	assert_true(gm_read(vm->mem, GPA(ld_le32(list + 16)), image, 6));
	assert_memory_equal(image, "second", 6);
	assert_true(gm_read(vm->mem, GPA(ld_le32(list + 8)), image, strlen(mod[0]) + 1));
	assert_string_equal((char *)image, mod[0]);
	boot_close(b);
	tvm_free(vm);
}

/* ---- Bad input ---- */

static void must_fail(struct vm *vm, const struct boot_config *c)
{
	struct err e = { 0 };
	struct boot *b = boot_open(vm, c, &e);

	if (b)
		boot_close(b);
	else
		assert_int_not_equal(e.msg[0], 0);
}

/* Cut off at every length, and with every byte of the headers changed: no crash. */
static void test_hostile(void **st)
{
	static uint8_t elf[8192], packed[8192], image[2][16384];
	size_t n = compress("gzip", elf, make_elf(elf, true), packed, 8000), len[2];
	struct vm *vm = new_vm();
	struct boot_config c;

	len[0] = make_bzimage(image[0], packed, n);
	memcpy(image[1], elf, len[1] = 0x200 + CODE_LEN);
	for (unsigned k = 0; k < 2; k++) {
		for (size_t cut = 1; cut < len[k]; cut += cut < 0x300 ? 7 : 131) {
			put_file("k", image[k], cut);
			c = config(path);
			must_fail(vm, &c);
		}
		for (unsigned i = 0; i < 0x280; i++) {
			static const uint8_t vals[] = { 0x00, 0x7f, 0xff };
			uint8_t old = image[k][i];

			for (unsigned v = 0; v < ARRAY_SIZE(vals); v++) {
				image[k][i] = vals[v];
				put_file("k", image[k], len[k]);
				must_fail(vm, &c);
			}
			image[k][i] = old;
		}
	}
	tvm_free(vm);
}

static void expect_error(const struct boot_config *c, const char *text)
{
	struct vm *vm = new_vm();
	struct err e = { 0 };
	struct boot *b = boot_open(vm, c, &e);

	assert_null(b);
	if (!strstr(e.msg, text))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, text);
	tvm_free(vm);
}

static void test_errors(void **st)
{
	static uint8_t elf[8192], big[3000];
	struct boot_config c = config("/nonexistent/kernel");
	char kernel[200];

	expect_error(&c, "cannot open /nonexistent/kernel: No such file");
	c.kernel = "/tmp";
	expect_error(&c, "a directory");
	put_file("k", "", 0);
	c.kernel = path;
	expect_error(&c, "empty");
	put_file("k", "this is a text file and not a kernel at all", 43);
	expect_error(&c, "is not a kernel");
	put_file("k", elf, make_elf(elf, false));
	strcpy(kernel, path);
	c.kernel = kernel;
	memset(big, 'a', sizeof(big) - 1);
	c.append = (char *)big;
	expect_error(&c, "the kernel takes 2047");
	c.append = NULL;
	snprintf(path, sizeof(path), "%s/huge", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(truncate(path, MiB(100)), 0);
	c.initrd = path;
	expect_error(&c, "does not fit into guest memory");
	c.initrd = NULL;
	c.kernel = path;
	assert_int_equal(truncate(path, GiB(2)), 0);
	expect_error(&c, "too large for a kernel");
}

/* ---- Sniffing ---- */

static void test_sniff(void **st)
{
	static uint8_t buf[0x9000];
	enum boot_kind k;
	struct err e = { 0 };

	put_file("s", buf, make_elf(buf, false));
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_KERNEL_ELF);
	memset(buf, 0, sizeof(buf));
	put_file("s", buf, sizeof(buf));
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_UNKNOWN);
	st_le16(buf + 510, 0xaa55);
	put_file("s", buf, 512);
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_DISK);
	memcpy(buf + 0x8001, "CD001", 5);
	put_file("s", buf, sizeof(buf));
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_ISO);
	memcpy(buf + 0x202, "HdrS", 4);
	put_file("s", buf, 0x206);
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_KERNEL_BZIMAGE);
	put_file("s", "QFI\xfb", 4);
	assert_true(boot_sniff(path, &k, &e) && k == BOOT_DISK);
	assert_false(boot_sniff("/tmp", &k, &e));
	assert_false(boot_sniff("/nonexistent", &k, &e));
}

/* Debian's kernel, compressed as Debian does it. */
static void test_debian(void **st)
{
	const char *k = getenv("HV_TEST_KERNEL") ? getenv("HV_TEST_KERNEL") : "build/guest/vmlinuz";
	struct boot_config c = config(k);
	struct vm *vm;
	struct boot *b;

	if (access(k, R_OK) != 0)
		skip();
	vm = tvm_new(MiB(256));
	assert_true(vm_set_engine(vm, &stub_cpu_ops, 1, NULL));
	c.ram_below_4g = MiB(255);
	b = open_ok(vm, &c);
	assert_int_equal(stub_cpu_state.rip, 0x1000000);
	check_zero_page(vm);
	boot_close(b);
	tvm_free(vm);
}

static int make_dir(void **st)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **st)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compressions), cmocka_unit_test(test_unknown_payload),
		cmocka_unit_test(test_again), cmocka_unit_test(test_pvh),
		cmocka_unit_test(test_multiboot), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_sniff),
		cmocka_unit_test(test_debian),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
