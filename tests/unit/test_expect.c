/* SPDX-License-Identifier: MIT */
/* Expectation scripts: order, split input, escapes, regular expressions, failure. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../src/expect.h"

static char sent[256];

static void on_send(void *opaque, const char *buf, size_t len)
{
	strncat(sent, buf, len);
}

static enum expect_state feed(struct expect *x, const char *s)
{
	return expect_feed(x, s, strlen(s), on_send, NULL);
}

static struct expect *script(struct config *c, const char *const *words)
{
	struct err e;
	struct expect *x;

	memset(c, 0, sizeof(*c));
	sent[0] = '\0';
	for (; *words; words += 2) {
		if (!strcmp(words[0], "fail"))
			c->fail_on[c->nfail_on++] = words[1];
		else
			c->steps[c->nsteps++] =
				(struct cfg_step){ !strcmp(words[0], "send"), words[1] };
	}
	x = expect_new(c, &e);
	assert_non_null(x);
	return x;
}

static void test_order(void **st)
{
	static const char *const w[] = { "expect",  "login: ", "send",	  "root\\n", "expect",
					 "/[#$] /", "send",    "/bin/x/", NULL };
	struct config c;
	struct expect *x = script(&c, w);

	assert_int_equal(feed(x, "# not yet\r\nlog"), EXPECT_WAITING);
	assert_non_null(strstr(expect_why(x), "login: "));
	assert_string_equal(sent, "");
	assert_int_equal(feed(x, "in: "), EXPECT_WAITING);
	assert_string_equal(sent, "root\n");
	assert_int_equal(feed(x, "\x1b[1;32mhost\x1b[0m:~\x1b]0;title\x07# "), EXPECT_DONE);
	assert_string_equal(sent, "root\n/bin/x/");
	expect_free(x);
}

static void test_fail_on(void **st)
{
	static const char *const w[] = { "fail", "Kernel panic", "fail", "/Oops: [0-9]+/", "expect",
					 "never", NULL };
	struct config c;
	struct expect *x = script(&c, w);

	assert_int_equal(feed(x, "all well\nKernel pa"), EXPECT_WAITING);
	assert_int_equal(feed(x, "nic - not syncing"), EXPECT_FAILED);
	assert_non_null(strstr(expect_why(x), "Kernel panic"));
	expect_free(x);
	x = script(&c, w);
	assert_int_equal(feed(x, "line\n\nOops: 0002 [#1]\n"), EXPECT_FAILED);
	expect_free(x);
}

/* More output than is kept: old text is forgotten, a late match is still found. */
static void test_flood(void **st)
{
	static const char *const w[] = { "expect", "needle", NULL };
	struct config c;
	struct expect *x = script(&c, w);

	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(feed(x, "hay hay hay\n"), EXPECT_WAITING);
	assert_string_equal(expect_tail(x, 1), "hay hay hay\n");
	assert_int_equal(feed(x, "needle"), EXPECT_DONE);
	expect_free(x);
}

static void test_bad_regex(void **st)
{
	struct config c = { .nsteps = 1, .steps = { { false, "/([/" } } };
	struct err e;

	assert_null(expect_new(&c, &e));
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order), cmocka_unit_test(test_fail_on),
		cmocka_unit_test(test_flood), cmocka_unit_test(test_bad_regex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
