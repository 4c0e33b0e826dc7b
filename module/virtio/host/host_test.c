// SPDX-License-Identifier: GPL-2.0-only
/* Runs the KUnit suites of the vring engine in user space. TAP output. */
#include <kunit/test.h>

#include "../vring_test.h"

static struct kunit_suite *const suites[] = {
	&vring_suite,
	&vring_split_suite,
	&vring_packed_suite,
	&vring_model_suite,
};

static bool run(const struct kunit_case *c)
{
	static struct kunit test;

	memset(&test, 0, sizeof(test));
	if (!setjmp(test.abort))
		c->run_case(&test);
	while (test.nr_allocated)
		free(test.allocated[--test.nr_allocated]);
	return !test.failed;
}

int main(void)
{
	const struct kunit_case *c;
	unsigned int i, nr = 0, failed = 0;
	bool ok;

	for (i = 0; i < ARRAY_SIZE(suites); i++)
		for (c = suites[i]->test_cases; c->run_case; c++)
			nr++;
	printf("TAP version 13\n1..%u\n", nr);
	nr = 0;
	for (i = 0; i < ARRAY_SIZE(suites); i++) {
		for (c = suites[i]->test_cases; c->run_case; c++) {
			ok = run(c);
			failed += !ok;
			printf("%sok %u %s.%s\n", ok ? "" : "not ", ++nr,
			       suites[i]->name, c->name);
		}
	}
	return failed ? 1 : 0;
}
