/* SPDX-License-Identifier: MIT */
/*
 * hvrun: the composition root.
 *
 * Reads the command line, opens the back ends, composes the machine and runs
 * it.  The only file that sees devices/, images/ and ui/ at once.
 */
#include "block.h"
#include "boot.h"
#include "chardev.h"
#include "command.h"
#include "config.h"
#include "control.h"
#include "diskhold.h"
#include "cpu/vcpu.h"
#include "display.h"
#include "firmware.h"
#include "img.h"
#include "machine.h"
#include "media.h"
#include "net.h"
#include "ova.h"
#include "record.h"
#include "session.h"
#include "thumb.h"
#include "../devices/pc.h"
#include "../ui/ui.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct app {
	struct config cfg;
	struct machine *machine;	/* NULL: files of the command line only */
	struct record *record;		/* NULL: nothing is recorded */
	struct control *control;	/* NULL: nobody can ask anything of it */
	bool again, again_menu;		/* start it once more afterwards */
	bool remember;			/* it is new, to be saved when it has started */
	struct vm *vm;
	struct pc_config pc;
	struct block *blocks[PC_MAX_DISKS], *floppies[PC_MAX_FLOPPIES];
	struct chardev *serial[PC_MAX_SERIAL], *debugcon, *console, *parallel;
	struct chardev *channels[PC_MAX_CHANNELS];
	bool script_console;		/* --expect and --send mean the virtio console */
	struct net *net;
	struct audio *audio;
	struct firmware firmware;
	struct session *session;
	struct disk_hold *hold;
	struct window *window;
};

/* A size that no hard disk has, and no kernel or ISO image inside. */
static bool is_floppy(const char *path, enum boot_kind kind)
{
	struct stat st;

	return (kind == BOOT_DISK || kind == BOOT_UNKNOWN) && stat(path, &st) == 0 &&
	       S_ISREG(st.st_mode) && (st.st_size == KiB(1440) || st.st_size == KiB(2880));
}

static bool take_floppy(struct config *c, const char *path, struct err *e)
{
	struct cfg_disk *d = &c->floppies[c->nfloppies];

	if (c->nfloppies == CFG_MAX_FLOPPIES)
		return err_set(e, HV_EXIT_USAGE, "too many floppy disks: a PC has %d drives",
			       CFG_MAX_FLOPPIES);
	c->nfloppies++;
	*d = (struct cfg_disk){ 0 };
	d->path = d->spec = hv_strdup(path);
	return true;
}

/* Positional arguments get roles by content. */
static bool take_file(struct config *c, const char *path, struct err *e)
{
	enum boot_kind kind;
	struct cfg_disk *d;

	if (!boot_sniff(path, &kind, e))
		return false;
	if (block_is_recorded(path))	/* the guest wrote what looks like a kernel or an ISO */
		kind = BOOT_DISK;
	else if (ova_is(path))
		return err_set(e, HV_EXIT_USAGE, "%s is a packed machine; make it one of yours: "
			       "hvrun create NAME '%s', then: hvrun NAME", path, path);
	if (boot_is_kernel(kind)) {
		if (c->kernel)
			return err_set(e, HV_EXIT_USAGE, "%s and %s are both kernels; name one",
				       c->kernel, path);
		c->kernel = path;
		return true;
	}
	if (is_floppy(path, kind))
		return take_floppy(c, path, e);
	if (c->ndisks == CFG_MAX_DISKS)
		return err_set(e, HV_EXIT_USAGE, "too many disks: at most %d", CFG_MAX_DISKS);
	d = &c->disks[c->ndisks++];
	*d = (struct cfg_disk){ .cdrom = kind == BOOT_ISO, .readonly = kind == BOOT_ISO,
				.positional = true };
	d->path = d->spec = hv_strdup(path);
	return true;
}

