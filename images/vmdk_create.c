/* SPDX-License-Identifier: MIT */
/* New VMDK images: descriptor and extents of each sub-format. */
#include "vmdk_int.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define DESC_SECTORS 20u
#define SPLIT_SECTORS 4192256ull	/* 2047 MiB */

const struct image_opt_help vmdk_options[] = {
	{ "subformat", "monolithicSparse|monolithicFlat|twoGbMaxExtentSparse|"
	  "twoGbMaxExtentFlat|streamOptimized", "one or more files, growing or not; "
	  "monolithicSparse" },
	{ NULL, NULL, NULL },
};

static const struct subformat {
	const char *name;
	bool flat, split, stream;
} subformats[] = {
	{ "monolithicSparse", false, false, false },
	{ "monolithicFlat", true, false, false },
	{ "twoGbMaxExtentSparse", false, true, false },
	{ "twoGbMaxExtentFlat", true, true, false },
	{ "streamOptimized", false, false, true },
};

/* The path of extent @i (from 1), beside the descriptor. */
static void extent_path(const char *path, const struct subformat *s, unsigned i, char *out,
			size_t n)
{
	size_t len = strlen(path);

	if (len > 5 && !strcasecmp(path + len - 5, ".vmdk"))
		len -= 5;
	if (s->split)
		snprintf(out, n, "%.*s-%c%03u.vmdk", (int)len, path, s->flat ? 'f' : 's', i);
	else
		snprintf(out, n, "%.*s-flat.vmdk", (int)len, path);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The text; @lines: the extents. */
static int descriptor(const struct image_create *c, const struct subformat *s, const char *lines,
		      char *out, size_t n)
{
	const struct vmdk *p = c->backing ? c->backing_im->priv : NULL;
	uint64_t cylinders = c->size / (16 * 63 * 512);
	uint32_t cid;
	char parent[1100] = "";

	if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid) || cid > 0xfffffffd)
		cid = 0x12345678;
	if (p)
		snprintf(parent, sizeof(parent), "parentFileNameHint=\"%s\"\n", c->backing);
	return snprintf(out, n,
			"# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\n"
			"createType=\"%s\"\n%s\n# Extent description\n%s\n# The Disk Data Base\n"
			"#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"%llu\"\n"
			"ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n"
			"ddb.adapterType = \"ide\"\n",
			cid, p ? p->cid : UINT32_MAX, s->name, parent, lines,
			(unsigned long long)MIN(cylinders, 65535ull));
}

static bool write_file(struct image_create *c, const char *path, const struct subformat *s,
		       uint64_t sectors, const char *desc, struct err *e)
{
	uint8_t h[VMDK_SECTOR];
	struct hostfile f;
	int err;

	hf_init(&f, image_create_file(c, path, e), false);
	if (f.fd < 0)
		return false;
	if (s->flat) {
		err = hf_truncate(&f, sectors * VMDK_SECTOR);
	} else {
		vmdk_sparse_header(h, sectors, desc ? DESC_SECTORS : 0, s->stream);
		err = vmdk_write_sparse(&f, h);
		if (!err && desc)
			err = hf_pwrite(&f, desc, strlen(desc), VMDK_SECTOR);
	}
	hf_close(&f);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", path);
}

static bool write_text(struct image_create *c, const char *text, struct err *e)
{
	struct hostfile f;
	int err;

	hf_init(&f, image_create_file(c, c->path, e), false);
	if (f.fd < 0)
		return false;
	err = hf_pwrite(&f, text, strlen(text), 0);
	hf_close(&f);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
}

static bool create_single(struct image_create *c, const struct subformat *s, char *text,
			  struct err *e)
{
	char line[600];

	snprintf(line, sizeof(line), "RW %llu SPARSE \"%.500s\"\n",
		 (unsigned long long)(c->size / VMDK_SECTOR), base_name(c->path));
	if ((size_t)descriptor(c, s, line, text, VMDK_MAX_DESC) > DESC_SECTORS * VMDK_SECTOR)
		return err_set(e, HV_EXIT_USAGE, "%s: the names are too long", c->path);
	return write_file(c, c->path, s, c->size / VMDK_SECTOR, text, e);
}

static bool create_parts(struct image_create *c, const struct subformat *s, char *text,
			 struct err *e)
{
	uint64_t left = c->size / VMDK_SECTOR, step = s->split ? SPLIT_SECTORS : left;
	char *lines = hv_zalloc(VMDK_MAX_DESC), path[4200];
	size_t at = 0;
	bool ok = true;

	for (unsigned i = 1; ok && left; i++) {
		uint64_t n = MIN(left, step);

		extent_path(c->path, s, i, path, sizeof(path));
		at += (size_t)snprintf(lines + at, VMDK_MAX_DESC - at, "RW %llu %s \"%.400s\"%s\n",
				       (unsigned long long)n, s->flat ? "FLAT" : "SPARSE",
				       base_name(path), s->flat ? " 0" : "");
		ok = at < VMDK_MAX_DESC - 2048 ? write_file(c, path, s, n, NULL, e) :
			err_set(e, HV_EXIT_USAGE, "%s: too many extents", c->path);
		left -= n;
	}
	ok = ok && ((size_t)descriptor(c, s, lines, text, VMDK_MAX_DESC) < VMDK_MAX_DESC ||
		    err_set(e, HV_EXIT_USAGE, "%s: the names are too long", c->path));
	free(lines);
	return ok && write_text(c, text, e);
}

bool vmdk_create(struct image_create *c, struct err *e)
{
	const char *name = image_opt(c, "subformat");
	const struct subformat *s = subformats;
	char *text;
	bool ok;

	while (name && s < subformats + ARRAY_SIZE(subformats) && strcmp(s->name, name))
		s++;
	if (s == subformats + ARRAY_SIZE(subformats))
		return err_set(e, HV_EXIT_USAGE, "subformat=%.32s: see hvrun img --help", name);
	if (c->packed && !name)
		s = &subformats[4];
	if (c->size > VMDK_MAX_SPARSE && !s->flat && !s->split)
		return err_set(e, HV_EXIT_USAGE, "a sparse VMDK file has at most 2 TiB");
	if (c->backing && (strcmp(c->backing_im->fmt->name, "vmdk") || s->flat || s->stream))
		return err_set(e, HV_EXIT_USAGE, "a VMDK overlay is sparse and needs a VMDK "
			       "backing file");
	text = hv_zalloc(VMDK_MAX_DESC);
	ok = s->flat || s->split ? create_parts(c, s, text, e) : create_single(c, s, text, e);
	free(text);
	return ok;
}
