/* SPDX-License-Identifier: MIT */
/*
 * AC'97 audio of the 82801AA (8086:2415) with a stereo codec.
 *
 * After: Intel 82801AA data sheet (290655), chapter 13, and "AC '97
 * programmer's reference" (the bus masters: PCM in, PCM out, microphone);
 * Audio Codec '97 specification, revision 2.3, section 5 (mixer, variable
 * rates).
 *
 * Left out: modem, second codec, power states (kept, without effect), gain
 * above 0 dB, the mixing of inputs into the output.
 */
#include "ac97.h"
#include "regbytes.h"
#include "sndstream.h"
#include "../src/vm.h"
#include <math.h>

#define NAM_SIZE 0x100u
#define NABM_SIZE 0x40u

/* Mixer (2.3 specification, 5.7) */
#define MIX_MASTER 0x02
#define MIX_PCM 0x18
#define MIX_RECORD_GAIN 0x1c
#define MIX_POWER 0x26
#define MIX_EXT_ID 0x28
#define MIX_EXT_CTL 0x2a
#define EXT_VRA 0x0001u
#define MIX_DAC_RATE 0x2c
#define MIX_ADC_RATE 0x32
#define MUTE 0x8000u
#define RATE_MIN 4000u
#define RATE_MAX 48000u

/* Bus masters */
enum { BOX_PI, BOX_PO, BOX_MC, NBOX };
#define BOX(n) (0x10u * (n))
#define BDBAR 0x00
#define CIV 0x04
#define LVI 0x05
#define SR 0x06
#define SR_DCH 0x01u
#define SR_CELV 0x02u
#define SR_LVBCI 0x04u
#define SR_BCIS 0x08u
#define SR_FIFOE 0x10u
#define PICB 0x08
#define PIV 0x0a
#define CR 0x0b
#define CR_RPBM 0x01u
#define CR_RR 0x02u
#define CR_LVBIE 0x04u
#define CR_FEIE 0x08u
#define CR_IOCE 0x10u
#define GLOB_CNT 0x2c
#define GLOB_COLD 0x02u
#define GLOB_WARM 0x04u
#define GLOB_STA 0x30
#define STA_PRIMARY 0x100u	/* codec ready */
#define NBD 32u

struct ac97_box {
	struct snd_stream snd;
	struct ac97 *ac;	/* immutable */
	uint8_t n;
	uint64_t addr;		/* of the next sample */
	bool ioc;		/* of the current buffer */
};

struct ac97 {
	struct pci_dev pci;	/* must stay first */
	struct regbytes nam_map, nabm_map;	/* immutable after realize */
	uint8_t nam[REGBYTES_MAX], nabm[REGBYTES_MAX];
	struct ac97_box box[NBOX];
};
PCI_DEVICE_CHECK(struct ac97);

static const struct state_field box_fields[] = {
	SND_STATE(struct ac97_box, snd), STATE_U64(struct ac97_box, addr),
	STATE_BOOL(struct ac97_box, ioc),
	STATE_END
};

static const struct state_field ac97_fields[] = {
	PCI_STATE(struct ac97, pci), STATE_U8S(struct ac97, nam), STATE_U8S(struct ac97, nabm),
	STATE_STRUCTS(struct ac97, box, box_fields),
	STATE_END
};

static uint32_t get(const struct ac97_box *b, unsigned off, unsigned size)
{
	return regbytes_get(b->ac->nabm, BOX(b->n) + off, size);
}

static void set(struct ac97_box *b, unsigned off, unsigned size, uint32_t val)
{
	regbytes_set(b->ac->nabm, BOX(b->n) + off, size, val);
}

static void raise_status(struct ac97_box *b, uint32_t bits)
{
	set(b, SR, 2, get(b, SR, 2) | bits);
}

static bool box_irq(const struct ac97_box *b)
{
	uint32_t sr = get(b, SR, 2), cr = get(b, CR, 1);

	return (sr & SR_LVBCI && cr & CR_LVBIE) || (sr & SR_BCIS && cr & CR_IOCE) ||
	       (sr & SR_FIFOE && cr & CR_FEIE);
}

