/* SPDX-License-Identifier: MIT */
/*
 * Importing an OVA; see ova.h.  Tar headers as in POSIX.1-2017 pax, ustar;
 * the description is searched as text for the few items wanted (CIM
 * ResourceType 3: processors, 4: memory).
 */
#include "command_int.h"
#include "ova.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define TAR 512u
#define OVF_MAX (1u << 20)
#define MEMBERS_MAX 64u

struct member {
	char name[101];
	uint64_t at, size;
};

/* Octal, or base 256 as GNU tar writes large sizes. */
static bool tar_size(const uint8_t *p, uint64_t *v)
{
	*v = 0;
	if (*p & 0x80) {
		for (int i = 4; i < 12; i++)
			*v = *v << 8 | p[i];
		return *v < 1ull << 50;
	}
	for (int i = 0; i < 12 && p[i] && p[i] != ' '; i++) {
		if (p[i] < '0' || p[i] > '7')
			return false;
		*v = *v << 3 | (uint64_t)(p[i] - '0');
	}
	return true;
}

static bool read_member(int fd, uint64_t at, struct member *m)
{
	uint8_t h[TAR];

	if (pread(fd, h, TAR, (off_t)at) != (ssize_t)TAR || memcmp(h + 257, "ustar", 5) ||
	    !tar_size(h + 124, &m->size))
		return false;
	memcpy(m->name, h, 100);
	m->name[100] = 0;
	m->at = at + TAR;
	return true;
}

/* The first member whose name ends with @suffix. */
static bool find_member(int fd, const char *suffix, struct member *m)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < MEMBERS_MAX && read_member(fd, at, m); i++) {
		size_t n = strlen(m->name), k = strlen(suffix);

		if (n > k && !strcasecmp(m->name + n - k, suffix))
			return true;
		at = m->at + ((m->size + TAR - 1) & ~(uint64_t)(TAR - 1));
	}
	return false;
}

bool ova_is(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct member m;
	bool is = fd >= 0 && find_member(fd, ".ovf", &m);

	if (fd >= 0)
		close(fd);
	return is;
}

/* VirtualQuantity of the first <Item> with this ResourceType; 0: none. */
static uint64_t quantity(const char *ovf, unsigned type)
{
	char want[40];

	snprintf(want, sizeof(want), "ResourceType>%u<", type);
	for (const char *item = strstr(ovf, "<Item"); item; item = strstr(item + 1, "<Item")) {
		const char *end = strstr(item, "</Item>"), *t = strstr(item, want);
		const char *q = strstr(item, "VirtualQuantity>");

		if (end && t && q && t < end && q < end)
			return strtoull(q + strlen("VirtualQuantity>"), NULL, 10);
	}
	return 0;
}

static void take_description(struct machine *m, int fd, const struct member *ovf)
{
	char *text = hv_zalloc(OVF_MAX + 1), v[32];
	uint64_t memory, cpus;

	if (pread(fd, text, MIN(ovf->size, OVF_MAX), (off_t)ovf->at) > 0) {
		memory = quantity(text, 4);
		cpus = quantity(text, 3);
		if (memory >= 8 && memory <= 512 * 1024 && !machine_get(m, "memory", 0)) {
			snprintf(v, sizeof(v), "%lluM", (unsigned long long)memory);
			machine_set(m, "memory", v);
		}
		if (cpus >= 1 && cpus <= 64 && !machine_get(m, "cpus", 0)) {
			snprintf(v, sizeof(v), "%u", (unsigned)cpus);
			machine_set(m, "cpus", v);
		}
	}
	free(text);
}

static bool extract(int fd, const struct member *d, const char *to, struct err *e)
{
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	loff_t at = (loff_t)d->at;
	uint64_t left = d->size;
	bool ok = out >= 0;

	while (ok && left) {
		ssize_t n = copy_file_range(fd, &at, out, NULL, MIN(left, 64u << 20), 0);

		ok = n > 0;
		if (!n)
			errno = EIO;	/* the archive is cut short */
		left -= ok ? (uint64_t)n : 0;
	}
	if (!ok)
		err_errno(e, HV_EXIT_HOST, errno, "cannot take the disk out of the OVA to %s", to);
	if (out >= 0)
		close(out);
	return ok;
}

static bool import_disk(struct machine *m, int fd, const struct member *d, char *disk,
			size_t len, struct err *e)
{
	char vmdk[PATH_MAX], *v;
	const char *args[] = { "convert", "-q", "-O", "qcow2", vmdk, disk, NULL };
	bool ok;

	if (!command_disk_path(m->name, "vmdk", vmdk, sizeof(vmdk), e) ||
	    !command_disk_path(m->name, "qcow2", disk, len, e))
		return false;
	ok = extract(fd, d, vmdk, e) && command_img(args, e);
	unlink(vmdk);
	if (!ok)
		return false;
	v = machine_value_of(disk);
	machine_add(m, "disk", v);
	free(v);
	return true;
}

bool ova_import(struct machine *m, const char *path, char *disk, size_t len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct member ovf, vmdk;
	bool ok;

	if (fd < 0)
		return err_errno(e, HV_EXIT_IMAGE, errno, "cannot open %s", path);
	if (!find_member(fd, ".vmdk", &vmdk)) {
		ok = err_set(e, HV_EXIT_IMAGE, "%s holds no VMDK disk", path);
	} else {
		ok = import_disk(m, fd, &vmdk, disk, len, e);
		if (ok && find_member(fd, ".ovf", &ovf))
			take_description(m, fd, &ovf);
	}
	close(fd);
	return ok;
}
