/* SPDX-License-Identifier: MIT */
/*
 * x87 floating point unit (Intel SDM vol. 1 ch. 8, vol. 2).
 *
 * Each instruction runs on the host's x87: load the guest's image, execute
 * the same opcode through a table of stubs, save the image.  Unmasked
 * exceptions need no signal: they only become pending (ES), and the image is
 * saved by FXSAVE, which does not wait.  The guest sees #MF at its next
 * waiting instruction.  State saves and control words are done in C, so that
 * no host address reaches the guest (FIP, FDP are the guest's own).
 *
 * Left out: CR0.NE = 0 (FERR# and IRQ 13): pending exceptions are then not
 * reported at all.
 */
#include "fpu.h"
#include <stdlib.h>

#define CR0_MP 0x2u
#define CR0_TS 0x8u
#define CR0_NE 0x20u
#define FCW_INIT 0x37f

/* 512 register forms D8 C0 - DF FF and 64 memory forms with operand [rsi], 4 bytes each. */
extern const char soft_x87_reg[], soft_x87_mem[];
asm(".pushsection .text\n"
    ".balign 64\n"
    "soft_x87_reg:\n"
    ".set op, 0xd8\n"
    ".rept 8\n"
    "	.set m, 0xc0\n"
    "	.rept 64\n"
    "		.byte op, m\n"
    "		ret\n"
    "		.balign 4\n"
    "		.set m, m + 1\n"
    "	.endr\n"
    "	.set op, op + 1\n"
    ".endr\n"
    "soft_x87_mem:\n"
    ".set op, 0xd8\n"
    ".rept 8\n"
    "	.set m, 6\n"
    "	.rept 8\n"
    "		.byte op, m\n"
    "		ret\n"
    "		.balign 4\n"
    "		.set m, m + 8\n"
    "	.endr\n"
    "	.set op, op + 1\n"
    ".endr\n"
    ".popsection\n");