static void update_irq(struct ac97 *a)
{
	static const uint32_t bits[NBOX] = { 0x20, 0x40, 0x80 };
	uint32_t sta = regbytes_get(a->nabm, GLOB_CNT, 4) & GLOB_COLD ? STA_PRIMARY : 0;
	bool level = false;

	for (unsigned n = 0; n < NBOX; n++)
		if (box_irq(&a->box[n])) {
			sta |= bits[n];
			level = true;
		}
	regbytes_set(a->nabm, GLOB_STA, 4, sta);
	pci_set_irq(&a->pci, level);
}

/* ---- bus masters ---- */

static struct ac97_box *box_of(struct snd_stream *s)
{
	return container_of(s, struct ac97_box, snd);
}

/* The buffer that CIV names.  false: the list is not in RAM. */
static bool fetch(struct ac97_box *b)
{
	uint8_t d[8];

	if (!gm_read(dev_mem(&b->ac->pci.dev), GPA(get(b, BDBAR, 4) + 8 * get(b, CIV, 1)), d, 8)) {
		dev_guest_error(&b->ac->pci.dev, "the buffer list is not in RAM");
		return false;
	}
	b->addr = ld_le32(d) & ~1u;
	b->ioc = ld_le32(d + 4) >> 31;
	set(b, PICB, 2, ld_le16(d + 4));
	return true;
}

static bool next_buffer(struct ac97_box *b)
{
	uint32_t piv = get(b, PIV, 1);

	set(b, CIV, 1, piv);
	set(b, PIV, 1, (piv + 1) % NBD);
	return fetch(b);
}

/* The current buffer is done.  false: it was the last valid one, or there is no list. */
static bool buffer_done(struct ac97_box *b)
{
	if (b->ioc)
		raise_status(b, SR_BCIS);
	if (get(b, CIV, 1) != get(b, LVI, 1))
		return next_buffer(b);
	raise_status(b, SR_LVBCI | SR_CELV | SR_DCH);
	return false;
}

/* A DMA that reaches no RAM moves zeros. */
static void dma(struct ac97_box *b, uint8_t *buf, uint32_t n)
{
	struct guest_mem *gm = dev_mem(&b->ac->pci.dev);
	bool ok = b->snd.ops->capture ? gm_write(gm, GPA(b->addr), buf, n) :
					gm_read(gm, GPA(b->addr), buf, n);

	if (ok)
		return;
	dev_guest_error(&b->ac->pci.dev, "buffer at %#llx is not RAM", (unsigned long long)b->addr);
	if (!b->snd.ops->capture)
		memset(buf, 0, n);
}

static uint32_t ac97_copy(struct snd_stream *s, uint8_t *buf, uint32_t len)
{
	struct ac97_box *b = box_of(s);
	uint32_t done = 0, n;
	unsigned empty = 0;

	if (!pci_master(&b->ac->pci))
		return 0;
	while (done < len && !(get(b, SR, 2) & SR_DCH)) {
		n = MIN(len - done, get(b, PICB, 2) * 2);
		if (n)
			dma(b, buf + done, n);
		else if (++empty > NBD)
			break;
		b->addr += n;
		done += n;
		set(b, PICB, 2, get(b, PICB, 2) - n / 2);
		if (!get(b, PICB, 2) && !buffer_done(b))
			break;
	}
	return done;
}

static uint32_t ac97_next_event(struct snd_stream *s)
{
	return get(box_of(s), PICB, 2) * 2;
}

static void ac97_moved(struct snd_stream *s)
{
	struct ac97_box *b = box_of(s);

	if (get(b, SR, 2) & SR_DCH)
		snd_stream_stop(s);
	update_irq(b->ac);
}

static const struct snd_stream_ops box_ops[NBOX] = {
	[BOX_PI] = { .name = "ac97-in", .capture = true, .copy = ac97_copy,
		     .next_event = ac97_next_event, .moved = ac97_moved },
	[BOX_PO] = { .name = "ac97-out", .copy = ac97_copy, .next_event = ac97_next_event,
		     .moved = ac97_moved },
	[BOX_MC] = { .name = "ac97-mic", .capture = true, .copy = ac97_copy,
		     .next_event = ac97_next_event, .moved = ac97_moved },
};

