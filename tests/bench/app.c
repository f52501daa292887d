/* SPDX-License-Identifier: MIT */
/* Rows that are small applications: SHA-256 in C, zlib, and busybox's shell. */
#include "bench.h"
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

/* FIPS 180-4, 6.2.2; the constants are computed as it defines them. */
static uint32_t sha_k[64];

static uint32_t root_bits(unsigned prime)
{
	/* First 32 bits of the fraction of the cube root: an integer cube root. */
	unsigned __int128 target = (unsigned __int128)prime << 96, c;
	uint64_t root = 0;
	int bit;

	for (bit = 35; bit >= 0; bit--) {
		c = root | (uint64_t)1 << bit;
		if (c * c * c <= target)
			root |= (uint64_t)1 << bit;
	}
	return (uint32_t)root;
}

static void prepare_sha(void)
{
	unsigned p, d, n = 0;

	for (p = 2; n < 64; p++) {
		for (d = 2; d * d <= p && p % d; d++)
			;
		if (d * d > p)
			sha_k[n++] = root_bits(p);
	}
}

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

static NOINLINE void sha_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], s[8], t1, t2;
	int i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (; i < 64; i++)
		w[i] = (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10) + w[i - 7] +
		       (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 16];
	memcpy(s, h, sizeof(s));
	for (i = 0; i < 64; i++) {
		t1 = s[7] + (ROR(s[4], 6) ^ ROR(s[4], 11) ^ ROR(s[4], 25)) +
		     ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
		t2 = (ROR(s[0], 2) ^ ROR(s[0], 13) ^ ROR(s[0], 22)) +
		     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		s[7] = s[6];
		s[6] = s[5];
		s[5] = s[4];
		s[4] = s[3] + t1;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = s[0];
		s[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		h[i] += s[i];
}

static uint64_t run_sha256(uint64_t n)
{
	static uint8_t buf[4096];
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
			  0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	size_t i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	while (n--)
		for (i = 0; i < sizeof(buf); i += 64)
			sha_block(h, buf + i);
	return hash_bytes(h, sizeof(h));
}

/* Text of made-up words, some much more frequent than others. */
#define TEXT (1 << 20)
static uint8_t *text, *packed, *back;

static void prepare_gzip(void)
{
	static char words[1024][12];
	uint64_t seed = 77;
	size_t pos = 0, i, len;
	unsigned w;

	text = grab(TEXT + 16);
	packed = grab(2 * TEXT);
	back = grab(TEXT);
	for (i = 0; i < 1024; i++) {
		len = 2 + rnd(&seed) % 8;
		for (w = 0; w < len; w++)
			words[i][w] = (char)('a' + rnd(&seed) % (w & 1 ? 5 : 26));
	}
	while (pos < TEXT) {
		w = rnd(&seed) & 1023;
		w = (w * (rnd(&seed) & 1023)) >> 10;
		len = strlen(words[w]);
		memcpy(text + pos, words[w], len);
		pos += len;
		text[pos++] = rnd(&seed) % 12 ? ' ' : '\n';
	}
}

static uint64_t run_gzip(uint64_t n)
{
	uint64_t h = 0;
	uLongf clen, blen;
	size_t part = TEXT;

	if (n < 100)
		part = TEXT / 100 * n;
	n = n < 100 ? 1 : n / 100;
	while (n--) {
		clen = 2 * TEXT;
		blen = TEXT;
		if (compress2(packed, &clen, text, part, 6) != Z_OK ||
		    uncompress(back, &blen, packed, clen) != Z_OK || blen != part ||
		    memcmp(text, back, part))
			die("zlib");
		h = mix(h, hash_bytes(packed, clen));
	}
	return h;
}

/* busybox sh: one process, a loop of arithmetic, tests and string work. */
static uint64_t run_shell(uint64_t n)
{
	char script[256], out[256];
	int fd[2], status;
	ssize_t got, len = 0;
	pid_t p;

	snprintf(script, sizeof(script), "i=0; s=; while [ $i -lt %llu ]; do i=$((i+1)); "
		 "case $i in *7) s=${i%%7};; *00) s=$s$i;; esac; done; echo $i $s",
		 (unsigned long long)n);
	if (pipe(fd))
		die("pipe");
	p = fork();
	if (p == 0) {
		dup2(fd[1], 1);
		execl("/bin/busybox", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	while ((got = read(fd[0], out + len, sizeof(out) - (size_t)len)) > 0)
		len += got;
	close(fd[0]);
	if (waitpid(p, &status, 0) != p || status)
		die("busybox sh");
	return hash_bytes(out, (size_t)len);
}

const struct row app_rows[] = {
	{ "sha256", 5000, prepare_sha, run_sha256, NULL },
	{ "gzip", 200, prepare_gzip, run_gzip, NULL },
	{ "shell", 100000, NULL, run_shell, NULL },
	{ NULL, 0, NULL, NULL, NULL },
};
