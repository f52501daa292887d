/* SPDX-License-Identifier: MIT */
/*
 * Between the HDA controller and its codec: verbs down, responses up, and
 * which stream the converters listen to.
 */
#ifndef HV_HDA_INT_H
#define HV_HDA_INT_H

#include "sndstream.h"

#define HDA_NODES 6u

struct hda_codec {
	/* Called when a converter may have another stream or an amplifier moved. */
	void (*changed)(void *opaque);
	void *opaque;
	/* By node: */
	uint8_t amp[HDA_NODES][2];	/* left, right: bit 7 mute, 6:0 gain */
	uint8_t stream[HDA_NODES];	/* 7:4 stream, 3:0 channel of a converter */
	uint8_t pin[HDA_NODES], power[HDA_NODES], unsol[HDA_NODES];
	uint16_t format[HDA_NODES];
	uint32_t config[HDA_NODES];	/* of pins */
	uint32_t subsystem;
	bool line_in;			/* something is plugged in there.  Not saved: the host's */
};

extern const struct state_field hda_codec_fields[];

void hda_codec_reset(struct hda_codec *c);
/* @cmd: node and verb, bits 27:0 of a command. */
uint32_t hda_codec_command(struct hda_codec *c, uint32_t cmd);
/* Stream number that the DAC (or, @capture, the ADC) uses, 0: none. */
unsigned hda_codec_stream(const struct hda_codec *c, bool capture);
/* The line-in jack's plug comes or goes; true: *@response is sent unasked (7.3.3.14). */
bool hda_codec_plug(struct hda_codec *c, bool in, uint32_t *response);
void hda_codec_gain(const struct hda_codec *c, bool capture, uint32_t *left, uint32_t *right);

#endif
