/* SPDX-License-Identifier: MIT */
/*
 * Field tables to and from section streams; see state.h.
 *
 * Section: "HVS1" | u16 name length, name | u16 id length, id | u8 version |
 * u32 payload length | u32 CRC-32C of the payload | payload.  Fields follow
 * in table order, little-endian; booleans are one byte 0/1; a timer is one
 * byte armed + u64 deadline.
 */
#include "state.h"
#include "device.h"
#include <stdio.h>
#include <stdlib.h>

#define STATE_MAGIC 0x31535648u		/* "HVS1" */

static void put(struct state_buf *b, const void *p, size_t n)
{
	if (b->cap - b->len < n) {
		b->cap = (b->cap + n) * 2;
		b->data = realloc(b->data, b->cap);
		HV_BUG_ON(!b->data);
	}
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

void state_buf_free(struct state_buf *b)
{
	free(b->data);
	*b = (struct state_buf){ 0 };
}

static void put_timer(struct state_buf *out, const struct vtimer *t)
{
	uint8_t armed = vtimer_armed(t);
	uint64_t deadline = armed ? t->deadline : 0;

	put(out, &armed, 1);
	put(out, &deadline, 8);
}

static void put_fields(struct state_buf *out, const struct state_field *f, const void *obj)
{
	for (; f->kind != F_END; f++) {
		const uint8_t *p = (const uint8_t *)obj + f->off;

		for (uint32_t i = 0; i < f->count; i++, p += f->size) {
			if (f->kind == F_STRUCT)
				put_fields(out, f->sub, p);
			else if (f->kind == F_TIMER)
				put_timer(out, (const struct vtimer *)p);
			else
				put(out, p, f->size);
		}
	}
}

static void put_str(struct state_buf *out, const char *s)
{
	uint16_t n = (uint16_t)strlen(s);

	put(out, &n, 2);
	put(out, s, n);
}

void state_save(struct state_buf *out, const char *name, const char *id, uint8_t version,
		const struct state_field *tbl, const void *obj)
{
	struct state_buf body = { 0 };
	uint32_t magic = STATE_MAGIC, len, crc;

	put_fields(&body, tbl, obj);
	len = (uint32_t)body.len;
	crc = crc32c(0, body.data, body.len);
	put(out, &magic, 4);
	put_str(out, name);
	put_str(out, id);
	put(out, &version, 1);
	put(out, &len, 4);
	put(out, &crc, 4);
	put(out, body.data, body.len);
	state_buf_free(&body);
}

void state_save_device(struct state_buf *out, const struct device *d)
{
	if (d->ops->pre_save)
		d->ops->pre_save((struct device *)(uintptr_t)d);
	if (d->ops->state)
		state_save(out, d->ops->name, d->id, d->ops->state_version, d->ops->state, d);
}

struct reader {
	const uint8_t *p;
	size_t left;
};

static bool get(struct reader *r, void *dst, size_t n)
{
	if (n > r->left)
		return false;
	memcpy(dst, r->p, n);
	r->p += n;
	r->left -= n;
	return true;
}

static bool get_str(struct reader *r, const char *want)
{
	uint16_t n;

	if (!get(r, &n, 2) || n > r->left || n != strlen(want) || memcmp(r->p, want, n))
		return false;
	r->p += n;
	r->left -= n;
	return true;
}

static bool get_timer(struct reader *r, struct vtimer *t, bool apply)
{
	uint8_t armed;
	uint64_t deadline;

	if (!get(r, &armed, 1) || !get(r, &deadline, 8) || armed > 1)
		return false;
	if (apply && armed)
		vtimer_arm(t, deadline);
	else if (apply)
		vtimer_cancel(t);
	return true;
}

/* With @apply false only checks, so that a short section changes nothing. */
static bool get_fields(struct reader *r, const struct state_field *f, uint8_t version, void *obj,
		       bool apply)
{
	uint8_t scratch[8];

	for (; f->kind != F_END; f++) {
		uint8_t *p = (uint8_t *)obj + f->off;

		if (f->since > version)
			continue;
		for (uint32_t i = 0; i < f->count; i++, p += f->size) {
			bool ok;

			if (f->kind == F_STRUCT)
				ok = get_fields(r, f->sub, version, p, apply);
			else if (f->kind == F_TIMER)
				ok = get_timer(r, (struct vtimer *)p, apply);
			else
				ok = get(r, apply ? p : scratch, f->size);
			if (!ok)
				return false;
			if (f->kind == F_BOOL && (apply ? *p : scratch[0]) > 1)
				return false;
		}
	}
	return true;
}

static bool open_section(struct reader *r, const char *name, const char *id, uint8_t max_version,
			 uint8_t *version, struct reader *body, struct err *e)
{
	uint32_t magic, len, crc;

	if (!get(r, &magic, 4) || magic != STATE_MAGIC || !get_str(r, name) || !get_str(r, id))
		return err_set(e, HV_EXIT_IMAGE, "saved state: section %s/%s is missing", name, id);
	if (!get(r, version, 1) || !get(r, &len, 4) || !get(r, &crc, 4) || len > r->left)
		return err_set(e, HV_EXIT_IMAGE, "saved state: section %s/%s is cut short", name,
			       id);
	if (!*version || *version > max_version)
		return err_set(e, HV_EXIT_IMAGE, "saved state: %s/%s has unknown version %u", name,
			       id, *version);
	if (crc32c(0, r->p, len) != crc)
		return err_set(e, HV_EXIT_IMAGE, "saved state: %s/%s is damaged (checksum)", name,
			       id);
	*body = (struct reader){ r->p, len };
	r->p += len;
	r->left -= len;
	return true;
}

bool state_load(const char *name, const char *id, uint8_t version,
		const struct state_field *tbl, void *obj, const uint8_t *data, size_t len,
		size_t *pos, struct err *e)
{
	struct reader r = { data + *pos, len - *pos }, body, check;
	uint8_t got = 0;

	if (!open_section(&r, name, id, version, &got, &body, e))
		return false;
	check = body;
	if (!get_fields(&check, tbl, got, obj, false) || check.left)
		return err_set(e, HV_EXIT_IMAGE, "saved state: %s/%s has impossible contents", name,
			       id);
	HV_BUG_ON(!get_fields(&body, tbl, got, obj, true));
	*pos = len - r.left;
	return true;
}

bool state_load_device(struct device *d, const uint8_t *data, size_t len, size_t *pos,
		       struct err *e)
{
	if (!d->ops->state)
		return true;
	if (!state_load(d->ops->name, d->id, d->ops->state_version, d->ops->state, d, data, len,
			pos, e))
		return false;
	if (d->ops->post_load && !d->ops->post_load(d, e)) {
		d->ops->reset(d);
		return err_prefix(e, "saved state of %s/%s", d->ops->name, d->id);
	}
	return true;
}

static size_t dump_value(const struct state_field *f, const uint8_t *p, char *buf, size_t len)
{
	uint64_t v = 0;
	int n;

	if (f->kind == F_TIMER)
		v = vtimer_armed((const struct vtimer *)p) ? ((const struct vtimer *)p)->deadline
							   : 0;
	else
		memcpy(&v, p, MIN(f->size, 8u));
	n = snprintf(buf, len, "%#llx ", (unsigned long long)v);
	return n < 0 || (size_t)n >= len ? len : (size_t)n;
}

void state_dump(const struct state_field *tbl, const void *obj, char *buf, size_t len)
{
	size_t at = 0;

	for (; tbl->kind != F_END && at + 1 < len; tbl++) {
		const uint8_t *p = (const uint8_t *)obj + tbl->off;

		at += (size_t)snprintf(buf + at, len - at, "%s=", tbl->name);
		if (tbl->kind == F_STRUCT && at < len) {
			state_dump(tbl->sub, p, buf + at, len - at);
			at += strlen(buf + at);
			continue;
		}
		for (uint32_t i = 0; i < tbl->count && at + 1 < len; i++, p += tbl->size)
			at += dump_value(tbl, p, buf + at, len - at);
		if (at + 1 < len)
			buf[at - 1] = '\n';
	}
}
