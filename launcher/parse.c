// SPDX-License-Identifier: GPL-2.0-only
#include "parse.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "error.h"

/* Digits only: strtoull() would take signs, blanks and octal. NULL where it overflows. */
static const char *digits(const char *text, uint64_t *value)
{
	*value = 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
			return NULL;
	}
	return text;
}

int parse_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	const char *end = digits(text, value);

	if (end == text || (end && *end))
		return error_set("%s %s: not a number; give one from %" PRIu64 " to %" PRIu64,
				 name, text, min, max);
	if (!end || *value < min || *value > max)
		return error_set("%s %s: out of range; give %" PRIu64 " to %" PRIu64, name, text,
				 min, max);
	return 0;
}

static int unit_shift(const char *unit)
{
	static const char units[] = "KMGT";
	const char *found;

	if (!*unit)
		return 0;
	if (unit[1])
		return -1;
	if (!isalpha((unsigned char)*unit))
		return -1;
	found = strchr(units, *unit & ~0x20);
	return found ? (int)(found - units + 1) * 10 : -1;
}

int parse_size(const char *name, const char *text, uint64_t *bytes)
{
	const char *end = digits(text, bytes);
	int shift;

	if (!end)
		return error_set("%s %s: too large a number; give less", name, text);
	shift = unit_shift(end);
	if (end == text || shift < 0)
		return error_set("%s %s: not a size; write it like 512M or 1G", name, text);
	if (*bytes > UINT64_MAX >> shift)
		return error_set("%s %s: too large a number; give less", name, text);
	*bytes <<= shift;
	return 0;
}
