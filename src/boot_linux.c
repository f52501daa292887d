/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage and the zero page (Documentation/arch/x86/boot.rst and
 * zero-page.rst, protocol 2.15).
 *
 * The compressed payload is unpacked on the host and the ELF inside entered
 * at its 64-bit entry point, which saves the guest the decompression.  Where
 * the payload is not understood, the image's own entry point does the work.
 */
#include "boot_int.h"
#include <stdio.h>

/* Setup header fields, as offsets in the file and in the zero page alike */
#define H_START 0x1f1
#define H_SETUP_SECTS 0x1f1
#define H_BOOT_FLAG 0x1fe
#define H_JUMP_LEN 0x201
#define H_MAGIC 0x202
#define H_VERSION 0x206
#define H_LOADER 0x210
#define H_LOADFLAGS 0x211
#define H_CODE32 0x214
#define H_RAMDISK 0x218
#define H_RAMDISK_LEN 0x21c
#define H_HEAP_END 0x224
#define H_CMDLINE 0x228
#define H_INITRD_MAX 0x22c
#define H_XLOADFLAGS 0x236
#define H_CMDLINE_SIZE 0x238
#define H_PAYLOAD 0x248
#define H_PAYLOAD_LEN 0x24c
#define H_PREF_ADDR 0x258
#define H_INIT_SIZE 0x260
#define H_END 0x290
/* Other zero page fields */
#define Z_SCREEN_MODE 0x006	/* screen_info (include/uapi/linux/screen_info.h) */
#define Z_SCREEN_COLS 0x007
#define Z_SCREEN_LINES 0x00e
#define Z_SCREEN_VGA 0x00f
#define Z_SCREEN_POINTS 0x010
#define Z_RSDP 0x070
#define Z_E820_COUNT 0x1e8
#define Z_E820 0x2d0
#define Z_SIZE 4096

#define LOADED_HIGH 0x01
#define CAN_USE_HEAP 0x80
#define XLF_KERNEL_64 0x01
#define ENTRY64_OFFSET 0x200
#define DEFAULT_INITRD_MAX 0x37ffffffu

static uint64_t initrd_limit(const uint8_t *z)
{
	uint32_t max = ld_le32(z + H_INITRD_MAX);

	return (uint64_t)(max ? max : DEFAULT_INITRD_MAX) + 1;
}

static void put_e820(const struct boot *b, uint8_t *z)
{
	for (unsigned i = 0; i < b->cfg.ne820; i++) {
		uint8_t *p = z + Z_E820 + 20 * i;

		st_le64(p, b->cfg.e820[i].addr);
		st_le64(p + 8, b->cfg.e820[i].len);
		st_le32(p + 16, b->cfg.e820[i].type);
	}
	z[Z_E820_COUNT] = b->cfg.ne820;
}

static void put_screen(const struct boot *b, uint8_t *z)
{
	if (!b->cfg.text_screen)
		return;
	z[Z_SCREEN_MODE] = 3;
	z[Z_SCREEN_COLS] = 80;
	z[Z_SCREEN_LINES] = 25;
	z[Z_SCREEN_VGA] = 1;
	z[Z_SCREEN_POINTS] = 16;
}

bool boot_linux_params(struct boot *b, const uint8_t *setup, size_t setup_len, struct err *e)
{
	const char *cmdline = b->cfg.append ? b->cfg.append : "";
	uint8_t z[Z_SIZE] = { 0 };
	uint64_t initrd;
	uint32_t max = 2047;

	if (setup) {
		memcpy(z + H_START, setup, MIN(setup_len, H_END - H_START));
	} else {
		st_le16(z + H_BOOT_FLAG, 0xaa55);
		memcpy(z + H_MAGIC, "HdrS", 4);
		st_le16(z + H_VERSION, 0x020c);
		st_le32(z + H_INITRD_MAX, 0x7fffffff);
		st_le32(z + H_CMDLINE_SIZE, max);
	}
	if (ld_le16(z + H_VERSION) >= 0x0206 && ld_le32(z + H_CMDLINE_SIZE))
		max = ld_le32(z + H_CMDLINE_SIZE);
	if (!boot_put_cmdline(b, cmdline, max, e) ||
	    !boot_put_initrd(b, initrd_limit(z), &initrd, e))
		return false;
	z[H_LOADER] = 0xff;
	z[H_LOADFLAGS] |= LOADED_HIGH | CAN_USE_HEAP;
	st_le16(z + H_HEAP_END, 0xfe00);
	st_le32(z + H_CMDLINE, BOOT_CMDLINE);
	st_le32(z + H_RAMDISK, initrd);
	st_le32(z + H_RAMDISK_LEN, initrd ? b->initrd.size : 0);
	st_le64(z + Z_RSDP, b->cfg.rsdp);
	put_e820(b, z);
	put_screen(b, z);
	return boot_put(b, BOOT_INFO, z, sizeof(z), e);
}