static bool take_files(struct config *c, struct err *e)
{
	for (unsigned i = 0; i < c->nfiles; i++)
		if (!take_file(c, c->files[i], e))
			return false;
	if (!c->kernel && (c->initrd || c->append || c->nmodules))
		return err_set(e, HV_EXIT_USAGE, "--%s needs --kernel", c->initrd ? "initrd" :
			       c->append ? "append" : "module");
	if (!c->kernel && !c->ndisks && !c->nfloppies && !c->firmware)
		return err_set(e, HV_EXIT_USAGE,
			       "nothing to run: give a disk image, an ISO image or "
			       "a kernel, for example: hvrun disk.img (hvrun --help lists all)");
	return true;
}

static void choose_display(struct app *a, struct config *c)
{
	if (c->display == DISPLAY_AUTO)
		c->display = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY") ?
			     DISPLAY_WINDOW : DISPLAY_NONE;
	a->script_console = c->console && !c->nserial;
	if (!c->nserial)
		c->serial[c->nserial++] = c->display == DISPLAY_NONE && !c->console ? "stdio" :
					  "null";
}

/* Guest memory is reserved lazily; refuse what the host can never give. */
static bool check_memory(const struct config *c, struct err *e)
{
	uint64_t have = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	if (c->memory <= have)
		return true;
	return err_set(e, HV_EXIT_HOST,
		       "--memory %llu MiB is more than this computer has (%llu MiB); "
		       "give less",
		       (unsigned long long)(c->memory >> 20), (unsigned long long)(have >> 20));
}

static enum pc_disk_if disk_bus(const struct cfg_disk *d)
{
	static const enum pc_disk_if map[] = {
		[CFG_BUS_VIRTIO] = PC_DISK_VIRTIO, [CFG_BUS_SCSI] = PC_DISK_SCSI,
		[CFG_BUS_NVME] = PC_DISK_NVME,
		[CFG_BUS_AHCI] = PC_DISK_AHCI, [CFG_BUS_IDE] = PC_DISK_IDE,
	};

	if (d->bus == CFG_BUS_DEFAULT)
		return d->cdrom ? PC_DISK_IDE : PC_DISK_VIRTIO;
	return map[d->bus];
}

static void disk_watch(void *opaque, struct block *b, bool opened)
{
	struct app *a = opaque;

	if (opened)
		disk_hold_add(a->hold, b);
	else
		disk_hold_remove(a->hold, b);
}

static bool open_disks(struct app *a, struct err *e)
{
	vm_media_set_watch(a->vm, disk_watch, a);
	a->hold = disk_hold_new(a->vm);
	for (unsigned i = 0; i < a->cfg.ndisks; i++) {
		struct cfg_disk *d = &a->cfg.disks[i];
		struct pc_disk *p = &a->pc.disks[i];
		unsigned flags = (d->keep_space ? 0 : BLOCK_DISCARD_ON) |
				 (d->readonly ? BLOCK_RDONLY : 0) |
				 (a->cfg.discard && !d->readonly ? BLOCK_THROWAWAY : 0);

		p->home = &a->blocks[i];
		p->bus = disk_bus(d);
		p->cdrom = d->cdrom;
		p->readonly = d->readonly;
		snprintf(p->serial, sizeof(p->serial), "%s", d->serial ? d->serial : "");
		a->pc.ndisks = i + 1;
		if (d->cdrom && !strcmp(d->path, "none"))
			continue;
		a->blocks[i] = block_open(d->path, d->format, flags, a->vm->loop, e);
		if (!a->blocks[i] || !block_set_options(a->blocks[i], &d->io, e))
			return false;
		disk_hold_add(a->hold, a->blocks[i]);
		p->block = a->blocks[i];
	}
	return true;
}

