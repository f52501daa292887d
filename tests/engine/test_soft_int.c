/* SPDX-License-Identifier: MIT */
/* Small programs on the software CPU in real, protected and long mode (Intel SDM vol. 1-3). */
#include "softvm.h"

SVM_EACH_TEST(t)

#define RUN(bits, ...) do { \
	static const uint8_t code_[] = { __VA_ARGS__, 0xf4 }; \
	svm_code(&t, code_, sizeof(code_)); \
	assert_int_equal(svm_run(&t), EXIT_HLT); \
} while (0)

static uint32_t mem32(uint64_t at)
{
	uint32_t v;

	assert_true(gm_read_le32(t.vm->mem, GPA(at), &v));
	return v;
}

static void test_loop64(void **state)
{
	svm_start(&t, 64);
	RUN(64, 0x48, 0xc7, 0xc1, 100, 0, 0, 0,	/* mov rcx, 100 */
	    0x48, 0x01, 0xc8,			/* 1: add rax, rcx */
	    0x48, 0xff, 0xc9,			/* dec rcx */
	    0x75, 0xf8);			/* jnz 1b */
	assert_int_equal(t.st.gpr[R_RAX], 5050);
	assert_int_equal(t.st.gpr[R_RCX], 0);
	assert_true(t.st.rflags & FL_ZF);
	assert_int_equal(t.st.rip, SVM_CODE + 16);
}

/* A 32-bit result clears the upper half; 8- and 16-bit results keep the rest. */
static void test_register_widths(void **state)
{
	svm_start(&t, 64);
	t.st.gpr[R_RAX] = t.st.gpr[R_RBX] = t.st.gpr[R_RCX] = t.st.gpr[R_R9] = ~0ull;
	t.st.gpr[R_RSI] = 0x1122334455667788;
	RUN(64, 0x83, 0xc0, 0x01,		/* add eax, 1 */
	    0x66, 0x83, 0xc3, 0x01,		/* add bx, 1 */
	    0x80, 0xc5, 0x01,			/* add ch, 1 */
	    0x41, 0x80, 0xe9, 0x0f,		/* sub r9b, 15 */
	    0x40, 0x88, 0xf2,			/* mov dl, sil */
	    0x88, 0xc6);			/* mov dh, al */
	assert_int_equal(t.st.gpr[R_RAX], 0);
	assert_true(t.st.gpr[R_RBX] == 0xffffffffffff0000);
	assert_true(t.st.gpr[R_RCX] == 0xffffffffffff00ff);
	assert_true(t.st.gpr[R_R9] == 0xfffffffffffffff0);
	assert_int_equal(t.st.gpr[R_RDX], 0x88);
}

struct flag_case {
	uint8_t code[4], len;
	uint64_t a, b;
	uint32_t flags;
	uint64_t r;
};

