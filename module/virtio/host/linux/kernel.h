/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_KERNEL_H
#define KILN_HOST_LINUX_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define U16_MAX			((u16)~0)
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define min(a, b)		((a) < (b) ? (a) : (b))
#define __user

#endif