static bool open_floppies(struct app *a, struct err *e)
{
	for (unsigned i = 0; i < a->cfg.nfloppies; i++) {
		struct cfg_disk *d = &a->cfg.floppies[i];
		unsigned flags = d->readonly ? BLOCK_RDONLY : a->cfg.discard ? BLOCK_THROWAWAY : 0;

		a->pc.nfloppies = i + 1;
		a->pc.floppies[i] = (struct pc_floppy){ NULL, &a->floppies[i], d->readonly };
		if (!strcmp(d->path, "none"))
			continue;
		a->floppies[i] = block_open(d->path, d->format, flags, a->vm->loop, e);
		if (!a->floppies[i] || !block_set_options(a->floppies[i], &d->io, e))
			return false;
		disk_hold_add(a->hold, a->floppies[i]);
		a->pc.floppies[i].block = a->floppies[i];
	}
	return true;
}

static bool open_firmware(struct app *a, struct err *e)
{
	if (!firmware_open(&a->cfg, a->blocks, a->vm->loop, &a->firmware, e))
		return false;
	a->pc.firmware = a->firmware.rom;
	a->pc.nvram = a->firmware.nvram;
	return true;
}

static bool open_consoles(struct app *a, struct err *e)
{
	if (a->cfg.console) {
		a->console = a->pc.console = chardev_open(a->cfg.console, a->vm->loop, e);
		if (!a->console)
			return false;
	}
	if (a->cfg.parallel) {
		a->parallel = a->pc.parallel = chardev_open(a->cfg.parallel, a->vm->loop, e);
		if (!a->parallel)
			return false;
	}
	for (unsigned i = 0; i < a->cfg.nchannels; i++) {
		struct cfg_channel *ch = &a->cfg.channels[i];

		a->channels[i] = chardev_open(ch->spec, a->vm->loop, e);
		if (!a->channels[i])
			return false;
		a->pc.channels[i] = (struct pc_channel){ ch->name, a->channels[i] };
		a->pc.nchannels = i + 1;
	}
	return true;
}

static bool open_chardevs(struct app *a, struct err *e)
{
	for (unsigned i = 0; i < a->cfg.nserial; i++) {
		a->serial[i] = chardev_open(a->cfg.serial[i], a->vm->loop, e);
		if (!a->serial[i])
			return false;
		a->pc.serial[i] = a->serial[i];
	}
	if (!open_consoles(a, e))
		return false;
	if (!a->cfg.debugcon)
		return true;
	a->debugcon = a->pc.debugcon = chardev_open(a->cfg.debugcon, a->vm->loop, e);
	return a->debugcon != NULL;
}

static bool open_net(struct app *a, struct err *e)
{
	struct net_user_config nc = { .forwards = a->cfg.forwards, .nforwards = a->cfg.nforwards };

	if (a->cfg.no_net)
		return true;
	a->net = net_user_open(&nc, a->vm->loop, a->vm->clock, e);
	if (!a->net)
		return false;
	a->pc.nics[0].net = a->net;
	a->pc.nics[0].model = a->cfg.e1000 ? PC_NIC_E1000 : PC_NIC_VIRTIO;
	a->pc.nnics = 1;
	return true;
}

/* A card, and the PC speaker, need a back end; without one neither is heard. */
static bool open_sound(struct app *a, struct err *e)
{
	static const enum pc_sound cards[] = {
		[CFG_SOUND_NONE] = PC_SOUND_NONE, [CFG_SOUND_HDA] = PC_SOUND_HDA,
		[CFG_SOUND_AC97] = PC_SOUND_AC97, [CFG_SOUND_VIRTIO] = PC_SOUND_VIRTIO,
	};
	struct config *c = &a->cfg;

	if (c->sound == CFG_SOUND_DEFAULT)
		c->sound = c->display == DISPLAY_WINDOW ? CFG_SOUND_HDA : CFG_SOUND_NONE;
	a->pc.sound = cards[c->sound];
	if (c->sound == CFG_SOUND_NONE && !c->sound_backend)
		return true;
	a->audio = c->sound_backend && strcmp(c->sound_backend, "sdl") ?
		   audio_open(c->sound_backend, a->vm->clock, e) :
		   audio_sdl_open(a->vm->clock, e);
	if (!a->audio)
		return false;
	audio_set_mic(a->audio, c->sound_mic);
	a->vm->audio = a->audio;
	return true;
}

