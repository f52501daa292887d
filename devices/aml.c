/* SPDX-License-Identifier: MIT */
/* AML encoding; see aml.h.  Section numbers are those of ACPI 6.5. */
#include "aml.h"
#include <stdlib.h>

void aml_free(struct aml *a)
{
	free(a->buf);
	memset(a, 0, sizeof(*a));
}

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->len + n > a->cap) {
		size_t cap = (a->len + n) * 2;
		uint8_t *bigger = hv_zalloc(cap);

		if (a->len)
			memcpy(bigger, a->buf, a->len);
		free(a->buf);
		a->buf = bigger;
		a->cap = cap;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

void aml_le(struct aml *a, uint64_t v, unsigned nbytes)
{
	uint8_t raw[8];

	st_le64(raw, v);
	aml_bytes(a, raw, nbytes);
}

static void name_seg(struct aml *a, const char *s, size_t n)
{
	char seg[4] = { '_', '_', '_', '_' };

	HV_BUG_ON(!n || n > 4);
	memcpy(seg, s, n);
	aml_bytes(a, seg, 4);
}

/* 20.2.2 */
void aml_path(struct aml *a, const char *path)
{
	unsigned segs = 1;

	if (*path == '\\')
		aml_byte(a, *path++);
	for (const char *p = path; *p; p++)
		segs += *p == '.';
	if (segs == 2) {
		aml_byte(a, 0x2e);
	} else if (segs > 2) {
		aml_byte(a, 0x2f);
		aml_byte(a, segs);
	}
	while (*path) {
		size_t n = strcspn(path, ".");

		name_seg(a, path, n);
		path += n + (path[n] == '.');
	}
}

/* 20.2.3 */
void aml_int(struct aml *a, uint64_t v)
{
	static const uint8_t prefix[9] = { 0, 0x0a, 0x0b, 0, 0x0c, 0, 0, 0, 0x0e };
	unsigned n = v > UINT32_MAX ? 8 : v > UINT16_MAX ? 4 : v > UINT8_MAX ? 2 : 1;

	if (v <= 1) {
		aml_byte(a, v);
		return;
	}
	aml_byte(a, prefix[n]);
	aml_le(a, v, n);
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, 0x0d);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hexval(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* 19.3.4: compressed, as a big-endian dword. */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
		     (uint32_t)(id[2] - 0x40) << 16;

	for (unsigned i = 0; i < 4; i++)
		v |= hexval(id[3 + i]) << (12 - 4 * i);
	aml_byte(a, 0x0c);
	aml_le(a, __builtin_bswap32(v), 4);
}

size_t aml_begin(struct aml *a)
{
	return a->len;
}

/* 20.2.4: the length counts its own bytes. */
void aml_end(struct aml *a, size_t start)
{
	size_t body = a->len - start, n = body + 1 < 64 ? 1 : body + 2 < 1u << 12 ? 2 : 3;
	size_t total = body + n;
	uint8_t enc[3];

	if (n == 1) {
		enc[0] = total;
	} else {
		enc[0] = (n - 1) << 6 | (total & 15);
		enc[1] = total >> 4;
		enc[2] = total >> 12;
	}
	HV_BUG_ON(total >= 1u << 20);
	aml_bytes(a, enc, n);	/* makes room */
	memmove(a->buf + start + n, a->buf + start, body);
	memcpy(a->buf + start, enc, n);
}

void aml_op2(struct aml *a, const char *two)
{
	aml_bytes(a, two, 2);
}

size_t aml_scope(struct aml *a, const char *path)
{
	size_t s;

	aml_byte(a, 0x10);
	s = aml_begin(a);
	aml_path(a, path);
	return s;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t s;

	aml_op2(a, "\x5b\x82");
	s = aml_begin(a);
	aml_path(a, name);
	return s;
}

size_t aml_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
	size_t s;

	aml_byte(a, 0x14);
	s = aml_begin(a);
	aml_path(a, name);
	aml_byte(a, args | (serialized ? 8 : 0));
	return s;
}

size_t aml_package(struct aml *a, unsigned n)
{
	size_t s;

	aml_byte(a, 0x12);
	s = aml_begin(a);
	aml_byte(a, n);
	return s;
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, 0x08);
	aml_path(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
	aml_name(a, name);
	aml_int(a, v);
}

void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	aml_name(a, name);
	aml_eisaid(a, id);
}

void aml_buffer(struct aml *a, const void *p, size_t n)
{
	size_t s;

	aml_byte(a, 0x11);
	s = aml_begin(a);
	aml_int(a, n);
	aml_bytes(a, p, n);
	aml_end(a, s);
}

/* Buffer(size) { ... }: the size is patched at the end, as a word. */
size_t aml_res_begin(struct aml *a)
{
	size_t s;

	aml_byte(a, 0x11);
	s = aml_begin(a);
	aml_byte(a, 0x0b);
	aml_le(a, 0, 2);
	return s;
}

void aml_res_end(struct aml *a, size_t start)
{
	aml_le(a, 0x0079, 2);	/* end tag, checksum 0 = not computed (6.4.2.9) */
	st_le16(a->buf + start + 1, a->len - start - 3);
	aml_end(a, start);
}

/* 6.4.2.5: fixed range, 16-bit decode */
void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1);
	aml_le(a, base, 2);
	aml_le(a, base, 2);
	aml_byte(a, 1);
	aml_byte(a, len);
}

/* 6.4.2.1, short form without flags */
void aml_res_irq(struct aml *a, unsigned irq)
{
	aml_byte(a, 0x22);
	aml_le(a, 1u << irq, 2);
}

/* 6.4.2.2 */
void aml_res_dma(struct aml *a, unsigned chan)
{
	aml_byte(a, 0x2a);
	aml_byte(a, 1u << chan);
	aml_byte(a, 0x00);
}

/* 6.4.3.4 */
void aml_res_memory(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, 0x86);
	aml_le(a, 9, 2);
	aml_byte(a, 1);
	aml_le(a, base, 4);
	aml_le(a, len, 4);
}

/* 6.4.3.5 */
void aml_res_window(struct aml *a, unsigned type, unsigned width, uint64_t min, uint64_t max)
{
	static const uint8_t tag[9] = { [2] = 0x88, [4] = 0x87, [8] = 0x8a };
	static const uint8_t flags[3] = { 1 /* read-write */, 3 /* entire range */, 0 };

	aml_byte(a, tag[width]);
	aml_le(a, 3 + 5 * width, 2);
	aml_byte(a, type);
	aml_byte(a, 0x0c);	/* producer, positive decode, min and max fixed */
	aml_byte(a, flags[type]);
	aml_le(a, 0, width);
	aml_le(a, min, width);
	aml_le(a, max, width);
	aml_le(a, 0, width);
	aml_le(a, max - min + 1, width);
}

/* 6.4.3.6 */
void aml_res_interrupts(struct aml *a, const uint32_t *irqs, unsigned n)
{
	aml_byte(a, 0x89);
	aml_le(a, 2 + 4 * n, 2);
	aml_byte(a, 0x09);	/* consumer, level, active high, shared */
	aml_byte(a, n);
	for (unsigned i = 0; i < n; i++)
		aml_le(a, irqs[i], 4);
}
