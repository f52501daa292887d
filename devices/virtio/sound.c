/* SPDX-License-Identifier: MIT */
/*
 * Virtio sound device (VIRTIO 1.2, 5.14): one stereo output, one input, a
 * jack and a channel map for each.
 *
 * A driver's buffers stay in their ring until the clock wants their samples,
 * and come back when all of them are played or filled; so a snapshot finds
 * at most one in work, and gives it back with its place remembered.
 *
 * Left out: jack remapping, controls, notifications of the event queue,
 * polled and shared memory transfers.
 */
#include "virtio.h"
#include "../sndstream.h"

#define QUEUE_SIZE 64u
enum { CTRLQ, EVENTQ, TXQ, RXQ, NQUEUES };
enum { CFG_JACKS = 0, CFG_STREAMS = 4, CFG_CHMAPS = 8, CFG_LEN = 12 };

#define NSTREAM 2u		/* 0 plays (TXQ), 1 records (RXQ) */
#define PERIOD_MAX MiB(1)

/* 5.14.6: codes */
#define R_JACK_INFO 0x0001u
#define R_JACK_REMAP 0x0002u
#define R_PCM_INFO 0x0100u
#define R_PCM_SET_PARAMS 0x0101u
#define R_PCM_PREPARE 0x0102u
#define R_PCM_RELEASE 0x0103u
#define R_PCM_START 0x0104u
#define R_PCM_STOP 0x0105u
#define R_CHMAP_INFO 0x0200u
#define S_OK 0x8000u
#define S_BAD_MSG 0x8001u
#define S_NOT_SUPP 0x8002u
#define S_IO_ERR 0x8003u

#define REQUEST_MAX 24u		/* bytes of the longest request */
#define INFO_MAX 32u		/* and of the longest item of an answer */
#define STATUS_LEN 8u		/* of a transfer: status, latency */

/* 5.14.6.6.1 */
enum pcm_state { PCM_INIT, PCM_SET, PCM_PREPARED, PCM_STARTED, PCM_STOPPED, PCM_RELEASED,
		 PCM_NSTATES };

struct vsnd_stream {
	struct snd_stream snd;
	struct virtio_snd *vs;	/* immutable */
	uint8_t n;
	uint8_t state;		/* enum pcm_state */
	struct snd_format fmt;
	uint32_t period;	/* bytes */
	uint32_t off;		/* done of the buffer in work */
	bool have;		/* elem is it; not while saved */
	bool gave;		/* buffers went back since the last flush */
	struct virtq_elem elem;
};

struct virtio_snd {
	struct virtio_dev v;	/* must stay first */
	struct vsnd_stream stream[NSTREAM];
	struct virtq_elem ctrl;
};
VIRTIO_CHECK(struct virtio_snd, v);

static const struct state_field fmt_fields[] = {
	STATE_U32(struct snd_format, rate), STATE_U8(struct snd_format, channels),
	STATE_U8(struct snd_format, bytes),
	STATE_END
};

static const struct state_field stream_fields[] = {
	SND_STATE(struct vsnd_stream, snd), STATE_U8(struct vsnd_stream, state),
	STATE_STRUCT(struct vsnd_stream, fmt, fmt_fields), STATE_U32(struct vsnd_stream, period),
	STATE_U32(struct vsnd_stream, off),
	STATE_END
};

static const struct state_field vsnd_state[] = {
	VIRTIO_STATE(struct virtio_snd, v), STATE_STRUCTS(struct virtio_snd, stream, stream_fields),
	STATE_END
};

/* Formats (5.14.6.6.3) and their samples; rates by number. */
static const struct { uint8_t number, bytes; } formats[] = { { 4, 1 }, { 5, 2 }, { 17, 4 } };
static const uint32_t rates[] = {
	5512, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000,
};

static struct virtio_snd *snd_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_snd, v);
}

static struct vsnd_stream *stream_of(struct snd_stream *s)
{
	return container_of(s, struct vsnd_stream, snd);
}

static struct virtq *queue_of(struct vsnd_stream *st)
{
	return &st->vs->v.vq[TXQ + st->n];
}

/* ---- transfers (5.14.6.8) ---- */

static uint64_t payload(const struct vsnd_stream *st)
{
	return st->snd.ops->capture ? st->elem.in_len - STATUS_LEN : st->elem.out_len - 4;
}

