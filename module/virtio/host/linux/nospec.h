/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_NOSPEC_H
#define KILN_HOST_LINUX_NOSPEC_H

#define array_index_nospec(index, size)	(index)

#endif
