/* SPDX-License-Identifier: GPL-2.0-only */
/* An interrupt line of a device: a level, told to the interrupt controller when it changes. */
#ifndef KILN_IRQ_H
#define KILN_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irq_line {
	void (*set)(struct irq_line *line, bool level);
	uint32_t gsi;
	int vm_fd;	/* for the line of a VM; tests have their own set() */
	bool level;	/* [lock of the device] */
};

/* With the device's lock held, so that levels arrive in order. */
static inline void irq_set(struct irq_line *line, bool level)
{
	if (line->level == level)
		return;
	line->level = level;
	line->set(line, level);
}

#endif