/* The buffer in work goes back, @len bytes of a recording in it. */
static void give_back(struct vsnd_stream *st, uint32_t status, uint64_t len)
{
	uint64_t at = st->snd.ops->capture ? st->elem.in_len - MIN(st->elem.in_len, STATUS_LEN) : 0;
	uint8_t b[STATUS_LEN] = { 0 };

	st_le32(b, status);
	if (!virtq_write(queue_of(st), &st->elem, at, b, MIN(st->elem.in_len, STATUS_LEN)))
		dev_guest_error(&st->vs->v.pci.dev, "no room for a status");
	virtq_push(queue_of(st), st->elem.head,
		   (uint32_t)MIN(len + STATUS_LEN, st->elem.in_len));
	st->have = false;
	st->off = 0;
	st->gave = true;
}

static bool well_formed(struct vsnd_stream *st)
{
	uint8_t id[4];

	return st->elem.out_len >= 4 && st->elem.in_len >= STATUS_LEN &&
	       virtq_read(queue_of(st), &st->elem, 0, id, 4) && ld_le32(id) == st->n;
}

/* Make st->elem the buffer in work.  false: none is there. */
static bool take_buffer(struct vsnd_stream *st)
{
	for (unsigned tries = 0; !st->have && tries < VIRTIO_KICK_BUDGET; tries++) {
		if (!virtio_active(&st->vs->v, TXQ + st->n) ||
		    !virtq_pop(queue_of(st), &st->elem))
			return false;
		st->have = true;
		if (!well_formed(st))
			give_back(st, S_BAD_MSG, 0);
		else if (payload(st) <= st->off)
			give_back(st, S_OK, 0);
	}
	return st->have;
}

static uint32_t vsnd_copy(struct snd_stream *s, uint8_t *buf, uint32_t len)
{
	struct vsnd_stream *st = stream_of(s);
	uint32_t done = 0, n;

	for (; done < len && take_buffer(st); done += n) {
		n = (uint32_t)MIN(len - done, payload(st) - st->off);
		if (s->ops->capture ?
		    !virtq_write(queue_of(st), &st->elem, st->off, buf + done, n) :
		    !virtq_read(queue_of(st), &st->elem, 4 + st->off, buf + done, n))
			memset(buf + done, 0, n);	/* no RAM there */
		st->off += n;
		if (st->off == payload(st))
			give_back(st, S_OK, s->ops->capture ? st->off : 0);
	}
	return done;
}

static uint32_t vsnd_next_event(struct snd_stream *s)
{
	struct vsnd_stream *st = stream_of(s);

	return st->have ? (uint32_t)MIN(payload(st) - st->off, PERIOD_MAX) : st->period;
}

static void flush(struct vsnd_stream *st)
{
	if (st->gave)
		virtio_flush(&st->vs->v, TXQ + st->n);
	st->gave = false;
}

static void vsnd_moved(struct snd_stream *s)
{
	flush(stream_of(s));
}

static const struct snd_stream_ops stream_ops[NSTREAM] = {
	{ .name = "virtio-out", .copy = vsnd_copy, .next_event = vsnd_next_event,
	  .moved = vsnd_moved },
	{ .name = "virtio-in", .capture = true, .copy = vsnd_copy, .next_event = vsnd_next_event,
	  .moved = vsnd_moved },
};

/* All that waits goes back unplayed, VIRTIO_KICK_BUDGET at a time.  true: there is more. */
static bool return_all(struct vsnd_stream *st, uint32_t status)
{
	unsigned n = 0;

	for (; n < VIRTIO_KICK_BUDGET; n++) {
		if (!st->have && (!virtio_active(&st->vs->v, TXQ + st->n) ||
				  !virtq_pop(queue_of(st), &st->elem)))
			break;
		give_back(st, status, 0);
	}
	flush(st);
	return n == VIRTIO_KICK_BUDGET;
}

/* ---- control requests ---- */

static const struct snd_format *format_of(const uint8_t *req, struct snd_format *f)
{
	*f = (struct snd_format){ .channels = req[20] };
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].number == req[21])
			f->bytes = formats[i].bytes;
	f->rate = req[22] < ARRAY_SIZE(rates) ? rates[req[22]] : 0;
	return f->channels <= 2 && snd_format_ok(f) ? f : NULL;
}

/* 5.14.6.6.4 */
static uint32_t set_params(struct vsnd_stream *st, const uint8_t *req)
{
	uint32_t buffer = ld_le32(req + 8), period = ld_le32(req + 12);
	struct snd_format f;

	if (!period || !buffer || buffer % period)
		return S_BAD_MSG;
	if (ld_le32(req + 16) || period > PERIOD_MAX || !format_of(req, &f))
		return S_NOT_SUPP;
	st->fmt = f;
	st->period = period;
	return S_OK;
}

static uint32_t start(struct vsnd_stream *st, const uint8_t *req)
{
	snd_stream_start(&st->snd, &st->fmt);
	return S_OK;
}

static uint32_t stop(struct vsnd_stream *st, const uint8_t *req)
{
	snd_stream_sync(&st->snd);
	snd_stream_stop(&st->snd);
	return S_OK;
}

