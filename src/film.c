/* SPDX-License-Identifier: MIT */
/*
 * WebM files with one VP8 track; see record.h.  EBML (RFC 8794) and Matroska
 * (RFC 9559) elements as far as WebM needs them; one cluster for each run of
 * frames from a key frame on, sizes and duration filled in at the end.
 */
#include "record.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#define KEY_EVERY 200		/* frames */
#define CLUSTER_MS 20000	/* block times are 16 bits */

struct film {
	FILE *out;
	vpx_codec_ctx_t vpx;
	vpx_image_t image;
	unsigned w, h;
	uint64_t last_ms;
	long segment, duration, cluster;	/* places in the file; no cluster is open: 0 */
	uint64_t cluster_ms;
	bool any, failed, encoder, image_made;
};

/* ---- EBML ----------------------------------------------------------------------- */

static void put_be(FILE *f, uint64_t v, unsigned bytes)
{
	while (bytes--)
		putc((int)(v >> 8 * bytes & 0xff), f);
}

static void put_id(FILE *f, uint32_t id)
{
	put_be(f, id, id > 0xffffff ? 4 : id > 0xffff ? 3 : id > 0xff ? 2 : 1);
}

/* Sizes in eight bytes: 01, then 56 bits. */
static void put_size(FILE *f, uint64_t n)
{
	put_be(f, 1ull << 56 | n, 8);
}

static void put_uint(FILE *f, uint32_t id, uint64_t v)
{
	put_id(f, id);
	put_size(f, 8);
	put_be(f, v, 8);
}

static void put_text(FILE *f, uint32_t id, const char *s)
{
	put_id(f, id);
	put_size(f, strlen(s));
	fputs(s, f);
}

/* Begins an element that holds others; where its size goes. */
static long begin(FILE *f, uint32_t id)
{
	long at;

	put_id(f, id);
	at = ftell(f);
	put_size(f, (1ull << 56) - 1);	/* not known yet */
	return at;
}

static void end(FILE *f, long size_at)
{
	long now = ftell(f);

	fseek(f, size_at, SEEK_SET);
	put_size(f, (uint64_t)(now - size_at - 8));
	fseek(f, now, SEEK_SET);
}

static void write_tracks(struct film *m)
{
	FILE *f = m->out;
	long tracks = begin(f, 0x1654ae6b), entry = begin(f, 0xae), video;

	put_uint(f, 0xd7, 1);			/* TrackNumber, TrackUID, TrackType: video */
	put_uint(f, 0x73c5, 1);
	put_uint(f, 0x83, 1);
	put_uint(f, 0x9c, 0);			/* FlagLacing */
	put_text(f, 0x86, "V_VP8");		/* CodecID */
	video = begin(f, 0xe0);
	put_uint(f, 0xb0, m->w);
	put_uint(f, 0xba, m->h);
	end(f, video);
	end(f, entry);
	end(f, tracks);
}

static void write_head(struct film *m)
{
	FILE *f = m->out;
	long a = begin(f, 0x1a45dfa3);

	put_uint(f, 0x4286, 1);			/* EBMLVersion, EBMLReadVersion */
	put_uint(f, 0x42f7, 1);
	put_uint(f, 0x42f2, 4);			/* EBMLMaxIDLength, EBMLMaxSizeLength */
	put_uint(f, 0x42f3, 8);
	put_text(f, 0x4282, "webm");		/* DocType and its versions */
	put_uint(f, 0x4287, 2);
	put_uint(f, 0x4285, 2);
	end(f, a);
	m->segment = begin(f, 0x18538067);
	a = begin(f, 0x1549a966);		/* Info */
	put_uint(f, 0x2ad7b1, 1000000);		/* TimestampScale: ms */
	put_text(f, 0x4d80, "hvrun");		/* MuxingApp, WritingApp */
	put_text(f, 0x5741, "hvrun");
	put_id(f, 0x4489);
	put_size(f, 8);
	m->duration = ftell(f);
	put_be(f, 0, 8);
	end(f, a);
	write_tracks(m);
}

