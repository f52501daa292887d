/* SPDX-License-Identifier: MIT */
/* The instruction table: its rows, their attributes, operands and features.  Part of soft.h. */
#ifndef HV_SOFT_OPTABLE_H
#define HV_SOFT_OPTABLE_H

#include <stdbool.h>
#include <stdint.h>

struct soft;
struct uop;
typedef const struct uop *(*uop_fn)(struct soft *s, const struct uop *u);

/*
 * Row of the instruction table (optable.def and its family files
 * optable_int.def, optable_bmi.def, optable_sys.def, optable_fpu.def,
 * optable_sse.def, optable_avx.def):
 *
 * The row is the prototype: handlers need no other declaration.  Rows are
 * tried in the order mandatory prefix, exact ModRM, /n, any; a row whose
 * feature is not advertised does not exist (F3 0F BD without LZCNT is BSR).
 * A Z operand (register in the opcode) makes one row stand for 8 opcodes.
 * uop.osize comes from the first operand that is not an immediate.
 *
 *   OP(map, prefix, opcode, ext, "mnemonic", "operands", attr, feat, fin, fout, fundef, handler)
 *
 * map: M1 one-byte, M0F, M38 (0F 38), M3A (0F 3A); V0F, V38, V3A: the same with VEX.
 * prefix: P_ANY (66 is operand size), P_NP, P_66, P_F3, P_F2 (mandatory prefix, SSE; VEX.pp).
 * ext: X_NONE, or X_(n) = ModRM.reg n any mod, X_M(n) memory only, X_R(n) register only,
 *      X_RM(byte) = the exact ModRM byte (x87, 0F 01), X_MEM / X_REG without /n.
 * operands, comma separated, Intel order and SDM vol. 2 appendix A.2 letters:
 *   Eb Ev Ed Eq Ew Ey(32/64) Gb Gv Gw Gy Ib Iw Iz(16/32, sign-extended) Iv Jb Jz
 *   Mb Mw Md Mq Mx(16 bytes) M(address) Rb Rw(r32/m8, r32/m16) Ob Ov Ap Mp Sw Cd Dd
 *   Zv Zb(opcode register) AL AX eAX rAX DX CL 1 Xb Xv Yb Yv(string source, destination)
 *   Vx(xmm reg) Wx(xmm/m128) Wd Wq(xmm/m32, m64) Ux(xmm rm only) Pq Qq(mm, mm/m64) Nq
 *   ST STi m32fp ...
 *   VEX rows: x is the vector length (16 or 32 bytes), h f e its half, fourth and eighth,
 *   o always 16 bytes; Hx Ho (vvvv) By (vvvv, general register) Lx (register in imm8[7:4])
 *   Tx (memory with vector indices; rm is the index register)
 * attr: A_* bits below.  feat: F_* CPUID gate: clear -> #UD.
 * fin/fout/fundef: flags read, written, left undefined (FL_* masks).
 */
enum op_attr {
	A_LOCK = 1 << 0,	/* LOCK allowed with a memory destination */
	A_END = 1 << 1,		/* ends the block (branches, mode changes, may stop) */
	A_D64 = 1 << 2,		/* default 64-bit operand size in 64-bit mode (push, near branch) */
	A_F64 = 1 << 3,		/* forced 64-bit operand size */
	A_NO64 = 1 << 4,	/* #UD in 64-bit mode */
	A_ONLY64 = 1 << 5,
	A_PRIV = 1 << 6,	/* #GP(0) when CPL > 0 */
	A_MODRM = 1 << 7,	/* has ModRM (set by table init from operands/ext) */
	A_FPU = 1 << 8,		/* x87: CR0.EM/TS checks */
	A_SSE = 1 << 9,		/* SSE: CR0.EM, CR4.OSFXSR, TS checks */
	A_MMX = 1 << 10,
	A_REPSTR = 1 << 11,	/* string instruction with REP forms */
	A_NOREAL = 1 << 12,	/* #UD in real and virtual-8086 mode */
	A_NOTEST = 1 << 13,	/* the differential generator skips it (system) */
	A_ALIGN16 = 1 << 14,	/* legacy SSE alignment: #GP(0) when not 16-byte aligned */
	A_COPY_OK = 1 << 15,	/* a translator may copy its bytes */
	A_NO66 = 1 << 16,	/* 66 is ignored */
	A_SERIAL = 1 << 17,
	/* VEX rows.  Neither A_L0, A_L1 nor A_LIG: both vector lengths. */
	A_L0 = 1 << 18,		/* VEX.L must be 0 */
	A_L1 = 1 << 19,		/* VEX.L must be 1 */
	A_LIG = 1 << 20,	/* VEX.L is ignored */
	A_W0 = 1 << 21,		/* VEX.W must be 0 */
	A_W1 = 1 << 22,		/* VEX.W must be 1 */
	A_NOV = 1 << 23,	/* VEX.vvvv must be 1111b */
	A_Y2 = 1 << 24,		/* VEX.L = 1 is AVX2 */
	A_AVX = 1 << 25,	/* CR4.OSXSAVE, XCR0[2:1] and TS checks */
	A_MXCSR = 1 << 26,	/* obeys MXCSR; legacy SSE rows do not say */
	A_ALIGNV = 1 << 27,	/* #GP(0) when the memory operand is not aligned to its size */
	A_GPRW = 1 << 28,	/* W is a general register's width (set by table init) */
	A_IS4 = 1 << 29,	/* fourth register in the immediate (L operand) */
	A_IMM = 1 << 30,	/* VEX vector row with an immediate */
	A_NOAC = 1u << 31,	/* never #AC: masked and gathered elements */
};

