// SPDX-License-Identifier: GPL-2.0-only
/* The engine once more, over memory that is made up: for the suites. */
#define KILN_VRING_MEMORY
#include "vring.c"
