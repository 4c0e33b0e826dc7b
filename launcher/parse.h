/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers and sizes as people write them. */
#ifndef KILN_PARSE_H
#define KILN_PARSE_H

#include <stdint.h>

/*
 * A decimal number from @min to @max and nothing after it.
 * @name is the option, for the sentence. Returns 0, or -1 with a sentence.
 */
int parse_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *value);

/*
 * A size: a decimal number, with K, M, G or T (powers of 1024); without one it
 * counts bytes. Returns 0, or -1 with a sentence.
 */
int parse_size(const char *name, const char *text, uint64_t *bytes);

#endif
