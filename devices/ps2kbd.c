/* SPDX-License-Identifier: MIT */
/*
 * PS/2 keyboard (enhanced, 102/105 keys and the Japanese ones).
 *
 * After: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller" and "Keyboards (101- and 102-Key)"; key names
 * by USB HID Usage Tables 1.12, section 10.
 *
 * The key pressed last repeats here, at the rate the host set: viewers send
 * no repeats, and what they send is dropped.  A host that does not read gets
 * no pile of them.  The shift codes that real keyboards wrap around cursor
 * keys while Num Lock or Shift is on are not sent; in set 3 every key makes,
 * breaks and repeats until the host says otherwise.
 */
#include "ps2.h"

#define EXT 0x100	/* E0 prefix */
#define KEYS_CAP 128u
#define KEYS_RESERVE 32u	/* for key-up events: a full queue must not leave keys stuck */

#define REPEAT_BACKLOG 16u	/* bytes unread: no more repeats */
#define TYPEMATIC_DEFAULT 0x2b	/* 500 ms, 10.9 a second */

#define HID_PRINT 0x46
#define HID_PAUSE 0x48
#define HID_LCTRL 0xe0
#define MODS_CTRL 0x11
#define MODS_SHIFT 0x22
#define MODS_ALT 0x44

enum {
	KBD_ACK = 0xfa, KBD_NAK = 0xfe, KBD_BAT_OK = 0xaa,
	CMD_LEDS = 0xed, CMD_ECHO = 0xee, CMD_SET = 0xf0, CMD_ID = 0xf2, CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4, CMD_DISABLE = 0xf5, CMD_DEFAULT = 0xf6, CMD_ALL_FIRST = 0xf7,
	CMD_ALL_LAST = 0xfa, CMD_KEY_FIRST = 0xfb, CMD_KEY_LAST = 0xfd, CMD_RESEND = 0xfe,
	CMD_RESET = 0xff,
};

const struct state_field ps2kbd_fields[] = {
	FIFO_STATE(struct ps2kbd, keys), FIFO_STATE(struct ps2kbd, resp),
	STATE_U8(struct ps2kbd, set), STATE_U8(struct ps2kbd, leds), STATE_U8(struct ps2kbd, cmd),
	STATE_U8(struct ps2kbd, last), STATE_U8(struct ps2kbd, mods),
	STATE_BOOL(struct ps2kbd, scanning), STATE_U8(struct ps2kbd, typematic),
	STATE_U8(struct ps2kbd, held), STATE_TIMER(struct ps2kbd, repeat),
	STATE_U8S(struct ps2kbd, no_break), STATE_U8S(struct ps2kbd, no_repeat),
	STATE_END
};

/* HID usage -> set 2 make code. */
static const uint16_t set2[256] = {
	[0x04] = 0x1c, 0x32, 0x21, 0x23, 0x24, 0x2b, 0x34, 0x33, 0x43, 0x3b, 0x42, 0x4b, 0x3a,
	0x31, 0x44, 0x4d, 0x15, 0x2d, 0x1b, 0x2c, 0x3c, 0x2a, 0x1d, 0x22, 0x35, 0x1a,	/* A-Z */
	[0x1e] = 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45,	/* 1-9, 0 */
	[0x28] = 0x5a, 0x76, 0x66, 0x0d, 0x29,		/* Enter Esc Backspace Tab Space */
	[0x2d] = 0x4e, 0x55, 0x54, 0x5b, 0x5d, 0x5d,	/* - = [ ] \ and the ISO key # */
	[0x33] = 0x4c, 0x52, 0x0e, 0x41, 0x49, 0x4a, 0x58,	/* ; ' ` , . / CapsLock */
	/* F1-F12 */
	[0x3a] = 0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x78, 0x07,
	[0x47] = 0x7e,					/* ScrollLock */
	[0x49] = EXT | 0x70, EXT | 0x6c, EXT | 0x7d,	/* Insert Home PageUp */
	[0x4c] = EXT | 0x71, EXT | 0x69, EXT | 0x7a,	/* Delete End PageDown */
	[0x4f] = EXT | 0x74, EXT | 0x6b, EXT | 0x72, EXT | 0x75,	/* Right Left Down Up */
	[0x53] = 0x77, EXT | 0x4a, 0x7c, 0x7b, 0x79, EXT | 0x5a,	/* NumLock / * - + Enter */
	[0x59] = 0x69, 0x72, 0x7a, 0x6b, 0x73, 0x74, 0x6c, 0x75, 0x7d, 0x70, 0x71, /* 1-9 0 . */
	[0x64] = 0x61, EXT | 0x2f, EXT | 0x37, 0x0f,	/* ISO key <, Menu, Power, keypad = */
	/* F13-F24 */
	[0x68] = 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x5f,
	[0x7f] = EXT | 0x23, EXT | 0x32, EXT | 0x21,	/* Mute VolumeUp VolumeDown */
	[0x85] = 0x6d,					/* keypad , */
	[0x87] = 0x51, 0x13, 0x6a, 0x64, 0x67,		/* Ro Kana Yen Henkan Muhenkan */
	[0x90] = 0xf2, 0xf1, 0x63, 0x62, 0x5f,		/* Hangul Hanja Katakana Hiragana Zenkaku */
	[0xe0] = 0x14, 0x12, 0x11, EXT | 0x1f,		/* left Ctrl Shift Alt Super */
	[0xe4] = EXT | 0x14, 0x59, EXT | 0x11, EXT | 0x27,	/* right */
};