static void describe(struct app *a)
{
	const struct config *c = &a->cfg;
	struct pc_config *p = &a->pc;

	p->name = c->name;
	p->ram = c->memory;
	p->kernel = c->kernel;
	p->initrd = c->initrd;
	p->append = c->append;
	memcpy(p->modules, c->modules, sizeof(p->modules));
	p->nmodules = c->nmodules;
	p->debug_exit = c->debug_exit;
	p->display = true;
	p->vga_std = c->vga_std;
	p->outputs = c->outputs;
	p->hpet = c->hpet;
	p->vmgenid = c->vmgenid;
	p->vmmouse = c->vmmouse;
	memcpy(p->generation, c->generation, sizeof(p->generation));
	p->boot = c->boot == BOOT_ORDER_CD ? PC_BOOT_CD : c->boot == BOOT_ORDER_DISK ?
		  PC_BOOT_DISK : c->boot == BOOT_ORDER_FLOPPY ? PC_BOOT_FLOPPY : PC_BOOT_DEFAULT;
	p->boot_menu = c->boot == BOOT_ORDER_MENU;
}

static bool choose_engine(struct app *a, struct err *e)
{
	const struct cpu_ops *ops;
	char why[400] = "";

	ops = engine_choose(a->cfg.engine, why, sizeof(why), e);
	if (!ops)
		return false;
	if (*why)
		log_info("%s", why);
	a->vm->soft = a->cfg.soft;
	return vm_set_engine(a->vm, ops, a->cfg.cpus, e);
}

static const char *title(const struct config *c)
{
	const char *path = c->ndisks ? c->disks[0].path : c->nfloppies ? c->floppies[0].path :
			   c->kernel ? c->kernel : "hvrun";
	const char *slash = strrchr(path, '/');

	return c->name ? c->name : slash ? slash + 1 : path;
}

/* From here on the machine is this process's, and what it says is kept for the library. */
static bool take_machine(struct app *a, struct err *e)
{
	struct err none = { 0 };
	char path[4096];

	if (!a->machine) {
		a->machine = machine_remember(&a->cfg);
		a->remember = a->machine != NULL;
	}
	if (a->machine && !machine_lock(a->machine, e))
		return false;
	a->control = control_open(a->machine, &none);
	if (!a->control)
		log_warn("%s", none.msg);
	if (a->machine && machine_path(a->machine, "log", path, sizeof(path), NULL))
		log_copy(path);
	return true;
}

/* The last picture, small, for the library. */
static void keep_picture(void *opaque)
{
	struct app *a = opaque;
	const struct surface *s;
	uint32_t *px = NULL;
	unsigned w = 0, h = 0;
	char path[4096];

	vm_lock(a->vm);
	display_refresh(a->vm->display);
	s = display_surface(a->vm->display);
	if (s->w && s->h && !display_blank(a->vm->display)) {
		w = s->w;
		h = s->h;
		px = hv_zalloc((size_t)w * h * 4);
		for (unsigned y = 0; y < h; y++)
			memcpy(px + (size_t)y * w, s->pixels + (size_t)y * s->stride,
			       (size_t)w * 4);
	}
	vm_unlock(a->vm);
	if (px && machine_path(a->machine, "png", path, sizeof(path), NULL))
		thumb_save(path, px, w, h, w);
	free(px);
}

static bool open_window(struct app *a, struct err *e)
{
	a->window = window_open(a->vm, &a->cfg, title(&a->cfg), e);
	if (!a->window)
		return false;
	window_set_net(a->window, a->net);
	window_set_record(a->window, &a->record);
	return true;
}

