/* SPDX-License-Identifier: MIT */
/* hvrun doctor: what this computer lacks for running guests well, and what to do. */
#include "command_int.h"
#include "cpu/vcpu.h"
#include "firmware.h"
#include "img_int.h"
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum verdict { GOOD, WORSE, BAD };	/* WORSE: works without, less well */

struct finding {
	enum verdict v;
	char text[700];
};

static void say(struct finding *f, enum verdict v, const char *fmt, ...) HV_PRINTF(3, 4);
static void say(struct finding *f, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	f->v = v;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void check_kvm(struct finding *f, const struct command_args *a)
{
	struct err e = { 0 };
	char why[400] = "";

	if (!kvm_cpu_ops.probe(&e)) {
		say(f, BAD, "%s. Guests run on the software CPU until then", e.msg);
		return;
	}
	engine_choose(NULL, why, sizeof(why), &e);
	say(f, GOOD, "/dev/kvm can be used; measured: %s", why);
}

static void check_memory(struct finding *f, const struct command_args *a)
{
	struct sysinfo si;
	unsigned long long have, total;

	if (sysinfo(&si) < 0) {
		say(f, WORSE, "cannot ask: %s", strerror(errno));
		return;
	}
	have = ((unsigned long long)si.freeram + si.bufferram) * si.mem_unit >> 20;
	total = (unsigned long long)si.totalram * si.mem_unit >> 20;
	if (total < 2048)
		say(f, WORSE, "%llu MiB; a desktop guest wants 2048 and more for itself: give "
		    "guests little, for example -m 512M", total);
	else
		say(f, GOOD, "%llu MiB, %llu free", total, have);
}

static void check_display(struct finding *f, const struct command_args *a)
{
	const char *x = getenv("DISPLAY"), *way = getenv("WAYLAND_DISPLAY");

	if (!x && !way)
		say(f, BAD, "none: DISPLAY and WAYLAND_DISPLAY are not set. Windows need a desktop "
		    "session, or ssh -X; --display none works without");
	else
		say(f, GOOD, "%s %s", way ? "Wayland" : "X11", way ? way : x);
}

static void check_gl(struct finding *f, const struct command_args *a)
{
	char text[400] = "";
	bool ok = a->gl && a->gl(text, sizeof(text));

	say(f, ok ? GOOD : WORSE, "%s%s", text, ok ? "" :
	    "; without OpenGL windows are drawn by the processor (libgl1-mesa-dri or a graphics "
	    "driver has it)");
}

static void check_bios(struct finding *f, const struct command_args *a)
{
	static const char path[] = "/usr/share/seabios/bios-256k.bin";	/* PC_FIRMWARE */

	if (access(path, R_OK) == 0)
		say(f, GOOD, "%s", path);
	else
		say(f, BAD, "SeaBIOS is missing: disks and CDs cannot be started; run: "
		    "sudo apt-get install seabios");
}

static void check_uefi(struct finding *f, const struct command_args *a)
{
	if (access(FIRMWARE_UEFI, R_OK) == 0)
		say(f, GOOD, "%s", FIRMWARE_UEFI);
	else
		say(f, WORSE, "OVMF is missing: UEFI systems cannot be started; run: "
		    "sudo apt-get install ovmf");
}

static void check_dirs(struct finding *f, const struct command_args *a)
{
	static const enum machine_dir dirs[] = { MACHINE_DIR_DATA, MACHINE_DIR_DISKS,
						 MACHINE_DIR_CACHE, MACHINE_DIR_RUN };
	struct err e = { 0 };
	char path[PATH_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (!machine_dir(dirs[i], path, sizeof(path), &e)) {
			say(f, BAD, "%s; without it machines are not remembered", e.msg);
			return;
		}
		if (access(path, W_OK | X_OK) < 0) {
			say(f, BAD, "%s: %s; give it back to yourself: sudo chown -R $USER %s",
			    path, strerror(errno), path);
			return;
		}
	}
	if (machine_dir(MACHINE_DIR_DATA, path, sizeof(path), &e))
		say(f, GOOD, "%s", path);
}

static void check_space(struct finding *f, const struct command_args *a)
{
	char path[PATH_MAX];
	struct statvfs st;
	unsigned long long free_mib;

	if (!machine_dir(MACHINE_DIR_DISKS, path, sizeof(path), NULL) || statvfs(path, &st) < 0) {
		say(f, WORSE, "cannot ask");
		return;
	}
	free_mib = (unsigned long long)st.f_bavail * st.f_frsize >> 20;
	say(f, free_mib < 2048 ? WORSE : GOOD, "%llu MiB free in %s%s", free_mib, path,
	    free_mib < 2048 ? "; new disks want more: free some space, or keep images elsewhere" :
	    "");
}

static bool in_path(const char *name)
{
	char copy[4096], full[PATH_MAX];
	const char *path = getenv("PATH");
	char *rest = copy, *dir;

	snprintf(copy, sizeof(copy), "%s", path ? path : "/usr/bin:/bin");
	while ((dir = strsep(&rest, ":"))) {
		if (snprintf(full, sizeof(full), "%s/%s", dir, name) < (int)sizeof(full) &&
		    access(full, X_OK) == 0)
			return true;
	}
	return false;
}

static void check_dialogs(struct finding *f, const struct command_args *a)
{
	if (getenv("DBUS_SESSION_BUS_ADDRESS"))
		say(f, GOOD, "the desktop's, by D-Bus; else hvrun's own");
	else if (in_path("zenity") || in_path("kdialog"))
		say(f, GOOD, "%s", in_path("zenity") ? "zenity" : "kdialog");
	else
		say(f, WORSE, "hvrun's own only: there is no session bus, zenity or kdialog; "
		    "install zenity for those of the desktop");
}

static void check_decorations(struct finding *f, const struct command_args *a)
{
	void *lib;

	if (!getenv("WAYLAND_DISPLAY")) {
		say(f, GOOD, "the window manager's");
		return;
	}
	lib = dlopen("libdecor-0.so.0", RTLD_LAZY);
	if (lib)
		say(f, GOOD, "libdecor");
	else
		say(f, WORSE, "GNOME gives windows no title bar without libdecor; install "
		    "libdecor-0-plugin-1-cairo");
	if (lib)
		dlclose(lib);
}

static const struct check {
	const char *name;
	void (*run)(struct finding *f, const struct command_args *a);
} checks[] = {
	{ "KVM", check_kvm },
	{ "Memory", check_memory },
	{ "Display", check_display },
	{ "OpenGL", check_gl },
	{ "BIOS", check_bios },
	{ "UEFI", check_uefi },
	{ "Folders", check_dirs },
	{ "Disk space", check_space },
	{ "File dialogs", check_dialogs },
	{ "Title bars", check_decorations },
};

static const char *const words[] = { [GOOD] = "ok", [WORSE] = "note", [BAD] = "BAD" };

int command_doctor(struct command_args *a, struct err *e)
{
	struct img_json j = { .out = stdout };
	bool bad = false;

	if (a->json)
		json_begin(&j, NULL, '[');
	for (unsigned i = 0; i < ARRAY_SIZE(checks); i++) {
		struct finding f = { .v = GOOD };

		checks[i].run(&f, a);
		bad |= f.v == BAD;
		if (!a->json) {
			printf("%-5s %-13s %s\n", words[f.v], checks[i].name, f.text);
			continue;
		}
		json_begin(&j, NULL, '{');
		json_string(&j, "check", checks[i].name);
		json_string(&j, "result", f.v == GOOD ? "ok" : f.v == WORSE ? "note" : "bad");
		json_string(&j, "text", f.text);
		json_end(&j, '}');
	}
	if (a->json)
		json_end(&j, ']');
	return bad ? HV_EXIT_GENERIC : 0;
}
