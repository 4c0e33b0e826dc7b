/* SPDX-License-Identifier: GPL-2.0-only */
/* What the hardware calls its exits, for who has the manual at hand. */
#ifndef KILN_EXIT_NAME_H
#define KILN_EXIT_NAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * The name of an exit into @name: @vendor is KILN_VENDOR_*, @reason the exit
 * reason of VMX (SDM vol. 3 app. C) or the lower half of the exit code of SVM
 * (APM vol. 2 app. C). "unknown" for one that neither has.
 */
void exit_name(uint32_t vendor, uint32_t reason, char *name, size_t size);

#endif