/* op rax/eax/al, rbx: results and all six flags. */
static void test_flags(void **state)
{
	static const struct flag_case cases[] = {
		{ { 0x01, 0xd8 }, 2, 0x7fffffff, 1, FL_OF | FL_SF | FL_AF | FL_PF, 0x80000000 },
		{ { 0x00, 0xd8 }, 2, 0xff, 1, FL_CF | FL_ZF | FL_AF | FL_PF, 0 },
		{ { 0x48, 0x29, 0xd8 }, 3, 0, 1, FL_CF | FL_SF | FL_AF | FL_PF, ~0ull },
		{ { 0x39, 0xd8 }, 2, 0x80000000, 1, FL_OF | FL_AF | FL_PF, 0x80000000 },
		{ { 0x21, 0xd8 }, 2, 0xf0, 0x0f, FL_ZF | FL_PF, 0 },
		{ { 0x66, 0xff, 0xc0 }, 3, 0x7fff, 0, FL_OF | FL_SF | FL_AF | FL_PF, 0x8000 },
		{ { 0xfe, 0xc8 }, 2, 0x80, 0, FL_OF | FL_AF, 0x7f },
		{ { 0xf7, 0xd8 }, 2, 1, 0, FL_CF | FL_SF | FL_AF | FL_PF, 0xffffffff },
		{ { 0xd1, 0xe0 }, 2, 0xc0000000, 0, FL_CF | FL_SF | FL_PF, 0x80000000 },
		{ { 0xd0, 0xf8 }, 2, 0x81, 0, FL_CF | FL_SF | FL_PF, 0xc0 },
		{ { 0xc1, 0xe8, 4 }, 3, 0x18, 0, FL_CF, 1 },
		{ { 0xd0, 0xd8 }, 2, 1, 0, FL_CF, 0 },
		{ { 0x0f, 0xaf, 0xc3 }, 3, 0x10000, 0x10000, FL_CF | FL_OF, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct flag_case *c = &cases[i];
		uint32_t defined;
		uint8_t code[5];

		memcpy(code, c->code, 4);
		code[c->len] = 0xf4;
		svm_start(&t, 64);
		svm_code(&t, code, sizeof(code));
		t.st.gpr[R_RAX] = c->a;
		t.st.gpr[R_RBX] = c->b;
		assert_int_equal(svm_run(&t), EXIT_HLT);
		assert_true(t.st.gpr[R_RAX] == c->r);
		/* IMUL defines only CF and OF; shifts leave AF undefined. */
		defined = c->code[1] == 0xaf ? FL_CF | FL_OF : FL_ARITH;
		if (c->code[0] == 0xc1 || (c->code[0] & 0xfe) == 0xd0)
			defined &= ~FL_AF & ~(c->code[0] == 0xc1 ? FL_OF : 0);
		assert_int_equal(t.st.rflags & defined, c->flags);
	}
}

/* Every condition after CMP, fused with its jump and alone behind a NOP. */
static void test_conditions(void **state)
{
	static const int64_t v[] = { 0, 1, -1, 5, INT32_MAX, INT32_MIN };

	for (unsigned cc = 0; cc < 16; cc++)
		for (size_t i = 0; i < ARRAY_SIZE(v) * ARRAY_SIZE(v); i++) {
			int32_t a = (int32_t)v[i / ARRAY_SIZE(v)];
			int32_t b = (int32_t)v[i % ARRAY_SIZE(v)];
			const uint8_t code[] = {
				0x39, 0xd8,			/* cmp eax, ebx */
				(uint8_t)(0x70 | cc), 3,	/* jcc +3 */
				0x83, 0xc1, 1,			/* add ecx, 1 */
				0x39, 0xd8, 0x90,		/* cmp; nop */
				0x0f, (uint8_t)(0x90 | cc), 0xc2,	/* setcc dl */
				0xf4,
			};
			bool of, cf = (uint32_t)a < (uint32_t)b, zf = a == b, sf, want;
			int32_t r;

			of = __builtin_sub_overflow(a, b, &r);
			sf = r < 0;
			switch (cc >> 1) {
			case 0: want = of; break;
			case 1: want = cf; break;
			case 2: want = zf; break;
			case 3: want = cf || zf; break;
			case 4: want = sf; break;
			case 5: want = !__builtin_parity(r & 0xff); break;
			case 6: want = a < b; break;
			default: want = a <= b; break;
			}
			want ^= cc & 1;
			svm_start(&t, 32);
			svm_code(&t, code, sizeof(code));
			t.st.gpr[R_RAX] = (uint32_t)a;
			t.st.gpr[R_RBX] = (uint32_t)b;
			assert_int_equal(svm_run(&t), EXIT_HLT);
			assert_int_equal(t.st.gpr[R_RCX], !want);
			assert_int_equal(t.st.gpr[R_RDX], want);
		}
}

static void test_call_ret(void **state)
{
	svm_start(&t, 64);
	RUN(64, 0xe8, 0x02, 0, 0, 0,		/* call 1f */
	    0xeb, 0x0a,				/* jmp 2f */
	    0x6a, 0xff,				/* 1: push -1 */
	    0x58,				/* pop rax */
	    0x48, 0x89, 0xe3,			/* mov rbx, rsp */
	    0xc2, 0x00, 0x00,			/* ret 0 */
	    0x90);
	assert_true(t.st.gpr[R_RAX] == ~0ull);
	assert_int_equal(t.st.gpr[R_RBX], SVM_STACK - 8);
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK);
	assert_int_equal(mem32(SVM_STACK - 16), 0xffffffff);
}

