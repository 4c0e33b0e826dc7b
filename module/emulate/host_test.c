// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the KUnit suites of the room in user space, under sanitizers, and then
 * compares the emulator with the CPU this runs on (host_native.c). TAP output.
 */
#include <kunit/test.h>

#include "../mmu/gwalk_test.h"
#include "emulate_test.h"
#include "host_native.h"

static struct kunit_suite *const suites[] = {
	&emulate_decode_suite,
	&emulate_execute_suite,
	&emulate_linear_suite,
	&gwalk_suite,
	&host_native_suite,
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
