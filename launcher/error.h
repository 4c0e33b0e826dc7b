/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Errors as sentences. Whoever finds out what is wrong writes one line that
 * names the thing and the remedy and returns -1; every caller hands the -1 up;
 * main() prints the line. Nothing else prints an error or exits.
 */
#ifndef KILN_ERROR_H
#define KILN_ERROR_H

/* Keeps the sentence for this thread and returns -1, so that it can be returned. */
int error_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The latest sentence of this thread, "" where there was none. */
const char *error_text(void);

#endif