/* REP MOVSB with the destination one byte up repeats the first byte (SDM: element order). */
static void test_movs_overlap(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write_le32(t.vm->mem, GPA(SVM_DATA), 0x44332211));
	t.st.gpr[R_RSI] = SVM_DATA;
	t.st.gpr[R_RDI] = SVM_DATA + 1;
	t.st.gpr[R_RCX] = 10000;
	RUN(64, 0xf3, 0xa4);
	assert_int_equal(mem32(SVM_DATA + 9997), 0x11111111);
	assert_int_equal(t.st.gpr[R_RCX], 0);
	assert_int_equal(t.st.gpr[R_RSI], SVM_DATA + 10000);
	assert_int_equal(t.st.gpr[R_RDI], SVM_DATA + 10001);
}

static void test_movs_down(void **state)
{
	svm_start(&t, 64);
	for (unsigned i = 0; i < 16; i++)
		assert_true(gm_write_le32(t.vm->mem, GPA(SVM_DATA + 0xff0 + 4 * i), i));
	t.st.gpr[R_RSI] = SVM_DATA + 0xff0 + 60;
	t.st.gpr[R_RDI] = SVM_DATA + 0xff0 + 64;
	t.st.gpr[R_RCX] = 16;
	RUN(64, 0xfd, 0xf3, 0xa5, 0xfc);	/* std; rep movsd; cld */
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(mem32(SVM_DATA + 0xff4 + 4 * i), i);
}

static void test_scas_cmps(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write(t.vm->mem, GPA(SVM_DATA), "hello world", 12));
	assert_true(gm_write(t.vm->mem, GPA(SVM_DATA + 0x100), "hello there", 12));
	t.st.gpr[R_RDI] = SVM_DATA;
	t.st.gpr[R_RCX] = ~0ull;
	RUN(64, 0xf2, 0xae,			/* repne scasb: strlen */
	    0x48, 0x89, 0xcb,			/* mov rbx, rcx */
	    0xbe, 0, 0, 2, 0,			/* mov esi, SVM_DATA */
	    0xbf, 0, 1, 2, 0,			/* mov edi, SVM_DATA + 0x100 */
	    0xb9, 12, 0, 0, 0,			/* mov ecx, 12 */
	    0xf3, 0xa6);			/* repe cmpsb */
	assert_int_equal(~t.st.gpr[R_RBX], 12);
	assert_int_equal(t.st.gpr[R_RCX], 5);
	assert_int_equal(t.st.rflags & (FL_CF | FL_ZF), 0);	/* 'w' > 't' */
}

/* A store into the instruction behind it takes effect at once; loops see patched code. */
static void test_smc(void **state)
{
	svm_start(&t, 64);
	RUN(64, 0xc6, 0x05, 0x01, 0, 0, 0, 42,	/* mov byte [rip+1], 42 */
	    0xb0, 0x00,				/* mov al, 0 -> 42 */
	    0x90);
	assert_int_equal(t.st.gpr[R_RAX], 42);
	svm_start(&t, 64);
	RUN(64, 0xb9, 3, 0, 0, 0,		/* mov ecx, 3 */
	    0x83, 0xc0, 0x01,			/* 1: add eax, 1 */
	    0xfe, 0x05, 0xf9, 0xff, 0xff, 0xff,	/* inc byte [rip-7]: the 1 above */
	    0xff, 0xc9,				/* dec ecx */
	    0x75, 0xf3);			/* jnz 1b */
	assert_int_equal(t.st.gpr[R_RAX], 1 + 2 + 3);
}

