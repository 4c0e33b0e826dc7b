/* SPDX-License-Identifier: GPL-2.0-only */
/* Stands in for module/compat.h in the host build. */
#ifndef KILN_HOST_COMPAT_H
#define KILN_HOST_COMPAT_H

#define KILN_EXPORT_FOR_KUNIT(sym)

#endif
