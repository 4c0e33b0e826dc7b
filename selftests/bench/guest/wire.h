/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest and its peer on the wire say to each other: Ethernet frames of types that are for such use (IEEE Std
 * 802, local experimental). A request asks for so many packets of that length, with the Ethernet header.
 */
#ifndef KILN_BENCH_WIRE_H
#define KILN_BENCH_WIRE_H

#include <stdint.h>

#define WIRE_REQUEST	0x88b5
#define WIRE_ANSWER	0x88b6
#define WIRE_DATA	0x88b7		/* for nobody */

#define WIRE_BURST_MAX	128
#define WIRE_BYTES_MAX	1514

struct wire_request {
	uint16_t bytes, packets;
} __attribute__((packed));

#endif