/* An instruction over a page end, then with its second half changed. */
static void test_page_crossing(void **state)
{
	static const uint8_t code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xf4 };

	for (unsigned i = 1; i < 5; i++) {
		svm_start(&t, 64);
		t.st.rip = SVM_CODE + 4096 - i;
		assert_true(gm_write(t.vm->mem, GPA(t.st.rip), code, sizeof(code)));
		assert_int_equal(svm_run(&t), EXIT_HLT);
		assert_int_equal(t.st.gpr[R_RAX], 0x12345678);
		t.st.rip = SVM_CODE + 4096 - i;
		assert_true(gm_write_le32(t.vm->mem, GPA(SVM_CODE + 4096 - i + 1), 0xcafebabe));
		assert_int_equal(svm_run(&t), EXIT_HLT);
		assert_int_equal(t.st.gpr[R_RAX], 0xcafebabe);
	}
}

static void test_real_mode(void **state)
{
	svm_start(&t, 16);
	t.st.seg[SEG_DS].sel = SVM_DATA >> 4;
	t.st.seg[SEG_DS].base = SVM_DATA;
	RUN(16, 0xb8, 0x34, 0x12,		/* mov ax, 0x1234 */
	    0xbb, 0x10, 0x00,			/* mov bx, 0x10 */
	    0xbe, 0x20, 0x00,			/* mov si, 0x20 */
	    0x89, 0x40, 0x04,			/* mov [bx+si+4], ax */
	    0x50,				/* push ax */
	    0x66, 0xff, 0x36, 0x34, 0x00,	/* push dword [0x34] */
	    0x5a,				/* pop dx */
	    0xe8, 0x01, 0x00,			/* call 1f */
	    0xf4,
	    0x60, 0x61,				/* 1: pusha; popa */
	    0xc3);
	assert_int_equal(mem32(SVM_DATA + 0x34), 0x1234);
	assert_int_equal(t.st.gpr[R_RDX], 0x1234);
	assert_int_equal(t.st.gpr[R_RSP], 0x8000 - 4);
}

/* IVT handler at 0:0x600: pops the return address into CX, halts. */
static void real_handler(unsigned vector)
{
	static const uint8_t handler[] = { 0x59, 0xf4 };

	assert_true(gm_write_le32(t.vm->mem, GPA(4 * vector), 0x600));
	assert_true(gm_write(t.vm->mem, GPA(0x600), handler, sizeof(handler)));
}

static void real_fault(unsigned vector, const uint8_t *code, size_t n, unsigned rip)
{
	svm_start(&t, 16);
	real_handler(vector);
	svm_code(&t, code, n);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.gpr[R_RCX], rip);
	assert_int_equal(t.st.rip, 0x602);
}

static void test_faults(void **state)
{
	static const uint8_t div0[] = { 0x90, 0xf7, 0xf3, 0xf4 };	/* div bx: #DE */
	static const uint8_t lock[] = { 0x90, 0xf0, 0x01, 0xd8, 0xf4 };	/* lock add ax, bx: #UD */
	static const uint8_t bound[] = { 0x90, 0x90, 0xd4, 0x00, 0xf4 };	/* aam 0: #DE */
	static const uint8_t ud2[] = { 0x0f, 0x0b };
	uint8_t longer[17], longest[16];

	memset(longer, 0x66, sizeof(longer));
	memset(longest, 0x66, sizeof(longest));
	longer[15] = longest[14] = 0x90;
	longer[16] = longest[15] = 0xf4;
	real_fault(EXC_DE, div0, sizeof(div0), 1);
	real_fault(EXC_UD, lock, sizeof(lock), 1);
	real_fault(EXC_DE, bound, sizeof(bound), 2);
	real_fault(EXC_UD, ud2, sizeof(ud2), 0);
	real_fault(EXC_GP, longer, sizeof(longer), 0);
	svm_start(&t, 16);
	svm_code(&t, longest, sizeof(longest));
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.rip, 16);
}

