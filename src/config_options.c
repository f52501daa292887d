/* SPDX-License-Identifier: MIT */
/* The options of the command line: one function each, and their table; see hvrun(1). */
#include "config_int.h"
#include "display.h"
#include "vm.h"
#include <ctype.h>
#include <stdlib.h>
#include <sys/random.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

/* Digits and nothing else (@base 0: also 0x...), from 1 to @max. */
static bool parse_number(const char *v, int base, unsigned long max, unsigned long *out)
{
	char *end;

	*out = strtoul(v, &end, base);
	return isdigit((unsigned char)*v) && !*end && *out && *out <= max;
}

/* Which one of @words, in the order of the error message; NULL ends them. */
static bool parse_word(const char *option, const char *v, const char *const *words, unsigned *out,
		       struct err *e)
{
	char list[80] = "";
	size_t at = 0;

	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(v, words[i])) {
			*out = i;
			return true;
		}
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", words[i],
				       !words[i + 1] ? "" : words[i + 2] ? ", " : " or ");
		HV_BUG_ON(at >= sizeof(list));
	}
	return USAGE(e, "--%s %s does not exist; use %s", option, v, list);
}

/* The first word is the default, the second one sets @flag. */
static bool parse_either(const char *option, const char *v, const char *const *words, bool *flag,
			 struct err *e)
{
	unsigned n;

	if (!parse_word(option, v, words, &n, e))
		return false;
	*flag = n == 1;
	return true;
}

static bool room_for(unsigned n, unsigned max, const char *options, struct err *e)
{
	return n < max || USAGE(e, "too many %s: at most %u", options, max);
}

static bool opt_memory(struct config *c, const char *v, struct err *e)
{
	if (!config_size(v, true, &c->memory))
		return USAGE(e, "--memory %s is not a size; write for example 512M or 2G", v);
	if (c->memory < MiB(8) || c->memory > GiB(512))
		return USAGE(e, "--memory %s is impossible; give between 8M and 512G", v);
	c->memory &= ~(MiB(1) - 1);
	return true;
}

static bool opt_cpus(struct config *c, const char *v, struct err *e)
{
	unsigned long n;

	if (!parse_number(v, 10, VM_MAX_CPUS, &n))
		return USAGE(e, "--cpus %s is impossible; give between 1 and %d", v, VM_MAX_CPUS);
	c->cpus = (unsigned)n;
	return true;
}

static bool opt_disk(struct config *c, const char *v, struct err *e)
{
	return config_add_disk(c, v, false, e);
}

static bool opt_cdrom(struct config *c, const char *v, struct err *e)
{
	return config_add_disk(c, v, true, e);
}

static bool opt_floppy(struct config *c, const char *v, struct err *e)
{
	return config_add_floppy(c, v, e);
}

static bool opt_module(struct config *c, const char *v, struct err *e)
{
	if (!room_for(c->nmodules, CFG_MAX_MODULES, "--module", e))
		return false;
	c->modules[c->nmodules++] = v;
	return true;
}

static bool opt_net(struct config *c, const char *v, struct err *e)
{
	c->no_net = !strcmp(v, "none");
	c->e1000 = !strcmp(v, "user,model=e1000");
	return c->no_net || c->e1000 || !strcmp(v, "user") || !strcmp(v, "user,model=virtio") ||
	       USAGE(e, "--net %s does not exist; use user or none, or user,model=e1000 for a "
		     "guest without virtio drivers", v);
}

static bool parse_port(const char *s, uint16_t *out)
{
	unsigned long n;

	if (!parse_number(s, 10, 65535, &n))
		return false;
	*out = (uint16_t)n;
	return true;
}

/* Cuts up @s. */
static bool parse_forward(struct net_forward *f, char *s, const char *v, struct err *e)
{
	char *part[4];
	unsigned n = 0;

	for (char *p = strtok(s, ":"); p && n < 4; p = strtok(NULL, ":"))
		part[n++] = p;
	if (n < 3 || (strcmp(part[0], "tcp") && strcmp(part[0], "udp")) ||
	    !parse_port(part[n - 2], &f->host_port) || !parse_port(part[n - 1], &f->guest_port))
		return USAGE(e, "--forward %s: write tcp:[ADDRESS:]HOSTPORT:GUESTPORT, "
			     "for example tcp:2222:22", v);
	f->udp = part[0][0] == 'u';
	snprintf(f->host_addr, sizeof(f->host_addr), "%s", n == 4 ? part[1] : "127.0.0.1");
	return true;
}

