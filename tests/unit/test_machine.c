/* SPDX-License-Identifier: MIT */
/* Machine files: round trip, hostile text, names, the way into options, locks, guesses. */
#include "../../src/machine_int.h"
#include "../../src/guess.h"
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char top[] = "/tmp/hvrun-machine.XXXXXX";

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static char *get(const char *path)
{
	static char buf[8192];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = 0;
	fclose(f);
	return buf;
}

/* Comments, blank lines, unknown keys and strange lines survive a change. */
static void test_keeps_text(void **state)
{
	static const char text[] =
		"# mine\n\nmemory = 2G\nfrobnicate=yes please\n  cpus  =  2  \n"
		"disk = a.img\nnot a key\n= nothing\ndisk = b.img,readonly=on\n"
		"append = \" quoted \"\n";
	char path[PATH_MAX];
	struct machine *m;

	snprintf(path, sizeof(path), "%s/keep.hvm", top);
	put(path, text);
	m = machine_open(path, NULL);
	assert_non_null(m);
	assert_string_equal(m->name, "keep");
	assert_string_equal(machine_get(m, "cpus", 0), "2");
	assert_string_equal(machine_get(m, "append", 0), " quoted ");
	assert_string_equal(machine_get(m, "disk", 1), "b.img,readonly=on");
	assert_null(machine_get(m, "disk", 2));
	machine_set(m, "memory", "4G");
	machine_add(m, "disk", "c.img");
	machine_set(m, "cpus", NULL);
	assert_true(machine_save(m, NULL));
	machine_free(m);
	assert_string_equal(get(path),
			    "# mine\n\nmemory = 4G\nfrobnicate = yes please\n"
			    "disk = a.img\nnot a key\n= nothing\ndisk = b.img,readonly=on\n"
			    "disk = c.img\nappend = \" quoted \"\n");
}

/* The text before the last change is kept, and only that. */
static void test_previous(void **state)
{
	char path[PATH_MAX], old[PATH_MAX + 1];
	struct machine *m;

	snprintf(path, sizeof(path), "%s/kept.hvm", top);
	snprintf(old, sizeof(old), "%s~", path);
	put(path, "memory = 1G\n");
	m = machine_open(path, NULL);
	machine_set(m, "memory", "2G");
	assert_true(machine_save(m, NULL));
	assert_string_equal(get(path), "memory = 2G\n");
	assert_string_equal(get(old), "memory = 1G\n");
	machine_set(m, "memory", "3G");
	assert_true(machine_save(m, NULL));
	assert_string_equal(get(old), "memory = 2G\n");
	machine_free(m);
	unlink(path);
	unlink(old);
}

static void test_hostile(void **state)
{
	char path[PATH_MAX], *big = malloc(400 << 10);
	struct machine *m;
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/bad.hvm", top);
	put(path, "====\n\"\"=\"\"\n\xff\xfe = \x80\nmemory=\ndisk=\"\n\r\n\t=\t\nx=\"\"");
	m = machine_open(path, NULL);
	assert_non_null(m);
	assert_string_equal(machine_get(m, "x", 0), "");
	assert_string_equal(machine_get(m, "disk", 0), "\"");
	assert_true(machine_save(m, NULL));
	machine_free(m);
	m = machine_open(path, NULL);
	assert_string_equal(machine_get(m, "disk", 0), "\"");
	machine_set(m, "name", "two\nlines");
	assert_false(machine_save(m, &e));
	machine_free(m);
	memset(big, 'a', 400 << 10);
	big[(400 << 10) - 1] = 0;
	put(path, big);
	assert_null(machine_open(path, &e));
	assert_null(machine_open(top, &e));
	assert_null(machine_open("/dev/zero", &e));
	free(big);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "", ".x", "-x", "a/b", "a\nb", "..", "\x7f" };
	char name[MACHINE_NAME_MAX + 1], is[MACHINE_NAME_MAX + 1];
	struct machine *m;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(machine_name_ok(bad[i], NULL));
	assert_true(machine_name_ok("\xe6\x97\xa5\xe6\x9c\xac 2", NULL));
	m = machine_new("free", NULL);
	assert_true(machine_save(m, NULL));
	machine_free(m);
	assert_null(machine_new("free", NULL));
	machine_free_name("free", name, sizeof(name));
	assert_string_equal(name, "free 2");
	machine_free_name("../a", is, sizeof(is));
	assert_string_equal(is, "machine");
	m = machine_find("free", NULL);
	assert_non_null(m);
	assert_string_equal(m->id, "free");
	unlink(m->path);
	machine_free(m);
}

