/* SPDX-License-Identifier: MIT */
/* Private to src/boot*.c: what the loaders share. */
#ifndef HV_BOOT_INT_H
#define HV_BOOT_INT_H

#include "boot.h"
#include "vm.h"

/*
 * Places in conventional memory.  Nothing else is there: no firmware ran.
 * The pages from BOOT_PAGES on map 4 GiB one to one.
 */
#define BOOT_GDT 0x0500u
#define BOOT_STACK 0x6ff0u
#define BOOT_INFO 0x7000u	/* zero page, start info or multiboot information */
#define BOOT_PAGES 0x9000u	/* PML4, PDPT, 4 page directories */
#define BOOT_LISTS 0x10000u	/* memory map and module lists, to 0x1ffff */
#define BOOT_CMDLINE 0x20000u
#define BOOT_CMDLINE_MAX 0x10000u
#define BOOT_STRINGS 0x30000u	/* module strings, 64 KiB */
#define BOOT_LOW_END MiB(1)	/* files are never placed below */

/* Host-side copy of a file or of its decompressed contents. */
struct boot_buf {
	uint8_t *data;
	size_t len;
	size_t mapped;		/* != 0: mmap, bytes */
};
void boot_buf_free(struct boot_buf *b);

struct boot_file {
	int fd;
	const char *path;
	uint64_t size;
};
bool boot_file_open(struct boot_file *f, const char *path, struct err *e);
bool boot_file_read(const struct boot_file *f, struct boot_buf *out, struct err *e);

/* How the first processor starts. */
struct boot_entry {
	bool long_mode;		/* else 32-bit protected mode without paging */
	uint64_t rip, rax, rbx, rsi;
};

struct boot {
	struct vm *vm;
	struct boot_config cfg;
	struct boot_file kernel, initrd, modules[BOOT_MAX_MODULES];
	const char *module_args[BOOT_MAX_MODULES];
	char *module_paths[BOOT_MAX_MODULES];
	bool fresh;		/* guest memory still holds what boot_open() put there */
	bool zeroed;		/* guest memory was never used: no need to clear */
	uint64_t low, high;	/* extent of the loaded kernel */
	struct boot_entry entry;
};

/* Decompress by content.  false with e->msg empty: unknown format. */
bool boot_unpack(const uint8_t *in, size_t n, struct boot_buf *out, struct err *e);

/* Guest memory, with errors for the user. */
bool boot_put(struct boot *b, uint64_t at, const void *src, size_t len, struct err *e);
bool boot_clear(struct boot *b, uint64_t at, uint64_t len, struct err *e);
/* File contents to @at. */
bool boot_put_file(struct boot *b, uint64_t at, const struct boot_file *f, struct err *e);
/* Segment of a kernel: checks its place, copies, clears the rest, widens low/high. */
bool boot_put_segment(struct boot *b, uint64_t at, const uint8_t *src, uint64_t file_len,
		      uint64_t mem_len, struct err *e);
bool boot_put_cmdline(struct boot *b, const char *s, uint32_t max, struct err *e);
/* Place the initrd below @limit and above the kernel; *at = 0 without one. */
bool boot_put_initrd(struct boot *b, uint64_t limit, uint64_t *at, struct err *e);

/* Loaders: fill b->entry and memory. */
bool boot_load_bzimage(struct boot *b, const struct boot_buf *k, struct err *e);
bool boot_load_elf(struct boot *b, const struct boot_buf *k, struct err *e);
bool boot_load_multiboot(struct boot *b, const struct boot_buf *k, uint32_t hdr, struct err *e);

/* Linux zero page; @setup: bytes of the setup header at 0x1f1, may be NULL. */
bool boot_linux_params(struct boot *b, const uint8_t *setup, size_t setup_len, struct err *e);

/* ELF (32 or 64 bit, x86): load every PT_LOAD at its physical address. */
struct boot_elf {
	bool is64;
	uint64_t entry;		/* physical */
	bool has_pvh;
	uint32_t pvh_entry;
};
bool boot_elf_load(struct boot *b, const struct boot_buf *k, struct boot_elf *elf, struct err *e);
bool boot_is_elf(const struct boot_buf *k);
/* Offset of a multiboot v1 header; false: none. */
bool boot_find_multiboot(const uint8_t *p, size_t n, uint32_t *off);

#endif