static bool opt_forward(struct config *c, const char *v, struct err *e)
{
	char *s;
	bool ok;

	if (!room_for(c->nforwards, CFG_MAX_FORWARDS, "--forward", e))
		return false;
	s = hv_strdup(v);
	ok = parse_forward(&c->forwards[c->nforwards], s, v, e);
	free(s);
	c->nforwards += ok;
	return ok;
}

/* @word: a key of --vga virtio, with its value and what follows. */
static bool vga_key(struct config *c, const char *word, struct err *e)
{
	static const char key[] = "outputs=";
	char text[80];
	unsigned long n;

	snprintf(text, sizeof(text), "%.*s", (int)strcspn(word, ","), word);
	if (c->vga_std)
		return USAGE(e, "--vga std has no '%s'; only virtio takes a key, outputs=N", text);
	if (strncmp(text, key, sizeof(key) - 1))
		return USAGE(e, "--vga virtio has no '%s'; its key is outputs=N, with N between 1 "
			     "and %u", text, DISPLAY_MAX_SCANOUTS);
	if (!parse_number(text + sizeof(key) - 1, 10, DISPLAY_MAX_SCANOUTS, &n))
		return USAGE(e, "--vga virtio: '%s' is impossible; give between 1 and %u outputs",
			     text, DISPLAY_MAX_SCANOUTS);
	c->outputs = (unsigned)n;
	return true;
}

static bool opt_vga(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "virtio", "std", NULL };
	size_t n = strcspn(v, ",");
	char card[32];

	snprintf(card, sizeof(card), "%.*s", (int)MIN(n, sizeof(card) - 1), v);
	c->outputs = 0;
	if (!parse_either("vga", card, words, &c->vga_std, e))
		return false;
	for (v += n; *v == ','; v += strcspn(v, ","))
		if (!vga_key(c, ++v, e))
			return false;
	return true;
}

static bool opt_ui_scale(struct config *c, const char *v, struct err *e)
{
	char *end;

	c->ui_scale = strtod(v, &end);
	return (end != v && !*end && c->ui_scale >= 0.5 && c->ui_scale <= 8) ||
	       USAGE(e, "--ui-scale %s is not a number from 0.5 to 8", v);
}

static bool opt_display(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "window", "none", "window,gl=on", "window,gl=off",
					     NULL };
	static const enum cfg_gl gl[] = { CFG_GL_AUTO, CFG_GL_AUTO, CFG_GL_ON, CFG_GL_OFF };
	unsigned n;

	if (!parse_word("display", v, words, &n, e))
		return false;
	c->display = n == 1 ? DISPLAY_NONE : DISPLAY_WINDOW;
	c->gl = gl[n];
	return true;
}

static bool is_chardev(const char *v)
{
	return !strcmp(v, "stdio") || !strcmp(v, "null") || !strncmp(v, "file:", 5) ||
	       !strncmp(v, "unix:", 5);
}

static bool opt_serial(struct config *c, const char *v, struct err *e)
{
	if (c->nserial == CFG_MAX_SERIAL)
		return USAGE(e, "too many --serial: a PC has at most %d ports", CFG_MAX_SERIAL);
	if (!is_chardev(v))
		return USAGE(e, "--serial %s: use stdio, null, file:PATH or unix:PATH", v);
	c->serial[c->nserial++] = v;
	return true;
}

static bool opt_parallel(struct config *c, const char *v, struct err *e)
{
	c->parallel = v;
	return is_chardev(v) ||
	       USAGE(e, "--parallel %s: use file:PATH, null, stdio or unix:PATH", v);
}

static bool opt_console(struct config *c, const char *v, struct err *e)
{
	c->console = v;
	return is_chardev(v) ||
	       USAGE(e, "--console %s: use stdio, null, file:PATH or unix:PATH", v);
}

/* NAME=SPEC; the name becomes a file name in the guest. */
static bool opt_channel(struct config *c, const char *v, struct err *e)
{
	struct cfg_channel *ch = &c->channels[c->nchannels];
	size_t n = strcspn(v, "=");

	if (!room_for(c->nchannels, CFG_MAX_CHANNELS, "--channel", e))
		return false;
	if (v[n] != '=' || !is_chardev(v + n + 1))
		return USAGE(e, "--channel %s: write NAME=unix:PATH, file:PATH, stdio or null", v);
	if (!n || n >= sizeof(ch->name) || memchr(v, '/', n))
		return USAGE(e, "--channel %s: a name has 1 to 63 characters and no /", v);
	memcpy(ch->name, v, n);
	ch->spec = v + n + 1;
	c->nchannels++;
	return true;
}