/* Relative names start at the file; the command line comes after; lists add up. */
static void test_options(void **state)
{
	char path[PATH_MAX], want[PATH_MAX], arg[PATH_MAX];
	char *argv[] = { "hvrun", arg, "-m", "3G", "--disk", "/x/late.img" };
	char mine[PATH_MAX - 20];
	struct machine *m;
	struct config c;
	struct err e = { 0 };

	assert_true(machine_dir(MACHINE_DIR_DATA, mine, sizeof(mine), &e));
	snprintf(path, sizeof(path), "%s/opt.hvm", mine);
	snprintf(arg, sizeof(arg), "%s", path);
	put(path, "memory = 1G\ncpus = 2\ndisk = sub/a,,b.img,if=ide\nfullscreen = yes\n"
	    "discard = no\ntimeout = 3s\nwhatever = 1\ncdrom = /abs.iso\nfloppy = f.img\n");
	assert_true(config_parse(&c, 6, argv, &e));
	assert_true(machine_choose(&c, 6, argv, &m, &e));
	assert_non_null(m);
	assert_int_equal(c.memory, GiB(3));
	assert_int_equal(c.cpus, 2);
	assert_true(c.fullscreen);
	assert_false(c.discard);
	assert_int_equal(c.timeout_ms, 0);	/* not for files */
	assert_int_equal(c.nfiles, 0);
	assert_int_equal(c.ndisks, 3);
	snprintf(want, sizeof(want), "%s/sub/a,b.img", mine);
	assert_string_equal(c.disks[0].path, want);
	assert_int_equal(c.disks[0].bus, CFG_BUS_IDE);
	assert_string_equal(c.disks[1].path, "/abs.iso");
	snprintf(want, sizeof(want), "%s/f.img", mine);
	assert_string_equal(c.floppies[0].path, want);
	assert_string_equal(c.disks[2].path, "/x/late.img");
	assert_string_equal(c.name, "opt");
	config_free(&c);
	machine_free(m);
	put(path, "memory = lots\n");
	assert_true(config_parse(&c, 2, argv, &e));
	assert_false(machine_choose(&c, 2, argv, &m, &e));
	assert_non_null(strstr(e.msg, "opt.hvm"));
	config_free(&c);
	machine_free(m);
	unlink(path);
}

/* A machine file that came with a download names nothing but what came with it. */
static void test_foreign(void **state)
{
	static const struct { const char *line; bool ok; } rows[] = {
		{ "disk = a.img,if=ide", true }, { "disk = sub/new.img", true },
		{ "append = root=/dev/vda", true }, { "serial = stdio", true },
		{ "cdrom = none", true }, { "sound = hda,mic=off", true },
		{ "disk = /etc/passwd,if=ide", false }, { "disk = ../a.img", false },
		{ "disk = link.img", false }, { "nvram = up/new.fd", false },
		{ "kernel = /boot/vmlinuz", false }, { "module = /etc/passwd x", false },
		{ "floppy = sub/../../f.img", false }, { "serial = file:a.log", false },
		{ "channel = org.test=unix:/tmp/x", false }, { "console = file:x", false },
		{ "sound = hda,backend=wav:x", false }, { "parallel = file:x", false },
	};
	char dir[PATH_MAX - 40], path[PATH_MAX];
	struct err e = { 0 };

	snprintf(dir, sizeof(dir), "%s/download", top);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/download/sub", top);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/download/link.img", top);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/download/up", top);
	assert_int_equal(symlink("..", path), 0);
	snprintf(path, sizeof(path), "%s/download/it.hvm", top);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct machine *m;
		struct config c;

		put(path, rows[i].line);
		m = machine_open(path, &e);
		assert_non_null(m);
		config_init(&c);
		assert_int_equal(machine_apply(m, &c, &e), rows[i].ok);
		assert_true(rows[i].ok || strstr(e.msg, "if you trust it"));
		config_free(&c);
		machine_free(m);
	}
}

/* What may be given several times is kept several times. */
static void test_given(void **state)
{
	char *argv[] = { "hvrun", "--floppy", "/a.img", "--floppy", "/b.img", "--channel",
			 "a=null", "--channel", "b=null", "-m", "1G", "-m", "2G" };
	struct machine *m = machine_new("given", NULL);
	struct config c;
	struct err e = { 0 };

	assert_true(config_parse(&c, ARRAY_SIZE(argv), argv, &e));
	machine_add_given(m, &c, true);
	assert_string_equal(machine_get(m, "floppy", 0), "/a.img");
	assert_string_equal(machine_get(m, "floppy", 1), "/b.img");
	assert_string_equal(machine_get(m, "channel", 1), "b=null");
	assert_string_equal(machine_get(m, "memory", 0), "2G");
	assert_null(machine_get(m, "memory", 1));
	config_free(&c);
	machine_free(m);
}

static void test_lock(void **state)
{
	struct machine *a = machine_new("locked", NULL), *b;
	struct machine_state s;
	struct err e = { 0 };

	assert_true(machine_save(a, NULL));
	b = machine_find("locked", NULL);
	machine_state(b, &s);
	assert_false(s.running);
	assert_int_equal(s.used, 0);
	assert_true(machine_lock(a, &e));
	machine_state(b, &s);
	assert_true(s.running);
	assert_int_equal(s.pid, getpid());
	assert_true(s.used > 0);
	assert_false(machine_lock(b, &e));
	assert_int_equal(e.exit_code, HV_EXIT_LOCKED);
	machine_unlock(a);
	assert_true(machine_lock(b, &e));
	machine_free(a);
	machine_free(b);
}

