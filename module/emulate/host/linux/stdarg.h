/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_LINUX_STDARG_H
#define KILN_HOST_LINUX_STDARG_H

#include <stdarg.h>

#endif
