/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR (Intel SDM vol. 1, 10.5 and ch. 13)
 * for XCR0 = x87 and SSE; standard format only.  XSAVEOPT skips components in
 * their initial state, not those that are unmodified.
 */
#include "fpu.h"

#define CR0_TS 0x8u
#define CR4_OSXSAVE 0x40000u
#define XF_X87 1u
#define XF_SSE 2u

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

static uint64_t rfbm(const struct soft *s)
{
	return s->xcr0 & (s->gpr[R_RAX] & 0xffffffff) & (XF_X87 | XF_SSE);
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n && !*b)
		b++, n--;
	return !n;
}

static unsigned xinuse(struct soft *s, const struct fx_image *img)
{
	unsigned bits = XF_X87;

	if (img->fcw == 0x37f && !img->fsw && !img->ftw && !img->fop && !img->fip && !img->fdp &&
	    all_zero(img->st, sizeof(img->st)))
		bits = 0;
	return bits | (all_zero(img->xmm, 16 * xmm_count(s)) ? 0 : XF_SSE);
}

/* @opt: XSAVEOPT leaves out what is in its initial state. */
static const struct uop *xsave(struct soft *s, const struct uop *u, bool opt)
{
	uint64_t lin, mask = rfbm(s), bv;
	unsigned inuse, write;
	struct fx_image img;

	xsave_usable(s, u);
	lin = aligned_lin(s, u, 576, 64, true);
	soft_probe_write(s, u, lin, 576);
	bv = soft_ld64(s, u, lin + 512);
	image_out(s, u, &img);
	inuse = xinuse(s, &img);
	write = (unsigned)mask & (opt ? inuse : XF_X87 | XF_SSE);
	if (write & XF_X87) {
		soft_st_buf(s, u, lin, &img, 24);
		soft_st_buf(s, u, lin + 32, img.st, sizeof(img.st));
	}
	if (mask & XF_SSE)
		soft_st_buf(s, u, lin + 24, &img.mxcsr, 8);
	if (write & XF_SSE)
		soft_st_buf(s, u, lin + 160, img.xmm, 16 * xmm_count(s));
	soft_st64(s, u, lin + 512, (bv & ~mask) | (inuse & mask));
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

const struct uop *h_xrstor(struct soft *s, const struct uop *u)
{
	uint64_t lin, mask = rfbm(s), bv;
	struct { struct fx_image fx; uint8_t hdr[64]; } img;
	static const struct fx_image init = { .fcw = 0x37f };

	xsave_usable(s, u);
	lin = aligned_lin(s, u, 576, 64, false);
	soft_ld_buf(s, u, lin, &img, 576);
	memcpy(&bv, img.hdr, 8);
	if (bv & ~s->xcr0 || !all_zero(img.hdr + 8, 16) ||
	    (mask & XF_SSE && img.fx.mxcsr & ~MXCSR_MASK))
		soft_fault_code(s, u, EXC_GP, 0);
	if (mask & XF_SSE)
		soft_mxcsr_write(s, img.fx.mxcsr);
	if (mask & XF_X87)
		x87_in(s, u, bv & XF_X87 ? &img.fx : &init);
	if (mask & XF_SSE && bv & XF_SSE)
		memcpy(fx(s)->xmm, img.fx.xmm, 16 * xmm_count(s));
	else if (mask & XF_SSE)
		memset(fx(s)->xmm, 0, 16 * xmm_count(s));
	return u + 1;
}