static void test_of_disk(void **state)
{
	struct machine *m = machine_new("owner", NULL), *found;
	char disk[PATH_MAX], link[PATH_MAX], *v;

	snprintf(disk, sizeof(disk), "%s/my,disk.img", top);
	snprintf(link, sizeof(link), "%s/link.img", top);
	put(disk, "x");
	assert_int_equal(symlink(disk, link), 0);
	v = machine_value_of(disk);
	machine_add(m, "disk", v);
	free(v);
	assert_true(machine_save(m, NULL));
	found = machine_of_disk(link);
	assert_non_null(found);
	assert_string_equal(found->name, "owner");
	assert_null(machine_of_disk("/dev/null"));
	machine_free(found);
	machine_free(m);
}

/* What is given on the command line is what the file says; one run's options are not. */
static void test_remember(void **state)
{
	char disk[PATH_MAX];
	char *argv[] = { "hvrun", "--display", "window", "--net", "none", "--cpus", "1" };
	struct machine *m;
	struct config c;
	uint8_t sector[512] = { [510] = 0x55, [511] = 0xaa };
	FILE *f;

	snprintf(disk, sizeof(disk), "%s/system.img", top);
	f = fopen(disk, "w");
	fwrite(sector, 1, sizeof(sector), f);
	fclose(f);
	assert_true(config_parse(&c, 7, argv, NULL));
	c.disks[c.ndisks++] = (struct cfg_disk){ .path = disk, .positional = true };
	m = machine_remember(&c);
	assert_non_null(m);
	assert_string_equal(m->name, "system");
	assert_string_equal(machine_get(m, "disk", 0), disk);
	assert_string_equal(machine_get(m, "net", 0), "none");
	assert_string_equal(machine_get(m, "cpus", 0), "1");
	assert_null(machine_get(m, "display", 0));
	assert_non_null(machine_get(m, "memory", 0));
	machine_free(m);
	c.discard = true;
	assert_null(machine_remember(&c));
	c.discard = false;
	c.display = DISPLAY_NONE;
	assert_null(machine_remember(&c));
}

static void test_guess(void **state)
{
	uint8_t *iso = calloc(1, 0x9000);
	char path[PATH_MAX];
	struct guess g;
	FILE *f;

	snprintf(path, sizeof(path), "%s/x.iso", top);
	memcpy(iso + 0x8000, "\1CD001\1", 7);
	memset(iso + 0x8000 + 40, ' ', 32);
	memcpy(iso + 0x8000 + 40, "OpenBSD/amd64   7.4", 19);
	f = fopen(path, "w");
	fwrite(iso, 1, 0x9000, f);
	fclose(f);
	assert_true(guess_medium(path, &g, NULL));
	assert_int_equal(g.kind, BOOT_ISO);
	assert_string_equal(g.os, "OpenBSD");
	assert_string_equal(g.title, "OpenBSD/amd64   7.4");
	assert_int_equal(g.disk, GiB(20));
	snprintf(path, sizeof(path), "%s/fs.img", top);
	memset(iso, 0, 0x9000);
	memcpy(iso + 3, "NTFS    ", 8);
	f = fopen(path, "w");
	fwrite(iso, 1, 0x9000, f);
	fclose(f);
	assert_true(guess_medium(path, &g, NULL));
	assert_string_equal(g.os, "Windows");
	assert_false(guess_medium("/nowhere", &g, NULL));
	free(iso);
}

static int set_up(void **state)
{
	if (!mkdtemp(top))
		return -1;
	setenv("XDG_DATA_HOME", top, 1);
	setenv("XDG_CACHE_HOME", top, 1);
	setenv("XDG_RUNTIME_DIR", top, 1);
	return 0;
}

static int clean_up(void **state)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

/* An empty drive is no file; a floppy disk is one like a CD. */
static void test_empty_drives(void **state)
{
	static const struct { const char *key, *value; bool file; } v[] = {
		{ "cdrom", "none", false }, { "floppy", "none", false },
		{ "cdrom", "none,if=ahci", false }, { "cdrom", "nonesuch.iso", true },
		{ "floppy", "a.img,readonly=on", true }, { "disk", "none", true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(v); i++) {
		char *s = machine_absolute(v[i].key, v[i].value);

		assert_int_equal(s[0] == '/', v[i].file);
		free(s);
	}
	assert_true(config_key_is_list("floppy"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_text), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_names), cmocka_unit_test(test_options),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_given), cmocka_unit_test(test_previous),
		cmocka_unit_test(test_lock), cmocka_unit_test(test_of_disk),
		cmocka_unit_test(test_remember), cmocka_unit_test(test_guess),
		cmocka_unit_test(test_empty_drives),
	};

	return cmocka_run_group_tests(tests, set_up, clean_up);
}
