/* SPDX-License-Identifier: MIT */
/*
 * PS/2 keyboard and mouse: parts of the i8042 (whose state section holds
 * theirs), not devices of their own.  Under dev_lock.
 */
#ifndef HV_PS2_H
#define HV_PS2_H

#include "../src/fifo.h"
#include "../src/clock.h"
#include "../src/input.h"

/* Tells the controller that a byte may be waiting. */
struct ps2_host {
	void (*ready)(void *opaque);
	void *opaque;
};

struct ps2kbd {
	struct fifo keys;	/* scan codes */
	struct fifo resp;	/* answers to commands: go first */
	uint8_t set;		/* scan code set, 1-3 */
	uint8_t leds;
	uint8_t cmd;		/* waits for its parameter; 0: none */
	uint8_t last;		/* for RESEND */
	uint8_t mods;		/* bit n: HID usage 0xe0 + n is down */
	bool scanning;
	uint8_t typematic;	/* delay and rate of SET TYPEMATIC RATE */
	uint8_t held;		/* HID usage of the key that repeats; 0: none */
	struct vtimer repeat;
	uint8_t no_break[32], no_repeat[32];	/* set 3, a bit a code: key types */
	struct ps2_host host;
	struct input *in;	/* for the LEDs; may be NULL */
};
extern const struct state_field ps2kbd_fields[];
extern const struct input_ops ps2kbd_input;	/* dev: struct ps2kbd */

void ps2kbd_init(struct ps2kbd *k, struct vclock *clk);
void ps2kbd_reset(struct ps2kbd *k);
void ps2kbd_write(struct ps2kbd *k, uint8_t v);	/* byte from the host */
bool ps2kbd_read(struct ps2kbd *k, uint8_t *v);	/* byte to the host; false: none */
bool ps2kbd_valid(const struct ps2kbd *k);	/* after load */
/* Set 2 code as an 8042 translates it into set 1 (without the F0 prefix). */
uint8_t ps2_translate(uint8_t set2);

struct ps2mouse {
	struct fifo out;
	uint8_t id;		/* 0 standard, 3 wheel, 4 five buttons */
	uint8_t rate, resolution;
	uint8_t cmd;		/* waits for its parameter; 0: none */
	uint8_t knock;		/* how much of a magic rate sequence came: see ps2mouse.c */
	uint8_t buttons, sent_buttons;
	uint8_t last;		/* for RESEND */
	bool reporting, remote, wrap, scaling2;
	uint32_t dx, dy, dz;	/* not yet reported, two's complement; dy up, dz down */
	struct ps2_host host;
};
extern const struct state_field ps2mouse_fields[];
extern const struct input_ops ps2mouse_input;	/* dev: struct ps2mouse */

void ps2mouse_reset(struct ps2mouse *m);
void ps2mouse_write(struct ps2mouse *m, uint8_t v);
bool ps2mouse_read(struct ps2mouse *m, uint8_t *v);
/* A report without news: something else has some (vmmouse.c). */
void ps2mouse_announce(struct ps2mouse *m);
bool ps2mouse_valid(const struct ps2mouse *m);

#endif