enum op_feat {
	F_BASE,
	F_FPU,
	F_MMX,
	F_SSE,
	F_SSE2,
	F_SSE3,
	F_SSSE3,
	F_SSE41,
	F_SSE42,
	F_POPCNT,
	F_AES,
	F_PCLMUL,
	F_CX16,
	F_LAHF64,
	F_RDTSCP,
	F_FSGSBASE,
	F_XSAVE,
	F_XSAVEOPT,
	F_SYSCALL,
	F_CLFSH,
	F_INVPCID,
	F_SMAP,
	F_RDRAND,
	F_RDSEED,
	F_MOVBE,
	F_ADX,
	F_PREFETCHW,
	F_MONITOR,
	F_BMI1,
	F_BMI2,
	F_LZCNT,
	F_AVX,
	F_AVX2,
	F_FMA,
	F_F16C,
	F_VAES,
	F_VPCLMUL,
	F_SHA,
	F_CLFLUSHOPT,
	F_CLWB,
	F_CLZERO,
	F_RDPID,
	F_XSAVEC,
	F_XGETBV1,
	F_NEVER,
	F_COUNT
};

enum { M1, M0F, M38, M3A, V0F, V38, V3A, MAPS };
enum { P_ANY, P_NP, P_66, P_F3, P_F2 };
#define X_NONE (-1)
#define X_(n) (n)
#define X_M(n) (0x10 | (n))
#define X_R(n) (0x20 | (n))
#define X_MEM 0x40
#define X_REG 0x80
#define X_RM(b) (0x100 | (b))

/* Operand as parsed from the row: where it is encoded, how wide it is. */
enum opd_kind {
	K_NONE, K_E, K_G, K_I, K_J, K_M, K_O, K_A, K_S, K_C, K_D, K_Z, K_FIX, K_ONE, K_V, K_W, K_U,
	K_P, K_Q, K_N, K_ST, K_STI, K_X, K_Y, K_R, K_H, K_B, K_L, K_T
};
struct opd {
	uint8_t kind;		/* enum opd_kind */
	char size;		/* b w d q v y z x o h f e p(far pointer) or 0 */
	uint8_t num;		/* K_FIX: register number */
	uint16_t bytes; /* memory operand size if not by size letter (m80fp, m512), else 0 */
};

struct optable_row {
	uint8_t map, prefix, opcode;
	int16_t ext;
	const char *mnem, *operands;
	uint32_t attr;
	uint8_t feat;
	uint32_t fin, fout, fundef;
	uop_fn fn;
};
extern const struct optable_row soft_optable[];
extern const unsigned soft_optable_rows;
/* Parsed at init: up to 4 operands and attr with A_MODRM filled in. */
extern struct optable_info {
	struct opd opd[4];
	uint8_t n;
	uint32_t attr;
} *soft_optable_info;

/* Bytes of memory operand @o of @u, an instruction with VEX. */
unsigned soft_vex_bytes(const struct opd *o, const struct uop *u);

bool soft_has_feat(enum op_feat f);	/* advertised by soft_cpuid() */
void soft_cpuid(struct soft *s, uint32_t leaf, uint32_t sub, uint32_t out[4]);

#endif
