/* SPDX-License-Identifier: MIT */
/* Checking the manifest of an OVF package; see manifest.h. */
#include "manifest.h"
#include "img_int.h"
#include "log.h"
#include <ctype.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

#define LINES_MAX 1024u
#define PIECE (1u << 20)

struct line {
	char algorithm[16], name[256], digest[129];
};

/* One line, without its end: ALGORITHM(NAME)= DIGEST.  false: it is none. */
static bool parse_line(const char *s, size_t n, struct line *l)
{
	const char *open = memchr(s, '(', n), *close = memrchr(s, ')', n), *end = s + n;
	size_t k;

	if (!open || !close || close < open || (size_t)(open - s) >= sizeof(l->algorithm) ||
	    (size_t)(close - open) > sizeof(l->name) || open == s || close == open + 1)
		return false;
	snprintf(l->algorithm, sizeof(l->algorithm), "%.*s", (int)(open - s), s);
	snprintf(l->name, sizeof(l->name), "%.*s", (int)(close - open - 1), open + 1);
	for (s = close + 1; s < end && (*s == ' ' || *s == '='); s++)
		;
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	k = (size_t)(end - s);
	if (!k || k >= sizeof(l->digest))
		return false;
	for (size_t i = 0; i < k; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return false;
		l->digest[i] = (char)tolower((unsigned char)s[i]);
	}
	l->digest[k] = 0;
	return true;
}

/* The next line that is not empty; false: no more. */
static bool next_line(const char **at, const char *end, const char **s, size_t *n)
{
	while (*at < end) {
		const char *nl = memchr(*at, '\n', (size_t)(end - *at));

		*s = *at;
		*n = (size_t)((nl ? nl : end) - *at);
		*at = nl ? nl + 1 : end;
		while (*n && isspace((unsigned char)(*s)[*n - 1]))
			(*n)--;
		if (*n)
			return true;
	}
	return false;
}

static bool algorithm(const char *name, GChecksumType *t)
{
	static const struct { const char *name; GChecksumType t; } rows[] = {
		{ "SHA1", G_CHECKSUM_SHA1 }, { "SHA256", G_CHECKSUM_SHA256 },
		{ "SHA384", G_CHECKSUM_SHA384 }, { "SHA512", G_CHECKSUM_SHA512 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcasecmp(rows[i].name, name)) {
			*t = rows[i].t;
			return true;
		}
	return false;
}

static bool add_up(const struct manifest_file *f, GChecksum *sum, struct img_bar *bar)
{
	uint8_t *buf = malloc(PIECE);
	uint64_t done = 0;

	while (buf && done < f->size) {
		ssize_t n = pread(f->fd, buf, MIN(f->size - done, PIECE), (off_t)(f->at + done));

		if (n <= 0 && !(n < 0 && errno == EINTR)) {
			errno = n ? errno : EIO;	/* cut short */
			break;
		}
		if (n > 0)
			g_checksum_update(sum, buf, n);
		done += n > 0 ? (uint64_t)n : 0;
		img_bar_update(bar, done);
	}
	free(buf);
	return done == f->size;
}

static bool check_file(const struct line *l, const struct manifest_file *f, GChecksumType t,
		       const char *path, struct err *e)
{
	struct img_args quiet = { 0 };
	struct img_bar bar;
	GChecksum *sum = g_checksum_new(t);
	bool ok;

	img_bar_begin(&bar, &quiet, "verify", f->size);
	ok = add_up(f, sum, &bar);
	img_bar_end(&bar, ok);
	if (!ok)
		err_errno(e, HV_EXIT_HOST, errno, "%s: cannot read '%.128s'", path, l->name);
	else if (strcmp(g_checksum_get_string(sum), l->digest))
		ok = err_set(e, HV_EXIT_IMAGE, "%s: '%.128s' is not what its manifest says (%s): "
			     "it is damaged or was changed; get it again (or, if you changed it, "
			     "take the .mf file away)", path, l->name, l->algorithm);
	g_checksum_free(sum);
	return ok;
}

static bool check_line(const struct line *l, const char *path, manifest_find find, void *opaque,
		       struct err *e)
{
	struct manifest_file f;
	GChecksumType t;
	bool ok;

	if (!algorithm(l->algorithm, &t)) {
		log_warn("%s: '%s' is not checked: its manifest uses %s", path, l->name,
			 l->algorithm);
		return true;
	}
	if (!find(opaque, l->name, &f))
		return err_set(e, HV_EXIT_IMAGE, "%s: '%.128s', which its manifest names, is not "
			       "there; get the package again", path, l->name);
	ok = check_file(l, &f, t, path, e);
	close(f.fd);
	return ok;
}

bool manifest_check(const char *text, size_t len, const char *path, manifest_find find,
		    void *opaque, struct err *e)
{
	const char *at = text, *s;
	unsigned count = 0;
	struct line l;
	size_t n;

	while (next_line(&at, text + len, &s, &n)) {
		if (++count > LINES_MAX)
			return err_set(e, HV_EXIT_IMAGE, "%s: its manifest has more than %u lines",
				       path, LINES_MAX);
		if (!parse_line(s, n, &l))
			return err_set(e, HV_EXIT_IMAGE, "%s: line %u of its manifest is not "
				       "ALGORITHM(NAME)= DIGEST; get the package again", path,
				       count);
		if (!check_line(&l, path, find, opaque, e))
			return false;
	}
	return true;
}

bool manifest_names(const char *text, size_t len, const char *name)
{
	const char *at = text, *s;
	struct line l;
	size_t n;

	while (next_line(&at, text + len, &s, &n))
		if (parse_line(s, n, &l) && !strcmp(l.name, name))
			return true;
	return false;
}
