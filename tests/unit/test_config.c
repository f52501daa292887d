/* SPDX-License-Identifier: MIT */
/* The command line: roles, values, and the one-line answer to wrong use. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../src/config.h"

static struct config cfg;
static struct err err;

static bool parse(const char *line)
{
	static char *argv[64], buf[1024];
	int argc = 1;

	snprintf(buf, sizeof(buf), "%s", line);
	argv[0] = (char *)(uintptr_t)"hvrun";
	for (char *p = strtok(buf, "|"); p; p = strtok(NULL, "|"))
		argv[argc++] = p;
	memset(&err, 0, sizeof(err));
	config_free(&cfg);
	return config_parse(&cfg, argc, argv, &err);
}

static void test_values(void **st)
{
	assert_true(
		parse("-m|2G|--cpus=4|--engine|soft|disk.img|--disk|a,,b.img,if=ide,readonly=on"));
	assert_true(cfg.memory == GiB(2) && cfg.cpus == 4);
	assert_string_equal(cfg.files[0], "disk.img");
	assert_string_equal(cfg.disks[0].path, "a,b.img");
	assert_true(cfg.disks[0].bus == CFG_BUS_IDE && cfg.disks[0].readonly);
	assert_true(
		parse("-m512|--timeout|1.5m|--expect|a|--send|b\\n|--expect|c|--then|shutdown"));
	assert_true(cfg.memory == MiB(512) && cfg.timeout_ms == 90000 && cfg.nsteps == 3);
	assert_true(cfg.steps[1].send && !cfg.steps[2].send && cfg.then == THEN_SHUTDOWN);
	assert_true(parse("--forward|tcp:2222:22|--forward|udp:0.0.0.0:53:5353"));
	assert_string_equal(cfg.forwards[0].host_addr, "127.0.0.1");
	assert_true(cfg.forwards[1].udp && cfg.forwards[1].guest_port == 5353);
	assert_true(parse("--|-odd-name.img"));
	assert_string_equal(cfg.files[0], "-odd-name.img");
	assert_true(parse("--debug-exit|0xf4|--discard|k"));
	assert_true(cfg.debug_exit == 0xf4 && cfg.discard);
}

static void test_sound(void **st)
{
	assert_true(parse("--sound|hda"));
	assert_true(cfg.sound == CFG_SOUND_HDA && !cfg.sound_backend && !cfg.sound_mic);
	assert_true(parse("--sound|none,mic=tone,backend=wav:a,b.wav"));
	assert_true(cfg.sound == CFG_SOUND_NONE && cfg.sound_mic == AUDIO_MIC_TONE);
	assert_string_equal(cfg.sound_backend, "wav:a,b.wav");
	assert_false(parse("--sound|gus"));
	assert_false(parse("--sound|hda,"));
	assert_false(parse("--sound|hda,mic=loud"));
	assert_false(parse("--sound|hda,backend=wav:"));
	assert_false(parse("--sound|hda,backend=oss"));
	assert_int_equal(err.exit_code, HV_EXIT_USAGE);
}

static void test_engine_keys(void **st)
{
	assert_true(parse("--engine|soft,verify,stats|--jit-cache|8M|--cpus|2"));
	assert_string_equal(cfg.engine, "soft");
	assert_true(cfg.soft.verify && cfg.soft.stats && !cfg.soft.no_jit);
	assert_true(cfg.soft.jit_cache == MiB(8));
	assert_true(parse("--engine|soft,jit=off"));
	assert_true(cfg.soft.no_jit && !cfg.soft.verify);
	assert_true(parse("--engine|kvm") && !strcmp(cfg.engine, "kvm"));
	assert_false(parse("--engine|soft,"));
	assert_false(parse("--engine|soft,jit"));
	assert_false(parse("--engine|sof"));
	assert_false(parse("--engine|softly"));
	assert_false(parse("--engine|kvm,verify"));
	assert_false(parse("--engine|soft,verify,jit=off"));
	assert_false(parse("--jit-cache|1M|--cpus|2"));
	assert_false(parse("--jit-cache|0"));
	assert_false(parse("--jit-cache|4097M|--cpus|4"));
	assert_true(parse("--jit-cache|4096M|--cpus|4"));
	assert_int_equal(err.exit_code, 0);
}

static void test_vga(void **st)
{
	assert_true(parse("--vga|virtio") && !cfg.vga_std && !cfg.outputs);
	assert_true(parse("--vga|std|--vga|virtio,outputs=16"));
	assert_true(!cfg.vga_std && cfg.outputs == 16);
	assert_true(parse("--vga|virtio,outputs=2|--vga|std") && cfg.vga_std && !cfg.outputs);
}

static void test_disk_keys(void **st)
{
	const struct cfg_disk *d = cfg.disks;

	assert_true(parse("--disk|a,cache=none,discard=off,iops=2K,bps=20M,serial=X 1,format=raw"
			  "|--disk|b,cache=writethrough,discard=on|--cdrom|c.iso,if=ide"));
	assert_int_equal(cfg.ndisks, 3);
	assert_true(d[0].io.cache == BLOCK_CACHE_NONE && d[0].keep_space);
	assert_true(d[0].io.iops == 2048 && d[0].io.bps == MiB(20));
	assert_string_equal(d[0].serial, "X 1");
	assert_string_equal(d[0].format, "raw");
	assert_true(d[1].io.cache == BLOCK_CACHE_WRITETHROUGH && !d[1].keep_space);
	assert_true(d[1].bus == CFG_BUS_DEFAULT && !d[1].readonly);
	assert_true(d[2].cdrom && d[2].readonly && d[2].bus == CFG_BUS_IDE);
}

/* Wrong use: refused with exit status 64 and a line that names the option. */
static void test_refused(void **st)
{
	static const char *const bad[][2] = {
		{ "--memroy|1G", "did you mean --memory" },
		{ "--nonsense", "hvrun --help" },
		{ "-m|0", "--memory 0" },
		{ "-m|-1", "--memory" },
		{ "-m|12Q", "not a size" },
		{ "-m|99999T", "impossible" },
		{ "-m|99999999999999999999", "--memory" },
		{ "-m", "needs a value" },
		{ "--cpus|0", "--cpus 0" },
		{ "--cpus|65", "between 1 and 64" },
		{ "--cpus|two", "--cpus two" },
		{ "--engine|qemu", "auto, kvm or soft" },
		{ "--disk|a.img,if=floppy", "virtio" },
		{ "--disk|a.img,cache=some", "writeback" },
		{ "--disk|a.img,discard=maybe", "discard=on" },
		{ "--disk|a.img,iops=0", "iops" },
		{ "--disk|a.img,bps=fast", "20M" },
		{ "--disk|a.img,werror=panic", "report" },
		{ "--disk|a.img,serial=123456789012345678901", "20 characters" },
		{ "--cdrom|a.iso,if=virtio", "CD" },
		{ "--cdrom|a.iso,readonly=off", "read-only" },
		{ "--disk|a.img,foo", "KEY=VALUE" },
		{ "--disk|a.img,colour=red", "unknown key" },
		{ "--disk|,readonly=on", "file name" },
		{ "--serial|tty", "stdio" },
		{ "--timeout|soon", "--timeout soon" },
		{ "--timeout|0", "--timeout 0" },
		{ "--forward|tcp:1:99999", "HOSTPORT" },
		{ "--forward|22", "HOSTPORT" },
		{ "--debug-exit|0", "I/O port" },
		{ "--display|sdl", "use window, none, window,gl=on or window,gl=off" },
		{ "--display|window,gl=maybe", "gl=on" },
		{ "--then|explode", "poweroff" },
		{ "--discard=yes", "takes no value" },
		{ "--initrd|x", "needs --kernel" },
		{ "--net|none|--forward|tcp:1:1", "--net none" },
		{ "--boot|tape", "disk, cd, floppy or menu" },
		{ "--expect|", "needs a" },
		{ "--vmgenid|f81d4fae7dec11d0a76500a0c91e6bf6", "GUID" },
		{ "--vmgenid|f81d4fae-7dec-11d0-a765-00a0c91e6bf", "GUID" },
		{ "--channel|x", "NAME=" }, { "--channel|a/b=null", "no /" },
		{ "--channel|=null", "63" }, { "--console|tty", "unix:PATH" },
		{ "--vga|virtio,outputs=0", "between 1 and 16" },
		{ "--vga|virtio,outputs=17", "between 1 and 16" },
		{ "--vga|virtio,outputs=two", "between 1 and 16" },
		{ "--vga|virtio,outputs=2,bad=1", "has no 'bad=1'; its key is outputs=N" },
		{ "--vga|virtio,", "has no ''" },
		{ "--vga|std,outputs=2", "--vga std has no 'outputs=2'" },
		{ "--floppy|a.img,if=ide", "--floppy" }, { "--floppy|,x=y", "file name" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse(bad[i][0]))
			fail_msg("accepted: %s", bad[i][0]);
		assert_int_equal(err.exit_code, HV_EXIT_USAGE);
		if (!strstr(err.msg, bad[i][1]))
			fail_msg("%s: '%s' does not say '%s'", bad[i][0], err.msg, bad[i][1]);
		assert_null(strchr(err.msg, '\n'));
	}
}

static void test_unescape(void **st)
{
	char out[32];

	assert_int_equal(config_unescape("a\\n\\x41\\e\\\\\\q\\", out), 8);
	assert_memory_equal(out, "a\nA\x1b\\\\q\\", 8);
}

static int clean_up(void **st)
{
	config_free(&cfg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_sound),
		cmocka_unit_test(test_engine_keys),
		cmocka_unit_test(test_vga), cmocka_unit_test(test_disk_keys),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unescape),
	};

	return cmocka_run_group_tests(tests, NULL, clean_up);
}
