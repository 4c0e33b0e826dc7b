/* SPDX-License-Identifier: GPL-2.0-only */
/* The rate limits' KUnit suite, for module/kunit.c. */
#ifndef KILN_VIRTIO_LIMIT_TEST_H
#define KILN_VIRTIO_LIMIT_TEST_H

struct kunit_suite;

extern struct kunit_suite limit_suite;

#endif /* KILN_VIRTIO_LIMIT_TEST_H */
