/* SPDX-License-Identifier: MIT */
/* Which handlers have a native form, and which. */
#include "jit_trans.h"
#include <pthread.h>

#define ALU(name, n, fk) \
	{ h_##name##_eg, JK_GENERIC, fk, U_ER | U_EW | U_GR, NO_REG, (n) * 8 + 1, (n) * 8 }, \
	{ h_##name##_ge, JK_GENERIC, fk, U_ER | U_GR | U_GW, NO_REG, (n) * 8 + 3, (n) * 8 + 2 }, \
	{ h_##name##_ei, JK_GENERIC, fk, U_ER | U_EW | U_IZ, n, 0x81, 0x80 }
#define SHIFT(name, n, fk) \
	{ h_##name##_i, JK_GENERIC, fk, U_ER | U_EW | U_I8, n, 0xc1, 0xc0 }, \
	{ h_##name##_c, JK_GENERIC, fk, U_ER | U_EW, n, 0xd3, 0xd2 }
#define BIT(name, n, w) \
	{ h_##name##_g, JK_GENERIC, FK_BT, U_ER | w | U_GR | U_REGONLY, NO_REG, \
	  OPF(0x83 | (n) << 3), 0 }, \
	{ h_##name##_i, JK_GENERIC, FK_BT, U_ER | w | U_I8, n, OPF(0xba), 0 }
#define JCC(name) { h_j##name, JK_JCC, FK_CC, 0, NO_REG, 0, 0 }

static const struct jit_row rows[] = {
	ALU(add, 0, FK_ALL),
	ALU(or, 1, FK_ALL),
	ALU(adc, 2, FK_ADC),
	ALU(sbb, 3, FK_ADC),
	ALU(and, 4, FK_ALL),
	ALU(sub, 5, FK_ALL),
	ALU(xor, 6, FK_ALL),
	{ h_cmp_eg, JK_GENERIC, FK_ALL, U_ER | U_GR, NO_REG, 0x39, 0x38 },
	{ h_cmp_ge, JK_GENERIC, FK_ALL, U_ER | U_GR, NO_REG, 0x3b, 0x3a },
	{ h_cmp_ei, JK_GENERIC, FK_ALL, U_ER | U_IZ, 7, 0x81, 0x80 },
	{ h_test_eg, JK_GENERIC, FK_ALL, U_ER | U_GR, NO_REG, 0x85, 0x84 },
	{ h_test_ei, JK_GENERIC, FK_ALL, U_ER | U_IZ, 0, 0xf7, 0xf6 },
	{ h_not, JK_GENERIC, FK_NONE, U_ER | U_EW, 2, 0xf7, 0xf6 },
	{ h_neg, JK_GENERIC, FK_ALL, U_ER | U_EW, 3, 0xf7, 0xf6 },
	{ h_inc, JK_GENERIC, FK_INC, U_ER | U_EW, 0, 0xff, 0xfe },
	{ h_dec, JK_GENERIC, FK_INC, U_ER | U_EW, 1, 0xff, 0xfe },
	{ h_mov_eg, JK_GENERIC, FK_NONE, U_EW | U_GR, NO_REG, 0x89, 0x88 },
	{ h_mov_ge, JK_GENERIC, FK_NONE, U_ER | U_GW, NO_REG, 0x8b, 0x8a },
	{ h_mov_ei, JK_MOV_IMM, FK_NONE, U_EW | U_IZ, 0, 0xc7, 0xc6 },
	{ h_movzx8, JK_GENERIC, FK_NONE, U_ER | U_GW | U_E8, NO_REG, OPF(0xb6), 0 },
	{ h_movzx16, JK_GENERIC, FK_NONE, U_ER | U_GW | U_E16, NO_REG, OPF(0xb7), 0 },
	{ h_movsx8, JK_GENERIC, FK_NONE, U_ER | U_GW | U_E8, NO_REG, OPF(0xbe), 0 },
	{ h_movsx16, JK_GENERIC, FK_NONE, U_ER | U_GW | U_E16, NO_REG, OPF(0xbf), 0 },
	{ h_movsxd, JK_GENERIC, FK_NONE, U_ER | U_GW | U_E32, NO_REG, 0x63, 0 },
	{ h_xchg, JK_GENERIC, FK_NONE, U_ER | U_EW | U_GR | U_GW, NO_REG, 0x87, 0x86 },
	{ h_xadd, JK_GENERIC, FK_ALL, U_ER | U_EW | U_GR | U_GW, NO_REG, OPF(0xc1), OPF(0xc0) },
	{ h_cmpxchg, JK_CMPXCHG, FK_ALL, U_ER | U_EW | U_GR, NO_REG, OPF(0xb1), OPF(0xb0) },
	{ h_cmov, JK_GENERIC, FK_CC, U_ER | U_GR | U_GW | U_CC, NO_REG, OPF(0x40), 0 },
	{ h_setcc, JK_GENERIC, FK_CC, U_EW | U_CC, 0, 0, OPF(0x90) },
	SHIFT(rol, 0, FK_ROT),
	SHIFT(ror, 1, FK_ROT),
	SHIFT(rcl, 2, FK_RC),
	SHIFT(rcr, 3, FK_RC),
	SHIFT(shl, 4, FK_SHIFT),
	SHIFT(shr, 5, FK_SHIFT),
	SHIFT(sar, 7, FK_SHIFT),
	{ h_shld_i, JK_GENERIC, FK_SHIFT, U_ER | U_EW | U_GR | U_I8, NO_REG, OPF(0xa4), 0 },
	{ h_shld_c, JK_GENERIC, FK_SHIFT, U_ER | U_EW | U_GR, NO_REG, OPF(0xa5), 0 },
	{ h_shrd_i, JK_GENERIC, FK_SHIFT, U_ER | U_EW | U_GR | U_I8, NO_REG, OPF(0xac), 0 },
	{ h_shrd_c, JK_GENERIC, FK_SHIFT, U_ER | U_EW | U_GR, NO_REG, OPF(0xad), 0 },
	BIT(bt, 4, 0),
	BIT(bts, 5, U_EW),
	BIT(btr, 6, U_EW),
	BIT(btc, 7, U_EW),
	{ h_bsf, JK_GENERIC, FK_SCAN, U_ER | U_GR | U_GW, NO_REG, OPF(0xbc), 0 },
	{ h_bsr, JK_GENERIC, FK_SCAN, U_ER | U_GR | U_GW, NO_REG, OPF(0xbd), 0 },
	{ h_tzcnt, JK_GENERIC, FK_SCAN, U_ER | U_GW, NO_REG, OPX(0xf3, M0F, 0xbc), 0 },
	{ h_lzcnt, JK_GENERIC, FK_SCAN, U_ER | U_GW, NO_REG, OPX(0xf3, M0F, 0xbd), 0 },
	{ h_movbe_ld, JK_GENERIC, FK_NONE, U_ER | U_GW, NO_REG, OPX(0, M38, 0xf0), 0 },
	{ h_movbe_st, JK_GENERIC, FK_NONE, U_EW | U_GR, NO_REG, OPX(0, M38, 0xf1), 0 },
	{ h_movnti, JK_GENERIC, FK_NONE, U_EW | U_GR, NO_REG, 0x89, 0 },
	{ h_adcx, JK_GENERIC, FK_CF_CHAIN, U_ER | U_GR | U_GW, NO_REG, OPX(0x66, M38, 0xf6), 0 },
	{ h_adox, JK_GENERIC, FK_OF_CHAIN, U_ER | U_GR | U_GW, NO_REG, OPX(0xf3, M38, 0xf6), 0 },
	{ h_crc32b, JK_GENERIC, FK_NONE, U_ER | U_GR | U_GW | U_E8, NO_REG, OPX(0xf2, M38, 0xf0),
	  0 },
	{ h_crc32, JK_GENERIC, FK_NONE, U_ER | U_GR | U_GW, NO_REG, OPX(0xf2, M38, 0xf1), 0 },
	{ h_popcnt, JK_GENERIC, FK_ALL, U_ER | U_GW, NO_REG, OPX(0xf3, M0F, 0xb8), 0 },
	{ h_imul2, JK_GENERIC, FK_MUL, U_ER | U_GR | U_GW, NO_REG, OPF(0xaf), 0 },
	{ h_imul3, JK_GENERIC, FK_MUL, U_ER | U_GW | U_IZ, NO_REG, 0x69, 0 },
	{ h_mul, JK_MUL, FK_MUL, U_ER, 4, 0xf7, 0 },
	{ h_imul1, JK_MUL, FK_MUL, U_ER, 5, 0xf7, 0 },
	{ h_nop, JK_NOP, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_pause, JK_PAUSE, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_lea, JK_LEA, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_push, JK_PUSH, FK_NONE, U_ER, NO_REG, 0, 0 },
	{ h_push_i, JK_PUSH_I, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_pop, JK_POP, FK_NONE, U_EW, NO_REG, 0, 0 },
	{ h_leave, JK_LEAVE, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_bswap, JK_BSWAP, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_cbw, JK_CBW, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_cwd, JK_CWD, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_div, JK_DIV, FK_NONE, U_ER, 6, 0xf7, 0 },
	{ h_idiv, JK_IDIV, FK_NONE, U_ER, 7, 0xf7, 0 },
	{ h_clc, JK_CARRY, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_stc, JK_CARRY, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_cmc, JK_CARRY, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_cld, JK_SYS, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_std, JK_SYS, FK_NONE, 0, NO_REG, 0, 0 },
	{ op_swapgs, JK_SYS, FK_NONE, 0, NO_REG, 0, 0 },
	{ op_fence, JK_SYS, FK_NONE, 0, NO_REG, 0, 0 },
	{ op_stac, JK_AC, FK_NONE, 0, NO_REG, 0, 0 },
	{ op_clac, JK_AC, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_cli, JK_CLI, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_pushf, JK_PUSHF, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_movs, JK_MOVS, FK_NONE, 0, NO_REG, 0x89, 0x88 },
	{ h_stos, JK_STOS, FK_NONE, 0, NO_REG, 0x89, 0x88 },
	{ h_lods, JK_LODS, FK_NONE, 0, NO_REG, 0x8b, 0x8a },
	JCC(o),
	JCC(no),
	JCC(b),
	JCC(nb),
	JCC(z),
	JCC(nz),
	JCC(be),
	JCC(nbe),
	JCC(s),
	JCC(ns),
	JCC(p),
	JCC(np),
	JCC(l),
	JCC(nl),
	JCC(le),
	JCC(nle),
	{ h_jmp, JK_JMP, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_call, JK_CALL, FK_NONE, 0, NO_REG, 0, 0 },
	{ h_call_e, JK_CALL_E, FK_NONE, U_ER, NO_REG, 0, 0 },
	{ h_jmp_e, JK_JMP_E, FK_NONE, U_ER, NO_REG, 0, 0 },
	{ h_ret, JK_RET, FK_NONE, 0, NO_REG, 0, 0 },
};

static const struct jit_row *by_row[2048];

static void init_once(void)
{
	HV_BUG_ON(soft_optable_rows > ARRAY_SIZE(by_row));
	for (unsigned i = 0; i < soft_optable_rows; i++)
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
			if (soft_optable[i].fn == rows[k].fn)
				by_row[i] = &rows[k];
}

void soft_jit_rows_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_once);
}

const struct jit_row *jit_row_of(unsigned row)
{
	return by_row[row];
}