/* 5.14.6.6.5.1: pending transfers end first. */
static uint32_t release(struct vsnd_stream *st, const uint8_t *req)
{
	if (return_all(st, S_OK))
		virtio_requeue(&st->vs->v, TXQ + st->n);
	return S_OK;
}

#define IN(s) (1u << PCM_##s)
static const struct {
	uint32_t code;
	uint8_t from, to;	/* states in which it may come; state after it */
	uint8_t len;
	uint32_t (*fn)(struct vsnd_stream *st, const uint8_t *req);
} pcm_rows[] = {
	{ R_PCM_SET_PARAMS, IN(INIT) | IN(SET) | IN(PREPARED) | IN(RELEASED), PCM_SET, 24,
	  set_params },
	{ R_PCM_PREPARE, IN(SET) | IN(PREPARED) | IN(RELEASED), PCM_PREPARED, 8, NULL },
	{ R_PCM_START, IN(PREPARED) | IN(STOPPED), PCM_STARTED, 8, start },
	{ R_PCM_STOP, IN(STARTED), PCM_STOPPED, 8, stop },
	{ R_PCM_RELEASE, IN(PREPARED) | IN(STOPPED), PCM_RELEASED, 8, release },
};

static uint32_t pcm_request(struct virtio_snd *s, const uint8_t *req, uint64_t len)
{
	uint32_t id = ld_le32(req + 4), status;

	for (unsigned i = 0; i < ARRAY_SIZE(pcm_rows); i++) {
		if (pcm_rows[i].code != ld_le32(req))
			continue;
		if (len < pcm_rows[i].len || id >= NSTREAM ||
		    !(pcm_rows[i].from >> s->stream[id].state & 1))
			return S_BAD_MSG;
		status = pcm_rows[i].fn ? pcm_rows[i].fn(&s->stream[id], req) : S_OK;
		if (status == S_OK)
			s->stream[id].state = pcm_rows[i].to;
		return status;
	}
	return S_NOT_SUPP;
}

/* 5.14.6.4.1: a line-out and a line-in jack, as HD Audio describes them. */
static void jack_info(unsigned i, uint8_t *b)
{
	st_le32(b + 8, i ? 0x01813020 : 0x01014010);
	st_le32(b + 12, i ? 0x20 : 0x10);
	b[16] = 1;		/* connected */
}

/* 5.14.6.6.2 */
static void pcm_info(unsigned i, uint8_t *b)
{
	uint64_t f = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(formats); n++)
		f |= 1ull << formats[n].number;
	st_le64(b + 8, f);
	st_le64(b + 16, (1ull << ARRAY_SIZE(rates)) - 1);
	b[24] = (uint8_t)i;	/* direction: 0 output, 1 input */
	b[25] = 1;
	b[26] = 2;
}

/* 5.14.6.9.1: front left, front right */
static void chmap_info(unsigned i, uint8_t *b)
{
	b[4] = (uint8_t)i;
	b[5] = 2;
	b[6] = 3;
	b[7] = 4;
}

static const struct {
	uint32_t code;
	uint8_t size;
	void (*fn)(unsigned i, uint8_t *b);
} info_rows[] = {
	{ R_JACK_INFO, 24, jack_info }, { R_PCM_INFO, 32, pcm_info },
	{ R_CHMAP_INFO, 24, chmap_info },
};

/* 5.14.6.1: items [start, start+count) behind the status; there are two of each kind. */
static uint32_t query_info(struct virtio_snd *s, unsigned row, const uint8_t *req, uint64_t len,
			   uint32_t *written)
{
	uint32_t first = ld_le32(req + 4), count = ld_le32(req + 8), size = ld_le32(req + 12);
	uint8_t b[INFO_MAX];

	if (len < 16 || !range_ok(first, count, NSTREAM) || size < info_rows[row].size ||
	    s->ctrl.in_len < 4 + (uint64_t)count * size)
		return S_BAD_MSG;
	for (uint32_t i = 0; i < count; i++) {
		memset(b, 0, sizeof(b));
		info_rows[row].fn(first + i, b);
		if (!virtq_write(&s->v.vq[CTRLQ], &s->ctrl, 4 + (uint64_t)i * size, b,
				 info_rows[row].size))
			return S_IO_ERR;
	}
	*written += count * size;
	return S_OK;
}

static uint32_t control(struct virtio_snd *s, uint32_t *written)
{
	uint8_t req[REQUEST_MAX] = { 0 };
	uint64_t len = MIN(s->ctrl.out_len, sizeof(req));

	if (len < 4 || !virtq_read(&s->v.vq[CTRLQ], &s->ctrl, 0, req, len))
		return S_BAD_MSG;
	for (unsigned i = 0; i < ARRAY_SIZE(info_rows); i++)
		if (info_rows[i].code == ld_le32(req))
			return query_info(s, i, req, len, written);
	return pcm_request(s, req, len);
}

