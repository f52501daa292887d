/* SPDX-License-Identifier: MIT */
/* fw_cfg through its ports and its DMA interface (QEMU docs/specs/fw_cfg). */
#include "../lib/testvm.h"
#include "../../devices/fwcfg.h"

static struct vm *vm;

static void add_items(struct device *d)
{
	fwcfg_add_file(d, "etc/one", "hello", 5);
	fwcfg_add_file(d, "etc/two", "\1\2\3", 3);
	fwcfg_add_u16(d, FWCFG_NB_CPUS, 7);
}

static int setup(void **st)
{
	vm = tvm_new(MiB(4));
	add_items(tvm_add(vm, &fwcfg_ops, "fw", NULL));
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

static void test_ports(void **st)
{
	tvm_outw(vm, 0x510, 0);
	assert_int_equal(tvm_inb(vm, 0x511), 'Q');
	assert_int_equal(tvm_inb(vm, 0x511), 'E');
	tvm_outw(vm, 0x510, FWCFG_NB_CPUS);
	assert_int_equal(tvm_inb(vm, 0x511), 7);
	assert_int_equal(tvm_inb(vm, 0x511), 0);
	assert_int_equal(tvm_inb(vm, 0x511), 0);	/* past the end */
	tvm_outw(vm, 0x510, 1);
	assert_int_equal(tvm_inb(vm, 0x511), 3);	/* traditional and DMA */
	tvm_outw(vm, 0x510, 0x7777);
	assert_int_equal(tvm_inb(vm, 0x511), 0);
}

static uint32_t dma(uint32_t control, uint32_t len, uint64_t addr)
{
	uint8_t d[16], out[4] = { 0 };

	st_be32(d, control);
	st_be32(d + 4, len);
	st_be64(d + 8, addr);
	assert_true(gm_write(vm->mem, GPA(0x1000), d, sizeof(d)));
	tvm_outl(vm, 0x518, __builtin_bswap32(0x1000));
	assert_true(gm_read(vm->mem, GPA(0x1000), out, 4));
	return ld_be32(out);
}

static void test_dma(void **st)
{
	uint8_t dir[4 + 128], buf[16];

	assert_int_equal(tvm_inl(vm, 0x514), __builtin_bswap32(0x51454d55));
	assert_int_equal(tvm_inl(vm, 0x518), __builtin_bswap32(0x20434647));
	assert_int_equal(dma(0x19u << 16 | 8 | 2, sizeof(dir), 0x2000), 0);
	assert_true(gm_read(vm->mem, GPA(0x2000), dir, sizeof(dir)));
	assert_int_equal(ld_be32(dir), 2);
	assert_int_equal(ld_be32(dir + 4), 5);
	assert_string_equal((char *)dir + 12, "etc/one");
	/* Select, skip, read on: the zeros after the end come, too. */
	assert_int_equal(dma((uint32_t)ld_be16(dir + 8) << 16 | 8 | 4, 2, 0), 0);
	memset(buf, 0xff, sizeof(buf));
	assert_true(gm_write(vm->mem, GPA(0x3000), buf, sizeof(buf)));
	assert_int_equal(dma(2, 8, 0x3000), 0);
	assert_true(gm_read(vm->mem, GPA(0x3000), buf, sizeof(buf)));
	assert_memory_equal(buf, "llo\0\0\0\0\0\xff", 9);
}

/* Bad addresses and lengths end with the error bit, and nothing else. */
static void test_dma_hostile(void **st)
{
	assert_int_equal(dma(0x20u << 16 | 8 | 2, 5, 0xfffffffffffffff0ull), 1);
	assert_int_equal(dma(0x20u << 16 | 8 | 2, 0xffffffff, 0x2000), 1);
	assert_int_equal(dma(0x20u << 16 | 8 | 16, 5, 0x2000), 1);	/* write */
	assert_int_equal(dma(0x20u << 16 | 8 | 4, 0xffffffff, 0), 0);	/* skip far */
	assert_int_equal(tvm_inb(vm, 0x511), 0);
	tvm_outl(vm, 0x514, 0xffffffff);
	tvm_outl(vm, 0x518, 0xffffffff);	/* descriptor nowhere */
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	tvm_outw(v, 0x510, 0);
	tvm_inb(v, 0x511);
	tvm_outl(v, 0x514, 0x11);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&fwcfg_ops, NULL, poke);
	tvm_check_reset(&fwcfg_ops, NULL, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ports), T(test_dma), T(test_dma_hostile), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
