/* SPDX-License-Identifier: MIT */
/* --engine NAME[,KEY...] and --jit-cache. */
#include "config_int.h"
#include "vm.h"
#include <stdlib.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

static const struct engine_key {
	const char *text;
	size_t flag;		/* of struct cpu_options */
	bool value;
} keys[] = {
	{ "jit=on", offsetof(struct cpu_options, no_jit), false },
	{ "jit=off", offsetof(struct cpu_options, no_jit), true },
	{ "verify", offsetof(struct cpu_options, verify), true },
	{ "stats", offsetof(struct cpu_options, stats), true },
};

static bool engine_key(struct cpu_options *o, const char *v, size_t n, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].text) == n && !memcmp(keys[i].text, v, n)) {
			*(bool *)((char *)o + keys[i].flag) = keys[i].value;
			return true;
		}
	return USAGE(e, "--engine soft,%.*s does not exist; known: jit=on, jit=off, verify, stats",
		     (int)n, v);
}

bool config_engine(struct config *c, const char *v, struct err *e)
{
	static const char *const names[] = { "auto", "kvm", "soft" };
	size_t n = strcspn(v, ",");

	c->engine = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == n && !memcmp(names[i], v, n))
			c->engine = names[i];
	if (!c->engine)
		return USAGE(e, "--engine %.*s does not exist; use auto, kvm or soft", (int)n, v);
	if (v[n] && strcmp(c->engine, "soft"))
		return USAGE(e, "--engine %s: %s takes no keys; they are the software CPU's, as in "
			     "--engine soft%s", v, c->engine, v + n);
	while (v[n]) {
		v += n + 1;
		n = strcspn(v, ",");
		if (!engine_key(&c->soft, v, n, e))
			return false;
	}
	return true;
}

bool config_jit_cache(struct config *c, const char *v, struct err *e)
{
	return (config_size(v, true, &c->soft.jit_cache) && c->soft.jit_cache) ||
	       USAGE(e, "--jit-cache %s is not a size; write for example 64M", v);
}

/* All options are known. */
bool config_check_engine(const struct config *c, struct err *e)
{
	const struct cpu_options *o = &c->soft;

	if (o->verify && o->no_jit)
		return USAGE(e, "--engine soft: verify checks the translator; leave jit=off away");
	if (o->jit_cache && o->jit_cache < c->cpus * JIT_CACHE_MIN)
		return USAGE(e, "--jit-cache %llu KiB is too small for %u CPU%s; give at least %uM",
			     (unsigned long long)(o->jit_cache >> 10), c->cpus,
			     c->cpus == 1 ? "" : "s", (unsigned)(c->cpus * JIT_CACHE_MIN >> 20));
	if (o->jit_cache / c->cpus > JIT_CACHE_MAX)
		return USAGE(e, "--jit-cache: at most %lluM for each CPU",
			     (unsigned long long)(JIT_CACHE_MAX >> 20));
	return true;
}
