/* SPDX-License-Identifier: MIT */
/* Expectation engine; see expect.h. */
#include "expect.h"
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP 65536u	/* bytes of output kept for matching and reports */

struct pattern {
	const char *text;	/* as written */
	char *literal;
	size_t len;
	bool is_re;
	regex_t re;
};

struct expect {
	const struct config *cfg;
	struct pattern step[CFG_MAX_STEPS], fail[CFG_MAX_FAIL_ON];
	unsigned at;		/* current step */
	char buf[KEEP + 1];	/* stripped view, NUL-terminated */
	size_t len, from;	/* from: matching position of the current step */
	size_t fail_from;
	enum { TEXT, ESC, CSI, OSC } ansi;
	char why[400];
};

static bool pattern_init(struct pattern *p, const char *text, bool may_re, struct err *e)
{
	size_t n = strlen(text);
	char msg[128];
	int rc;

	p->text = text;
	p->literal = hv_zalloc(n + 1);
	p->is_re = may_re && n >= 3 && text[0] == '/' && text[n - 1] == '/';
	if (!p->is_re) {
		p->len = config_unescape(text, p->literal);
		return true;
	}
	memcpy(p->literal, text + 1, n - 2);
	rc = regcomp(&p->re, p->literal, REG_EXTENDED | REG_NEWLINE);
	if (!rc)
		return true;
	p->is_re = false;
	regerror(rc, &p->re, msg, sizeof(msg));
	return err_set(e, HV_EXIT_USAGE, "%s is no regular expression: %s", text, msg);
}

static void pattern_free(struct pattern *p)
{
	if (p->is_re)
		regfree(&p->re);
	free(p->literal);
}

/* End of the first match at or after @from; 0: none. */
static size_t pattern_find(const struct pattern *p, const char *buf, size_t len, size_t from)
{
	regmatch_t m;
	const char *hit;

	if (p->is_re)
		return regexec(&p->re, buf + from, 1, &m, 0) ? 0 : from + (size_t)m.rm_eo;
	hit = memmem(buf + from, len - from, p->literal, p->len);
	return hit ? (size_t)(hit - buf) + p->len : 0;
}

struct expect *expect_new(const struct config *cfg, struct err *e)
{
	struct expect *x = hv_zalloc(sizeof(*x));
	bool ok = true;

	x->cfg = cfg;
	for (unsigned i = 0; ok && i < cfg->nsteps; i++)
		ok = pattern_init(&x->step[i], cfg->steps[i].text, !cfg->steps[i].send, e);
	for (unsigned i = 0; ok && i < cfg->nfail_on; i++)
		ok = pattern_init(&x->fail[i], cfg->fail_on[i], true, e);
	if (ok)
		return x;
	expect_free(x);
	return NULL;
}

void expect_free(struct expect *x)
{
	if (!x)
		return;
	for (unsigned i = 0; i < CFG_MAX_STEPS; i++)
		pattern_free(&x->step[i]);
	for (unsigned i = 0; i < CFG_MAX_FAIL_ON; i++)
		pattern_free(&x->fail[i]);
	free(x);
}

static void append(struct expect *x, char c)
{
	if (x->len == KEEP) {	/* forget the older half */
		size_t cut = KEEP / 2;

		memmove(x->buf, x->buf + cut, KEEP - cut);
		x->len -= cut;
		x->from = x->from > cut ? x->from - cut : 0;
		x->fail_from = x->fail_from > cut ? x->fail_from - cut : 0;
	}
	x->buf[x->len++] = c;
	x->buf[x->len] = '\0';
}

/* ECMA-48: drop escape sequences; NUL and CR too. */
static void strip(struct expect *x, unsigned char c)
{
	switch (x->ansi) {
	case TEXT:
		if (c == 0x1b)
			x->ansi = ESC;
		else if (c != '\r' && c != '\0')
			append(x, (char)c);
		break;
	case ESC:
		x->ansi = c == '[' ? CSI : c == ']' ? OSC : TEXT;
		break;
	case CSI:
		if (c >= 0x40 && c <= 0x7e)
			x->ansi = TEXT;
		break;
	case OSC:
		if (c == 7 || c == '\\' || c == '\n')
			x->ansi = TEXT;
		break;
	}
}

static bool failed(struct expect *x)
{
	for (unsigned i = 0; i < x->cfg->nfail_on; i++) {
		if (!pattern_find(&x->fail[i], x->buf, x->len, x->fail_from))
			continue;
		snprintf(x->why, sizeof(x->why), "the guest printed '%s' (--fail-on)",
			 x->fail[i].text);
		return true;
	}
	/* A pattern may be half there: look again from the last line on. */
	while (x->fail_from < x->len) {
		const char *nl = memchr(x->buf + x->fail_from, '\n', x->len - x->fail_from);

		if (!nl)
			break;
		x->fail_from = (size_t)(nl - x->buf) + 1;
	}
	return false;
}

enum expect_state expect_feed(struct expect *x, const char *buf, size_t len,
			      void (*send)(void *opaque, const char *buf, size_t len),
			      void *opaque)
{
	for (size_t i = 0; i < len; i++)
		strip(x, (unsigned char)buf[i]);
	if (failed(x))
		return EXPECT_FAILED;
	for (; x->at < x->cfg->nsteps; x->at++) {
		struct pattern *p = &x->step[x->at];
		size_t end;

		if (x->cfg->steps[x->at].send) {
			send(opaque, p->literal, p->len);
			continue;
		}
		end = pattern_find(p, x->buf, x->len, x->from);
		if (!end) {
			snprintf(x->why, sizeof(x->why), "'%s' (--expect, step %u of %u)", p->text,
				 x->at + 1, x->cfg->nsteps);
			return EXPECT_WAITING;
		}
		x->from = end;
	}
	x->why[0] = '\0';
	return EXPECT_DONE;
}

const char *expect_why(const struct expect *x)
{
	return x->why;
}

const char *expect_tail(const struct expect *x, unsigned lines)
{
	const char *p = x->buf + x->len;

	while (p > x->buf && (p[-1] != '\n' || lines--))
		p--;
	return p;
}
