/* SPDX-License-Identifier: MIT */
/*
 * Device state, declared once: field tables that drive save, load, the
 * reset test and the monitor dump.
 *
 * A device lists the fields of its struct in a state_field table; the macros
 * fail to compile when a field's C type changes.  A stream is a sequence of
 * sections {magic, name, id, version, length, CRC-32C, fields}; the reader
 * treats all of it as hostile.
 */
#ifndef HV_STATE_H
#define HV_STATE_H

#include "err.h"
#include "util.h"

struct device;

enum field_kind { F_END, F_U8, F_U16, F_U32, F_U64, F_BOOL, F_BYTES, F_TIMER, F_STRUCT };

struct state_field {
	const char *name;
	uint32_t off, size;	/* size of one element */
	uint32_t count;		/* array length; 1 for scalars */
	uint8_t kind, since;	/* since: section version that introduced the field */
	const struct state_field *sub;	/* F_STRUCT: table of the element */
};

#define STATE_ELEM_(T, m) (((T *)0)->m)
#define STATE_ROW_(T, m, ctype, k, ver) \
	{ .name = #m, .off = offsetof(T, m), \
	  .size = sizeof(ctype) + 0 * sizeof(char[_Generic(STATE_ELEM_(T, m), ctype: 1)]), \
	  .count = 1, .kind = (k), .since = (ver) }
#define STATE_ARR_(T, m, ctype, k, ver) \
	{ .name = #m, .off = offsetof(T, m), \
	  .size = sizeof(ctype) + 0 * sizeof(char[_Generic(STATE_ELEM_(T, m)[0], ctype: 1)]), \
	  .count = sizeof(STATE_ELEM_(T, m)) / sizeof(ctype), .kind = (k), .since = (ver) }

#define STATE_U8(T, m) STATE_ROW_(T, m, uint8_t, F_U8, 1)
#define STATE_U16(T, m) STATE_ROW_(T, m, uint16_t, F_U16, 1)
#define STATE_U32(T, m) STATE_ROW_(T, m, uint32_t, F_U32, 1)
#define STATE_U64(T, m) STATE_ROW_(T, m, uint64_t, F_U64, 1)
#define STATE_BOOL(T, m) STATE_ROW_(T, m, bool, F_BOOL, 1)
#define STATE_U8S(T, m) STATE_ARR_(T, m, uint8_t, F_BYTES, 1)
#define STATE_U16S(T, m) STATE_ARR_(T, m, uint16_t, F_U16, 1)
#define STATE_U32S(T, m) STATE_ARR_(T, m, uint32_t, F_U32, 1)
#define STATE_U64S(T, m) STATE_ARR_(T, m, uint64_t, F_U64, 1)
#define STATE_BOOLS(T, m) STATE_ARR_(T, m, bool, F_BOOL, 1)
/* struct vtimer: saved as armed flag + deadline relative to the virtual clock */
#define STATE_TIMER(T, m) STATE_ROW_(T, m, struct vtimer, F_TIMER, 1)
/* array of structs (or one struct as [1]) with a table of its own */
#define STATE_STRUCTS(T, m, tbl) \
	{ .name = #m, .off = offsetof(T, m), .size = sizeof(STATE_ELEM_(T, m)[0]), \
	  .count = sizeof(STATE_ELEM_(T, m)) / sizeof(STATE_ELEM_(T, m)[0]), \
	  .kind = F_STRUCT, .since = 1, .sub = (tbl) }
#define STATE_STRUCT(T, m, tbl) \
	{ .name = #m, .off = offsetof(T, m), .size = sizeof(STATE_ELEM_(T, m)), .count = 1, \
	  .kind = F_STRUCT, .since = 1, .sub = (tbl) }
#define STATE_END { .kind = F_END }

/* Growing output buffer; never fails short of memory exhaustion. */
struct state_buf {
	uint8_t *data;
	size_t len, cap;
};
void state_buf_free(struct state_buf *b);

/* Append one device's section. */
void state_save_device(struct state_buf *out, const struct device *d);
/*
 * Load one section at data[*pos..len) into @d, which must have the same ops
 * name and id; advances *pos.  On failure the device is unchanged unless its
 * post_load refused (then it has been reset).
 */
bool state_load_device(struct device *d, const uint8_t *data, size_t len, size_t *pos,
		       struct err *e);

/* The same for a bare struct (CPU state): name/id given. */
void state_save(struct state_buf *out, const char *name, const char *id, uint8_t version,
		const struct state_field *tbl, const void *obj);
bool state_load(const char *name, const char *id, uint8_t version,
		const struct state_field *tbl, void *obj, const uint8_t *data, size_t len,
		size_t *pos, struct err *e);

/* "name=value ..." lines of all fields into @buf (monitor, test failures). */
void state_dump(const struct state_field *tbl, const void *obj, char *buf, size_t len);

#endif