/* Variable rates (5.8.2) for the two converters of the stereo streams. */
static struct snd_format box_format(const struct ac97 *a, unsigned n)
{
	static const uint8_t reg[NBOX] = { MIX_ADC_RATE, MIX_DAC_RATE, 0 };
	bool vra = a->nam[MIX_EXT_CTL] & EXT_VRA && reg[n];
	uint32_t rate = vra ? regbytes_get(a->nam, reg[n], 2) : RATE_MAX;

	return (struct snd_format){ .rate = MAX(MIN(rate, RATE_MAX), RATE_MIN),
				    .channels = n == BOX_MC ? 1 : 2, .bytes = 2 };
}

static void box_start(struct ac97_box *b)
{
	struct snd_format f = box_format(b->ac, b->n);

	set(b, SR, 2, get(b, SR, 2) & ~(SR_DCH | SR_CELV));
	snd_stream_start(&b->snd, &f);
}

static void wrote_cr(void *dev, unsigned n, uint32_t old)
{
	struct ac97_box *b = &((struct ac97 *)dev)->box[n];
	uint32_t v = get(b, CR, 1);

	if (v & CR_RR) {	/* all but the interrupt enables; not while it runs */
		set(b, CR, 1, v & ~CR_RR);
		if (old & CR_RPBM)
			return;
		regbytes_reset(&b->ac->nabm_map, b->ac->nabm, BOX(n));
		set(b, CR, 1, v & ~(CR_RR | CR_RPBM));
		b->addr = 0;
		b->ioc = false;
		return;
	}
	if (v & ~old & CR_RPBM) {
		if (!get(b, PICB, 2)) {
			set(b, PIV, 1, (get(b, CIV, 1) + 1) % NBD);
			if (!fetch(b))
				return;
		}
		box_start(b);
	} else if (old & ~v & CR_RPBM) {
		snd_stream_sync(&b->snd);
		snd_stream_stop(&b->snd);
		raise_status(b, SR_DCH);
	}
}

/* New buffers: a master that ran out of them goes on. */
static void wrote_lvi(void *dev, unsigned n, uint32_t old)
{
	struct ac97_box *b = &((struct ac97 *)dev)->box[n];

	if (get(b, CR, 1) & CR_RPBM && get(b, SR, 2) & SR_DCH && get(b, CIV, 1) != get(b, LVI, 1) &&
	    next_buffer(b))
		box_start(b);
}

/* ---- mixer ---- */

/* 5.7.2: 1.5 dB a step, @zero steps are 0 dB; a 6-bit value beyond 5 bits is the quietest. */
static uint32_t linear(uint32_t att)
{
	return att ? (uint32_t)lround(AUDIO_UNITY * pow(10, -1.5 * att / 20)) : AUDIO_UNITY;
}

static uint32_t play_gain(uint32_t master, uint32_t pcm)
{
	uint32_t sum = (master & 31) + (pcm & 31);

	return linear(sum > 8 ? sum - 8 : 0);	/* PCM: 8 is 0 dB, gain is not added */
}

static void set_gains(struct ac97 *a)
{
	uint32_t m = regbytes_get(a->nam, MIX_MASTER, 2), p = regbytes_get(a->nam, MIX_PCM, 2);
	uint32_t in = regbytes_get(a->nam, MIX_RECORD_GAIN, 2) & MUTE ? 0 : AUDIO_UNITY;

	if ((m | p) & MUTE)
		audio_voice_gain(a->box[BOX_PO].snd.voice, 0, 0);
	else
		audio_voice_gain(a->box[BOX_PO].snd.voice, play_gain(m >> 8, p >> 8),
				 play_gain(m, p));
	audio_voice_gain(a->box[BOX_PI].snd.voice, in, in);
}

static void mixer_reset(struct ac97 *a)
{
	regbytes_reset(&a->nam_map, a->nam, 0);
	set_gains(a);
}

static void wrote_reset(void *dev, unsigned unit, uint32_t old)
{
	mixer_reset(dev);
}

static void wrote_volume(void *dev, unsigned unit, uint32_t old)
{
	set_gains(dev);
}

