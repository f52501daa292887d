/* SPDX-License-Identifier: MIT */
/* The main thread without a window: sleep until there is news; see ui.h. */
#include "ui.h"
#include <poll.h>

int headless_run(struct session *s)
{
	do {
		struct pollfd p = { .fd = session_fd(s), .events = POLLIN };

		poll(&p, 1, session_timeout_ms(s));
		if (!session_step(s))
			return session_exit_code(s);
	} while (!session_show_wanted(s));
	return UI_LEFT;
}
