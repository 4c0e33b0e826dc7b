/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_EMULATE_HOST_NATIVE_H
#define KILN_EMULATE_HOST_NATIVE_H

extern struct kunit_suite host_native_suite;

#endif /* KILN_EMULATE_HOST_NATIVE_H */
