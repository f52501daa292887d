/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller of the PS/2, with its keyboard and mouse, and
 * system control port A (0x92).
 *
 * After: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller"; IBM PS/2 Model 50/60 Technical Reference,
 * "System Control Port A".
 *
 * Commands complete at once and the next byte follows as soon as the last is
 * read.  The state after reset is what firmware leaves (interrupts and
 * translation on), for kernels that are booted without firmware.  Left out:
 * password, key lock, diagnostic dump.
 */
#include "i8042.h"
#include "../src/vm.h"
#include "ps2.h"

#define STS_OBF 0x01
#define STS_SYS 0x04
#define STS_CMD 0x08
#define STS_UNLOCKED 0x10
#define STS_AUX_OBF 0x20

#define CTR_KBD_INT 0x01
#define CTR_AUX_INT 0x02
#define CTR_SYS 0x04
#define CTR_KBD_DIS 0x10
#define CTR_AUX_DIS 0x20
#define CTR_XLATE 0x40

#define OUT_RESET_N 0x01
#define OUT_A20 0x02

#define P92_RESET 0x01
#define P92_A20 0x02

struct i8042 {
	struct device dev;
	struct ps2kbd kbd;
	struct ps2mouse mouse;
	uint8_t ram[32];	/* byte 0: controller command byte */
	uint8_t obuf;
	uint8_t cmd;		/* waits for its data byte; 0: none */
	uint8_t port92;		/* bits without function */
	bool obf, aux;		/* output buffer full; from the mouse */
	bool resp_full, resp_aux;
	uint8_t resp;		/* the controller's own answer, waits for the output buffer */
	bool a20, was_command, breaking;	/* breaking: F0 seen by the translation */
	struct i8042_wiring w;	/* immutable after realize */
	struct io_region io[3];
};
DEVICE_CHECK(struct i8042);

static const struct state_field i8042_fields[] = {
	STATE_STRUCT(struct i8042, kbd, ps2kbd_fields),
	STATE_STRUCT(struct i8042, mouse, ps2mouse_fields),
	STATE_U8S(struct i8042, ram), STATE_U8(struct i8042, obuf), STATE_U8(struct i8042, cmd),
	STATE_U8(struct i8042, port92), STATE_BOOL(struct i8042, obf),
	STATE_BOOL(struct i8042, aux), STATE_BOOL(struct i8042, resp_full),
	STATE_BOOL(struct i8042, resp_aux), STATE_U8(struct i8042, resp),
	STATE_BOOL(struct i8042, a20), STATE_BOOL(struct i8042, was_command),
	STATE_BOOL(struct i8042, breaking),
	STATE_END
};

static void i8042_update_irq(struct i8042 *s)
{
	irq_set(&s->w.irq1, s->obf && !s->aux && s->ram[0] & CTR_KBD_INT);
	irq_set(&s->w.irq12, s->obf && s->aux && s->ram[0] & CTR_AUX_INT);
}

static void set_obuf(struct i8042 *s, uint8_t v, bool aux)
{
	s->obuf = v;
	s->obf = true;
	s->aux = aux;
}

/* Next keyboard byte as the host sees it; set 2 breaks become bit 7 of set 1. */
static bool next_key(struct i8042 *s, uint8_t *v)
{
	while (ps2kbd_read(&s->kbd, v)) {
		if (!(s->ram[0] & CTR_XLATE))
			return true;
		if (*v == 0xf0) {
			s->breaking = true;
			continue;
		}
		*v = ps2_translate(*v) | (s->breaking ? 0x80 : 0);
		s->breaking = false;
		return true;
	}
	return false;
}

static void i8042_fill(struct i8042 *s)
{
	uint8_t v;

	if (!s->obf && s->resp_full) {
		s->resp_full = false;
		set_obuf(s, s->resp, s->resp_aux);
	}
	if (!s->obf && !(s->ram[0] & CTR_KBD_DIS) && next_key(s, &v))
		set_obuf(s, v, false);
	if (!s->obf && !(s->ram[0] & CTR_AUX_DIS) && ps2mouse_read(&s->mouse, &v))
		set_obuf(s, v, true);
	i8042_update_irq(s);
}

