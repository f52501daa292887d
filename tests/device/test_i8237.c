/* SPDX-License-Identifier: MIT */
/*
 * The ISA DMA controllers through their ports, with a device of the test on a
 * channel; names in quotes are sections of the Intel 8237A data sheet 231466.
 */
#include "../../devices/i8237.h"
#include "../lib/testvm.h"

static struct vm *vm;
static struct device *dma;
static unsigned grants;
static uint8_t dev_buf[256];
static size_t dev_len, dev_done;
static bool dev_to_mem, dev_tc;
static unsigned dev_chan;

static void granted(void *opaque)
{
	grants++;
	if (dev_done == dev_len)
		return;
	dev_done += dev_to_mem ?
		isa_dma_to_memory(dma, dev_chan, dev_buf + dev_done, dev_len - dev_done, &dev_tc) :
		isa_dma_from_memory(dma, dev_chan, dev_buf + dev_done, dev_len - dev_done, &dev_tc);
}

static void wire(struct device *d)
{
	isa_dma_attach(d, 2, (struct isa_dma_peer){ granted, NULL });
	isa_dma_attach(d, 5, (struct isa_dma_peer){ granted, NULL });
}

static int setup(void **state)
{
	grants = 0;
	dev_done = dev_len = 0;
	dev_tc = false;
	vm = tvm_new(MiB(1));
	dma = tvm_add(vm, &i8237_ops, "dma", wire);
	tvm_outb(vm, 0xd6, 0xc0);	/* channel 4: cascade */
	tvm_outb(vm, 0xd4, 0x00);	/* and let through */
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

static void program(unsigned mode, uint32_t addr, uint16_t count)
{
	tvm_outb(vm, 0x0a, 4 | 2);
	tvm_outb(vm, 0x0c, 0);
	tvm_outb(vm, 0x0b, (uint8_t)(mode | 2));
	tvm_outb(vm, 0x04, (uint8_t)addr);
	tvm_outb(vm, 0x04, (uint8_t)(addr >> 8));
	tvm_outb(vm, 0x81, (uint8_t)(addr >> 16));
	tvm_outb(vm, 0x05, (uint8_t)count);
	tvm_outb(vm, 0x05, (uint8_t)(count >> 8));
	tvm_outb(vm, 0x0a, 2);
}

static void request(unsigned chan, bool to_mem, size_t len)
{
	dev_chan = chan;
	dev_to_mem = to_mem;
	dev_len = len;
	dev_done = 0;
	vm_lock(vm);
	isa_dma_request(dma, chan, true);
	vm_unlock(vm);
}

static void drop(unsigned chan)
{
	vm_lock(vm);
	isa_dma_request(dma, chan, false);
	vm_unlock(vm);
}

static unsigned word_at(uint16_t port)
{
	unsigned lo;

	tvm_outb(vm, 0x0c, 0);
	lo = tvm_inb(vm, port);
	return lo | (unsigned)tvm_inb(vm, port) << 8;
}

static void fill(void)
{
	for (unsigned i = 0; i < sizeof(dev_buf); i++)
		dev_buf[i] = (uint8_t)(i * 7 + 1);
}

static uint8_t mem(uint64_t at)
{
	uint8_t v = 0;

	assert_true(gm_read(vm->mem, GPA(at), &v, 1));
	return v;
}

/* "Write Transfer", "Terminal Count": count + 1 bytes, mask set, status bit until it is read. */
static void test_single(void **state)
{
	fill();
	program(0x44, 0x21000, 99);
	request(2, true, 256);
	assert_int_equal(dev_done, 100);
	assert_true(dev_tc);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(mem(0x21000 + i), dev_buf[i]);
	assert_int_equal(mem(0x21000 + 100), 0);
	assert_int_equal(word_at(0x05), 0xffff);
	assert_int_equal(word_at(0x04), 0x1064);
	assert_int_equal(tvm_inb(vm, 0x08), 0x44);	/* TC and DREQ of channel 2 */
	assert_int_equal(tvm_inb(vm, 0x08), 0x40);
	assert_int_equal(tvm_inb(vm, 0x0f) & 4, 4);
	drop(2);
	assert_int_equal(tvm_inb(vm, 0x08), 0);
}

/* "Read Transfer": a device that takes less goes on where it was. */
static void test_demand(void **state)
{
	uint8_t data[64];

	for (unsigned i = 0; i < 64; i++)
		data[i] = (uint8_t)(0xc0 + i);
	assert_true(gm_write(vm->mem, GPA(0x30010), data, 64));
	program(0x08, 0x30010, 63);
	request(2, false, 40);
	assert_int_equal(dev_done, 40);
	assert_false(dev_tc);
	assert_int_equal(word_at(0x05), 23);
	assert_memory_equal(dev_buf, data, 40);
	drop(2);
	request(2, false, 40);
	assert_int_equal(dev_done, 24);
	assert_true(dev_tc);
	assert_memory_equal(dev_buf, data + 40, 24);
}

/* "Autoinitialize": the base registers come back, the mask stays clear. */
static void test_autoinit(void **state)
{
	fill();
	program(0x54, 0x40000, 9);
	request(2, true, 10);
	assert_true(dev_tc);
	assert_int_equal(word_at(0x05), 9);
	assert_int_equal(word_at(0x04), 0);
	assert_int_equal(tvm_inb(vm, 0x0f) & 4, 0);
	drop(2);
	memset(dev_buf, 0x5a, 10);
	request(2, true, 10);
	assert_int_equal(mem(0x40009), 0x5a);
}

/* "Verify": addresses and count run, memory stays. */
static void test_verify(void **state)
{
	fill();
	program(0x40, 0x50000, 49);
	request(2, true, 256);
	assert_int_equal(dev_done, 50);
	assert_true(dev_tc);
	assert_int_equal(mem(0x50000), 0);
}

/* Mode bit 5: downwards. */
static void test_decrement(void **state)
{
	fill();
	program(0x64, 0x5000f, 15);
	request(2, true, 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(mem(0x5000f - i), dev_buf[i]);
	assert_int_equal(word_at(0x04), 0xffff);
}

/* 16 address bits: a transfer wraps inside its 64 KiB page. */
static void test_wrap(void **state)
{
	fill();
	program(0x44, 0x6fffe, 3);
	request(2, true, 4);
	assert_int_equal(mem(0x6fffe), dev_buf[0]);
	assert_int_equal(mem(0x6ffff), dev_buf[1]);
	assert_int_equal(mem(0x60000), dev_buf[2]);
	assert_int_equal(mem(0x60001), dev_buf[3]);
	assert_int_equal(mem(0x70000), 0);
}

/* The wrong direction, a masked channel, a closed cascade, a disabled chip: nothing moves. */
static void test_not_served(void **state)
{
	program(0x48, 0x20000, 9);
	request(2, true, 10);
	assert_int_equal(dev_done, 0);
	drop(2);
	program(0x44, 0x20000, 9);
	tvm_outb(vm, 0x0a, 6);
	request(2, true, 10);
	assert_int_equal(dev_done, 0);
	tvm_outb(vm, 0xd4, 4);
	tvm_outb(vm, 0x0a, 2);
	assert_int_equal(dev_done, 0);
	tvm_outb(vm, 0x08, 4);
	tvm_outb(vm, 0xd4, 0);
	assert_int_equal(dev_done, 0);
	grants = 0;
	tvm_outb(vm, 0x08, 0);		/* the device that waits is told */
	assert_int_equal(grants, 1);
	assert_int_equal(dev_done, 10);
}

/* Channels 5-7 move words; page bit 0 is not wired ("DMA Page Registers", AT reference). */
static void test_words(void **state)
{
	fill();
	tvm_outb(vm, 0xd8, 0);
	tvm_outb(vm, 0xd6, 0x45);
	tvm_outb(vm, 0xc4, 0x00);
	tvm_outb(vm, 0xc4, 0x08);
	tvm_outb(vm, 0x8b, 0x03);
	tvm_outb(vm, 0xc6, 0x07);
	tvm_outb(vm, 0xc6, 0x00);
	tvm_outb(vm, 0xd4, 1);
	request(5, true, 256);
	assert_int_equal(dev_done, 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(mem(0x21000 + i), dev_buf[i]);
	assert_int_equal(tvm_inb(vm, 0xd0) & 2, 2);
}

/* "Clear First/Last Flip-Flop", "Master Clear", "Clear Mask Register", page registers. */
static void test_registers(void **state)
{
	tvm_outb(vm, 0x0c, 0);
	tvm_outb(vm, 0x00, 0x34);
	tvm_outb(vm, 0x00, 0x12);
	assert_int_equal(word_at(0x00), 0x1234);
	tvm_outb(vm, 0x0d, 0);
	assert_int_equal(tvm_inb(vm, 0x0f) & 15, 15);
	tvm_outb(vm, 0x0e, 0);
	assert_int_equal(tvm_inb(vm, 0x0f) & 15, 0);
	tvm_outb(vm, 0x0f, 5);
	assert_int_equal(tvm_inb(vm, 0x0f) & 15, 5);
	for (unsigned i = 0; i < 16; i++)
		tvm_outb(vm, (uint16_t)(0x80 + i), (uint8_t)(0xa0 + i));
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(tvm_inb(vm, (uint16_t)(0x80 + i)), 0xa0 + i);
	tvm_outb(vm, 0x01, 0x05);
	tvm_outb(vm, 0x01, 0x00);
	tvm_outb(vm, 0x0b, 0x84);
	tvm_outb(vm, 0x09, 4);		/* "Software Requests": block mode, to the end */
	assert_int_equal(tvm_inb(vm, 0x08) & 1, 1);
	assert_int_equal(word_at(0x01), 0xffff);
}

/* Memory that is not there: the machine goes on. */
static void test_no_memory(void **state)
{
	program(0x44, 0xff0000, 9);
	request(2, true, 10);
	assert_true(dev_tc);
	drop(2);
	program(0x48, 0xff0000, 9);
	request(2, false, 10);
	assert_int_equal(dev_buf[0], 0xff);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	dma = d;
	dev_len = dev_done = 0;
	program(0x58, 0x12345, 77);
	tvm_outb(v, 0x05, 9);
	tvm_outb(v, 0x09, 5);
	tvm_outb(v, 0xc0, 1);
	tvm_outb(v, 0xd6, 0xc0);
	tvm_outb(v, 0x08, 4);
	tvm_outb(v, 0x09, 7);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&i8237_ops, NULL, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&i8237_ops, NULL, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_single), T(test_demand), T(test_autoinit), T(test_verify),
		T(test_decrement), T(test_wrap), T(test_not_served), T(test_words),
		T(test_registers), T(test_no_memory), cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
