/* SPDX-License-Identifier: MIT */
/*
 * A duplex HD Audio codec: one DAC behind a line-out jack, one ADC behind a
 * line-in jack, an amplifier with mute in each.
 *
 * After: High Definition Audio Specification, revision 1.0a, chapter 7.
 *
 *	1 audio function	2 DAC -> 3 line out	5 line in -> 4 ADC
 *
 * Both jacks report presence: line out always has a plug, line in when the
 * host's microphone is there.  Left out: impedance, the converters' own idea of
 * the format (the controller's is the one that counts).
 */
#include "hda_int.h"
#include <math.h>

enum { ROOT, AFG, DAC, PIN_OUT, ADC, PIN_IN };

#define VENDOR 0x1af40a01u
#define SUBSYSTEM 0x1af41100u

/* 7.3.4.6: type in 23:20 */
#define WCAP_STEREO 0x001u
#define WCAP_IN_AMP 0x002u
#define WCAP_OUT_AMP 0x004u
#define WCAP_AMP_OVRD 0x008u
#define WCAP_FORMAT_OVRD 0x010u
#define WCAP_UNSOL 0x080u
#define WCAP_CONN_LIST 0x100u
#define WCAP_POWER 0x400u

/* 7.3.4.10: 74 steps of 1 dB below 0 dB, mute */
#define AMP_STEPS 0x4au
#define AMP_CAP (1u << 31 | 3u << 16 | AMP_STEPS << 8 | AMP_STEPS)
#define AMP_MUTE 0x80u

/* 7.3.4.7: 16, 20, 24 and 32 bits at 8 to 96 kHz */
#define PCM_CAP (0x1eu << 16 | 0x1ffu)

/* 7.3.4.9 */
#define PIN_CAP_PRESENCE 0x04u
#define PIN_CAP_OUT 0x10u
#define PIN_CAP_IN 0x20u

#define UNSOL_ENABLE 0x80u
#define UNSOL_TAG 0x3fu

#define PIN_CTL_OUT 0x40u
#define PIN_CTL_IN 0x20u

static const struct {
	uint8_t node, param;
	uint32_t val;
} params[] = {
	{ ROOT, 0x00, VENDOR }, { ROOT, 0x02, 0x00100100 }, { ROOT, 0x04, AFG << 16 | 1 },
	{ AFG, 0x00, VENDOR }, { AFG, 0x04, DAC << 16 | 4 }, { AFG, 0x05, 0x01 },
	{ AFG, 0x08, 0x0808 }, { AFG, 0x0a, PCM_CAP }, { AFG, 0x0b, 1 }, { AFG, 0x0d, AMP_CAP },
	{ AFG, 0x0f, 0x0f }, { AFG, 0x12, AMP_CAP },
	{ DAC, 0x09, 0u << 20 | WCAP_STEREO | WCAP_OUT_AMP | WCAP_AMP_OVRD | WCAP_FORMAT_OVRD |
	  WCAP_POWER },
	{ DAC, 0x0a, PCM_CAP }, { DAC, 0x0b, 1 }, { DAC, 0x0f, 0x0f }, { DAC, 0x12, AMP_CAP },
	{ PIN_OUT, 0x09, 4u << 20 | WCAP_STEREO | WCAP_UNSOL | WCAP_CONN_LIST | WCAP_POWER },
	{ PIN_OUT, 0x0c, PIN_CAP_OUT | PIN_CAP_PRESENCE }, { PIN_OUT, 0x0e, 1 },
	{ PIN_OUT, 0x0f, 0x0f },
	{ ADC, 0x09, 1u << 20 | WCAP_STEREO | WCAP_IN_AMP | WCAP_AMP_OVRD | WCAP_FORMAT_OVRD |
	  WCAP_CONN_LIST | WCAP_POWER },
	{ ADC, 0x0a, PCM_CAP }, { ADC, 0x0b, 1 }, { ADC, 0x0d, AMP_CAP }, { ADC, 0x0e, 1 },
	{ ADC, 0x0f, 0x0f },
	{ PIN_IN, 0x09, 4u << 20 | WCAP_STEREO | WCAP_UNSOL | WCAP_POWER },
	{ PIN_IN, 0x0c, PIN_CAP_IN | PIN_CAP_PRESENCE },
	{ PIN_IN, 0x0f, 0x0f },
};

const struct state_field hda_codec_fields[] = {
	{ .name = "amp", .off = offsetof(struct hda_codec, amp), .size = 1,
	  .count = sizeof(((struct hda_codec *)0)->amp), .kind = F_BYTES, .since = 1 },
	STATE_U8S(struct hda_codec, stream), STATE_U8S(struct hda_codec, pin),
	STATE_U8S(struct hda_codec, power), STATE_U8S(struct hda_codec, unsol),
	STATE_U16S(struct hda_codec, format), STATE_U32S(struct hda_codec, config),
	STATE_U32(struct hda_codec, subsystem),
	STATE_END
};

/* 7.3.3.31: rear 1/8" jacks, green line out, blue line in. */
void hda_codec_reset(struct hda_codec *c)
{
	void (*changed)(void *) = c->changed;
	void *opaque = c->opaque;
	bool line_in = c->line_in;

	*c = (struct hda_codec){
		.changed = changed, .opaque = opaque, .subsystem = SUBSYSTEM,
		.line_in = line_in,
		.amp = { [DAC] = { AMP_STEPS, AMP_STEPS }, [ADC] = { AMP_STEPS, AMP_STEPS } },
		.pin = { [PIN_OUT] = PIN_CTL_OUT, [PIN_IN] = PIN_CTL_IN },
		.config = { [PIN_OUT] = 0x01014010, [PIN_IN] = 0x01813020 },
	};
}

