/* SPDX-License-Identifier: MIT */
/*
 * The HDA controller's registers and insides, shared by hda.c (registers,
 * rings of commands, interrupts) and hda_stream.c (DMA of samples).
 */
#ifndef HV_HDA_REGS_H
#define HV_HDA_REGS_H

#include "hda_int.h"
#include "regbytes.h"
#include "../src/pci.h"
#include "../src/vm.h"

#define HDA_NIN 4u
#define HDA_NOUT 4u
#define HDA_NSTREAM (HDA_NIN + HDA_NOUT)

/* Registers (3.3) */
#define GCTL 0x08
#define GCTL_CRST 0x001u
#define GCTL_FCNTRL 0x002u
#define GCTL_UNSOL 0x100u
#define WAKEEN 0x0c
#define STATESTS 0x0e
#define GSTS 0x10
#define INTCTL 0x20
#define INTSTS 0x24
#define GLOBAL (1u << 31)
#define CONTROLLER (1u << 30)
#define WALCLK 0x30
#define CORBLBASE 0x40
#define CORBWP 0x48
#define CORBRP 0x4a
#define CORBCTL 0x4c
#define CORBSTS 0x4d
#define RIRBLBASE 0x50
#define RIRBWP 0x58
#define RINTCNT 0x5a
#define RIRBCTL 0x5c
#define RIRBSTS 0x5d
#define RING_RUN 0x02u
#define RESP_UNSOL 0x10u	/* in the upper half of an answer (4.4.2.1) */
#define ICOI 0x60
#define ICII 0x64
#define ICIS 0x68
#define DPLBASE 0x70
#define ALIAS 0x2000u		/* WALCLK and the positions are here too (3.3.44) */

/* Stream descriptors (3.3.35) */
#define SD(n) (0x80u + 0x20u * (n))
#define SD_END SD(HDA_NSTREAM)
#define SDCTL 0x00
#define SDCTL_SRST 0x01u
#define SDCTL_RUN 0x02u
#define SDSTS 0x03
#define SDSTS_BCIS 0x04u
#define SDSTS_DESE 0x10u
#define SDSTS_FIFORDY 0x20u
#define SDSTS_INTS 0x1cu	/* the same bits enable in SDCTL */
#define SDLPIB 0x04
#define SDCBL 0x08
#define SDLVI 0x0c
#define SDFMT 0x12
#define SDBDPL 0x18

struct hda_bdl {
	uint64_t addr;
	uint32_t len;		/* 0: not read yet */
	bool ioc;
};

struct hda_stream {
	struct snd_stream snd;
	struct hda *hda;	/* immutable */
	uint8_t n;
	uint8_t index;		/* of cur in the list */
	uint32_t off;		/* in cur */
	struct hda_bdl cur;
};

struct hda {
	struct pci_dev pci;	/* must stay first */
	struct regbytes map;	/* immutable after realize */
	struct audio_voice *voice[2];	/* DAC, ADC; likewise */
	uint8_t regs[REGBYTES_MAX];
	uint64_t wall_start;	/* virtual ns of WALCLK 0 */
	uint8_t responses;	/* since the last interrupt */
	struct hda_codec codec[1];
	struct hda_stream stream[HDA_NSTREAM];
};
PCI_DEVICE_CHECK(struct hda);

static inline uint32_t hda_get(const struct hda *h, unsigned off, unsigned size)
{
	return regbytes_get(h->regs, off, size);
}

static inline void hda_set(struct hda *h, unsigned off, unsigned size, uint32_t val)
{
	regbytes_set(h->regs, off, size, val);
}

static inline uint64_t hda_get_addr(const struct hda *h, unsigned off)
{
	return hda_get(h, off, 4) | (uint64_t)hda_get(h, off + 4, 4) << 32;
}

/* Streams 0 to HDA_NIN - 1 record. */
static inline bool hda_is_output(unsigned n)
{
	return n >= HDA_NIN;
}

void hda_update_irq(struct hda *h);

/* hda_stream.c */
extern const struct state_field hda_stream_fields[];
void hda_stream_init(struct hda *h, unsigned n);
void hda_stream_reset(struct hda *h, unsigned n);
void hda_stream_run(struct hda *h, unsigned n);		/* the RUN bit was set */
void hda_rewind_list(struct hda_stream *st);
/* Who hears stream @n: the codec's converter, when it is set to the stream's number. */
struct audio_voice *hda_listener(struct hda *h, unsigned n);
bool hda_stream_post_load(struct hda *h, unsigned n);

#endif