/* HID usage -> set 3 code where that is not the set 2 code. */
static const uint8_t set3[256] = {
	[0x29] = 0x08, [0x31] = 0x5c, [0x32] = 0x53, [0x39] = 0x14,
	[0x3a] = 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x56, 0x5e,
	[HID_PRINT] = 0x57, 0x5f, 0x62,
	[0x49] = 0x67, 0x6e, 0x6f, 0x64, 0x65, 0x6d, 0x6a, 0x61, 0x60, 0x63,
	[0x53] = 0x76, 0x77, 0x7e, 0x84, 0x7c, 0x79, [0x64] = 0x13, 0x8d,
	[0x88] = 0x87, 0x5d, 0x86, 0x85,
	[0xe0] = 0x11, 0x12, 0x19, 0x8b, 0x58, 0x59, 0x39, 0x8c,
};

static const uint8_t translation[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58,
	0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a,
	0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
	0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e,
	0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
	0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e,
	0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b,
	0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
	0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

uint8_t ps2_translate(uint8_t v)
{
	if (v < 0x80)
		return translation[v];
	return v == 0x83 ? 0x41 : v == 0x84 ? 0x54 : v;
}

/* ---- keys ---- */

static void put(struct ps2kbd *k, uint8_t v)
{
	fifo_push(&k->keys, v);
}

/* One code with its prefixes in set 1 or 2. */
static void put_code(struct ps2kbd *k, uint16_t code, bool down)
{
	uint8_t c = (uint8_t)code;

	if (code & EXT)
		put(k, 0xe0);
	if (k->set == 1) {
		put(k, ps2_translate(c) | (down ? 0 : 0x80));
		return;
	}
	if (!down)
		put(k, 0xf0);
	put(k, c);
}

static void put_print(struct ps2kbd *k, bool down)
{
	bool fake_shift = !(k->mods & (MODS_CTRL | MODS_SHIFT));

	if (k->mods & MODS_ALT) {
		put_code(k, 0x84, down);	/* SysRq */
		return;
	}
	if (fake_shift && down)
		put_code(k, EXT | 0x12, true);
	put_code(k, EXT | 0x7c, down);
	if (fake_shift && !down)
		put_code(k, EXT | 0x12, false);
}

/* Makes and breaks in one go, on key-down only. */
static void put_pause(struct ps2kbd *k)
{
	if (k->mods & MODS_CTRL) {
		put_code(k, EXT | 0x7e, true);
		put_code(k, EXT | 0x7e, false);
		return;
	}
	for (unsigned down = 2; down-- > 0;) {
		put(k, 0xe1);
		put_code(k, 0x14, down);
		put_code(k, 0x77, down);
	}
}

static bool bit_of(const uint8_t *bits, uint8_t n)
{
	return bits[n >> 3] >> (n & 7) & 1;
}

/* 0: no such key on that keyboard */
static uint8_t set3_code(uint8_t hid)
{
	if (!set3[hid] && (set2[hid] & EXT || (hid >= 0x68 && hid <= 0x73)))
		return 0;
	return set3[hid] ? set3[hid] : (uint8_t)set2[hid];
}

static void put_set3(struct ps2kbd *k, uint8_t hid, bool down)
{
	uint8_t c = set3_code(hid);

	if (!c || (!down && bit_of(k->no_break, c)))
		return;
	if (!down)
		put(k, 0xf0);
	put(k, c);
}

static void put_key(struct ps2kbd *k, uint8_t hid, bool down)
{
	if (k->set == 3)
		put_set3(k, hid, down);
	else if (hid == HID_PRINT)
		put_print(k, down);
	else if (hid == HID_PAUSE && down)
		put_pause(k);
	else if (set2[hid] && (down || set2[hid] < 0xf0 || set2[hid] & EXT))
		put_code(k, set2[hid], down);	/* Hangul and Hanja have no break code */
}

/* ---- auto-repeat ---- */

static uint64_t repeat_delay(const struct ps2kbd *k)
{
	return ((k->typematic >> 5 & 3) + 1) * 250 * NS_PER_MS;
}

/* (8 + A) * 2^B / 240 s */
static uint64_t repeat_period(const struct ps2kbd *k)
{
	return (uint64_t)(8 + (k->typematic & 7)) * (1u << (k->typematic >> 3 & 3)) * NS_PER_SEC /
	       240;
}

static void stop_repeat(struct ps2kbd *k)
{
	k->held = 0;
	vtimer_cancel(&k->repeat);
}

static bool repeats(const struct ps2kbd *k, uint8_t hid)
{
	if (k->set == 3)
		return set3_code(hid) && !bit_of(k->no_repeat, set3_code(hid));
	return hid == HID_PRINT || (set2[hid] && (set2[hid] < 0xf0 || set2[hid] & EXT));
}

static void start_repeat(struct ps2kbd *k, uint8_t hid)
{
	stop_repeat(k);
	if (!repeats(k, hid))
		return;
	k->held = hid;
	vtimer_arm(&k->repeat, vclock_now(k->repeat.clk) + repeat_delay(k));
}

static void repeat(void *opaque)
{
	struct ps2kbd *k = opaque;

	if (!k->held || !k->scanning)
		return;
	if (fifo_space(&k->keys) >= KEYS_CAP - REPEAT_BACKLOG) {
		if (k->held == HID_PRINT && k->set != 3)
			put_code(k, k->mods & MODS_ALT ? 0x84 : EXT | 0x7c, true);
		else
			put_key(k, k->held, true);
		k->host.ready(k->host.opaque);
	}
	vtimer_arm(&k->repeat, vclock_now(k->repeat.clk) + repeat_period(k));
}

static void kbd_key(void *dev, uint16_t hid, bool down)
{
	struct ps2kbd *k = dev;
	uint32_t need = down ? KEYS_RESERVE : 8;	/* the longest sequence has 8 bytes */

	if (hid > 0xff || (down && hid == k->held))
		return;
	if (!down && hid == k->held)
		stop_repeat(k);
	if (hid >= HID_LCTRL && hid < HID_LCTRL + 8) {
		uint8_t bit = (uint8_t)(1u << (hid - HID_LCTRL));

		k->mods = down ? k->mods | bit : k->mods & ~bit;
	}
	if (!k->scanning || fifo_space(&k->keys) < need)
		return;
	put_key(k, (uint8_t)hid, down);
	if (down)
		start_repeat(k, (uint8_t)hid);
	k->host.ready(k->host.opaque);
}

const struct input_ops ps2kbd_input = { .key = kbd_key };

/* ---- commands ---- */

static void kbd_defaults(struct ps2kbd *k)
{
	k->set = 2;
	k->typematic = TYPEMATIC_DEFAULT;
	memset(k->no_break, 0, sizeof(k->no_break));
	memset(k->no_repeat, 0, sizeof(k->no_repeat));
	fifo_clear(&k->keys);
	stop_repeat(k);
}

static void answer(struct ps2kbd *k, uint8_t v)
{
	fifo_push(&k->resp, v);
}

static void kbd_set_leds(struct ps2kbd *k, uint8_t v)
{
	/* On the wire bit 0 is Scroll, 1 Num, 2 Caps. */
	k->leds = v & 7;
	if (k->in)
		input_set_leds(k->in, (v >> 1 & 3) | (v << 2 & 4));
}

/* F7-FA for all keys, FB-FD for one: typematic; make and break; make; all three. */
static void set_type(uint8_t *no_break, uint8_t *no_repeat, uint8_t bits, unsigned type)
{
	bool brk = type == 1 || type == 3, rep = type == 0 || type == 3;

	*no_break = brk ? *no_break & ~bits : *no_break | bits;
	*no_repeat = rep ? *no_repeat & ~bits : *no_repeat | bits;
}

static void kbd_all_types(struct ps2kbd *k, unsigned type)
{
	for (unsigned i = 0; i < sizeof(k->no_break); i++)
		set_type(&k->no_break[i], &k->no_repeat[i], 0xff, type);
}

static void kbd_parameter(struct ps2kbd *k, uint8_t v)
{
	uint8_t cmd = k->cmd;

	k->cmd = 0;
	if (cmd == CMD_SET && v > 3) {
		answer(k, KBD_NAK);
		return;
	}
	answer(k, KBD_ACK);
	if (cmd >= CMD_KEY_FIRST && cmd <= CMD_KEY_LAST) {
		set_type(&k->no_break[v >> 3], &k->no_repeat[v >> 3], 1u << (v & 7),
			 cmd - CMD_KEY_FIRST);
		k->cmd = cmd;		/* more codes, until a command comes */
	} else if (cmd == CMD_RATE) {
		k->typematic = v & 0x7f;
	} else if (cmd == CMD_LEDS)
		kbd_set_leds(k, v);
	else if (cmd == CMD_SET && v == 0)
		answer(k, k->set);
	else if (cmd == CMD_SET)
		k->set = v;
}

static void kbd_command(struct ps2kbd *k, uint8_t v)
{
	switch (v) {
	case CMD_ECHO:
		answer(k, CMD_ECHO);
		return;
	case CMD_RESEND:
		answer(k, k->last);
		return;
	case CMD_LEDS:
	case CMD_SET:
	case CMD_RATE:
	case CMD_KEY_FIRST ... CMD_KEY_LAST:
		k->cmd = v;
		answer(k, KBD_ACK);
		return;
	case CMD_ALL_FIRST ... CMD_ALL_LAST:
		kbd_all_types(k, v - CMD_ALL_FIRST);
		answer(k, KBD_ACK);
		return;
	case CMD_ID:
		answer(k, KBD_ACK);
		answer(k, 0xab);
		answer(k, 0x83);
		return;
	case CMD_ENABLE:
	case CMD_DISABLE:
	case CMD_DEFAULT:
		if (v == CMD_ENABLE)
			fifo_clear(&k->keys);
		else
			kbd_defaults(k);
		stop_repeat(k);
		k->scanning = v != CMD_DISABLE;
		answer(k, KBD_ACK);
		return;
	case CMD_RESET:
		kbd_defaults(k);
		kbd_set_leds(k, 0);
		k->scanning = true;
		answer(k, KBD_ACK);
		answer(k, KBD_BAT_OK);
		return;
	default:
		answer(k, KBD_NAK);
	}
}

void ps2kbd_write(struct ps2kbd *k, uint8_t v)
{
	fifo_clear(&k->resp);
	/* A command in place of the parameter abandons the first one. */
	if (k->cmd && v < CMD_LEDS) {
		kbd_parameter(k, v);
	} else {
		k->cmd = 0;
		kbd_command(k, v);
	}
	k->host.ready(k->host.opaque);
}

bool ps2kbd_read(struct ps2kbd *k, uint8_t *v)
{
	if (!fifo_pop(&k->resp, v) && !fifo_pop(&k->keys, v))
		return false;
	if (*v != KBD_NAK)
		k->last = *v;
	return true;
}

void ps2kbd_init(struct ps2kbd *k, struct vclock *clk)
{
	vtimer_init(&k->repeat, clk, repeat, k);
}

void ps2kbd_reset(struct ps2kbd *k)
{
	fifo_init(&k->keys, KEYS_CAP);
	fifo_init(&k->resp, 8);
	kbd_defaults(k);
	kbd_set_leds(k, 0);
	k->cmd = k->last = k->mods = 0;
	k->scanning = true;
}

bool ps2kbd_valid(const struct ps2kbd *k)
{
	return fifo_valid(&k->keys) && k->keys.cap == KEYS_CAP && fifo_valid(&k->resp) &&
	       k->resp.cap == 8 && k->set >= 1 && k->set <= 3;
}