static void kick_control(struct virtio_snd *s)
{
	struct virtq *q = &s->v.vq[CTRLQ];
	unsigned n = 0;

	for (; n < VIRTIO_KICK_BUDGET && virtq_pop(q, &s->ctrl); n++) {
		uint32_t written = 4;
		uint8_t b[4];

		st_le32(b, control(s, &written));
		if (!virtq_write(q, &s->ctrl, 0, b, 4))
			written = 0;
		virtq_push(q, s->ctrl.head, written);
	}
	virtio_flush(&s->v, CTRLQ);
	if (n == VIRTIO_KICK_BUDGET)
		virtio_requeue(&s->v, CTRLQ);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_snd *s = snd_of(v);
	struct vsnd_stream *st;

	if (q == CTRLQ)
		kick_control(s);
	if (q < TXQ)
		return;		/* event buffers wait for events */
	st = &s->stream[q - TXQ];
	if (!((IN(PREPARED) | IN(STARTED) | IN(STOPPED)) >> st->state & 1) &&
	    return_all(st, S_IO_ERR))
		virtio_requeue(v, q);
}

/* ---- life ---- */

static uint64_t features(const struct virtio_dev *v)
{
	return 0;
}

static void get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	st_le32(cfg + CFG_JACKS, NSTREAM);
	st_le32(cfg + CFG_STREAMS, NSTREAM);
	st_le32(cfg + CFG_CHMAPS, NSTREAM);
}

static void quiesce(struct virtio_dev *v)
{
	struct virtio_snd *s = snd_of(v);

	for (unsigned i = 0; i < NSTREAM; i++) {
		struct vsnd_stream *st = &s->stream[i];

		snd_stream_stop(&st->snd);
		st->state = PCM_INIT;
		st->fmt = (struct snd_format){ 0 };
		st->period = st->off = 0;
		st->have = st->gave = false;
	}
}

static const struct virtio_class snd_class = {
	.type = VIRTIO_ID_SOUND,
	.class_code = 0x0401,
	.config_len = CFG_LEN,
	.features = features,
	.get_config = get_config,
	.kick = kick,
	.reset = quiesce,
};

static bool vsnd_realize(struct device *d, struct err *e)
{
	struct virtio_snd *s = snd_of(virtio_of(d));

	s->v.disable_legacy = true;
	for (unsigned i = 0; i < NSTREAM; i++) {
		s->stream[i].vs = s;
		s->stream[i].n = (uint8_t)i;
		snd_stream_init(&s->stream[i].snd, d, &stream_ops[i],
				audio_voice_new(d->vm->audio, stream_ops[i].name,
						stream_ops[i].capture));
	}
	return virtio_realize(&s->v, &snd_class, NQUEUES, QUEUE_SIZE, e);
}

static void vsnd_unrealize(struct device *d)
{
	struct virtio_snd *s = snd_of(virtio_of(d));

	virtio_unrealize(&s->v);
	for (unsigned i = 0; i < NSTREAM; i++)
		snd_stream_free(&s->stream[i].snd);
}

/* The buffer in work goes back into its ring; the next one to be taken is the same. */
static void vsnd_pre_save(struct device *d)
{
	struct virtio_snd *s = snd_of(virtio_of(d));

	for (unsigned i = 0; i < NSTREAM; i++)
		if (s->stream[i].have) {
			virtq_unpop(queue_of(&s->stream[i]), 1);
			s->stream[i].have = false;
		}
}

static bool vsnd_post_load(struct device *d, struct err *e)
{
	struct virtio_snd *s = snd_of(virtio_of(d));

	for (unsigned i = 0; i < NSTREAM; i++) {
		struct vsnd_stream *st = &s->stream[i];

		if (st->state >= PCM_NSTATES || st->period > PERIOD_MAX ||
		    (st->state != PCM_INIT && !snd_format_ok(&st->fmt)) ||
		    st->snd.running != (st->state == PCM_STARTED) ||
		    !snd_stream_post_load(&st->snd))
			return err_set(e, HV_EXIT_IMAGE, "virtio-sound: stream %u out of range",
				       i);
	}
	return virtio_post_load(&s->v, e);
}

const struct device_ops virtio_sound_ops = {
	.name = "virtio-sound",
	.size = sizeof(struct virtio_snd),
	.realize = vsnd_realize,
	.reset = virtio_reset,
	.unrealize = vsnd_unrealize,
	.state = vsnd_state,
	.state_version = 1,
	.post_load = vsnd_post_load,
	.pre_save = vsnd_pre_save,
};
