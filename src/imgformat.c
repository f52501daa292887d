/* SPDX-License-Identifier: MIT */
/*
 * Which format an image has, decided once.
 *
 * The content of a raw disk belongs to the guest: it may write a qcow2 header
 * that names a file of the host and wait for the next start.  So the first
 * read-write attach of a file found to be raw records that on the file (an
 * extended attribute), and a recorded file is never looked at again; format=
 * on the command line wins and is recorded in turn.  Where the file cannot
 * carry the record (block devices, some file systems) writes that would make
 * the disk look like another format fail with EIO.
 *
 * A copy made without its attributes is a new file and is looked at anew.
 */
#include "imgtool.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE "user.hvrun.format"
#define NOTE_MAX 16

struct format_guard {
	pthread_mutex_t lock;	/* the head of the disk: read, judged and written under it */
};

/* Formats known by sight, to be refused by name instead of taken for raw. */
static const struct {
	uint32_t at;
	uint8_t len;
	const char *magic, *name;
} unsupported[] = {
	{ 0, 4, "COWD", "VMDK (ESX)" },
	{ 0, 4, "QED\0", "QED" },
	{ 0, 8, "QFI\xfb\0\0\0\1", "qcow (version 1)" },
	{ 0, 6, "LUKS\xba\xbe", "LUKS (encrypted)" },
	{ 0, 16, "WithoutFreeSpace", "Parallels" },
	{ 0, 16, "WithouFreSpacExt", "Parallels" },
};

static bool refuse_unsupported(const char *path, const uint8_t *head, size_t n, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (unsupported[i].at + unsupported[i].len <= n &&
		    !memcmp(head + unsupported[i].at, unsupported[i].magic, unsupported[i].len))
			return err_set(e, HV_EXIT_IMAGE, "%s: this is a %s image, which hvrun does "
				       "not read; convert it: qemu-img convert -O qcow2 '%s' "
				       "NEW.qcow2 (or, if it is a raw disk that only looks so: "
				       "--disk FILE,format=raw)", path, unsupported[i].name, path);
	return true;
}

static const struct block_format *format_by_name(const char *name, struct err *e)
{
	if (!strcmp(name, "vpc"))	/* QEMU's name for it */
		name = "vhd";
	for (unsigned i = 0; block_formats[i]; i++)
		if (!strcmp(block_formats[i]->name, name))
			return block_formats[i];
	image_format(name, e);		/* for the list in the message */
	if (e)
		e->exit_code = HV_EXIT_IMAGE;
	return NULL;
}

static const struct block_format *judge(const uint8_t *head, uint64_t size)
{
	const struct block_format *best = NULL;
	int sure = -1;

	for (unsigned i = 0; block_formats[i]; i++) {
		int p = block_formats[i]->probe ? block_formats[i]->probe(head, IMAGE_HEAD, size)
						: 0;

		if (p > sure) {
			sure = p;
			best = block_formats[i];
		}
	}
	return best;
}

static bool read_head(struct image *im, uint8_t *head, uint64_t *size, struct err *e)
{
	int err = hf_size(&im->file, size);

	if (!err)
		err = hf_pread(&im->file, head, IMAGE_HEAD, 0);
	memset(head + IMAGE_HEAD, 0, IMAGE_TAIL);
	if (!err && *size >= IMAGE_TAIL)
		err = hf_pread(&im->file, head + IMAGE_HEAD, IMAGE_TAIL, *size - IMAGE_TAIL);
	return !err || err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the image", im->path);
}

static bool choose_by_record(struct image *im, const char *note, struct err *e)
{
	uint8_t head[IMAGE_HEAD + IMAGE_TAIL];
	uint64_t size;

	im->fmt = format_by_name(note, e);
	if (!im->fmt)
		return err_prefix(e, "%s: recorded on the file", im->path);
	if (!read_head(im, head, &size, e))
		return false;
	if (judge(head, size) != im->fmt)
		log_warn("%s: opened as %s, as before, though its content looks like %s; if you "
			 "replaced the image, give --disk FILE,format=%s", im->path, im->fmt->name,
			 judge(head, size)->name, judge(head, size)->name);
	return true;
}