static uint32_t get_param(unsigned node, uint8_t param)
{
	for (unsigned i = 0; i < ARRAY_SIZE(params); i++)
		if (params[i].node == node && params[i].param == param)
			return params[i].val;
	return 0;
}

static bool has_amp(unsigned node, bool out)
{
	return node == (out ? DAC : ADC);
}

/* 7.3.3.7 */
static uint32_t get_amp(const struct hda_codec *c, unsigned node, uint16_t p)
{
	if (!has_amp(node, p & 0x8000) || p & 0xf)
		return 0;
	return c->amp[node][p & 0x2000 ? 0 : 1];
}

static void set_amp(struct hda_codec *c, unsigned node, uint16_t p)
{
	uint8_t gain = (uint8_t)MIN(p & 0x7fu, AMP_STEPS);

	if (!(p & 0x8000 && has_amp(node, true)) && !(p & 0x4000 && has_amp(node, false)))
		return;
	if (p & 0x0f00)
		return;		/* no second input */
	for (unsigned side = 0; side < 2; side++)
		if (p & 0x2000 >> side)
			c->amp[node][side] = (uint8_t)(gain | (p & AMP_MUTE));
}

static void set_byte(uint32_t *v, unsigned i, uint8_t val)
{
	*v = (*v & ~(0xffu << 8 * i)) | (uint32_t)val << 8 * i;
}

static bool is_pin(unsigned node)
{
	return node == PIN_OUT || node == PIN_IN;
}

static bool is_converter(unsigned node)
{
	return node == DAC || node == ADC;
}

static bool plugged(const struct hda_codec *c, unsigned n)
{
	return n == PIN_OUT || (n == PIN_IN && c->line_in);
}

bool hda_codec_plug(struct hda_codec *c, bool in, uint32_t *response)
{
	bool changed = c->line_in != in;

	c->line_in = in;
	*response = (uint32_t)(c->unsol[PIN_IN] & UNSOL_TAG) << 26;
	return changed && c->unsol[PIN_IN] & UNSOL_ENABLE;
}

/* Verbs with 8 bits of payload (7.3.3). */
static uint32_t get_verb(const struct hda_codec *c, unsigned n, uint8_t verb, uint8_t p)
{
	static const uint8_t connected_to[HDA_NODES] = { [PIN_OUT] = DAC, [ADC] = PIN_IN };

	switch (verb) {
	case 0x00: return get_param(n, p);
	case 0x02: return p ? 0 : connected_to[n];
	case 0x05: return c->power[n] | (uint32_t)c->power[n] << 4;
	case 0x06: return c->stream[n];
	case 0x07: return c->pin[n];
	case 0x08: return c->unsol[n];
	case 0x09: return plugged(c, n) ? 1u << 31 : 0;	/* pin sense */
	case 0x1c: return c->config[n];
	case 0x20: return n == AFG ? c->subsystem : 0;
	default: return 0;
	}
}

static void set_verb(struct hda_codec *c, unsigned n, uint8_t verb, uint8_t p)
{
	switch (verb) {
	case 0x05:
		c->power[n] = n && p <= 3 ? p : c->power[n];
		break;
	case 0x06:
		c->stream[n] = is_converter(n) ? p : 0;
		break;
	case 0x07:
		c->pin[n] = is_pin(n) ? p & 0xe7 : 0;
		break;
	case 0x08:
		c->unsol[n] = p & 0xbf;
		break;
	case 0x1c ... 0x1f:
		if (is_pin(n))
			set_byte(&c->config[n], verb - 0x1c, p);
		break;
	case 0x20 ... 0x23:
		if (n == AFG)
			set_byte(&c->subsystem, verb - 0x20, p);
		break;
	case 0xff:
		if (n == AFG)
			hda_codec_reset(c);
		break;
	}
}

uint32_t hda_codec_command(struct hda_codec *c, uint32_t cmd)
{
	unsigned node = cmd >> 20 & 0xff, verb = cmd >> 16 & 0xf;
	uint16_t p = (uint16_t)cmd;

	if (node >= HDA_NODES)
		return 0;
	switch (verb) {
	case 0x2:
		c->format[node] = is_converter(node) ? p : 0;
		return 0;
	case 0x3:
		set_amp(c, node, p);
		break;
	case 0x7:
		set_verb(c, node, (uint8_t)(p >> 8), (uint8_t)p);
		break;
	case 0xa:
		return c->format[node];
	case 0xb:
		return get_amp(c, node, p);
	case 0xf:
		return get_verb(c, node, (uint8_t)(p >> 8), (uint8_t)p);
	default:
		return 0;
	}
	c->changed(c->opaque);
	return 0;
}

unsigned hda_codec_stream(const struct hda_codec *c, bool capture)
{
	return c->stream[capture ? ADC : DAC] >> 4;
}

/* Gain @amp in units of AUDIO_UNITY. */
static uint32_t linear(uint8_t amp)
{
	if (amp & AMP_MUTE)
		return 0;
	return (uint32_t)lround(AUDIO_UNITY *
				pow(10, ((double)MIN(amp, AMP_STEPS) - AMP_STEPS) / 20));
}

void hda_codec_gain(const struct hda_codec *c, bool capture, uint32_t *left, uint32_t *right)
{
	unsigned node = capture ? ADC : DAC;
	bool on = capture ? c->pin[PIN_IN] & PIN_CTL_IN : c->pin[PIN_OUT] & PIN_CTL_OUT;

	*left = on ? linear(c->amp[node][0]) : 0;
	*right = on ? linear(c->amp[node][1]) : 0;
}
