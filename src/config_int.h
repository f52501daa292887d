/* SPDX-License-Identifier: MIT */
/* The option table, shared by parser (config.c) and documentation (config_doc.c). */
#ifndef HV_CONFIG_INT_H
#define HV_CONFIG_INT_H

#include "config.h"

struct option_row {
	const char *name;	/* without "--" */
	char letter;		/* 0: none */
	const char *arg;	/* NULL: a flag */
	const char *help;
	bool (*parse)(struct config *c, const char *v, struct err *e);
	size_t str_off, flag_off;	/* or: store the string, set the flag (offset + 1) */
	bool run_only;		/* about one run: not for machine files */
};

extern const struct option_row config_options[];	/* config_options.c */
extern const unsigned config_noptions;

const struct option_row *config_find(const char *name, size_t n);
bool config_apply(struct config *c, const struct option_row *o, const char *v, struct err *e);
/* config_set.c: what the command line says, for machine files. */
bool config_record(struct config *c, const struct option_row *o, const char *v, struct err *e);

/* --disk, --cdrom (config_disk.c): FILE[,KEY=VALUE...] */
bool config_add_disk(struct config *c, const char *v, bool cdrom, struct err *e);

bool config_add_floppy(struct config *c, const char *v, struct err *e);

/* --sound (config_sound.c) */
bool config_sound(struct config *c, const char *v, struct err *e);

/* --engine, --jit-cache (config_engine.c) */
bool config_engine(struct config *c, const char *v, struct err *e);
bool config_jit_cache(struct config *c, const char *v, struct err *e);
bool config_check_engine(const struct config *c, struct err *e);	/* after the last option */

#endif
