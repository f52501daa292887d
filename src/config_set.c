/* SPDX-License-Identifier: MIT */
/* Options one by one, as machine files hold them; the table is config_options.c's. */
#include "config_int.h"

static const char *const lists[] = { "disk", "cdrom", "floppy", "module", "forward", "serial",
				     "channel", "share", "usb" };

enum cfg_key config_key(const char *key)
{
	const struct option_row *o = config_find(key, strlen(key));

	return !o ? CFG_KEY_UNKNOWN : o->run_only ? CFG_KEY_RUN_ONLY : CFG_KEY_MACHINE;
}

bool config_key_is_list(const char *key)
{
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		if (!strcmp(lists[i], key))
			return true;
	return false;
}

bool config_record(struct config *c, const struct option_row *o, const char *v, struct err *e)
{
	if (o->run_only)
		return true;
	if (c->ngiven == CFG_MAX_GIVEN)
		return err_set(e, HV_EXIT_USAGE, "too many options: at most %d", CFG_MAX_GIVEN);
	c->given[c->ngiven++] = (struct cfg_given){ o->name, o->arg ? v : "yes" };
	return true;
}

static bool set_flag(struct config *c, const struct option_row *o, const char *v, struct err *e)
{
	bool yes = !strcmp(v, "yes") || !strcmp(v, "on") || !strcmp(v, "true");

	if (yes)
		return config_apply(c, o, NULL, e);
	return !strcmp(v, "no") || !strcmp(v, "off") || !strcmp(v, "false") ||
	       err_set(e, HV_EXIT_USAGE, "%s = %s: write yes or no", o->name, v);
}

bool config_set(struct config *c, const char *key, const char *value, struct err *e)
{
	const struct option_row *o = config_find(key, strlen(key));

	if (!o || o->run_only)
		return err_set(e, HV_EXIT_USAGE, "'%s' is no option of a machine", key);
	return o->arg ? config_apply(c, o, value, e) : set_flag(c, o, value, e);
}