static void test_atomics(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA), 5));
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA + 8), 0));
	t.st.gpr[R_RSI] = SVM_DATA;
	t.st.gpr[R_RBX] = 7;
	RUN(64, 0xf0, 0x48, 0x0f, 0xc1, 0x1e,		/* lock xadd [rsi], rbx */
	    0xb8, 12, 0, 0, 0,				/* mov eax, 12 */
	    0xba, 99, 0, 0, 0,				/* mov edx, 99 */
	    0xf0, 0x48, 0x0f, 0xb1, 0x16,		/* lock cmpxchg [rsi], rdx */
	    0x41, 0x0f, 0x94, 0xc0,			/* sete r8b */
	    0xf0, 0x48, 0x0f, 0xba, 0x2e, 0x05,		/* lock bts qword [rsi], 5 */
	    0x41, 0x0f, 0x92, 0xc1,			/* setc r9b */
	    0x48, 0x87, 0x5e, 0x08,			/* xchg [rsi+8], rbx */
	    0xf0, 0xff, 0x46, 0x08);			/* lock inc dword [rsi+8] */
	assert_int_equal(mem32(SVM_DATA), 99);		/* bit 5 was set */
	assert_int_equal(t.st.gpr[R_R8], 1);
	assert_int_equal(t.st.gpr[R_R9], 1);
	assert_int_equal(mem32(SVM_DATA + 8), 6);
	assert_int_equal(t.st.gpr[R_RBX], 0);
}

/* LOCK over a page end works as well, if slowly. */
static void test_split_atomic(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA + 4094), 0xffff));
	t.st.gpr[R_RSI] = SVM_DATA + 4094;
	RUN(64, 0xf0, 0xff, 0x06);
	assert_int_equal(mem32(SVM_DATA + 4094), 0x10000);
}

static void test_cmpxchg16b(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA), 1));
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA + 8), 2));
	t.st.gpr[R_RSI] = SVM_DATA;
	t.st.gpr[R_RAX] = 1;
	t.st.gpr[R_RDX] = 2;
	t.st.gpr[R_RBX] = 3;
	t.st.gpr[R_RCX] = 4;
	RUN(64, 0xf0, 0x48, 0x0f, 0xc7, 0x0e);
	assert_int_equal(mem32(SVM_DATA), 3);
	assert_int_equal(mem32(SVM_DATA + 8), 4);
	assert_true(t.st.rflags & FL_ZF);
}

/* BT with a register index reaches beyond the operand, also downwards. */
static void test_bit_string(void **state)
{
	svm_start(&t, 64);
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA - 8), 0));
	assert_true(gm_write_le64(t.vm->mem, GPA(SVM_DATA + 96), 0));
	t.st.gpr[R_RSI] = SVM_DATA;
	t.st.gpr[R_RAX] = 800;
	t.st.gpr[R_RBX] = (uint64_t)-3;
	RUN(64, 0x0f, 0xab, 0x06,		/* bts [rsi], eax */
	    0x48, 0x0f, 0xab, 0x1e);		/* bts [rsi], rbx */
	assert_int_equal(mem32(SVM_DATA + 100), 1);
	assert_int_equal(mem32(SVM_DATA - 4), 0x20000000);
}

/* F3 0F BC and F3 0F BD are TZCNT and LZCNT, without BMI1 and LZCNT BSF and BSR (SDM vol. 2). */
static void test_unadvertised(void **state)
{
	svm_start(&t, 64);
	t.st.gpr[R_RBX] = 0x1000;
	RUN(64, 0xf3, 0x0f, 0xbc, 0xc3, 0xf3, 0x0f, 0xbd, 0xcb);
	assert_int_equal(t.st.gpr[R_RAX], 12);
	assert_int_equal(t.st.gpr[R_RCX], soft_has_feat(F_LZCNT) ? 31 - 12 : 12);
}

