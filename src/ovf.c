/* SPDX-License-Identifier: MIT */
/* Reading OVF descriptions; see ovf.h. */
#include "ovf.h"
#include <expat.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DEPTH 64u
#define MAX_FILES 64u
#define MAX_ITEMS 256u
#define MAX_CAPACITY (64ull << 40)

/* CIM resource types (DSP1041) */
enum { RT_CPU = 3, RT_MEMORY = 4, RT_IDE = 5, RT_SCSI = 6, RT_NIC = 10, RT_DISK = 17,
       RT_STORAGE = 20 };

struct file {
	char id[OVF_NAME], href[OVF_NAME];
	bool packed;		/* gzip or in chunks */
};

struct disk {
	char id[OVF_NAME], file[OVF_NAME];
	uint64_t capacity;
	bool parent;
};

struct item {
	char type[16], id[32], parent[32], quantity[24], units[48], subtype[64], host[OVF_NAME];
};

struct reader {
	XML_Parser xp;
	struct ovf *out;
	struct err *e;
	bool failed, root_ok;
	unsigned depth, systems, sections;
	unsigned item_depth;	/* 0: not in an item */
	struct file file[MAX_FILES];
	struct disk disk[MAX_FILES];
	struct item item[MAX_ITEMS];
	unsigned nfiles, ndisks, nitems;
	char *text;		/* where characters go, NULL: nowhere */
	size_t text_max;
};

static void HV_PRINTF(2, 3) stop(struct reader *r, const char *fmt, ...)
{
	char why[300];
	va_list ap;

	if (r->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	err_set(r->e, HV_EXIT_IMAGE, "the OVF description %s", why);
	r->failed = true;
	XML_StopParser(r->xp, XML_FALSE);
}

/* Without the prefix of its namespace: versions of OVF differ in little else. */
static const char *local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static const char *attr(const char **a, const char *name)
{
	for (; a[0]; a += 2)
		if (!strcmp(local(a[0]), name))
			return a[1];
	return "";
}

/* "byte * 2^30", "MegaBytes", ... ; @mib: what no unit means. */
static uint64_t unit(const char *s, bool mib)
{
	const char *pow = strstr(s, "2^");
	unsigned long bits = pow ? strtoul(pow + 2, NULL, 10) : 0;

	if (pow)
		return bits < 50 ? 1ull << bits : 0;
	if (strstr(s, "KiloByte") || strstr(s, "kilobyte"))
		return 1ull << 10;
	if (strstr(s, "GigaByte") || strstr(s, "gigabyte") || strstr(s, "GB"))
		return 1ull << 30;
	if (strstr(s, "MegaByte") || strstr(s, "megabyte") || strstr(s, "MB"))
		return 1ull << 20;
	return mib && !*s ? 1ull << 20 : 1;
}

static bool product(const char *number, uint64_t u, uint64_t max, uint64_t *v)
{
	char *end;
	unsigned long long n = strtoull(number, &end, 10);

	*v = 0;
	if (end == number || *end || number[0] == '-' || __builtin_mul_overflow(n, u, v))
		return false;
	return *v <= max;
}

static void begin_file(struct reader *r, const char **a)
{
	struct file *f = &r->file[r->nfiles];

	if (r->nfiles == MAX_FILES) {
		stop(r, "names more than %u files", MAX_FILES);
		return;
	}
	r->nfiles++;
	snprintf(f->id, sizeof(f->id), "%s", attr(a, "id"));
	snprintf(f->href, sizeof(f->href), "%s", attr(a, "href"));
	f->packed = *attr(a, "chunkSize") ||
		    (*attr(a, "compression") && strcmp(attr(a, "compression"), "identity"));
}

static void begin_disk(struct reader *r, const char **a)
{
	struct disk *d = &r->disk[r->ndisks];
	const char *capacity = attr(a, "capacity");

	if (r->ndisks == MAX_FILES) {
		stop(r, "has more than %u disks", MAX_FILES);
		return;
	}
	r->ndisks++;
	snprintf(d->id, sizeof(d->id), "%s", attr(a, "diskId"));
	snprintf(d->file, sizeof(d->file), "%s", attr(a, "fileRef"));
	d->parent = *attr(a, "parentRef");
	if (*capacity && capacity[0] != '$' &&
	    !product(capacity, unit(attr(a, "capacityAllocationUnits"), false), MAX_CAPACITY,
		     &d->capacity))
		stop(r, "gives a disk the size '%.32s', which cannot be", capacity);
}

static void begin_item(struct reader *r)
{
	if (r->nitems == MAX_ITEMS) {
		stop(r, "has more than %u items of hardware", MAX_ITEMS);
		return;
	}
	r->nitems++;
	r->item_depth = r->depth;
}

static void begin_leaf(struct reader *r, const char *name)
{
	struct item *it = &r->item[r->nitems - 1];
	const struct { const char *name; char *to; size_t max; } rows[] = {
		{ "ResourceType", it->type, sizeof(it->type) },
		{ "InstanceID", it->id, sizeof(it->id) },
		{ "InstanceId", it->id, sizeof(it->id) },
		{ "Parent", it->parent, sizeof(it->parent) },
		{ "VirtualQuantity", it->quantity, sizeof(it->quantity) },
		{ "AllocationUnits", it->units, sizeof(it->units) },
		{ "ResourceSubType", it->subtype, sizeof(it->subtype) },
		{ "HostResource", it->host, sizeof(it->host) },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].name, name) && !*rows[i].to) {
			r->text = rows[i].to;
			r->text_max = rows[i].max;
		}
}

