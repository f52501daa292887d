/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer and the few AML encodings (ACPI 6.5 chapter 20) that
 * a PC's DSDT needs.  Constructs with a package length are opened with
 * aml_begin() and closed with aml_end(), which inserts the length.
 */
#ifndef HV_AML_H
#define HV_AML_H

#include "../src/util.h"

struct aml {
	uint8_t *buf;
	size_t len, cap;
};

void aml_free(struct aml *a);
void aml_bytes(struct aml *a, const void *p, size_t n);
void aml_byte(struct aml *a, uint8_t v);
void aml_le(struct aml *a, uint64_t v, unsigned nbytes);

/* NameString: "\\_SB_.PCI0", "PCI0", each segment up to 4 letters (padded with _). */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);	/* shortest encoding */
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id);	/* "PNP0A03" */

size_t aml_begin(struct aml *a);		/* after the opcode bytes */
void aml_end(struct aml *a, size_t start);

size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned args, bool serialized);
size_t aml_package(struct aml *a, unsigned n);
void aml_name(struct aml *a, const char *name);		/* Name(name, ...object follows) */
void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_eisaid(struct aml *a, const char *name, const char *id);
void aml_op2(struct aml *a, const char *two);	/* two-byte (extended) opcode */

void aml_buffer(struct aml *a, const void *p, size_t n);	/* at most 255 bytes */

/* Resource templates (6.4): between res_begin and res_end; the latter adds the end tag. */
size_t aml_res_begin(struct aml *a);
void aml_res_end(struct aml *a, size_t start);
void aml_res_io(struct aml *a, uint16_t base, uint8_t len);
void aml_res_irq(struct aml *a, unsigned irq);	/* edge, high, exclusive */
/* Fixed 32-bit memory range, read-write. */
void aml_res_memory(struct aml *a, uint32_t base, uint32_t len);
void aml_res_dma(struct aml *a, unsigned chan);	/* compatibility timing, 8 bits */
/* Address space window; @type 0 memory, 1 I/O, 2 bus numbers; width in bytes 2, 4, 8. */
void aml_res_window(struct aml *a, unsigned type, unsigned width, uint64_t min, uint64_t max);
/* Extended interrupt: level, active high, shared. */
void aml_res_interrupts(struct aml *a, const uint32_t *irqs, unsigned n);

#endif
