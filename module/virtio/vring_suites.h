/* SPDX-License-Identifier: GPL-2.0-only */
/* The vring engine's KUnit suites, for module/kunit.c and host/host_test.c. */
#ifndef KILN_VIRTIO_VRING_SUITES_H
#define KILN_VIRTIO_VRING_SUITES_H

struct kunit_suite;

extern struct kunit_suite vring_suite;
extern struct kunit_suite vring_access_suite;
extern struct kunit_suite vring_model_suite;
extern struct kunit_suite vring_packed_suite;
extern struct kunit_suite vring_split_suite;

#endif /* KILN_VIRTIO_VRING_SUITES_H */