/* 5.8.3: what is not supported reads back as the nearest that is. */
static void wrote_rate(void *dev, unsigned n, uint32_t old)
{
	struct ac97 *a = dev;

	for (unsigned i = 0; i < 2; i++) {
		unsigned reg = i ? MIX_ADC_RATE : MIX_DAC_RATE;
		uint32_t v = a->nam[MIX_EXT_CTL] & EXT_VRA ? regbytes_get(a->nam, reg, 2) :
							      RATE_MAX;

		regbytes_set(a->nam, reg, 2, MAX(MIN(v, RATE_MAX), RATE_MIN));
	}
}

static const struct reg_row nam_rows[] = {
	{ 0x00, 2, 0, 0, 0, wrote_reset },
	{ MIX_MASTER, 2, 0x8000, 0x9f1f, 0, wrote_volume },
	{ 0x04, 2, 0x8000, 0x9f1f, 0, NULL }, { 0x06, 2, 0x8000, 0x801f, 0, NULL },
	{ 0x0a, 2, 0, 0x801e, 0, NULL }, { 0x0c, 2, 0x8008, 0x801f, 0, NULL },
	{ 0x0e, 2, 0x8008, 0x805f, 0, NULL }, { 0x10, 2, 0x8808, 0x9f1f, 0, NULL },
	{ 0x12, 2, 0x8808, 0x9f1f, 0, NULL }, { 0x14, 2, 0x8808, 0x9f1f, 0, NULL },
	{ 0x16, 2, 0x8808, 0x9f1f, 0, NULL }, { MIX_PCM, 2, 0x8808, 0x9f1f, 0, wrote_volume },
	{ 0x1a, 2, 0, 0x0707, 0, NULL }, { MIX_RECORD_GAIN, 2, 0x8000, 0x8f0f, 0, wrote_volume },
	{ 0x20, 2, 0, 0x0380, 0, NULL },
	{ MIX_POWER, 2, 0x000f, 0xff00, 0, NULL },	/* all parts are ready */
	{ MIX_EXT_ID, 2, EXT_VRA, 0, 0, NULL }, { MIX_EXT_CTL, 2, 0, EXT_VRA, 0, wrote_rate },
	{ MIX_DAC_RATE, 2, RATE_MAX, 0xffff, 0, wrote_rate },
	{ MIX_ADC_RATE, 2, RATE_MAX, 0xffff, 0, wrote_rate },
	{ 0x7c, 2, 0x8384, 0, 0, NULL }, { 0x7e, 2, 0x7600, 0, 0, NULL },	/* STAC9700 */
};

static const struct reg_row box_rows[] = {
	{ BDBAR, 4, 0, ~7u, 0, NULL }, { CIV, 1, 0, 0, 0, NULL },
	{ LVI, 1, 0, NBD - 1, 0, wrote_lvi },
	{ SR, 2, SR_DCH, 0, SR_LVBCI | SR_BCIS | SR_FIFOE, NULL },
	{ PICB, 2, 0, 0, 0, NULL }, { PIV, 1, 0, 0, 0, NULL }, { CR, 1, 0, 0x1f, 0, wrote_cr },
};

static void wrote_glob_cnt(void *dev, unsigned unit, uint32_t old);

/* At a base of their own, so that a box's reset leaves them alone. */
static const struct reg_row glob_rows[] = {
	{ 0x00, 4, 0, 0x3f, 0, wrote_glob_cnt },	/* GLOB_CNT */
	{ 0x04, 4, 0, 0, 0, NULL },			/* GLOB_STA */
	{ 0x08, 1, 0, 0, 0, NULL },			/* CAS: never held */
};

static void masters_reset(struct ac97 *a)
{
	for (unsigned n = 0; n < NBOX; n++) {
		snd_stream_stop(&a->box[n].snd);
		regbytes_reset(&a->nabm_map, a->nabm, BOX(n));
		a->box[n].addr = 0;
		a->box[n].ioc = false;
	}
}

