/* SPDX-License-Identifier: MIT */
/* The text descriptor of a VMDK: keys, extents and the files they name. */
#include "vmdk_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool value(const char *line, const char *key, char *out, size_t n)
{
	size_t k = strlen(key), len;
	const char *v;

	if (strncasecmp(line, key, k))
		return false;
	v = line + k + strspn(line + k, " \t");
	if (*v++ != '=')
		return false;
	v += strspn(v, " \t\"");
	len = strcspn(v, "\"\r\n");
	snprintf(out, n, "%.*s", (int)MIN(len, n - 1), v);
	return true;
}

static bool add_extent(struct vmdk *v, uint64_t sectors, const char *type, const char *name,
		       uint64_t off, bool rdonly, struct err *e)
{
	struct image *im = v->im;
	uint64_t base = v->n ? v->ext[v->n - 1].base + v->ext[v->n - 1].size : 0, size;
	struct vmdk_extent *x = realloc(v->ext, (v->n + 1) * sizeof(*x));

	if (!x)
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", im->path);
	v->ext = x;
	x = &v->ext[v->n];
	*x = (struct vmdk_extent){ .base = base, .size = sectors * VMDK_SECTOR,
				   .flat_off = off * VMDK_SECTOR };
	hf_init(&x->own, -1, false);
	if (v->n >= VMDK_MAX_EXTENTS || !sectors || sectors > IMAGE_MAX_SIZE / VMDK_SECTOR ||
	    base + x->size > IMAGE_MAX_SIZE || off > IMAGE_MAX_SIZE / VMDK_SECTOR)
		return err_set(e, HV_EXIT_IMAGE, "%s: damaged VMDK: extent %u is impossible",
			       im->path, v->n);
	v->n++;
	if (!strcmp(type, "ZERO")) {
		x->kind = VMDK_ZERO;
		return true;
	}
	x->kind = strcmp(type, "SPARSE") ? VMDK_FLAT : VMDK_SPARSE;
	if (x->kind == VMDK_FLAT && strcmp(type, "FLAT"))
		return err_set(e, HV_EXIT_IMAGE, "%s: VMDK extents of type %.32s are not supported",
			       im->path, type);
	if (strchr(name, '\\'))
		return err_set(e, HV_EXIT_IMAGE, "%s: its extent '%.128s' is not in the same "
			       "directory", im->path, name);
	x->own.fd = image_open_part(im, name, rdonly || (im->flags & BLOCK_RDONLY), e);
	x->own.no_sync = im->file.no_sync;
	if (x->own.fd < 0)
		return false;
	if (x->kind == VMDK_FLAT && (hf_size(&x->own, &size) ||
				     !range_ok(x->flat_off, x->size, (size + 511) & ~511ull)))
		return err_set(e, HV_EXIT_IMAGE, "%s: truncated: its extent '%.128s' is too short",
			       im->path, name);
	return true;
}

/* RW 4192256 SPARSE "name.vmdk" [offset] */
static bool extent_line(struct vmdk *v, const char *line, struct err *e)
{
	char access[16], type[16], name[512] = "";
	unsigned long long sectors, off = 0;
	int n = sscanf(line, "%15s %llu %15s \"%511[^\"\n]\" %llu", access, &sectors, type, name,
		       &off);

	if (n < 3)
		return err_set(e, HV_EXIT_IMAGE, "%s: damaged VMDK descriptor: '%.64s'",
			       v->im->path, line);
	if (!strcmp(access, "NOACCESS"))
		return err_set(e, HV_EXIT_IMAGE, "%s: an extent without access", v->im->path);
	return add_extent(v, sectors, type, name, off, !strcmp(access, "RDONLY"), e);
}

bool vmdk_parse(struct vmdk *v, char *text, bool extents, struct err *e)
{
	char *save = NULL, word[1024];

	snprintf(v->type, sizeof(v->type), "unknown");
	v->parent_cid = UINT32_MAX;
	for (char *s = strtok_r(text, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		s += strspn(s, " \t");
		if (value(s, "CID", word, sizeof(word))) {
			v->cid = (uint32_t)strtoul(word, NULL, 16);
			v->cid_at = strlen(word) == 8 ?
				(uint64_t)(strchr(s, '=') - text) + 1 : 0;
		} else if (value(s, "parentCID", word, sizeof(word))) {
			v->parent_cid = (uint32_t)strtoul(word, NULL, 16);
		} else if (value(s, "createType", word, sizeof(word))) {
			snprintf(v->type, sizeof(v->type), "%.39s", word);
		} else if (value(s, "parentFileNameHint", word, sizeof(word))) {
			snprintf(v->parent, sizeof(v->parent), "%s", word);
		} else if (extents && (!strncmp(s, "RW ", 3) || !strncmp(s, "RDONLY ", 7) ||
				       !strncmp(s, "NOACCESS ", 9))) {
			if (!extent_line(v, s, e))
				return false;
		}
	}
	if (extents && !v->n)
		return err_set(e, HV_EXIT_IMAGE, "%s: a VMDK descriptor without extents",
			       v->im->path);
	return true;
}