/* ---- frames ------------------------------------------------------------------------ */

static void write_block(struct film *m, const vpx_codec_cx_pkt_t *p)
{
	uint64_t ms = (uint64_t)p->data.frame.pts;
	bool key = p->data.frame.flags & VPX_FRAME_IS_KEY;

	if (m->cluster && (key || ms - m->cluster_ms > CLUSTER_MS)) {
		end(m->out, m->cluster);
		m->cluster = 0;
	}
	if (!m->cluster) {
		m->cluster = begin(m->out, 0x1f43b675);
		m->cluster_ms = ms;
		put_uint(m->out, 0xe7, ms);
	}
	put_id(m->out, 0xa3);			/* SimpleBlock: track, time, flags, frame */
	put_size(m->out, p->data.frame.sz + 4);
	putc(0x81, m->out);
	put_be(m->out, ms - m->cluster_ms, 2);
	putc(key ? 0x80 : 0, m->out);
	fwrite(p->data.frame.buf, 1, p->data.frame.sz, m->out);
	m->failed |= ferror(m->out) != 0;
}

/* @im NULL: what the encoder still holds. */
static void encode(struct film *m, const vpx_image_t *im, uint64_t ms)
{
	const vpx_codec_cx_pkt_t *p;
	vpx_codec_iter_t it = NULL;

	if (vpx_codec_encode(&m->vpx, im, (vpx_codec_pts_t)ms, 50, 0, VPX_DL_REALTIME)) {
		m->failed = true;
		return;
	}
	while ((p = vpx_codec_get_cx_data(&m->vpx, &it)))
		if (p->kind == VPX_CODEC_CX_FRAME_PKT)
			write_block(m, p);
}

/* A dot of the film from the picture fitted into it; black beside it. */
struct fit {
	const uint32_t *px;
	unsigned w, h, stride, x0, y0, fw, fh;
};

static struct fit fit_into(const struct film *m, const uint32_t *px, unsigned w, unsigned h,
			   unsigned stride)
{
	struct fit f = { px, w, h, stride, 0, 0, m->w, m->h };

	if ((uint64_t)w * m->h > (uint64_t)h * m->w)
		f.fh = MAX((unsigned)((uint64_t)h * m->w / w), 1u);
	else
		f.fw = MAX((unsigned)((uint64_t)w * m->h / h), 1u);
	if (w <= m->w && h <= m->h && m->w - w < 2 && m->h - h < 2) {
		f.fw = w;	/* odd sizes lose nothing */
		f.fh = h;
	}
	f.x0 = (m->w - f.fw) / 2;
	f.y0 = (m->h - f.fh) / 2;
	return f;
}

static uint32_t dot(const struct fit *f, unsigned x, unsigned y)
{
	x -= f->x0;	/* wraps to something large on the left */
	y -= f->y0;
	if (x >= f->fw || y >= f->fh)
		return 0;
	if (f->fw == f->w && f->fh == f->h)
		return f->px[(size_t)y * f->stride + x];
	return f->px[(size_t)((uint64_t)y * f->h / f->fh) * f->stride +
		     (size_t)((uint64_t)x * f->w / f->fw)];
}

/* ITU-R BT.601, studio swing: what players expect of VP8. */
static void convert(struct film *m, const struct fit *f)
{
	for (unsigned y = 0; y < m->h; y++) {
		uint8_t *luma = m->image.planes[0] + (size_t)y * (size_t)m->image.stride[0];
		uint8_t *u = m->image.planes[1] + (size_t)(y / 2) * (size_t)m->image.stride[1];
		uint8_t *v = m->image.planes[2] + (size_t)(y / 2) * (size_t)m->image.stride[2];

		for (unsigned x = 0; x < m->w; x++) {
			uint32_t c = dot(f, x, y);
			int r = c >> 16 & 0xff, g = c >> 8 & 0xff, b = c & 0xff;

			luma[x] = (uint8_t)((66 * r + 129 * g + 25 * b + 128) / 256 + 16);
			if ((x | y) & 1)
				continue;
			u[x / 2] = (uint8_t)((-38 * r - 74 * g + 112 * b + 128) / 256 + 128);
			v[x / 2] = (uint8_t)((112 * r - 94 * g - 18 * b + 128) / 256 + 128);
		}
	}
}

