/* SPDX-License-Identifier: MIT */
/*
 * Native stubs for the vector instructions with VEX, assembled from the rows
 * of optable_avx.def: the instruction itself with fixed registers (avx.h),
 * for both vector lengths, and for each immediate where there is one.
 */
#include "avx.h"

/* Fields of VEX and ModRM: V is register 0, H register 1, W register 2 or [rdi]. */
#define PP(prefix) ((prefix) == P_66 ? 1 : (prefix) == P_F3 ? 2 : (prefix) == P_F2 ? 3 : 0)
#define SHIFT_IMM(ext) ((ext) >= 0x20 && (ext) < 0x28)	/* H is the destination */
#define VVVV(ext, attr) ((attr) & A_NOV ? 15 : SHIFT_IMM(ext) ? 15 : 14)
#define BYTE1(map) (0xe0 | ((map) - V0F + 1))
#define BYTE2(prefix, ext, attr, l) \
	(((attr) & A_W1 ? 0x80 : 0) | VVVV(ext, attr) << 3 | (l) << 2 | PP(prefix))
#define MODRM(ext) ((ext) == X_MEM ? 0x07 : 0xc2 | (SHIFT_IMM(ext) ? ((ext) & 7) << 3 : 0))
#define HAS_L(attr, l) (!((attr) & (A_LIG | A_L0 | A_L1)) || !((attr) & A_L1) == !(l))
#define COUNT(attr, l) (!HAS_L(attr, l) ? 0 : (attr) & A_IMM ? 256 : 1)
#define TAIL(attr) ((attr) & A_IMM ? 1 : (attr) & A_IS4 ? 2 : 0)

#define VEX_STUB(prefix, map, opcode, ext, attr, l, label) \
	asm volatile(".pushsection soft_stubs,\"ax\",@progbits\n.balign 8\n" #label ":\n" \
		     ".set stub_i, 0\n.rept %c[count]\n" \
		     ".byte 0xc4, %c[b1], %c[b2], %c[op], %c[modrm]\n" \
		     ".if %c[tail] == 1\n.byte stub_i\n" \
		     ".elseif %c[tail] == 2\n.byte 0x30\n.endif\n" \
		     "ret\n.balign 8\n.set stub_i, stub_i + 1\n.endr\n.popsection\n" \
		     : \
		     : [count] "i"(COUNT(attr, l)), [b1] "i"(BYTE1(map)), \
		       [b2] "i"(BYTE2(prefix, ext, attr, l)), [op] "i"(opcode), \
		       [modrm] "i"(MODRM(ext)), [tail] "i"(TAIL(attr)));

#define OP(map, prefix, opcode, ext, mnem, operands, attr, feat, fin, fout, fundef, handler) \
	VEX_STUB(prefix, map, opcode, ext, attr, 0, 771) \
	VEX_STUB(prefix, map, opcode, ext, attr, 1, 772) \
	asm volatile(".pushsection soft_vex_stubs,\"aw\"\n.quad 771b, 772b\n.popsection\n");

/* Never called: it only makes the two sections. */
void soft_vex_stubs_here(void);
__attribute__((used, noinline)) void soft_vex_stubs_here(void)
{
#include "optable_avx.def"
}
#undef OP

/*
 * soft_vex_call(regs in rdi, stub in rsi): all registers from *regs, the
 * stub, all results back.  A SIGFPE in the stub returns from it (mxcsr.c).
 */
asm(".pushsection .text\n.globl soft_vex_call\n.type soft_vex_call, @function\n"
    "soft_vex_call:\n"
    "vmovdqa 32(%rdi), %ymm0\nvmovdqa 64(%rdi), %ymm1\n"
    "vmovdqa 96(%rdi), %ymm2\nvmovdqa 128(%rdi), %ymm3\n"
    "mov 160(%rdi), %rax\nmov 168(%rdi), %rdx\n"
    "call *%rsi\n"
    "pushfq\npopq 184(%rdi)\n"
    "mov %rax, 160(%rdi)\nmov %rdx, 168(%rdi)\nmov %rcx, 176(%rdi)\n"
    "vmovdqa %ymm0, 32(%rdi)\nvmovdqa %ymm2, 96(%rdi)\n"
    "vzeroupper\nret\n"
    ".size soft_vex_call, . - soft_vex_call\n.popsection\n");
_Static_assert(offsetof(struct vex_regs, v) == 32 && offsetof(struct vex_regs, w) == 96 &&
	       offsetof(struct vex_regs, rax) == 160 && offsetof(struct vex_regs, flags) == 184,
	       "soft_vex_call");
