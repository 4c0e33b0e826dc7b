/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of KUnit as the suites of this room use, so that the very same
 * suites run in user space under sanitizers. Memory from kunit_kzalloc() is
 * malloc's, so ASan sees a byte read beyond it.
 */
#ifndef KILN_HOST_KUNIT_TEST_H
#define KILN_HOST_KUNIT_TEST_H

#include <linux/kernel.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GFP_KERNEL		0
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

struct kunit;

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char name[64];
	struct kunit_case *test_cases;
};

#define HOST_MAX_ALLOCATIONS	4096

struct kunit {
	bool failed;
	jmp_buf abort;
	void *allocated[HOST_MAX_ALLOCATIONS];
	unsigned int nr_allocated;
};

#define KUNIT_CASE(function)	{ .run_case = function, .name = #function }

static inline void *kunit_kzalloc(struct kunit *test, size_t size, int gfp)
{
	void *memory;

	(void)gfp;
	if (test->nr_allocated == HOST_MAX_ALLOCATIONS)
		return NULL;
	memory = calloc(1, size);
	if (memory)
		test->allocated[test->nr_allocated++] = memory;
	return memory;
}

static inline void kunit_kfree(struct kunit *test, const void *memory)
{
	unsigned int i;

	for (i = 0; i < test->nr_allocated; i++) {
		if (test->allocated[i] != memory)
			continue;
		test->allocated[i] = test->allocated[--test->nr_allocated];
		free((void *)memory);
		return;
	}
}

static inline void host_fail(struct kunit *test, bool fatal)
{
	putchar('\n');
	test->failed = true;
	if (fatal)
		longjmp(test->abort, 1);
}

#define HOST_CHECK(test, ok, fatal, ...)				\
	do {								\
		if (ok)							\
			break;						\
		printf("# %s:%d: ", __FILE__, __LINE__);		\
		printf(__VA_ARGS__);					\
		host_fail(test, fatal);					\
	} while (0)

#define HOST_COMPARE(test, left, op, right, fatal, ...)			\
	do {								\
		long long l_ = (long long)(left);			\
		long long r_ = (long long)(right);			\
									\
		if (l_ op r_)						\
			break;						\
		printf("# %s: %#llx, %s: %#llx\n", #left, l_, #right, r_); \
		HOST_CHECK(test, false, fatal, __VA_ARGS__);		\
	} while (0)

#define HOST_STREQ(test, left, right, ...)				\
	do {								\
		const char *l_ = (left), *r_ = (right);			\
									\
		if (!strcmp(l_, r_))					\
			break;						\
		printf("# %s: \"%s\", %s: \"%s\"\n", #left, l_, #right, r_); \
		HOST_CHECK(test, false, false, __VA_ARGS__);		\
	} while (0)

#define KUNIT_EXPECT_EQ(test, left, right) \
	HOST_COMPARE(test, left, ==, right, false, "not equal")
#define KUNIT_EXPECT_EQ_MSG(test, left, right, ...) \
	HOST_COMPARE(test, left, ==, right, false, __VA_ARGS__)
#define KUNIT_EXPECT_LE(test, left, right) \
	HOST_COMPARE(test, left, <=, right, false, "greater")
#define KUNIT_EXPECT_TRUE(test, condition) \
	HOST_CHECK(test, condition, false, "false: %s", #condition)
#define KUNIT_EXPECT_FALSE(test, condition) \
	HOST_CHECK(test, !(condition), false, "true: %s", #condition)
#define KUNIT_EXPECT_TRUE_MSG(test, condition, ...) \
	HOST_CHECK(test, condition, false, __VA_ARGS__)
#define KUNIT_EXPECT_STREQ_MSG(test, left, right, ...) \
	HOST_STREQ(test, left, right, __VA_ARGS__)
#define KUNIT_ASSERT_EQ_MSG(test, left, right, ...) \
	HOST_COMPARE(test, left, ==, right, true, __VA_ARGS__)
#define KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pointer) \
	HOST_CHECK(test, pointer, true, "null: %s", #pointer)

#endif