static void i8042_ready(void *opaque)
{
	i8042_fill(opaque);
}

static void respond(struct i8042 *s, uint8_t v, bool aux)
{
	s->resp = v;
	s->resp_aux = aux;
	s->resp_full = true;
}

static void set_a20(struct i8042 *s, bool on)
{
	s->a20 = on;
	irq_set(&s->w.a20, on);
}

static void write_output_port(struct i8042 *s, uint8_t v)
{
	set_a20(s, v & OUT_A20);
	if (!(v & OUT_RESET_N))
		vm_request_reset(s->dev.vm);
}

static uint8_t output_port(const struct i8042 *s)
{
	return 0xcc | OUT_RESET_N | (s->a20 ? OUT_A20 : 0) | (s->obf && !s->aux ? 0x10 : 0) |
	       (s->obf && s->aux ? 0x20 : 0);
}

static void i8042_command(struct i8042 *s, uint8_t v)
{
	s->cmd = 0;
	switch (v) {
	case 0x20 ... 0x3f: respond(s, s->ram[v & 31], false); break;
	case 0x60 ... 0x7f:	/* write RAM */
	case 0xd1 ... 0xd4:	/* write output port, output buffer (2), mouse */
		s->cmd = v;
		break;
	case 0xa4: respond(s, 0xf1, false); break;	/* no password installed */
	case 0xa7: s->ram[0] |= CTR_AUX_DIS; break;
	case 0xa8: s->ram[0] &= ~CTR_AUX_DIS; break;
	case 0xa9:	/* line tests: no error */
	case 0xab: respond(s, 0, false); break;
	case 0xaa:
		s->ram[0] |= CTR_SYS;
		respond(s, 0x55, false);
		break;
	case 0xad: s->ram[0] |= CTR_KBD_DIS; break;
	case 0xae: s->ram[0] &= ~CTR_KBD_DIS; break;
	case 0xc0: respond(s, 0xa0, false); break;	/* not locked, manufacturing jumper off */
	case 0xd0: respond(s, output_port(s), false); break;
	case 0xdd: set_a20(s, false); break;
	case 0xdf: set_a20(s, true); break;
	case 0xe0: respond(s, 0, false); break;
	case 0xf0 ... 0xff:	/* pulse the low output bits that are 0 */
		if (!(v & OUT_RESET_N))
			vm_request_reset(s->dev.vm);
		break;
	default:
		dev_guest_error(&s->dev, "unknown command %#x", v);
	}
}

static void i8042_data(struct i8042 *s, uint8_t v)
{
	uint8_t cmd = s->cmd;

	s->cmd = 0;
	switch (cmd) {
	case 0x60 ... 0x7f:
		s->ram[cmd & 31] = v;
		break;
	case 0xd1: write_output_port(s, v); break;
	case 0xd2: respond(s, v, false); break;
	case 0xd3: respond(s, v, true); break;
	case 0xd4: ps2mouse_write(&s->mouse, v); break;
	default:
		s->ram[0] &= ~CTR_KBD_DIS;	/* sending starts the keyboard's clock */
		ps2kbd_write(&s->kbd, v);
	}
}

static uint64_t data_read(struct device *d, uint64_t off, unsigned size)
{
	struct i8042 *s = (struct i8042 *)d;
	uint8_t v = s->obuf;	/* stays readable until the next byte */

	s->obf = false;
	i8042_update_irq(s);	/* the line must fall between two bytes */
	i8042_fill(s);
	return v;
}

static void data_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *s = (struct i8042 *)d;

	s->was_command = false;
	i8042_data(s, (uint8_t)val);
	i8042_fill(s);
}

static uint64_t status_read(struct device *d, uint64_t off, unsigned size)
{
	struct i8042 *s = (struct i8042 *)d;

	return STS_UNLOCKED | (s->obf ? STS_OBF : 0) | (s->obf && s->aux ? STS_AUX_OBF : 0) |
	       (s->ram[0] & CTR_SYS ? STS_SYS : 0) | (s->was_command ? STS_CMD : 0);
}

