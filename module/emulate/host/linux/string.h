/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_STRING_H
#define KILN_HOST_LINUX_STRING_H

#include <string.h>

#endif
