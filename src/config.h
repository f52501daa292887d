/* SPDX-License-Identifier: MIT */
/*
 * What the user asked for: the command line as one struct, from one table.
 *
 * The table in config_options.c feeds the parser, --help and the manual page, so
 * they cannot disagree.  Strings point into argv (or are allocated once) and
 * live as long as the process.
 */
#ifndef HV_CONFIG_H
#define HV_CONFIG_H

#include "audio.h"
#include "block.h"
#include "cpu_options.h"
#include "err.h"
#include "net.h"
#include "util.h"
#include <stdio.h>

#define CFG_MAX_DISKS 16
#define CFG_MAX_FLOPPIES 2
#define CFG_MAX_SERIAL 4
#define CFG_MAX_CHANNELS 6
#define CFG_MAX_STEPS 256
#define CFG_MAX_FAIL_ON 32
#define CFG_MAX_FORWARDS 32
#define CFG_MAX_MODULES 16
#define CFG_MAX_ARGS 32
#define CFG_MAX_GIVEN 160

enum cfg_gl { CFG_GL_AUTO, CFG_GL_ON, CFG_GL_OFF };
enum cfg_display { DISPLAY_AUTO, DISPLAY_WINDOW, DISPLAY_NONE };
enum cfg_then { THEN_DEFAULT, THEN_KEEP, THEN_SHUTDOWN, THEN_POWEROFF };
enum cfg_boot { BOOT_ORDER_DEFAULT, BOOT_ORDER_DISK, BOOT_ORDER_CD, BOOT_ORDER_FLOPPY,
		BOOT_ORDER_MENU };

enum cfg_disk_bus { CFG_BUS_DEFAULT, CFG_BUS_VIRTIO, CFG_BUS_SCSI, CFG_BUS_NVME, CFG_BUS_AHCI,
		    CFG_BUS_IDE };

enum cfg_sound { CFG_SOUND_DEFAULT, CFG_SOUND_NONE, CFG_SOUND_HDA, CFG_SOUND_AC97,
		 CFG_SOUND_VIRTIO };

struct cfg_disk {
	char *path;
	char *format;		/* NULL: by content */
	char *serial;
	enum cfg_disk_bus bus;
	bool cdrom, readonly;
	bool keep_space;	/* discard=off */
	bool positional;	/* named without an option */
	struct block_options io;
	char *spec;		/* owned: what the strings above point into */
};

struct cfg_channel {
	char name[64];
	const char *spec;	/* of the back end (chardev.h) */
};

struct cfg_step {
	bool send;		/* else expect */
	const char *text;
};

/* An option of the command line that a machine file may hold. */
struct cfg_given {
	const char *key, *value;	/* "yes" for flags */
};

struct config {
	uint64_t memory;	/* bytes */
	unsigned cpus;
	const char *engine;	/* NULL: auto */
	struct cpu_options soft;
	const char *name;
	const char *kernel, *initrd, *append;
	const char *firmware;	/* NULL: by the disk's content; "bios", "uefi" or a path */
	const char *nvram;	/* NULL: beside the first disk */
	const char *modules[CFG_MAX_MODULES];
	unsigned nmodules;
	struct cfg_disk disks[CFG_MAX_DISKS];
	unsigned ndisks;
	struct cfg_disk floppies[CFG_MAX_FLOPPIES];	/* path "none": an empty drive */
	unsigned nfloppies;
	const char *files[CFG_MAX_ARGS];	/* positional: roles by content */
	unsigned nfiles;
	bool discard;
	bool no_net;
	bool e1000;		/* NIC model; else virtio */
	struct net_forward forwards[CFG_MAX_FORWARDS];
	unsigned nforwards;
	enum cfg_display display;
	enum cfg_gl gl;		/* of the window */
	bool fullscreen;
	bool hpet;
	bool vmmouse;
	bool vmgenid;
	uint8_t generation[16];	/* GUID as it lies in memory */
	bool vga_std;		/* --vga std */
	unsigned outputs;	/* screens of --vga virtio; 0: one */
	enum cfg_sound sound;
	enum audio_mic sound_mic;
	const char *sound_backend;	/* NULL: sdl */
	double ui_scale;	/* 0: the desktop's */
	const char *serial[CFG_MAX_SERIAL];
	unsigned nserial;
	const char *parallel;	/* NULL: no such port */
	const char *console;	/* virtio console, NULL: none */
	struct cfg_channel channels[CFG_MAX_CHANNELS];
	unsigned nchannels;
	const char *debugcon;
	int debug_exit;		/* port, 0: none */
	enum cfg_boot boot;
	uint64_t timeout_ms;	/* 0: none */
	struct cfg_step steps[CFG_MAX_STEPS];
	unsigned nsteps;
	const char *fail_on[CFG_MAX_FAIL_ON];
	unsigned nfail_on;
	enum cfg_then then;
	bool reset_exits;
	bool stay;		/* the window stays when the guest has powered off */
	const char *screenshot;
	const char *log;
	const char *record;
	const char *completion;		/* for the build: print completions for this shell */
	bool no_remember;
	bool verbose, help, version, man;
	struct cfg_given given[CFG_MAX_GIVEN];
	unsigned ngiven;
};

/* Parse argv[1..).  false + @e with exit code 64: one line, what and what instead. */
bool config_parse(struct config *c, int argc, char **argv, struct err *e);
/* The steps of config_parse(), so that a machine file can go between them. */
void config_init(struct config *c);
bool config_parse_more(struct config *c, int argc, char **argv, struct err *e);
bool config_check(const struct config *c, struct err *e);
/* Also after a failed config_parse(). */
void config_free(struct config *c);

/*
 * Options as machine files write them: KEY is an option's name, flags take
 * yes or no.  config_set() keeps @value, which must outlive @c.
 */
enum cfg_key { CFG_KEY_UNKNOWN, CFG_KEY_MACHINE, CFG_KEY_RUN_ONLY };
enum cfg_key config_key(const char *key);
bool config_set(struct config *c, const char *key, const char *value, struct err *e);
/* May be given several times; the values add up. */
bool config_key_is_list(const char *key);

/* --help and the OPTIONS section of hvrun(1), from the table. */
void config_help(FILE *out);
void config_man(FILE *out);
/* Completions for @shell: bash, zsh or fish, from the table too.  false: no such shell. */
bool config_completion(FILE *out, const char *shell);

/* "2G", "512M", "1T": bytes, binary units, plain numbers are MiB when @mib.  false: not a size. */
bool config_size(const char *s, bool mib, uint64_t *out);
/* "90s", "2m", "1500ms", "1h", plain seconds. */
bool config_time_ms(const char *s, uint64_t *out);

/*
 * Escapes of --send and --expect: \n \r \t \e \\ \xNN.  Returns the length
 * written to @out (at most strlen(@s) bytes, no terminator).
 */
size_t config_unescape(const char *s, char *out);

#define HVRUN_VERSION "0.1"

#endif
