/* SPDX-License-Identifier: MIT */
/*
 * hvrun: the composition root.
 *
 * Reads the command line, has the machine's parts opened (main_parts.c), starts
 * the machine, runs it to its end and takes all down again.  main*.c are the
 * only files that see devices/, images/ and ui/ at once.
 */
#include "main_int.h"
#include "command.h"
#include "control.h"
#include "cpu/vcpu.h"
#include "diskhold.h"
#include "img.h"
#include "machine.h"
#include "record.h"
#include "../ui/ui.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

static bool open_window(struct app *a, struct err *e)
{
	a->window = window_open(a->vm, &a->cfg, title(&a->cfg), e);
	if (!a->window)
		return false;
	window_set_net(a->window, a->net);
	window_set_record(a->window, a->record);
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
	if (!main_take_files(c, e) || !take_machine(a, e) || !check_memory(c, e))
		return false;
	a->vm = vm_new(false, e);
	if (!a->vm)
		return false;
	if (!main_open_parts(a, e) || !choose_engine(a, e) || !pc_create(a->vm, &a->pc, e))
		return false;
	a->session = session_new(a->vm, c, a->script_console ? a->console : a->serial[0], e);
	if (!a->session)
		return false;
	session_set_disks(a->session, a->hold);
	if (a->control)
		session_set_control(a->session, a->control);
	if (a->machine)
		session_set_picture(a->session, main_keep_picture, a);
	if (c->display == DISPLAY_WINDOW && !open_window(a, e))
		return false;
	if (!vm_start(a->vm, e))
		return false;
	if (c->record && !main_start_records(a, e))
		return false;
	if (a->remember && machine_save(a->machine, NULL))
		log_info("remembered as machine %s (hvrun list; --no-remember: not)",
			 a->machine->name);
	return true;
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
		main_keep_picture(a);
	main_stop_records(a);
	vm_stop(a->vm);
	if (a->cfg.screenshot && !main_save_screenshot(a, &e)) {
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
	main_close_parts(a);
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

/* Closed ones would become disk images, and messages would be written to those. */
static bool open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return fd >= 0;
}

/* What was printed has arrived, or the exit status tells. */
static int end_output(int rc)
{
	if (!fflush(stdout) && !ferror(stdout))
		return rc;
	if (!rc)
		log_error("cannot write to standard output: %s", strerror(errno));
	return rc ? rc : HV_EXIT_HOST;
}

static int hvrun(int argc, char **argv)
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

int main(int argc, char **argv)
{
	if (!open_standard_files())
		return HV_EXIT_HOST;
	signal(SIGXFSZ, SIG_IGN);	/* a disk that may not grow is an error to tell */
	return end_output(hvrun(argc, argv));
}