static bool set_up(struct app *a, struct err *e)
{
	struct config *c = &a->cfg;

	if (c->log && !log_open(c->log))
		return err_errno(e, HV_EXIT_GENERIC, errno, "cannot open the log file %s", c->log);
	if (c->verbose)
		log_set_level(LOG_DEBUG);
	choose_display(a, c);
	if (!take_files(c, e) || !take_machine(a, e) || !check_memory(c, e))
		return false;
	a->vm = vm_new(false, e);
	if (!a->vm)
		return false;
	describe(a);
	if (!open_disks(a, e) || !open_floppies(a, e) || !open_firmware(a, e) ||
	    !open_chardevs(a, e) || !open_net(a, e) || !open_sound(a, e) ||
	    !choose_engine(a, e) || !pc_create(a->vm, &a->pc, e))
		return false;
	a->session = session_new(a->vm, c, a->script_console ? a->console : a->serial[0], e);
	if (!a->session)
		return false;
	session_set_disks(a->session, a->hold);
	if (a->control)
		session_set_control(a->session, a->control);
	if (a->machine)
		session_set_picture(a->session, keep_picture, a);
	if (c->display == DISPLAY_WINDOW && !open_window(a, e))
		return false;
	if (!vm_start(a->vm, e))
		return false;
	if (c->record && !(a->record = record_start(a->vm, c->record, e)))
		return false;
	if (a->remember && machine_save(a->machine, NULL))
		log_info("remembered as machine %s (hvrun list; --no-remember: not)",
			 a->machine->name);
	return true;
}

/* FILE.png of the first screen, FILE-2.png of the second one. */
static bool save_scanout(struct app *a, unsigned i, struct err *e)
{
	struct display *d = display_scanout(a->vm->display, i);
	const char *path = a->cfg.screenshot, *base = strrchr(path, '/');
	const char *dot = strrchr(base ? base : path, '.');
	int stem = (int)(dot ? dot - path : (ptrdiff_t)strlen(path));
	char *of = NULL;
	bool ok;

	if (i && asprintf(&of, "%.*s-%u%s", stem, path, i + 1, path + stem) < 0)
		return err_set(e, HV_EXIT_HOST, "out of memory");
	display_refresh(d);
	ok = display_screenshot(d, of ? of : path, e);
	free(of);
	return ok;
}

static bool save_screenshot(struct app *a, struct err *e)
{
	unsigned n = display_scanouts(a->vm->display);
	bool ok = true;

	vm_lock(a->vm);
	for (unsigned i = 0; ok && i < n; i++)
		ok = save_scanout(a, i, e);
	vm_unlock(a->vm);
	return ok;
}

/* A machine without a window is wanted on somebody's display. */
static void show_window(struct app *a)
{
	struct err e = { 0 };

	control_take_display(session_show_wanted(a->session));
	if (open_window(a, &e)) {
		log_info("a window was opened");
		session_show_answer(a->session, "ok");
	} else {
		log_warn("%s", e.msg);
		session_show_answer(a->session, e.msg);
	}
}

static int run_session(struct app *a)
{
	int rc;

	for (;;) {
		rc = a->window ? window_run(a->window, a->session) : headless_run(a->session);
		if (rc != UI_LEFT)
			return rc;
		if (a->window) {
			window_close(a->window);
			a->window = NULL;
		} else {
			show_window(a);
		}
	}
}

static int run(struct app *a)
{
	int rc = run_session(a);
	const char *msg = session_message(a->session);
	struct err e = { 0 };

	if (*msg)
		log_line(rc ? LOG_ERROR : LOG_INFO, "%s", msg);
	if (a->machine)
		keep_picture(a);
	if (!record_stop(a->record, &e))
		log_error("%s", e.msg);
	a->record = NULL;
	vm_stop(a->vm);
	if (a->cfg.screenshot && !save_screenshot(a, &e)) {
		log_error("%s", e.msg);
		rc = rc ? rc : e.exit_code;
	}
	return rc;
}