/* A text, a picture, a download that was cut: not to be written to by a slip. */
static bool no_disk(const char *path, uint64_t size, struct err *e)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: is no disk image that hvrun knows, and with %llu "
		       "bytes, which are no whole sectors, and no boot sector hardly a raw disk; "
		       "to write to it all the same name the format (format=raw), or attach it "
		       "read-only", path, (unsigned long long)size);
}

bool image_choose_format(struct image *im, const char *name, struct err *e)
{
	char note[NOTE_MAX];
	uint8_t head[IMAGE_HEAD + IMAGE_TAIL];
	uint64_t size;
	int err;

	if (name) {
		im->fmt = format_by_name(name, e);
		return im->fmt != NULL;
	}
	err = hf_get_note(&im->file, NOTE, note, sizeof(note));
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the attribute " NOTE
				 "; name the format: --disk FILE,format=raw", im->path);
	if (note[0])
		return choose_by_record(im, note, e);
	if (!read_head(im, head, &size, e) || !refuse_unsupported(im->path, head, IMAGE_HEAD, e))
		return false;
	im->fmt = judge(head, size);
	return (im->flags & BLOCK_RDONLY) || strcmp(im->fmt->name, "raw") ||
	       size % BLOCK_SECTOR == 0 || ld_le16(head + 510) == 0xaa55 ||
	       no_disk(im->path, size, e);
}

/* Only raw content is the guest's to forge; other formats are known by theirs. */
static bool guest_owns_head(const struct image *im)
{
	return !strcmp(im->fmt->name, "raw");
}

void image_record_format(struct image *im, bool named)
{
	const char *want = guest_owns_head(im) ? im->fmt->name : NULL;
	char note[NOTE_MAX];
	int err;

	if (im->flags & BLOCK_RDONLY)
		return;
	err = hf_get_note(&im->file, NOTE, note, sizeof(note));
	if (!err && !strcmp(note, want ? want : ""))
		return;
	err = hf_set_note(&im->file, NOTE, want);
	if (!err || !want || named)
		return;
	log_debug("%s: cannot record the format (%s); guarding the first sectors", im->path,
		  strerror(err));
	im->guard = hv_zalloc(sizeof(*im->guard));
	pthread_mutex_init(&im->guard->lock, NULL);
}

void format_guard_free(struct format_guard *g)
{
	if (g)
		pthread_mutex_destroy(&g->lock);
	free(g);
}

int image_guarded_write(struct image *im, uint64_t off, uint64_t len,
			const struct iovec *iov, unsigned niov)
{
	uint8_t head[IMAGE_HEAD + IMAGE_TAIL];
	uint64_t size;
	int err;

	pthread_mutex_lock(&im->guard->lock);
	err = read_head(im, head, &size, NULL) ? 0 : EIO;
	if (!err) {
		uint64_t tail = size - MIN(size, IMAGE_TAIL), from = MAX(tail, off);

		if (off < IMAGE_HEAD)
			iov_to_buf(iov, niov, 0, head + off, MIN(len, IMAGE_HEAD - off));
		if (from < off + len && from < size)
			iov_to_buf(iov, niov, from - off, head + IMAGE_HEAD + (from - tail),
				   MIN(off + len, size) - from);
		if (judge(head, size) != im->fmt) {
			log_limited(LOG_WARN, "%s: the guest wrote the header of a %s image to its "
				    "raw disk; refused, as the next start would believe it. To "
				    "allow it: --disk FILE,format=raw, now and always", im->path,
				    judge(head, size)->name);
			err = EIO;
		}
	}
	if (!err)
		err = im->fmt->io(im, BLOCK_WRITE, off, len, iov, niov);
	pthread_mutex_unlock(&im->guard->lock);
	return err;
}

bool block_is_recorded(const char *path)
{
	struct hostfile f;
	char note[NOTE_MAX];
	bool yes;

	hf_init(&f, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), false);
	yes = f.fd >= 0 && !hf_get_note(&f, NOTE, note, sizeof(note)) && note[0];
	hf_close(&f);
	return yes;
}
