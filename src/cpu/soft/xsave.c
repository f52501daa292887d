/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XRSTOR (Intel SDM vol. 1, 10.5 and
 * ch. 13) for x87, SSE and AVX state.  XSAVEOPT skips components in their
 * initial state, not those that are unmodified.  AVX state is the only one
 * beyond the legacy area, so it is at 576 in the compacted format too.
 */
#include "fpu.h"

#define CR0_TS 0x8u
#define CR4_OSXSAVE 0x40000u
#define XF_X87 1u
#define XF_SSE 2u
#define XF_AVX 4u
#define XCOMP (1ull << 63)	/* XCOMP_BV: compacted format */

/* The image in FXSAVE format as the guest sees it, in the form that @u asks for. */
static void image_out(struct soft *s, const struct uop *u, struct fx_image *out)
{
	const struct soft_fpu *f = s->fpu;

	soft_fpu_sync_out(s);
	memcpy(out, s->fx, sizeof(*out));
	if (u->flags & UOP_REXW)
		return;
	out->fip = (uint32_t)f->fip | (uint64_t)f->fcs << 32;
	out->fdp = (uint32_t)f->fdp | (uint64_t)f->fds << 32;
}

static void x87_in(struct soft *s, const struct uop *u, const struct fx_image *in)
{
	struct soft_fpu *f = s->fpu;
	struct fx_image save = *fx(s);

	memcpy(s->fx, in, 24);
	memcpy(s->fx + 32, in->st, sizeof(in->st));
	fx(s)->mxcsr = save.mxcsr;
	if (!(u->flags & UOP_REXW)) {
		fx(s)->fip = (uint32_t)in->fip;
		fx(s)->fdp = (uint32_t)in->fdp;
	}
	soft_fpu_sync_in(s);
	if (!(u->flags & UOP_REXW)) {
		f->fcs = (uint16_t)(in->fip >> 32);
		f->fds = (uint16_t)(in->fdp >> 32);
	}
}

static unsigned xmm_count(const struct soft *s)
{
	return s->mode & MODE_CS64 ? 16 : 8;
}

/* A stack address that is not canonical is found before the misalignment. */
static HV_NORETURN void misaligned(struct soft *s, const struct uop *u, uint64_t lin)
{
	bool stack = u->seg == SEG_SS && (uint64_t)((int64_t)(lin << 16) >> 16) != lin;

	soft_fault_code(s, u, stack ? EXC_SS : EXC_GP, 0);
}

static uint64_t aligned_lin(struct soft *s, const struct uop *u, unsigned len, unsigned align,
			    bool write)
{
	uint64_t lin = uop_lin(s, u, len, write);

	if (lin & (align - 1))
		misaligned(s, u, lin);
	return lin;
}

const struct uop *h_fxsave(struct soft *s, const struct uop *u)
{
	uint64_t lin = aligned_lin(s, u, 512, 16, true);
	struct fx_image img;

	soft_probe_write(s, u, lin, 512);
	image_out(s, u, &img);
	/* Bytes 464-511, and XMM8-15 outside 64-bit mode, are not written. */
	soft_st_buf(s, u, lin, &img, 160 + 16 * xmm_count(s));
	return u + 1;
}

const struct uop *h_fxrstor(struct soft *s, const struct uop *u)
{
	uint64_t lin = aligned_lin(s, u, 512, 16, false);
	struct fx_image img;

	soft_ld_buf(s, u, lin, &img, 512);
	if (img.mxcsr & ~MXCSR_MASK)
		soft_fault_code(s, u, EXC_GP, 0);
	soft_mxcsr_write(s, img.mxcsr);
	x87_in(s, u, &img);
	memcpy(fx(s)->xmm, img.xmm, 16 * xmm_count(s));
	return u + 1;
}

static void xsave_usable(struct soft *s, const struct uop *u)
{
	if (!(s->cr4 & CR4_OSXSAVE))
		soft_fault(s, u, EXC_UD);
	if (s->cr0 & CR0_TS)
		soft_fault(s, u, EXC_NM);
}

uint64_t soft_xcr0_mask(void)
{
	return XF_X87 | XF_SSE | (soft_has_feat(F_AVX) ? XF_AVX : 0);
}

/* Instruction's mask: the components to save or restore. */
static unsigned rfbm(const struct soft *s)
{
	return (unsigned)(s->xcr0 & (uint32_t)s->gpr[R_RAX]) & (XF_X87 | XF_SSE | XF_AVX);
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n && !*b)
		b++, n--;
	return !n;
}

static uint8_t *avx_state(struct soft *s)
{
	return s->fx + 576;
}

static unsigned xinuse(struct soft *s, const struct fx_image *img)
{
	unsigned bits = XF_X87;

	if (img->fcw == 0x37f && !img->fsw && !img->ftw && !img->fop && !img->fip && !img->fdp &&
	    all_zero(img->st, sizeof(img->st)))
		bits = 0;
	return bits | (all_zero(img->xmm, 16 * xmm_count(s)) ? 0 : XF_SSE) |
	       (all_zero(avx_state(s), 16 * xmm_count(s)) ? 0 : XF_AVX);
}

uint64_t soft_xinuse(struct soft *s)
{
	soft_fpu_sync_out(s);
	return xinuse(s, fx(s));
}

