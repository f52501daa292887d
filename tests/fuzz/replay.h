/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target without libFuzzer, for make test: every file of the seed
 * corpus tests/fuzz/corpus/NAME as it is, then with a few thousand random
 * changes.  Included after the target's source, with REPLAY its name.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>

#define REPLAY_MAX 65536u
#ifndef REPLAY_CHANGES
#define REPLAY_CHANGES 300u
#endif

static uint64_t replay_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static size_t replay_change(uint8_t *d, size_t n, uint64_t *s)
{
	for (unsigned k = 1 + replay_random(s) % 4; k && n; k--) {
		uint64_t r = replay_random(s);
		size_t at = (r >> 8) % n;

		if ((r & 7) == 0)
			n = at ? at : n;			/* cut */
		else if ((r & 7) == 1 && 2 * n - at <= REPLAY_MAX) {
			memmove(d + n, d + at, n - at);	/* say again */
			n += n - at;
		} else
			d[at] = (uint8_t)(r >> 40);
	}
	return n;
}

static void replay_file(const char *path, unsigned changes, unsigned *runs)
{
	static uint8_t seed[REPLAY_MAX], d[REPLAY_MAX];
	uint64_t s = 88172645463325252ull;
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(seed, 1, sizeof(seed), f) : 0;

	if (f)
		fclose(f);
	LLVMFuzzerTestOneInput(seed, n);
	for (unsigned i = 0; i < changes; i++) {
		memcpy(d, seed, n);
		LLVMFuzzerTestOneInput(d, replay_change(d, n, &s));
		++*runs;
	}
}

int main(int argc, char **argv)
{
	const char *env = getenv("HV_TEST_ROUNDS");
	unsigned changes = env ? (unsigned)atoi(env) : REPLAY_CHANGES, runs = 0, files = 0;
	char dir[PATH_MAX / 2] = __FILE__, path[PATH_MAX];
	struct dirent *de;
	DIR *d;

	*strrchr(dir, '/') = 0;
	strcat(dir, "/corpus/" REPLAY);
	LLVMFuzzerInitialize(&argc, &argv);
	d = opendir(dir);
	while (d && (de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		replay_file(path, changes, &runs);
		files++;
	}
	if (d)
		closedir(d);
	printf("%s %s: %u seeds, %u changed inputs\n", files ? "ok" : "not ok", REPLAY, files,
	       runs);
	return files ? 0 : 1;
}