static void wrote_glob_cnt(void *dev, unsigned unit, uint32_t old)
{
	struct ac97 *a = dev;
	uint32_t v = regbytes_get(a->nabm, GLOB_CNT, 4);

	if (!(v & GLOB_COLD)) {		/* the codec is held in reset */
		masters_reset(a);
		mixer_reset(a);
	}
	regbytes_set(a->nabm, GLOB_CNT, 4, v & ~GLOB_WARM);
}

/* ---- the two BARs ---- */

static uint64_t nam_read(struct device *d, uint64_t off, unsigned size)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	return range_ok(off, size, NAM_SIZE) ? regbytes_get(a->nam, (unsigned)off, size) : 0;
}

static void nam_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	if (range_ok(off, size, NAM_SIZE))
		regbytes_write(&a->nam_map, a->nam, (unsigned)off, size, (uint32_t)val, a);
}

static void sync_box(struct ac97 *a, uint64_t off)
{
	if (off < BOX(NBOX))
		snd_stream_sync(&a->box[MIN(off / 0x10, NBOX - 1)].snd);
}

static uint64_t nabm_read(struct device *d, uint64_t off, unsigned size)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	if (!range_ok(off, size, NABM_SIZE))
		return 0;
	sync_box(a, off);
	return regbytes_get(a->nabm, (unsigned)off, size);
}

static void nabm_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	if (!range_ok(off, size, NABM_SIZE))
		return;
	sync_box(a, off);
	regbytes_write(&a->nabm_map, a->nabm, (unsigned)off, size, (uint32_t)val, a);
	update_irq(a);
}

static const struct io_ops nam_io = { nam_read, nam_write, 1, 4 };
static const struct io_ops nabm_io = { nabm_read, nabm_write, 1, 4 };

/* ---- life ---- */

static bool ac97_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x2415, .class_code = 0x0401, .revision = 1,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100, .int_pin = 1,
	};
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	pci_init(&a->pci, &id);
	regbytes_add(&a->nam_map, nam_rows, ARRAY_SIZE(nam_rows), 0, 0);
	regbytes_add(&a->nabm_map, glob_rows, ARRAY_SIZE(glob_rows), GLOB_CNT, 0);
	for (unsigned n = 0; n < NBOX; n++) {
		a->box[n].ac = a;
		a->box[n].n = (uint8_t)n;
		snd_stream_init(&a->box[n].snd, d, &box_ops[n],
				audio_voice_new(d->vm->audio, box_ops[n].name, box_ops[n].capture));
		regbytes_add(&a->nabm_map, box_rows, ARRAY_SIZE(box_rows), BOX(n), n);
	}
	return pci_bar_io(&a->pci, 0, PCI_BAR_IO, NAM_SIZE, &nam_io, e) &&
	       pci_bar_io(&a->pci, 1, PCI_BAR_IO, NABM_SIZE, &nabm_io, e);
}

static void ac97_unrealize(struct device *d)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	for (unsigned n = 0; n < NBOX; n++)
		snd_stream_free(&a->box[n].snd);
}

static void ac97_reset(struct device *d)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	pci_reset(&a->pci);
	masters_reset(a);
	mixer_reset(a);
	regbytes_reset(&a->nabm_map, a->nabm, GLOB_CNT);
	update_irq(a);
}

/* Registers are hostile: indices of the list have 5 bits. */
static bool ac97_post_load(struct device *d, struct err *e)
{
	struct ac97 *a = container_of(d, struct ac97, pci.dev);

	for (unsigned n = 0; n < NBOX; n++) {
		struct ac97_box *b = &a->box[n];

		if (get(b, CIV, 1) >= NBD || get(b, PIV, 1) >= NBD || get(b, LVI, 1) >= NBD ||
		    !snd_stream_post_load(&b->snd))
			return err_set(e, HV_EXIT_IMAGE, "ac97: bus master %u out of range", n);
	}
	set_gains(a);
	update_irq(a);
	return pci_post_load(&a->pci, e);
}

const struct device_ops ac97_ops = {
	.name = "ac97",
	.size = sizeof(struct ac97),
	.realize = ac97_realize,
	.reset = ac97_reset,
	.unrealize = ac97_unrealize,
	.state = ac97_fields,
	.state_version = 1,
	.post_load = ac97_post_load,
};
