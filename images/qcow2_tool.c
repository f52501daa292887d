/* SPDX-License-Identifier: MIT */
/* qcow2 for `hvrun img`: facts, the map of what is where, the table of the rest. */
#include "qcow2_int.h"

#include <stdio.h>

static enum image_kind kind_of(const struct qcow2 *q, enum qc_type t)
{
	return t == QC_ZEROS ? IMAGE_ZERO : t == QC_DATA || t == QC_COMPRESSED || t == QC_BAD ?
		IMAGE_DATA : IMAGE_BELOW;
}

/* One cluster with mixed subclusters: up to where they stay the same. */
static uint64_t mixed_run(const struct qcow2 *q, const struct qc_map *m, uint64_t in,
			  enum image_kind *k)
{
	uint64_t sub = 1ull << q->sub_bits, at = in;

	*k = kind_of(q, qcow2_sub_type(q, m, in));
	while (at < q->cs && kind_of(q, qcow2_sub_type(q, m, at)) == *k)
		at = (at & ~(sub - 1)) + sub;
	return at - in;
}

static int qcow2_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n,
		     enum image_kind *k)
{
	struct qcow2 *q = im->priv;
	struct qc_ent ent[256];
	uint64_t in = off & (q->cs - 1);
	unsigned got, i;
	struct qc_map m;
	int err;

	pthread_rwlock_rdlock(&q->lock);
	err = qcow2_get_entries(q, off, ent, (unsigned)MIN(qc_clusters(q, in + len), 256ull), &got,
				false);
	pthread_rwlock_unlock(&q->lock);
	if (err)
		return err;
	m = qcow2_classify(q, ent[0]);
	if (m.type == QC_MIXED) {
		*n = MIN(mixed_run(q, &m, in, k), len);
		return 0;
	}
	*k = kind_of(q, m.type);
	for (i = 1; i < got; i++) {
		m = qcow2_classify(q, ent[i]);
		if (m.type == QC_MIXED || kind_of(q, m.type) != *k)
			break;
	}
	*n = MIN(((uint64_t)i << q->cluster_bits) - in, len);
	return 0;
}

static void qcow2_info(struct image *im, struct image_info *i)
{
	const struct qcow2 *q = im->priv;

	image_field(i, "version", "%u", q->version);
	image_field(i, "cluster size", "%u", q->cs);
	image_field(i, "refcount bits", "%u", 1u << q->refcount_order);
	image_field(i, "compression", "%s", q->compression == QC_ZSTD ? "zstd" : "zlib");
	image_field(i, "extended l2", "%s", q->ext_l2 ? "yes" : "no");
	image_field(i, "lazy refcounts", "%s", q->compat & 1 ? "yes" : "no");
	image_field(i, "snapshots", "%u", q->nsnapshots);
	snprintf(i->backing, sizeof(i->backing), "%s", q->backing_name);
	snprintf(i->backing_fmt, sizeof(i->backing_fmt), "%s", q->backing_fmt);
	i->dirty = q->incompat & INCOMPAT_DIRTY;
	i->corrupt = q->incompat & INCOMPAT_CORRUPT;
}

static uint32_t qcow2_pack_unit(struct image *im)
{
	const struct qcow2 *q = im->priv;

	return q->cs;
}

const struct image_tool qcow2_tool = {
	.options = qcow2_options,
	.create = qcow2_create,
	.map = qcow2_map,
	.check = qcow2_tool_check,
	.resize = qcow2_resize,
	.info = qcow2_info,
	.snapshot = qcow2_snapshot,
	.snapshot_list = qcow2_snapshot_list,
	.set_backing = qcow2_set_backing,
	.make_empty = qcow2_make_empty,
	.pack_unit = qcow2_pack_unit,
	.pack = qcow2_pack,
	.write_packed = qcow2_write_packed,
	.thin = true,
};
