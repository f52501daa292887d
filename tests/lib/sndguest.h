/* SPDX-License-Identifier: MIT */
/* For tests of sound devices: a PCI bus to sit on, and an ear that keeps what is played. */
#ifndef HV_SNDGUEST_H
#define HV_SNDGUEST_H

#include "testvm.h"
#include "../../src/audio.h"
#include "../../src/pci.h"

#define SND_DEVFN PCI_DEVFN(3, 0)

struct ear {
	uint32_t frames[1u << 18];	/* of all voices, as they come */
	size_t n;
	unsigned rate;			/* of the last */
	struct test_irq irq;
};
extern struct ear ear;

/* The ear as back end of @vm, a tone as microphone; before the device is realized. */
void snd_ear(struct vm *vm);
/* Setup callback: a bus with recorded lines, and the ear. */
void snd_place(struct device *d);
void snd_done(struct vm *vm);		/* frees @vm (may be NULL) and the back ends */
void snd_cfg_wr(struct vm *vm, unsigned off, uint32_t v);
uint32_t snd_cfg_rd(struct vm *vm, unsigned off);
/* @n stereo frames of 16 bits at @at that count up from @first: left n, right -n. */
void snd_ramp(struct vm *vm, uint64_t at, unsigned first, unsigned n);
/* Frame of such a ramp. */
static inline uint32_t snd_ramp_frame(unsigned n)
{
	return audio_frame((int16_t)n, (int16_t)-n);
}

#endif
