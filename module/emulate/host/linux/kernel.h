/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_KERNEL_H
#define KILN_HOST_LINUX_KERNEL_H

#include <stdio.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
/* formats are checked where the suites are built for the kernel */
#define __printf(format, args)

#endif
