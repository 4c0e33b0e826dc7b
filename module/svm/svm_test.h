/* SPDX-License-Identifier: GPL-2.0-only */
/* The room's KUnit suites, for whoever runs them. */
#ifndef KILN_SVM_SVM_TEST_H
#define KILN_SVM_SVM_TEST_H

struct kunit_suite;

extern struct kunit_suite svm_asid_suite;
extern struct kunit_suite svm_avic_suite;
extern struct kunit_suite svm_cpu_suite;
extern struct kunit_suite svm_events_suite;
extern struct kunit_suite svm_exits_suite;
extern struct kunit_suite svm_insn_suite;
extern struct kunit_suite svm_cr4_suite;
extern struct kunit_suite svm_state_suite;
extern struct kunit_suite svm_verify_suite;

#endif /* KILN_SVM_SVM_TEST_H */
