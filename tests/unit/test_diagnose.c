/* SPDX-License-Identifier: MIT */
/* What a screen or console full of text says about a start that gets nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/diagnose.h"

static void says(const char *screen, const char *console, const char *want)
{
	const char *say = diagnose_text(screen, console);

	if (!want) {
		assert_null(say);
		return;
	}
	assert_non_null(say);
	if (!strstr(say, want))
		fail_msg("\"%s\" does not say \"%s\"", say, want);
	assert_null(strchr(say, '\n'));
}

static void test_rows(void **st)
{
	says("", "", NULL);
	says("Debian GNU/Linux 12 hvrun tty1\n\nhvrun login: ", "", NULL);
	says("Booting from Hard Disk...\nBoot failed: not a bootable disk\n\n"
	     "No bootable device.  Retrying in 60 seconds.\n", "", "no bootable device");
	says("", "error: no such device\nEntering rescue mode...\ngrub rescue> ", "GRUB does not");
	says("GNU GRUB  version 2.06\n\ngrub> ", "", "prompt");
	/* the panic's reason, not the panic */
	says("", "[ 2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on "
	     "unknown-block(0,0)\n", "root=");
	says("", "[ 2.1] Kernel panic - not syncing: Attempted to kill init!\n", "panicked");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
