/* SPDX-License-Identifier: MIT */
/* The network seam: what every back end shares; see net.h. */
#include "net.h"

void net_close(struct net *n)
{
	if (n)
		n->ops->close(n);
}