/* The image's own decompressor: protected-mode part where it wants to be. */
static bool load_whole(struct boot *b, const struct boot_buf *k, size_t setup_bytes,
		       struct err *e)
{
	const uint8_t *h = k->data;
	uint16_t version = ld_le16(h + H_VERSION);
	uint64_t at = version >= 0x020a ? ld_le64(h + H_PREF_ADDR) : MiB(1);
	uint64_t len = k->len - setup_bytes, need = len;

	if (version >= 0x020a)
		need = MAX(len, ld_le32(h + H_INIT_SIZE));
	if (!(h[H_LOADFLAGS] & LOADED_HIGH))
		return err_set(e, HV_EXIT_IMAGE, "%s is a zImage, which is too old to boot",
			       b->kernel.path);
	if (!boot_put_segment(b, at, h + setup_bytes, len, need, e))
		return false;
	b->entry = (struct boot_entry){ .rip = at, .rsi = BOOT_INFO };
	if (version >= 0x020c && ld_le16(h + H_XLOADFLAGS) & XLF_KERNEL_64) {
		b->entry.long_mode = true;
		b->entry.rip += ENTRY64_OFFSET;
	}
	return true;
}

/* *done: the payload was understood and is loaded. */
static bool load_payload(struct boot *b, const struct boot_buf *k, size_t setup_bytes,
			 bool *done, struct err *e)
{
	const uint8_t *h = k->data;
	uint64_t off = (uint64_t)setup_bytes + ld_le32(h + H_PAYLOAD);
	uint32_t len = ld_le32(h + H_PAYLOAD_LEN);
	struct boot_buf elf = { 0 };
	struct boot_elf info;
	bool ok = true;

	*done = false;
	if (ld_le16(h + H_VERSION) < 0x0208 || !len)
		return true;
	if (!range_ok(off, len, k->len))
		return err_set(e, HV_EXIT_IMAGE, "%s is cut off: it should have %llu bytes",
			       b->kernel.path, (unsigned long long)(off + len));
	if (!boot_unpack(h + off, len, &elf, e))
		return !e->msg[0];	/* unknown compression: let the image do it */
	if (boot_is_elf(&elf)) {
		ok = boot_elf_load(b, &elf, &info, e);
		*done = ok && info.is64;
		b->entry = (struct boot_entry){ .long_mode = true, .rip = info.entry,
						.rsi = BOOT_INFO };
	}
	boot_buf_free(&elf);
	return ok;
}

bool boot_load_bzimage(struct boot *b, const struct boot_buf *k, struct err *e)
{
	const uint8_t *h = k->data;
	size_t setup_bytes = ((h[H_SETUP_SECTS] ? h[H_SETUP_SECTS] : 4) + 1) * 512u;
	size_t hdr_end = H_MAGIC + (size_t)h[H_JUMP_LEN];
	bool done;

	if (k->len < H_END || k->len <= setup_bytes || hdr_end > k->len || hdr_end < H_CODE32)
		return err_set(e, HV_EXIT_IMAGE, "%s is cut off or not a Linux kernel",
			       b->kernel.path);
	if (!load_payload(b, k, setup_bytes, &done, e))
		return false;
	if (!done) {
		b->low = UINT64_MAX;
		b->high = 0;
		if (!load_whole(b, k, setup_bytes, e))
			return false;
	}
	/* init_size covers what the kernel uses before it knows the memory map. */
	if (ld_le16(h + H_VERSION) >= 0x020a)
		b->high = MAX(b->high, b->low + ld_le32(h + H_INIT_SIZE));
	return boot_linux_params(b, h + H_START, hdr_end - H_START, e);
}
