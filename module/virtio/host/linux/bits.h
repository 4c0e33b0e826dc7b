/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_BITS_H
#define KILN_HOST_LINUX_BITS_H

#define BIT(nr)		(1UL << (nr))
#define BIT_ULL(nr)	(1ULL << (nr))

#endif
