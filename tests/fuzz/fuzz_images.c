/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: VDI, VHD, VHDX and VMDK.  The first byte chooses format and
 * flags, the rest are patches (offset, value) to a small valid image, or the
 * text of a VMDK descriptor.  Checksums are made right again, so that what is
 * behind them is reached.  Opened, checked, exercised, closed; sanitizers judge.
 */
#include "fuzz.h"
#include "../../src/imgtool.h"

#include <stdlib.h>

#define MAX_INPUT 4096u
#define SIZE (3u << 20)

static const char *const formats[] = { "vdi", "vhd", "vhdx", "vmdk", "vmdk", "vhd" };
static struct {
	uint8_t *data;
	size_t len;
} base[ARRAY_SIZE(formats)];

static void make_base(unsigned i, const char *dir)
{
	char path[128];
	struct image_create c = { .path = path, .size = SIZE };
	static uint8_t buf[300000];
	struct iovec v = { buf, sizeof(buf) / 512 * 512 };
	struct image *im;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u.img", dir, i);
	if (i == 5)
		c.opt[c.nopt++] = (struct image_opt){ "subformat", "fixed" };
	if (i == 4)
		return;		/* the descriptor is the input */
	if (!image_create(image_format(formats[i], NULL), &c, NULL))
		abort();
	im = image_open(path, formats[i], 0, NULL);
	image_io(im, BLOCK_WRITE, 4096, v.iov_len, &v, 1);
	image_close(im);
	f = fopen(path, "rb");
	base[i].data = malloc(16u << 20);
	base[i].len = fread(base[i].data, 1, 16u << 20, f);
	fclose(f);
	image_create_undo(&c);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[] = "/tmp/hvrun-fuzz-XXXXXX";

	log_open("/dev/null");
	if (!mkdtemp(dir))
		abort();
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		make_base(i, dir);
	rmdir(dir);
	return 0;
}

/* The sum of a VHD structure, the CRC of a VHDX one. */
static void fix_sum(uint8_t *p, size_t n, size_t at)
{
	uint32_t sum = 0;

	st_be32(p + at, 0);
	for (size_t i = 0; i < n; i++)
		sum += p[i];
	st_be32(p + at, ~sum);
}

static void fix_crc(uint8_t *p, size_t n)
{
	st_le32(p + 4, 0);
	st_le32(p + 4, crc32c(0, p, n));
}

static void fix(const char *fmt, uint8_t *d, size_t len)
{
	if (!strcmp(fmt, "vhd")) {
		fix_sum(d, 512, 64);
		fix_sum(d + 512, 1024, 36);
		fix_sum(d + len - 512, 512, 64);
	} else if (!strcmp(fmt, "vhdx")) {
		fix_crc(d + 0x10000, 4096);
		fix_crc(d + 0x20000, 4096);
		fix_crc(d + 0x30000, 65536);
		fix_crc(d + 0x40000, 65536);
		if (!memcmp(d + (1 << 20), "loge", 4) && ld_le32(d + (1 << 20) + 8) <= 65536)
			fix_crc(d + (1 << 20), ld_le32(d + (1 << 20) + 8));
	}
}

static void exercise(struct image *im, uint32_t s)
{
	static uint8_t buf[16384];

	for (unsigned i = 0; i < 10 && im->size; i++) {
		uint64_t span = MIN(im->size, 8ull << 20) / 512, off, n;
		enum block_op op;

		s = s * 1664525 + 1013904223;
		off = span ? (s >> 4) % span * 512 : 0;
		n = MIN((uint64_t)sizeof(buf), im->size - off) & ~511ull;
		op = (enum block_op)(s >> 29) % 5;
		struct iovec v = { buf, n };

		if (n)
			image_io(im, op, off, n, op <= BLOCK_WRITE ? &v : NULL, op <= BLOCK_WRITE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned flags[] = { 0, BLOCK_DISCARD_ON, BLOCK_RDONLY, BLOCK_THROWAWAY,
					  IMAGE_LENIENT, IMAGE_LENIENT | BLOCK_RDONLY };
	struct fuzz_input in = { data, len };
	struct image_check c = { .repair = true };
	unsigned i, f;
	struct image *im;
	char path[64];
	uint8_t *d;
	int fd;

	if (len < 2 || len > MAX_INPUT)
		return 0;
	i = data[0] % ARRAY_SIZE(formats);
	f = flags[data[0] / ARRAY_SIZE(formats) % ARRAY_SIZE(flags)];
	fuzz_take(&in, 1);
	fd = fuzz_file(i == 4 ? in.p : NULL, i == 4 ? in.left : 0, base[i].data, base[i].len, path,
		       sizeof(path));
	if (fd < 0)
		return 0;
	d = base[i].len ? mmap(NULL, base[i].len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
	while (d && in.left) {
		uint64_t at = fuzz_take(&in, 3) % base[i].len, v = fuzz_take(&in, 4);

		/* mostly where the structures are */
		at = v & 1 ? at : at % (strcmp(formats[i], "vhdx") ? 4096 : 0x310000);
		if (at + 8 <= base[i].len)
			st_le32(d + at, (uint32_t)v);
	}
	if (d) {
		fix(formats[i], d, base[i].len);
		munmap(d, base[i].len);
	}
	im = image_open(path, formats[i], f | BLOCK_NO_LOCK, NULL);
	if (im && (f & IMAGE_LENIENT) && im->fmt->tool && im->fmt->tool->check)
		im->fmt->tool->check(im, &c, NULL);
	if (im)
		exercise(im, data[0] * 2654435761u + data[1]);
	/* A few sizes: inside the last block, past the table, tiny steps. */
	if (im && !(f & (BLOCK_RDONLY | IMAGE_LENIENT)) && im->fmt->tool &&
	    im->fmt->tool->resize && im->size < 1ull << 34) {
		im->fmt->tool->resize(im, im->size + (512ull << data[1] % 22), NULL);
		exercise(im, data[1]);
	}
	image_close(im);
	close(fd);
	return 0;
}
