/* SPDX-License-Identifier: MIT */
/*
 * The parts of the machine: the back ends of disks, ports, network and sound,
 * and the description for the board; see main_int.h.
 */
#include "main_int.h"
#include "block.h"
#include "chardev.h"
#include "diskhold.h"
#include "media.h"
#include "net.h"
#include "../ui/ui.h"
#include <stdio.h>
#include <string.h>

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

bool main_open_parts(struct app *a, struct err *e)
{
	describe(a);
	return open_disks(a, e) && open_floppies(a, e) && open_firmware(a, e) &&
	       open_chardevs(a, e) && open_net(a, e) && open_sound(a, e);
}

void main_close_parts(struct app *a)
{
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
}