static void command_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *s = (struct i8042 *)d;

	s->was_command = true;
	i8042_command(s, (uint8_t)val);
	i8042_fill(s);
}

static uint64_t port92_read(struct device *d, uint64_t off, unsigned size)
{
	struct i8042 *s = (struct i8042 *)d;

	return s->port92 | (s->a20 ? P92_A20 : 0);
}

static void port92_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *s = (struct i8042 *)d;

	s->port92 = val & 0xc8;
	set_a20(s, val & P92_A20);
	if (val & P92_RESET)
		vm_request_reset(d->vm);
}

static const struct io_ops data_io = { data_read, data_write, 1, 1 };
static const struct io_ops status_io = { status_read, command_write, 1, 1 };
static const struct io_ops port92_io = { port92_read, port92_write, 1, 1 };

static bool i8042_realize(struct device *d, struct err *e)
{
	struct i8042 *s = (struct i8042 *)d;
	const struct ps2_host host = { i8042_ready, s };

	s->kbd.host = s->mouse.host = host;
	ps2kbd_init(&s->kbd, dev_clock(d));
	ps2kbd_reset(&s->kbd);
	ps2mouse_reset(&s->mouse);
	s->kbd.in = d->vm->input;
	if (d->vm->input) {
		input_add(d->vm->input, &ps2kbd_input, &s->kbd);
		input_add(d->vm->input, &ps2mouse_input, &s->mouse);
	}
	s->io[0] = (struct io_region){ .kind = BUS_PIO, .base = 0x60, .len = 1, .ops = &data_io,
		.name = "kbd-data" };
	s->io[1] = (struct io_region){ .kind = BUS_PIO, .base = 0x64, .len = 1,
		.ops = &status_io, .name = "kbd-command" };
	s->io[2] = (struct io_region){ .kind = BUS_PIO, .base = 0x92, .len = 1,
		.ops = &port92_io, .name = "port92" };
	for (unsigned i = 0; i < ARRAY_SIZE(s->io); i++)
		if (!dev_add_region(d, &s->io[i], e))
			return false;
	return true;
}

static void i8042_reset(struct device *d)
{
	struct i8042 *s = (struct i8042 *)d;

	ps2kbd_reset(&s->kbd);
	ps2mouse_reset(&s->mouse);
	memset(s->ram, 0, sizeof(s->ram));
	s->ram[0] = CTR_KBD_INT | CTR_AUX_INT | CTR_SYS | CTR_XLATE;
	s->obuf = s->cmd = s->port92 = s->resp = 0;
	s->obf = s->aux = s->resp_full = s->resp_aux = s->was_command = s->breaking = false;
	set_a20(s, true);
	i8042_update_irq(s);
}

static void i8042_unrealize(struct device *d)
{
	vtimer_cancel(&((struct i8042 *)d)->kbd.repeat);
}

static bool i8042_post_load(struct device *d, struct err *e)
{
	struct i8042 *s = (struct i8042 *)d;

	if (!ps2kbd_valid(&s->kbd) || !ps2mouse_valid(&s->mouse))
		return err_set(e, HV_EXIT_IMAGE, "keyboard controller: state out of range");
	if (s->kbd.in)
		input_set_leds(s->kbd.in, (s->kbd.leds >> 1 & 3) | (s->kbd.leds << 2 & 4));
	irq_set(&s->w.a20, s->a20);
	i8042_update_irq(s);
	return true;
}

void i8042_announce_mouse(struct device *d)
{
	ps2mouse_announce(&((struct i8042 *)d)->mouse);
}

void i8042_wire(struct device *d, const struct i8042_wiring *w)
{
	((struct i8042 *)d)->w = *w;
}

const struct device_ops i8042_ops = {
	.name = "i8042",
	.size = sizeof(struct i8042),
	.realize = i8042_realize,
	.reset = i8042_reset,
	.unrealize = i8042_unrealize,
	.state = i8042_fields,
	.state_version = 1,
	.post_load = i8042_post_load,
};