static bool opt_debug_exit(struct config *c, const char *v, struct err *e)
{
	unsigned long n;

	if (!parse_number(v, 0, 0xfffc, &n))
		return USAGE(e, "--debug-exit %s is no I/O port; write for example 0xf4", v);
	c->debug_exit = (int)n;
	return true;
}

/* "01234567-89ab-cdef-0123-456789abcdef": the first three fields are little-endian in memory. */
static bool parse_guid(const char *v, uint8_t out[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	unsigned n = 0;

	for (; n < 16; n++) {
		unsigned byte;

		if ((n == 4 || n == 6 || n == 8 || n == 10) && *v++ != '-')
			return false;
		if (!isxdigit((unsigned char)v[0]) || !isxdigit((unsigned char)v[1]) ||
		    sscanf(v, "%2x", &byte) != 1)
			return false;
		out[order[n]] = (uint8_t)byte;
		v += 2;
	}
	return !*v;
}

static bool opt_vmgenid(struct config *c, const char *v, struct err *e)
{
	c->vmgenid = true;
	if (!strcmp(v, "auto"))
		return getrandom(c->generation, sizeof(c->generation), 0) == 16 ||
		       USAGE(e, "no random numbers for --vmgenid auto");
	return parse_guid(v, c->generation) ||
	       USAGE(e, "--vmgenid %s: write auto or a GUID, for example "
		     "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", v);
}

static bool opt_boot(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "disk", "cd", "floppy", "menu", NULL };
	unsigned n;

	if (!parse_word("boot", v, words, &n, e))
		return false;
	c->boot = (enum cfg_boot)(BOOT_ORDER_DISK + n);
	return true;
}

static bool opt_timeout(struct config *c, const char *v, struct err *e)
{
	return (config_time_ms(v, &c->timeout_ms) && c->timeout_ms) ||
	       USAGE(e, "--timeout %s is not a time; write for example 90s or 2m", v);
}

static bool add_step(struct config *c, bool send, const char *v, struct err *e)
{
	if (!room_for(c->nsteps, CFG_MAX_STEPS, "--expect and --send", e))
		return false;
	if (!*v)
		return USAGE(e, "--%s needs a text", send ? "send" : "expect");
	c->steps[c->nsteps++] = (struct cfg_step){ send, v };
	return true;
}

static bool opt_expect(struct config *c, const char *v, struct err *e)
{
	return add_step(c, false, v, e);
}

static bool opt_send(struct config *c, const char *v, struct err *e)
{
	return add_step(c, true, v, e);
}

static bool opt_fail_on(struct config *c, const char *v, struct err *e)
{
	if (c->nfail_on == CFG_MAX_FAIL_ON || !*v)
		return USAGE(e, "--fail-on: at most %d texts, none empty", CFG_MAX_FAIL_ON);
	c->fail_on[c->nfail_on++] = v;
	return true;
}

static bool opt_then(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "poweroff", "shutdown", "keep", NULL };
	unsigned n;

	if (!parse_word("then", v, words, &n, e))
		return false;
	c->then = (enum cfg_then)(THEN_POWEROFF - n);
	return true;
}

static bool opt_on_reset(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "restart", "exit", NULL };

	return parse_either("on-reset", v, words, &c->reset_exits, e);
}

static bool opt_on_poweroff(struct config *c, const char *v, struct err *e)
{
	static const char *const words[] = { "exit", "stay", NULL };

	return parse_either("on-poweroff", v, words, &c->stay, e);
}

#define STR(m) .str_off = offsetof(struct config, m) + 1
#define FLAG(m) .flag_off = offsetof(struct config, m) + 1