/* ---- XSAVE, XSAVEOPT, XSAVEC ------------------------------------------------------ */
static uint64_t xsave_begin(struct soft *s, const struct uop *u, struct fx_image *img)
{
	unsigned len = rfbm(s) & XF_AVX ? 832 : 576;
	uint64_t lin;

	xsave_usable(s, u);
	lin = aligned_lin(s, u, len, 64, true);
	soft_probe_write(s, u, lin, len);
	image_out(s, u, img);
	return lin;
}

static void save_components(struct soft *s, const struct uop *u, uint64_t lin, unsigned write,
			    const struct fx_image *img)
{
	if (write & XF_X87) {
		soft_st_buf(s, u, lin, img, 24);
		soft_st_buf(s, u, lin + 32, img->st, sizeof(img->st));
	}
	if (write & XF_SSE)
		soft_st_buf(s, u, lin + 160, img->xmm, 16 * xmm_count(s));
	if (write & XF_AVX)
		soft_st_buf(s, u, lin + 576, avx_state(s), 16 * xmm_count(s));
}

/* @opt: XSAVEOPT leaves out what is in its initial state. */
static const struct uop *xsave(struct soft *s, const struct uop *u, bool opt)
{
	unsigned mask = rfbm(s), inuse;
	struct fx_image img;
	uint64_t lin = xsave_begin(s, u, &img), bv = soft_ld64(s, u, lin + 512);

	inuse = xinuse(s, &img);
	save_components(s, u, lin, opt ? mask & inuse : mask, &img);
	if (mask & (XF_SSE | XF_AVX))
		soft_st_buf(s, u, lin + 24, &img.mxcsr, 8);
	soft_st64(s, u, lin + 512, (bv & ~(uint64_t)mask) | (inuse & mask));
	return u + 1;
}

const struct uop *h_xsave(struct soft *s, const struct uop *u)
{
	return xsave(s, u, false);
}

const struct uop *h_xsaveopt(struct soft *s, const struct uop *u)
{
	return xsave(s, u, true);
}

/* MXCSR belongs to the SSE component here. */
const struct uop *h_xsavec(struct soft *s, const struct uop *u)
{
	unsigned mask = rfbm(s), write;
	struct fx_image img;
	uint64_t lin = xsave_begin(s, u, &img);

	write = mask & (xinuse(s, &img) | (img.mxcsr != MXCSR_DEFAULT ? XF_SSE : 0));
	save_components(s, u, lin, write, &img);
	if (write & XF_SSE)
		soft_st_buf(s, u, lin + 24, &img.mxcsr, 8);
	soft_st64(s, u, lin + 512, write);
	soft_st64(s, u, lin + 520, mask | XCOMP);
	return u + 1;
}

/* ---- XRSTOR ----------------------------------------------------------------------- */
struct xsave_area {
	struct fx_image fx;
	uint64_t bv, comp, rest[6];
	__m128i high[16];
};
_Static_assert(sizeof(struct xsave_area) == 832, "XSAVE area");

/* SDM vol. 1, 13.8: what the header may say. */
static bool header_ok(const struct soft *s, const struct xsave_area *x)
{
	if (!(x->comp & XCOMP) || !soft_has_feat(F_XSAVEC))
		return !(x->bv & ~s->xcr0) && !x->comp && !x->rest[0];
	return !(x->comp & ~XCOMP & ~s->xcr0) && !(x->bv & ~x->comp) && !(x->bv & XCOMP) &&
	       all_zero(x->rest, sizeof(x->rest));
}

static void xmm_in(struct soft *s, void *to, const void *from, bool valid)
{
	if (valid)
		memcpy(to, from, 16 * xmm_count(s));
	else
		memset(to, 0, 16 * xmm_count(s));
}

const struct uop *h_xrstor(struct soft *s, const struct uop *u)
{
	static const struct fx_image init = { .fcw = 0x37f };
	unsigned mask = rfbm(s), len = mask & XF_AVX ? 832 : 576;
	struct xsave_area x;
	uint32_t mxcsr;
	uint64_t lin;
	bool load;

	xsave_usable(s, u);
	lin = aligned_lin(s, u, len, 64, false);
	soft_ld_buf(s, u, lin, &x, len);
	if (!header_ok(s, &x))
		soft_fault_code(s, u, EXC_GP, 0);
	load = x.comp & XCOMP ? mask & XF_SSE : mask & (XF_SSE | XF_AVX);
	mxcsr = x.comp & XCOMP && !(x.bv & XF_SSE) ? MXCSR_DEFAULT : x.fx.mxcsr;
	if (load && mxcsr & ~MXCSR_MASK)
		soft_fault_code(s, u, EXC_GP, 0);
	if (load)
		soft_mxcsr_write(s, mxcsr);
	if (mask & XF_X87)
		x87_in(s, u, x.bv & XF_X87 ? &x.fx : &init);
	if (mask & XF_SSE)
		xmm_in(s, fx(s)->xmm, x.fx.xmm, x.bv & XF_SSE);
	if (mask & XF_AVX)
		xmm_in(s, avx_state(s), x.high, x.bv & XF_AVX);
	return u + 1;
}