/* Who made the package says in words of its own that firmware is UEFI. */
static void firmware(struct reader *r, const char *name, const char **a)
{
	if ((!strcmp(name, "Config") && !strcmp(attr(a, "key"), "firmware") &&
	     !strcmp(attr(a, "value"), "efi")) ||
	    (!strcmp(name, "Firmware") && !strncmp(attr(a, "type"), "EFI", 3)))
		r->out->efi = true;
}

static void on_start(void *opaque, const char *full, const char **a)
{
	struct reader *r = opaque;
	const char *name = local(full);

	if (++r->depth > MAX_DEPTH) {
		stop(r, "is nested too deeply");
		return;
	}
	if (r->depth == 1)
		r->root_ok = !strcmp(name, "Envelope");
	r->text = NULL;
	if (!strcmp(name, "VirtualSystem") && ++r->systems > 1)
		stop(r, "holds several machines; hvrun takes packages of one");
	r->sections += !strcmp(name, "VirtualHardwareSection");
	firmware(r, name, a);
	if (r->item_depth && r->depth == r->item_depth + 1)
		begin_leaf(r, name);
	else if (!strcmp(name, "File"))
		begin_file(r, a);
	else if (!strcmp(name, "Disk") && *attr(a, "diskId"))
		begin_disk(r, a);
	else if (!r->item_depth && r->sections == 1 &&
		 (!strcmp(name, "Item") || !strcmp(name, "StorageItem") ||
		  !strcmp(name, "EthernetPortItem")))
		begin_item(r);
	else if (!strcmp(name, "Name") && r->systems == 1 && !*r->out->name) {
		r->text = r->out->name;
		r->text_max = sizeof(r->out->name);
	}
	if (!strcmp(name, "VirtualSystem") && !*r->out->name)
		snprintf(r->out->name, sizeof(r->out->name), "%s", attr(a, "id"));
}

static void on_end(void *opaque, const char *full)
{
	struct reader *r = opaque;

	r->text = NULL;
	if (r->depth == r->item_depth)
		r->item_depth = 0;
	r->depth--;
}

static void on_text(void *opaque, const char *s, int len)
{
	struct reader *r = opaque;
	size_t have, n = (size_t)len;

	if (!r->text)
		return;
	have = strlen(r->text);
	n = MIN(n, r->text_max - 1 - have);
	memcpy(r->text + have, s, n);
	r->text[have + n] = 0;
}

static void on_doctype(void *opaque, const char *name, const char *sysid, const char *pubid,
		       int internal)
{
	stop(opaque, "has a DOCTYPE, which OVF does not use");
}

/* ---- What it means ---- */

static const struct file *find_file(const struct reader *r, const char *id)
{
	for (unsigned i = 0; i < r->nfiles; i++)
		if (!strcmp(r->file[i].id, id))
			return &r->file[i];
	return NULL;
}

static const struct disk *find_disk(const struct reader *r, const char *host)
{
	const char *slash = strstr(host, "disk/");

	for (unsigned i = 0; slash && i < r->ndisks; i++)
		if (!strcmp(r->disk[i].id, slash + strlen("disk/")))
			return &r->disk[i];
	return NULL;
}