bool film_frame(struct film *m, const uint32_t *px, unsigned w, unsigned h, unsigned stride,
		uint64_t ms)
{
	struct fit f = fit_into(m, px, MAX(w, 1u), MAX(h, 1u), stride);

	if (m->any && ms <= m->last_ms)
		ms = m->last_ms + 1;
	m->any = true;
	m->last_ms = ms;
	convert(m, &f);
	encode(m, &m->image, ms);
	return !m->failed;
}

/* ---- life ------------------------------------------------------------------------------ */

static bool open_encoder(struct film *m, struct err *e)
{
	vpx_codec_enc_cfg_t c;

	if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &c, 0))
		return err_set(e, HV_EXIT_GENERIC, "libvpx has no VP8 encoder");
	c.g_w = m->w;
	c.g_h = m->h;
	c.g_timebase = (struct vpx_rational){ 1, 1000 };
	c.g_threads = 1;
	c.g_lag_in_frames = 0;
	c.kf_max_dist = KEY_EVERY;
	c.rc_target_bitrate = MAX(m->w * m->h / 250, 500u);	/* kbit/s: text stays readable */
	c.rc_min_quantizer = 2;
	c.rc_max_quantizer = 40;
	if (vpx_codec_enc_init(&m->vpx, vpx_codec_vp8_cx(), &c, 0))
		return err_set(e, HV_EXIT_GENERIC, "libvpx: %s", vpx_codec_error(&m->vpx));
	m->encoder = true;
	vpx_codec_control(&m->vpx, VP8E_SET_CPUUSED, 8);
	vpx_codec_control(&m->vpx, VP8E_SET_SCREEN_CONTENT_MODE, 1);
	m->image_made = vpx_img_alloc(&m->image, VPX_IMG_FMT_I420, m->w, m->h, 16) != NULL;
	return m->image_made || err_set(e, HV_EXIT_HOST, "no memory for a recording");
}

static void release(struct film *m)
{
	if (m->image_made)
		vpx_img_free(&m->image);
	if (m->encoder)
		vpx_codec_destroy(&m->vpx);
	if (m->out)
		fclose(m->out);
	free(m);
}

struct film *film_open(const char *path, unsigned w, unsigned h, struct err *e)
{
	struct film *m = hv_zalloc(sizeof(*m));
	int fd;

	m->w = MAX((w + 1) & ~1u, 16u);
	m->h = MAX((h + 1) & ~1u, 16u);
	if (!open_encoder(m, e)) {
		release(m);
		return NULL;
	}
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	m->out = fd >= 0 ? fdopen(fd, "w+") : NULL;
	if (!m->out) {
		err_errno(e, HV_EXIT_HOST, errno, "cannot record to %s", path);
		if (fd >= 0)
			close(fd);
		release(m);
		return NULL;
	}
	write_head(m);
	return m;
}

bool film_close(struct film *m, uint64_t ms, struct err *e)
{
	double length = (double)MAX(ms, m->last_ms + 1);
	uint64_t bits;
	bool ok;

	encode(m, NULL, 0);
	if (m->cluster)
		end(m->out, m->cluster);
	end(m->out, m->segment);
	memcpy(&bits, &length, sizeof(bits));
	fseek(m->out, m->duration, SEEK_SET);
	put_be(m->out, bits, 8);
	ok = fflush(m->out) == 0 && !m->failed;
	if (!ok)
		err_errno(e, HV_EXIT_HOST, errno ? errno : EIO, "the recording is not whole");
	release(m);
	return ok;
}