static void test_muldiv(void **state)
{
	svm_start(&t, 64);
	t.st.gpr[R_RAX] = 0x123456789abcdef0;
	t.st.gpr[R_RBX] = 0xfedcba9876543210;
	RUN(64, 0x48, 0xf7, 0xe3,		/* mul rbx */
	    0x48, 0x89, 0xc6, 0x48, 0x89, 0xd7,	/* mov rsi, rax; mov rdi, rdx */
	    0x48, 0xf7, 0xf3);			/* div rbx */
	assert_true(t.st.gpr[R_RSI] == 0x236d88fe5618cf00);
	assert_true(t.st.gpr[R_RDI] == 0x121fa00ad77d7422);
	assert_true(t.st.gpr[R_RAX] == 0x123456789abcdef0);
	assert_int_equal(t.st.gpr[R_RDX], 0);
	svm_start(&t, 32);
	t.st.gpr[R_RAX] = (uint32_t)-7;
	t.st.gpr[R_RDX] = (uint32_t)-1;
	t.st.gpr[R_RBX] = 2;
	RUN(32, 0xf7, 0xfb);			/* idiv ebx */
	assert_int_equal((int32_t)t.st.gpr[R_RAX], -3);
	assert_int_equal((int32_t)t.st.gpr[R_RDX], -1);
}

static void test_enter_leave(void **state)
{
	svm_start(&t, 32);
	t.st.gpr[R_RBP] = 0x2ff00;
	assert_true(gm_write_le32(t.vm->mem, GPA(0x2ff00 - 4), 0x1111));
	RUN(32, 0xc8, 0x10, 0x00, 0x02,		/* enter 16, 2 */
	    0x89, 0xe0, 0x89, 0xeb,		/* mov eax, esp; mov ebx, ebp */
	    0xc9);				/* leave */
	assert_int_equal(t.st.gpr[R_RBX], SVM_STACK - 4);
	assert_int_equal(t.st.gpr[R_RAX], SVM_STACK - 4 - 8 - 16);
	assert_int_equal(mem32(SVM_STACK - 8), 0x1111);
	assert_int_equal(mem32(SVM_STACK - 12), SVM_STACK - 4);
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK);
	assert_int_equal(t.st.gpr[R_RBP], 0x2ff00);
}