const struct option_row config_options[] = {
	{ "memory", 'm', "SIZE", "Guest memory, for example 512M or 2G (default 1G).",
	  .parse = opt_memory },
	{ "cpus", 'c', "N", "Number of processors (default 1).", .parse = opt_cpus },
	{ "engine", 0, "auto|kvm|soft[,KEY...]",
	  "CPU engine: auto (default: measures and says which), kvm or soft. Keys of soft: "
	  "jit=on|off (off: interpret everything), stats (say at the end what was translated), "
	  "verify (run all translated code in the interpreter too and stop with a report at the "
	  "first difference; slow, the CPUs take turns).",
	  .parse = config_engine },
	{ "jit-cache", 0, "SIZE",
	  "Memory for translated code, all CPUs of --engine soft together (default 64M, at least "
	  "1M for each CPU).",
	  .parse = config_jit_cache },
	{ "disk", 'd', "FILE[,KEY=VALUE...]",
	  "Attach a disk image; may be repeated, the first one is booted. Keys: "
	  "if=virtio|scsi|nvme|ahci|ide (controller), format=raw|qcow2|vdi|vmdk|vhd|vhdx "
	  "(default: by content, once), cache=writeback|none|writethrough (none: past the host's "
	  "page cache), "
	  "discard=on|off (give freed space back, default on), readonly=on|off, serial=TEXT, "
	  "iops=N and bps=SIZE (limits a second), werror=stop|report and rerror=stop|report (what "
	  "a full or failing host disk does: pause the guest until it works again, the default, or "
	  "give the guest an I/O error).",
	  .parse = opt_disk },
	{ "cdrom", 0, "FILE[,if=ide|ahci|scsi]",
	  "Insert an ISO image into a CD drive; may be repeated.  FILE none: an empty drive.",
	  .parse = opt_cdrom },
	{ "floppy", 0, "FILE[,readonly=on|off]",
	  "Insert a floppy disk image of 160 KB to 2.88 MB into drive A, the second one into B. "
	  "FILE none: an empty 1.44 MB drive.",
	  .parse = opt_floppy },
	{ "discard", 0, NULL, "Throw all disk writes away at exit.", FLAG(discard) },
	{ "boot", 0, "disk|cd|floppy|menu",
	  "What the firmware starts: disk (default), cd, floppy or menu.",
	  .parse = opt_boot },
	{ "firmware", 0, "bios|uefi|FILE",
	  "Firmware: SeaBIOS, OVMF or the image FILE. Default: uefi for a disk or CD that only "
	  "UEFI can start, else bios.",
	  STR(firmware) },
	{ "nvram", 0, "FILE",
	  "Where UEFI firmware keeps its variables (default: the first writable disk's name with "
	  ".nvram added); made when missing.",
	  STR(nvram) },
	{ "kernel", 0, "FILE",
	  "Boot a kernel directly: bzImage, ELF with a PVH note, or multiboot.", STR(kernel) },
	{ "initrd", 0, "FILE", "Initial RAM disk for --kernel.", STR(initrd) },
	{ "append", 0, "TEXT", "Kernel command line for --kernel.", STR(append) },
	{ "module", 0, "FILE[ ARGS]", "Multiboot module for --kernel; may be repeated.",
	  .parse = opt_module },
	{ "net", 0, "user[,model=virtio|e1000]|none",
	  "Network: NAT through the host (default) or none; model: the card that the guest sees.",
	  .parse = opt_net },
	{ "forward", 0, "tcp:[ADDR:]HOST:GUEST|udp:...",
	  "Forward a host port (on 127.0.0.1 unless ADDR "
	  "is given) to a guest port; may be repeated.",
	  .parse = opt_forward },
	{ "display", 0, "window[,gl=on|off]|none",
	  "Show a window (default when there is a display) or run without. gl: draw it with "
	  "OpenGL or without; by default with a graphics card's, and under Wayland with any.",
	  .parse = opt_display },
	{ "vga", 0, "virtio[,outputs=N]|std",
	  "Graphics card: virtio is a VGA that guests with a virtio-gpu driver use at the "
	  "window's size (default); std is the VGA alone. outputs: screens that such a driver "
	  "finds, 1 (default) to 16; the window shows one of them, Right Ctrl + N the next.",
	  .parse = opt_vga },
	{ "fullscreen", 0, NULL, "Start the window in fullscreen.", FLAG(fullscreen) },
	{ "ui-scale", 0, "N",
	  "Size of menus and text in the window, 0.5 to 8 (default: the desktop's).",
	  .parse = opt_ui_scale },
	{ "sound", 0, "none|hda|ac97|virtio[,mic=off|on|tone][,backend=sdl|wav:FILE|none]",
	  "Sound card: Intel High Definition Audio (default with a window), AC'97 for older "
	  "guests, virtio for those with a driver, or none (default without). mic: what the guest "
	  "records, silence (default), the host's microphone or a test tone; backend: where sound "
	  "goes, the host's speakers (default), a WAV file or nowhere.",
	  .parse = config_sound },
	{ "serial", 0, "stdio|null|file:PATH|unix:PATH",
	  "Connect a serial port, COM1 first; may be "
	  "repeated up to four times. Default: stdio without a window, else null.",
	  .parse = opt_serial },
	{ "parallel", 0, "file:PATH|null|unix:PATH",
	  "Connect a printer to LPT1; what the guest prints goes there.",
	  .parse = opt_parallel },
	{ "console", 0, "stdio|null|file:PATH|unix:PATH",
	  "Give the guest a virtio console (hvc0 in Linux). Without --serial, --expect and --send "
	  "talk to it.",
	  .parse = opt_console },
	{ "channel", 0, "NAME=unix:PATH|file:PATH",
	  "Channel between guest and host: /dev/virtio-ports/NAME in a Linux guest, a socket that "
	  "hvrun makes (or an output file) here; may be repeated.",
	  .parse = opt_channel },
	{ "hpet", 0, NULL,
	  "Give the guest high precision event timers. Guests with them as clock idle less well.",
	  FLAG(hpet) },
	{ "vmmouse", 0, NULL,
	  "Offer VMware's absolute mouse to guests that have a driver for it, but none for the "
	  "virtio tablet.",
	  FLAG(vmmouse) },
	{ "vmgenid", 0, "auto|GUID",
	  "Give the guest a VM generation ID (auto: a new one each time), from which it sees that "
	  "it is a copy or was restored.",
	  .parse = opt_vmgenid },
	{ "name", 0, "NAME", "Name of the machine, shown in the window title.", STR(name) },
	{ "no-remember", 0, NULL,
	  "Do not make a machine of an image that is opened in a window; do not look for one "
	  "either.",
	  FLAG(no_remember), .run_only = true },
	{ "timeout", 0, "TIME", "Stop with exit status 124 after TIME, for example 90s or 2m.",
	  .parse = opt_timeout, .run_only = true },
	{ "expect", 0, "TEXT",
	  "Wait until COM1 prints TEXT (a literal, or /REGEX/). Steps run in the "
	  "order given.",
	  .parse = opt_expect, .run_only = true },
	{ "send", 0, "TEXT", "Type TEXT into COM1; \\n \\r \\t \\e \\\\ \\xNN are understood.",
	  .parse = opt_send, .run_only = true },
	{ "fail-on", 0, "TEXT",
	  "Stop with exit status 3 when COM1 prints TEXT (literal or /REGEX/).",
	  .parse = opt_fail_on, .run_only = true },
	{ "then", 0, "poweroff|shutdown|keep",
	  "After the last --expect or --send: stop the machine "
	  "(default without a window), ask the guest to shut down, or go on.",
	  .parse = opt_then, .run_only = true },
	{ "on-reset", 0, "restart|exit",
	  "When the guest resets: restart (default), or exit with "
	  "status 4.",
	  .parse = opt_on_reset, .run_only = true },
	{ "on-poweroff", 0, "exit|stay",
	  "When the guest powers off: exit (default), or the window stays and offers to start "
	  "again.",
	  .parse = opt_on_poweroff },
	{ "screenshot-at-exit", 0, "FILE.png",
	  "Save the last picture as PNG, of further screens as FILE-2.png and so on.",
	  STR(screenshot), .run_only = true },
	{ "record", 0, "FILE.webm",
	  "Record the screen from the start on; FILE must not exist. Of a second screen: "
	  "FILE-2.webm.",
	  STR(record), .run_only = true },
	{ "debug-exit", 0, "PORT",
	  "Give the guest an I/O port; writing V ends hvrun with status "
	  "193+V.",
	  .parse = opt_debug_exit, .run_only = true },
	{ "debugcon", 0, "stdio|null|file:PATH", "Where firmware messages (port 0x402) go.",
	  STR(debugcon), .run_only = true },
	{ "log", 0, "FILE", "Write messages to FILE instead of standard error.", STR(log),
	  .run_only = true },
	{ "verbose", 'v', NULL, "Say more.", FLAG(verbose), .run_only = true },
	{ "help", 'h', NULL, "Print this help.", FLAG(help), .run_only = true },
	{ "version", 'V', NULL, "Print the version.", FLAG(version), .run_only = true },
};

const unsigned config_noptions = ARRAY_SIZE(config_options);