/* Load @in, call @stub with rsi = @mem and flags @fl, save to @out; returns the flags. */
static uint64_t x87_run(const struct fx_image *in, struct fx_image *out, const char *stub,
			void *mem, uint64_t fl)
{
	asm volatile("fxrstor64 (%[in])\n\t"
		     "lea -128(%%rsp), %%rsp\n\t"
		     "pushq %[fl]\n\t"
		     "popfq\n\t"
		     "call *%[stub]\n\t"
		     "pushfq\n\t"
		     "popq %[fl]\n\t"
		     "lea 128(%%rsp), %%rsp\n\t"
		     "fxsave64 (%[out])\n\t"
		     "fninit"
		     : [fl] "+&r"(fl)
		     : [in] "r"(in), [out] "r"(out), [stub] "r"(stub), "S"(mem)
		     : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
		       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
		       "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
	return fl;
}

/* Opcode's low bits and ModRM.reg: 6 bits.  The rows name /n or the exact ModRM byte. */
static unsigned x87_op(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	return (r->opcode & 7u) << 3 | (r->ext & 0x100 ? (unsigned)r->ext >> 3 & 7 : r->ext & 7u);
}

static const char *reg_stub(const struct uop *u)
{
	return soft_x87_reg + 4 * (x87_op(u) << 3 | (u->rm & 7));
}

static const char *mem_stub(const struct uop *u)
{
	return soft_x87_mem + 4 * x87_op(u);
}

void soft_mf_check(struct soft *s, const struct uop *u)
{
	if (unlikely(x87_img(s)->fsw & FSW_ES) && s->cr0 & CR0_NE)
		soft_fault(s, u, EXC_MF);
}

static bool guest_pe(const struct soft *s)
{
	return (s->mode & (MODE_PE | MODE_VM86)) == MODE_PE;
}

/* Remember the instruction for FNSTENV and FXSAVE. */
static void note_insn(struct soft *s, const struct uop *u)
{
	struct soft_fpu *f = s->fpu;
	unsigned op = x87_op(u), rm = u->flags & UOP_MOD3 ? 0xc0 | (u->rm & 7) : 0;

	f->fop = (uint16_t)((op >> 3) << 8 | (op & 7) << 3 | rm);
	f->fip = UOP_RIP(s, u);
	f->fcs = s->seg[SEG_CS].sel;
}

static void note_mem(struct soft *s, const struct uop *u)
{
	s->fpu->fdp = uop_ea(s, u);
	s->fpu->fds = s->seg[u->seg].sel;
}

/* ---- arithmetic, loads, stores ---------------------------------------------- */

const struct uop *h_x87_reg(struct soft *s, const struct uop *u)
{
	struct fx_image *img = x87_img(s);

	soft_mf_check(s, u);
	soft_fpu_park(s);
	note_insn(s, u);
	x87_run(img, img, reg_stub(u), NULL, 2);
	return u + 1;
}

/* FNINIT, FNCLEX: control instructions that do not wait. */
const struct uop *h_x87_nowait(struct soft *s, const struct uop *u)
{
	struct soft_fpu *f = s->fpu;

	soft_fpu_park(s);
	x87_run(&f->img, &f->img, reg_stub(u), NULL, 2);
	if ((soft_optable[u->row].ext & 0xff) == 0xe3)
		f->fip = f->fdp = f->fop = f->fcs = f->fds = 0;
	return u + 1;
}

/* FCMOVcc, FCOMI: read or write the arithmetic flags. */
const struct uop *h_x87_flags(struct soft *s, const struct uop *u)
{
	struct fx_image *img = x87_img(s);
	uint64_t fl;

	soft_mf_check(s, u);
	soft_fpu_park(s);
	note_insn(s, u);
	fl = x87_run(img, img, reg_stub(u), NULL, soft_arith(s) | 2);
	soft_set_arith(s, (uint32_t)fl);
	return u + 1;
}

static const struct uop *x87_load(struct soft *s, const struct uop *u, unsigned len)
{
	struct fx_image *img = x87_img(s);
	uint64_t lin, buf[2];

	soft_mf_check(s, u);
	lin = uop_lin(s, u, len, false);
	if (len == 2)
		buf[0] = soft_ld16(s, u, lin);
	else if (len == 4)
		buf[0] = soft_ld32(s, u, lin);
	else if (len == 8)
		buf[0] = soft_ld64(s, u, lin);
	else
		soft_ld_buf(s, u, lin, buf, len);
	soft_fpu_park(s);
	note_insn(s, u);
	note_mem(s, u);
	x87_run(img, img, mem_stub(u), buf, 2);
	return u + 1;
}

/* The new state is committed after the store, which may fault. */
static const struct uop *x87_store(struct soft *s, const struct uop *u, unsigned len)
{
	struct soft_fpu *f = s->fpu;
	uint64_t lin, buf[2];

	soft_mf_check(s, u);
	lin = uop_lin(s, u, len, true);
	soft_fpu_park(s);
	memcpy(&f->tmp, &f->img, 160);
	x87_run(&f->tmp, &f->tmp, mem_stub(u), buf, 2);
	if (f->tmp.fsw & ~f->tmp.fcw & 0x19) {	/* IE, OE, UE unmasked: nothing is stored */
		soft_probe_write(s, u, lin, len);
		goto done;
	}
	if (len == 2)
		soft_st16(s, u, lin, (uint16_t)buf[0]);
	else if (len == 4)
		soft_st32(s, u, lin, (uint32_t)buf[0]);
	else if (len == 8)
		soft_st64(s, u, lin, buf[0]);
	else
		soft_st_buf(s, u, lin, buf, len);
done:
	memcpy(&f->img, &f->tmp, 160);
	note_insn(s, u);
	note_mem(s, u);
	return u + 1;
}

#define X87_MEM(n) \
	const struct uop *h_x87_ld##n(struct soft *s, const struct uop *u) \
	{ \
		return x87_load(s, u, n); \
	} \
	const struct uop *h_x87_st##n(struct soft *s, const struct uop *u) \
	{ \
		return x87_store(s, u, n); \
	}
X87_MEM(2) X87_MEM(4) X87_MEM(8) X87_MEM(10)

/* ---- control and status ------------------------------------------------------ */

const struct uop *h_fwait(struct soft *s, const struct uop *u)
{
	if ((s->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		soft_fault(s, u, EXC_NM);
	soft_mf_check(s, u);
	return u + 1;
}

const struct uop *h_fldcw(struct soft *s, const struct uop *u)
{
	struct fx_image *img = x87_img(s);
	uint64_t buf;

	soft_mf_check(s, u);
	buf = soft_ld16(s, u, uop_lin(s, u, 2, false));
	soft_fpu_park(s);
	x87_run(img, img, mem_stub(u), &buf, 2);
	return u + 1;
}

const struct uop *h_fnstcw(struct soft *s, const struct uop *u)
{
	soft_st16(s, u, uop_lin(s, u, 2, true), x87_img(s)->fcw);
	return u + 1;
}

const struct uop *h_fnstsw(struct soft *s, const struct uop *u)
{
	soft_st16(s, u, uop_lin(s, u, 2, true), x87_img(s)->fsw);
	return u + 1;
}

const struct uop *h_fnstsw_ax(struct soft *s, const struct uop *u)
{
	wr16(s, 0, x87_img(s)->fsw);
	return u + 1;
}

/* ---- environment --------------------------------------------------------------- */

static uint16_t full_tags(const struct fx_image *f)
{
	unsigned top = FSW_TOP(f->fsw), tag, tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		uint64_t mant = f->st[(r - top) & 7].mant;
		unsigned exp = f->st[(r - top) & 7].exp & 0x7fff;

		if (!(f->ftw >> r & 1))
			tag = 3;
		else if (!exp && !mant)
			tag = 1;
		else if (!exp || exp == 0x7fff || !(mant >> 63))
			tag = 2;
		else
			tag = 0;
		tags |= tag << 2 * r;
	}
	return (uint16_t)tags;
}

/* SDM vol. 1, figures 8-9 to 8-12; returns the length. */
static unsigned env_make(struct soft *s, bool is16, void *out)
{
	const struct soft_fpu *f = s->fpu;
	uint16_t tags = full_tags(x87_img(s));
	uint32_t fip = (uint32_t)f->fip, fdp = (uint32_t)f->fdp, fop = f->fop;
	uint32_t e[7] = { f->img.fcw, f->img.fsw, tags };

	if (!guest_pe(s)) {
		fip += (uint32_t)f->fcs << 4;
		fdp += (uint32_t)f->fds << 4;
	}
	if (is16) {
		uint16_t w[7] = { f->img.fcw, f->img.fsw, tags, (uint16_t)fip, f->fcs,
				  (uint16_t)fdp, f->fds };

		if (!guest_pe(s)) {
			w[4] = (uint16_t)((fip >> 4 & 0xf000) | fop);
			w[6] = (uint16_t)(fdp >> 4 & 0xf000);
		}
		memcpy(out, w, sizeof(w));
		return sizeof(w);
	}
	for (unsigned i = 0; i < 3; i++)
		e[i] |= 0xffff0000;
	if (guest_pe(s)) {
		e[3] = fip;
		e[4] = f->fcs | fop << 16;
		e[5] = fdp;
		e[6] = f->fds | 0xffff0000;
	} else {
		e[3] = (fip & 0xffff) | 0xffff0000;
		e[4] = (fip >> 4 & 0x0ffff000) | fop;
		e[5] = (fdp & 0xffff) | 0xffff0000;
		e[6] = fdp >> 4 & 0x0ffff000;
	}
	memcpy(out, e, sizeof(e));
	return sizeof(e);
}

static void env_pointers16(struct soft *s, const uint16_t *w)
{
	struct soft_fpu *f = s->fpu;

	f->fip = w[3];
	f->fdp = w[5];
	if (guest_pe(s)) {
		f->fcs = w[4];
		f->fds = w[6];
		return;
	}
	f->fop = w[4] & 0x7ff;
	f->fip |= (uint32_t)(w[4] & 0xf000) << 4;
	f->fdp |= (uint32_t)(w[6] & 0xf000) << 4;
	f->fcs = f->fds = 0;
}

static void env_pointers32(struct soft *s, const uint32_t *e)
{
	struct soft_fpu *f = s->fpu;

	if (guest_pe(s)) {
		f->fip = e[3];
		f->fcs = (uint16_t)e[4];
		f->fop = e[4] >> 16 & 0x7ff;
		f->fdp = e[5];
		f->fds = (uint16_t)e[6];
		return;
	}
	f->fop = e[4] & 0x7ff;
	f->fip = (e[3] & 0xffff) | (e[4] & 0x0ffff000) << 4;
	f->fdp = (e[5] & 0xffff) | (e[6] & 0x0ffff000) << 4;
	f->fcs = f->fds = 0;
}

/* Take an environment over; returns its length. */
static unsigned env_take(struct soft *s, bool is16, const void *in)
{
	struct fx_image *img = x87_img(s);
	uint32_t e[7];
	uint16_t w[7], tags;

	if (is16) {
		memcpy(w, in, sizeof(w));
		img->fcw = w[0];
		img->fsw = w[1];
		tags = w[2];
		env_pointers16(s, w);
	} else {
		memcpy(e, in, sizeof(e));
		img->fcw = (uint16_t)e[0];
		img->fsw = (uint16_t)e[1];
		tags = (uint16_t)e[2];
		env_pointers32(s, e);
	}
	img->fcw = (img->fcw & 0x1f7f) | 0x40;
	img->ftw = 0;
	for (unsigned r = 0; r < 8; r++)
		img->ftw |= (uint8_t)((tags >> 2 * r & 3) != 3) << r;
	x87_update_es(img);
	return is16 ? sizeof(w) : sizeof(e);
}

const struct uop *h_fnstenv(struct soft *s, const struct uop *u)
{
	bool is16 = u->osize == 2;
	uint8_t buf[28];
	unsigned len = is16 ? 14 : 28;
	uint64_t lin = uop_lin(s, u, len, true);

	env_make(s, is16, buf);
	soft_st_buf(s, u, lin, buf, len);
	x87_img(s)->fcw |= 0x3f;
	x87_update_es(x87_img(s));
	return u + 1;
}

/*
 * FLDENV and FRSTOR keep the registers where they are: physically, that is,
 * while the image is relative to TOP.
 */
static void rotate(struct fx_image *img, unsigned from, unsigned to)
{
	struct fx_image old = *img;

	for (unsigned i = 0; i < 8; i++)
		img->st[i] = old.st[(i + to - from) & 7];
}

const struct uop *h_fldenv(struct soft *s, const struct uop *u)
{
	bool is16 = u->osize == 2;
	unsigned len = is16 ? 14 : 28, top;
	struct fx_image *img = x87_img(s);
	uint8_t buf[28];

	soft_mf_check(s, u);
	soft_ld_buf(s, u, uop_lin(s, u, len, false), buf, len);
	top = FSW_TOP(img->fsw);
	env_take(s, is16, buf);
	rotate(img, top, FSW_TOP(img->fsw));
	return u + 1;
}

static void x87_init(struct soft_fpu *f, uint16_t fcw)
{
	f->img.fcw = fcw;
	f->img.fsw = 0;
	f->img.ftw = 0;
	f->fip = f->fdp = 0;
	f->fop = f->fcs = f->fds = 0;
}

const struct uop *h_fnsave(struct soft *s, const struct uop *u)
{
	bool is16 = u->osize == 2;
	struct soft_fpu *f = s->fpu;
	unsigned len = is16 ? 94 : 108, env, top;
	uint64_t lin = uop_lin(s, u, len, true);
	uint8_t buf[108];

	env = env_make(s, is16, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(buf + env + 10 * i, &f->img.st[i], 10);
	soft_st_buf(s, u, lin, buf, len);
	top = FSW_TOP(f->img.fsw);
	x87_init(f, FCW_INIT);
	rotate(&f->img, top, 0);
	return u + 1;
}

const struct uop *h_frstor(struct soft *s, const struct uop *u)
{
	bool is16 = u->osize == 2;
	unsigned len = is16 ? 94 : 108, env;
	uint8_t buf[108];

	soft_mf_check(s, u);
	soft_ld_buf(s, u, uop_lin(s, u, len, false), buf, len);
	env = env_take(s, is16, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(&x87_img(s)->st[i], buf + env + 10 * i, 10);
	return u + 1;
}

/* ---- state ---------------------------------------------------------------------- */

/* The host's x87 has the guest's state: take it back, leave the host's empty. */
void soft_x87_store(struct soft *s)
{
	asm volatile("xsave64 %0\n\tfninit" : "+m"(s->fpu->img), "+m"(s->fpu->xhdr)
		     : "a"(1), "d"(0) : "memory");
	s->fpu_live &= (uint8_t)~FX_X87;
}

void soft_mmx_enter(struct soft *s)
{
	struct fx_image *img = x87_img(s);
	unsigned top = FSW_TOP(img->fsw);

	if (unlikely(top)) {
		rotate(img, top, 0);
		img->fsw &= (uint16_t)~0x3800;
	}
	img->ftw = 0xff;
}

const struct uop *h_emms(struct soft *s, const struct uop *u)
{
	soft_mf_check(s, u);
	soft_mmx_enter(s);
	x87_img(s)->ftw = 0;
	return u + 1;
}

void soft_fpu_sync_out(struct soft *s)
{
	struct soft_fpu *f = s->fpu;
	struct fx_image *g = fx(s);

	soft_fpu_park(s);
	g->fcw = f->img.fcw;
	g->fsw = f->img.fsw;
	g->ftw = f->img.ftw;
	g->pad = 0;
	g->fop = f->fop;
	g->fip = f->fip;
	g->fdp = f->fdp;
	g->mxcsr_mask = MXCSR_MASK;
	for (unsigned i = 0; i < 8; i++) {
		g->st[i].mant = f->img.st[i].mant;
		g->st[i].exp = f->img.st[i].exp;
		memset(g->st[i].pad, 0, sizeof(g->st[i].pad));
	}
	memset(g->rest, 0, sizeof(g->rest));
	memset(s->fx + 512, 0, 64);
	s->fx[512] = (uint8_t)soft_xcr0_mask();
}

void soft_fpu_sync_in(struct soft *s)
{
	struct soft_fpu *f = s->fpu;
	struct fx_image *g = fx(s);

	soft_fpu_park(s);
	g->mxcsr &= MXCSR_MASK;
	memset(&f->img, 0, sizeof(f->img));
	f->img.fcw = (g->fcw & 0x1f7f) | 0x40;
	f->img.fsw = g->fsw;
	f->img.ftw = g->ftw;
	f->img.mxcsr = MXCSR_DEFAULT;
	f->tmp = f->img;
	f->fop = g->fop & 0x7ff;
	f->fip = g->fip;
	f->fdp = g->fdp;
	f->fcs = f->fds = 0;
	for (unsigned i = 0; i < 8; i++) {
		f->img.st[i].mant = g->st[i].mant;
		f->img.st[i].exp = g->st[i].exp;
	}
	x87_update_es(&f->img);
}

/* RESET: SDM vol. 3 table 9-1; INIT leaves x87, XMM and MXCSR as they are. */
void soft_fpu_reset(struct soft *s, bool init_only)
{
	soft_fpu_park(s);
	if (init_only)
		return;
	memset(s->fx, 0, sizeof(s->fx));
	fx(s)->mxcsr = MXCSR_DEFAULT;
	soft_fpu_sync_in(s);
	x87_init(s->fpu, 0x40);
}

bool soft_fpu_init(struct soft *s)
{
	soft_mx_install();
	s->fpu = aligned_alloc(64, sizeof(*s->fpu));
	if (!s->fpu)
		return false;
	memset(s->fpu, 0, sizeof(*s->fpu));
	s->mx_live = s->mx_native = false;
	soft_fpu_reset(s, false);
	return true;
}

void soft_fpu_free(struct soft *s)
{
	free(s->fpu);
	s->fpu = NULL;
}