/* Devices go first (they detach), then the back ends: disks flush and unlock. */
static void tear_down(struct app *a)
{
	if (a->vm) {
		vm_stop(a->vm);
		devices_free(a->vm);
	}
	audio_close(a->audio);
	if (a->window) {
		a->again = window_again(a->window, &a->again_menu);
		window_close(a->window);
	}
	for (unsigned i = 0; i < PC_MAX_DISKS; i++)
		if (a->blocks[i])
			block_close(a->blocks[i]);
	for (unsigned i = 0; i < PC_MAX_FLOPPIES; i++)
		if (a->floppies[i])
			block_close(a->floppies[i]);
	firmware_close(&a->firmware);
	for (unsigned i = 0; i < PC_MAX_SERIAL; i++)
		if (a->serial[i])
			chardev_close(a->serial[i]);
	chardev_close(a->debugcon);
	chardev_close(a->console);
	chardev_close(a->parallel);
	for (unsigned i = 0; i < PC_MAX_CHANNELS; i++)
		chardev_close(a->channels[i]);
	if (a->net)
		net_close(a->net);
	vm_free(a->vm);
	disk_hold_free(a->hold);
	session_free(a->session);
	control_close(a->control);
	config_free(&a->cfg);
	machine_free(a->machine);
}

static bool wants_window(const struct config *c)
{
	return c->display == DISPLAY_WINDOW ||
	       (c->display == DISPLAY_AUTO && (getenv("DISPLAY") || getenv("WAYLAND_DISPLAY")));
}

/* The machine runs already: its window comes up here.  false: it does not run. */
static bool show_running(struct app *a, int *rc)
{
	struct machine_state st;
	struct err e = { 0 };

	if (!a->machine || !wants_window(&a->cfg))
		return false;
	machine_state(a->machine, &st);
	if (!st.running)
		return false;
	*rc = control_show(a->machine, &e) ? 0 : e.exit_code;
	if (*rc)
		log_error("%s", e.msg);
	return true;
}

/* "Start again": the same command line in this process's place. */
static int start_again(const struct app *a, int argc, char **argv)
{
	char **args = hv_zalloc(((size_t)argc + 2) * sizeof(*args)), menu[] = "--boot=menu";
	sigset_t none;
	int n = 0;

	args[n++] = argv[0];
	if (a->again_menu)
		args[n++] = menu;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	execv("/proc/self/exe", args);
	log_error("cannot start again: %s", strerror(errno));
	free(args);
	return HV_EXIT_GENERIC;
}

/* Nothing to run was named, and there is a display: the library. */
static bool wants_library(const struct app *a)
{
	const struct config *c = &a->cfg;

	return !a->machine && !c->nfiles && !c->ndisks && !c->kernel && !c->firmware &&
	       !c->initrd && !c->append && !c->nmodules && wants_window(c);
}

int main(int argc, char **argv)
{
	static struct app app;
	struct err e = { 0 };
	int rc;

	if (argc > 1 && !strcmp(argv[1], "img"))
		return img_main(argc - 1, argv + 1);
	rc = command_main(argc, argv, window_check_gl);
	if (rc != COMMAND_NONE)
		return rc;
	if (!config_parse(&app.cfg, argc, argv, &e) ||
	    !machine_choose(&app.cfg, argc, argv, &app.machine, &e)) {
		log_error("%s", e.msg);
		return e.exit_code;
	}
	if (app.cfg.completion)
		return config_completion(stdout, app.cfg.completion) ? 0 : HV_EXIT_USAGE;
	if (app.cfg.help || app.cfg.man || app.cfg.version) {
		if (app.cfg.version)
			puts("hvrun " HVRUN_VERSION);
		else if (app.cfg.man)
			config_man(stdout), command_man(stdout);
		else
			config_help(stdout), command_help(stdout);
		return 0;
	}
	if (wants_library(&app)) {
		rc = library_run(app.cfg.ui_scale, &e);
		if (rc)
			log_error("%s", e.msg);
		return rc;
	}
	if (show_running(&app, &rc))
		return rc;
	if (set_up(&app, &e)) {
		rc = run(&app);
	} else {
		rc = e.exit_code ? e.exit_code : HV_EXIT_GENERIC;
		log_error("%s", e.msg);
	}
	tear_down(&app);
	if (app.again)
		return start_again(&app, argc, argv);
	return rc;
}