static void test_bcd(void **state)
{
	svm_start(&t, 32);
	t.st.gpr[R_RAX] = 0x79;
	RUN(32, 0x04, 0x35, 0x27);		/* add al, 0x35; daa */
	assert_int_equal(t.st.gpr[R_RAX] & 0xff, 0x14);
	assert_true(t.st.rflags & FL_CF);
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* A register instruction with random operands, none of them RSP; returns its length. */
static unsigned random_insn(uint8_t *p)
{
	static const uint8_t two[] = {
		0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x03, 0x13, 0x1b, 0x2b, 0x33, 0x85,
		0x89, 0x8b, 0x00, 0x10, 0x28, 0x38,
	};
	unsigned a = rnd() % 8, b = rnd() % 8, n = 0;

	a = a == 4 ? 0 : a;
	b = b == 4 ? 1 : b;
	if (rnd() % 8 == 0)
		p[n++] = 0x66;
	p[n++] = (uint8_t)(0x40 | (rnd() & 0x08));
	switch (rnd() % 8) {
	default:
		p[n++] = two[rnd() % sizeof(two)];
		break;
	case 1:			/* shift or rotate by an immediate, maybe zero */
		p[n++] = rnd() % 4 ? 0xc1 : 0xc0;
		p[n++] = (uint8_t)(0xc0 | (rnd() % 8) << 3 | b);
		p[n++] = (uint8_t)(rnd() % 4 ? rnd() : rnd() % 2);
		return n;
	case 2:			/* by CL */
		p[n++] = 0xd3;
		p[n++] = (uint8_t)(0xc0 | (rnd() % 8) << 3 | b);
		return n;
	case 3:			/* INC, DEC, NOT, NEG */
		p[n++] = rnd() % 2 ? 0xff : 0xf7;
		p[n] = (uint8_t)(p[n - 1] == 0xff ? rnd() % 2 : 2 + rnd() % 2);
		p[n] = (uint8_t)(0xc0 | p[n] << 3 | b);
		return n + 1;
	case 4:			/* CMOVcc, SETcc, BT, IMUL, MOVZX */
		p[n++] = 0x0f;
		p[n++] = (uint8_t)(rnd() % 2 ? 0x40 | rnd() % 16 : rnd() % 2 ? 0x90 | rnd() % 16 :
				   rnd() % 2 ? 0xaf : rnd() % 2 ? 0xa3 : 0xb6);
		break;
	case 5:			/* ALU with an immediate */
		p[n++] = 0x83;
		p[n++] = (uint8_t)(0xc0 | (rnd() % 8) << 3 | b);
		p[n++] = (uint8_t)rnd();
		return n;
	case 6:			/* LEA */
		p[n++] = 0x8d;
		p[n++] = (uint8_t)(0x40 | a << 3 | b);
		p[n++] = (uint8_t)rnd();
		return n;
	}
	p[n++] = (uint8_t)(0xc0 | a << 3 | b);
	return n;
}

/*
 * Sequences as one block and with a jump behind each instruction: what is
 * optimized inside a block (fused pairs, flags nobody sees) changes nothing.
 */
static void test_block_equals_steps(void **state)
{
	for (unsigned round = 0; round < 3000; round++) {
		uint8_t one[512], many[512];
		unsigned n1 = 0, n2 = 0;
		struct x86_state start, a;

		for (unsigned i = 0; i < 24; i++) {
			unsigned len = random_insn(one + n1);

			memcpy(many + n2, one + n1, len);
			n1 += len;
			n2 += len;
			many[n2++] = 0xeb;
			many[n2++] = 0x00;
		}
		one[n1++] = many[n2++] = 0xf4;
		svm_start(&t, 64);
		for (unsigned i = 0; i < 16; i++)
			if (i != R_RSP)
				t.st.gpr[i] = rnd() >> rnd() % 64;
		t.st.rflags = 2 | (rnd() & FL_ARITH);
		start = t.st;
		svm_code(&t, one, n1);
		assert_int_equal(svm_run(&t), EXIT_HLT);
		a = t.st;
		t.st = start;
		svm_code(&t, many, n2);
		assert_int_equal(svm_run(&t), EXIT_HLT);
		assert_memory_equal(a.gpr, t.st.gpr, sizeof(a.gpr));
		assert_int_equal(a.rflags, t.st.rflags);
	}
}

/* Save, load, run on: nothing that matters is outside struct x86_state. */
static void test_state(void **state)
{
	struct x86_state a, b;
	struct err e = { 0 };

	svm_start(&t, 64);
	for (unsigned i = 0; i < 16; i++)
		t.st.gpr[i] = i * 0x1111111111111111ull;
	t.st.rflags = 0xcd7;
	assert_true(t.v->ops->set_state(t.v, &t.st, &e));
	t.v->ops->get_state(t.v, &a);
	assert_true(t.v->ops->set_state(t.v, &a, &e));
	t.v->ops->get_state(t.v, &b);
	a.tsc = b.tsc = 0;
	assert_memory_equal(&a, &b, sizeof(a));
	assert_memory_equal(a.gpr, t.st.gpr, sizeof(a.gpr));
	assert_int_equal(a.rflags, 0xcd7);
}

/* A request ends an endless loop. */
static void test_leave(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe };

	svm_start(&t, 64);
	svm_code(&t, code, sizeof(code));
	vcpu_request(t.v, VCPU_REQ_LEAVE);
	assert_int_equal(svm_run(&t), EXIT_KICKED);
	vcpu_clear(t.v, VCPU_REQ_LEAVE);
	assert_int_equal(t.st.rip, SVM_CODE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_loop64), T(test_register_widths), T(test_flags), T(test_conditions),
		T(test_call_ret), T(test_movs_overlap), T(test_movs_down), T(test_scas_cmps),
		T(test_smc), T(test_page_crossing), T(test_real_mode), T(test_faults),
		T(test_atomics), T(test_split_atomic), T(test_cmpxchg16b), T(test_bit_string),
		T(test_unadvertised), T(test_muldiv), T(test_enter_leave), T(test_bcd),
		T(test_block_equals_steps), T(test_state), T(test_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