/* A bus whose drivers a guest of that controller has: there is no LSI or BusLogic here. */
static const char *bus_of(const struct reader *r, const struct item *it)
{
	for (unsigned i = 0; i < r->nitems; i++) {
		const struct item *c = &r->item[i];

		if (!*it->parent || strcmp(c->id, it->parent))
			continue;
		if (atoi(c->type) == RT_IDE)
			return "ide";
		if (strcasestr(c->subtype, "nvme"))
			return "nvme";
		if (strcasestr(c->subtype, "virtio"))
			return atoi(c->type) == RT_SCSI ? "scsi" : "virtio";
		break;
	}
	return "ahci";
}

static void take_disk(struct reader *r, const struct item *it)
{
	struct ovf_disk *o = &r->out->disk[r->out->ndisks];
	const struct disk *d = find_disk(r, it->host);
	const struct file *f = d && *d->file ? find_file(r, d->file) : NULL;

	if (!d) {
		stop(r, "has a drive '%.64s' without a disk", it->host);
	} else if (d->parent) {
		stop(r, "has a disk over another one; export the machine as one disk");
	} else if (*d->file && !f) {
		stop(r, "has a disk whose file '%.64s' it does not name", d->file);
	} else if (f && f->packed) {
		stop(r, "has compressed or split files; unpack '%.64s' first", f->href);
	} else if (r->out->ndisks == OVF_DISKS) {
		stop(r, "has more than %d disks", OVF_DISKS);
	} else {
		snprintf(o->file, sizeof(o->file), "%s", f ? f->href : "");
		o->capacity = d->capacity;
		o->bus = bus_of(r, it);
		r->out->ndisks++;
	}
}

static void take_item(struct reader *r, const struct item *it)
{
	struct ovf *o = r->out;
	uint64_t v;

	switch (atoi(it->type)) {
	case RT_CPU:
		if (product(it->quantity, 1, 4096, &v) && v)
			o->cpus += (unsigned)v;
		break;
	case RT_MEMORY:
		if (product(it->quantity, unit(it->units, true), 1ull << 46, &v))
			o->memory += v;
		else
			stop(r, "gives '%.24s' as memory, which cannot be", it->quantity);
		break;
	case RT_NIC:
		o->nnics++;
		if (o->nnics == 1)
			o->virtio_net = strcasestr(it->subtype, "virtio");
		break;
	case RT_DISK:
		take_disk(r, it);
		break;
	case 1: case RT_IDE: case RT_SCSI: case RT_STORAGE: case 14: case 15: case 16: case 23:
	case 24: case 13: case 21:
		break;		/* controllers, floppy, CD, video and the like: there by itself */
	default:
		break;
	}
	if (r->out->nnics > 1)
		snprintf(o->ignored, sizeof(o->ignored), "%u of its %u network cards",
			 o->nnics - 1, o->nnics);
}

static bool parse(struct reader *r, const char *text, size_t len)
{
	XML_SetUserData(r->xp, r);
	XML_SetElementHandler(r->xp, on_start, on_end);
	XML_SetCharacterDataHandler(r->xp, on_text);
	XML_SetStartDoctypeDeclHandler(r->xp, on_doctype);
	if (XML_Parse(r->xp, text, (int)len, 1) == XML_STATUS_ERROR)
		stop(r, "is no valid XML: %s, line %lu", XML_ErrorString(XML_GetErrorCode(r->xp)),
		     (unsigned long)XML_GetCurrentLineNumber(r->xp));
	if (!r->failed && (!r->root_ok || !r->systems))
		stop(r, "describes no virtual machine");
	for (unsigned i = 0; i < r->nitems && !r->failed; i++)
		take_item(r, &r->item[i]);
	return !r->failed;
}

bool ovf_parse(const char *text, size_t len, struct ovf *out, struct err *e)
{
	struct reader *r;
	bool ok;

	memset(out, 0, sizeof(*out));
	if (len > OVF_TEXT_MAX)
		return err_set(e, HV_EXIT_IMAGE, "the OVF description is larger than %u MiB",
			       OVF_TEXT_MAX >> 20);
	r = hv_zalloc(sizeof(*r));
	r->out = out;
	r->e = e;
	r->xp = XML_ParserCreate(NULL);
	HV_BUG_ON(!r->xp);
	ok = parse(r, text, len);
	XML_ParserFree(r->xp);
	free(r);
	return ok;
}
