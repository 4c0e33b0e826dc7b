// SPDX-License-Identifier: GPL-2.0-only
/* Machines as directory trees: what /proc, /sys and /dev of each would say. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../error.h"
#include "../host.h"
#include "tap.h"

static char root[256];

static void make_parents(char *path)
{
	for (char *slash = strchr(path + strlen(root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
}

static void put(const char *name, const void *bytes, size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s%s", root, name);
	make_parents(path);
	file = fopen(path, "w");
	if (!file || fwrite(bytes, 1, size, file) != size)
		abort();
	fclose(file);
}

static void machine(const char *cpuinfo)
{
	static unsigned int count;
	char name[32];

	snprintf(name, sizeof(name), "host%u", count++);
	snprintf(root, sizeof(root), "%s", test_path(name));
	mkdir(root, 0700);
	put("/proc/cpuinfo", cpuinfo, strlen(cpuinfo));
}

/* An MSR lies at its index of the file. */
static void put_msr(uint32_t index, uint64_t value)
{
	char path[512];
	FILE *file;

	put("/dev/cpu/0/msr", "", 0);
	snprintf(path, sizeof(path), "%s/dev/cpu/0/msr", root);
	file = fopen(path, "r+");
	/* sparse: VM_CR is at 3 GiB */
	if (!file || fseeko(file, (off_t)index, SEEK_SET) ||
	    fwrite(&value, 1, sizeof(value), file) != sizeof(value))
		abort();
	fclose(file);
}

static void put_feature_control(uint64_t value)
{
	put_msr(0x3a, value);
}

static void put_vm_cr(uint64_t value)
{
	put_msr(0xc0010114, value);
}

#define INTEL	"processor\t: 0\nvendor_id\t: GenuineIntel\n"
#define AMD	"processor\t: 0\nvendor_id\t: AuthenticAMD\n"
#define VMX	"flags\t\t: fpu vmx sse\n"
#define SVM	"flags\t\t: fpu svm npt sse\n"
#define FULL	"vmx flags\t: vnmi ept vpid unrestricted_guest ple\n"

static void a_cpu_with_everything_is_recognized(void)
{
	struct host host;

	machine(INTEL VMX FULL "\nprocessor : 1\n");
	host_read(&host, root);
	CHECK(host.vendor == HOST_INTEL && host.kernel_virt && !host.nested);
	CHECK(host.second_level == HOST_YES && host.unrestricted == HOST_YES);
	CHECK(host.locked_off == HOST_NO && !host_virt_problem(&host));
	machine(AMD "flags\t\t: fpu svm npt hypervisor\n");
	host_read(&host, root);
	CHECK(host.vendor == HOST_AMD && host.kernel_virt && host.nested);
	CHECK(host.second_level == HOST_YES && host.unrestricted == HOST_YES);
	CHECK(!strcmp(host_extension(&host), "SVM") && !host_virt_problem(&host));
}

static void words_are_not_found_within_words(void)
{
	struct host host;

	machine(INTEL "flags\t\t: fpu vmx_not avmx\nvmx flags\t: ept_x_only\n");
	host_read(&host, root);
	CHECK(!host.kernel_virt && host.second_level == HOST_NO);
}

static void each_missing_thing_has_its_remedy(void)
{
	struct host host;

	machine(INTEL "flags\t\t: fpu sse\n");
	host_read(&host, root);
	CHECK(strstr(host_virt_problem(&host), "has no VMX"));
	machine(INTEL "flags\t\t: fpu hypervisor\n");
	host_read(&host, root);
	CHECK(strstr(host_virt_problem(&host), "nested virtualization"));
	machine("vendor_id\t: CentaurHauls\nflags\t\t: fpu\n");
	host_read(&host, root);
	CHECK(strstr(host_virt_problem(&host), "neither Intel's nor AMD's"));
	machine(INTEL VMX);
	put_feature_control(1);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_YES);
	CHECK(strstr(host_virt_problem(&host), "firmware"));
	put_feature_control(5);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_NO);
}

static void svm_switched_off_is_seen_as_far_as_it_can_be(void)
{
	struct host host;

	machine(AMD SVM);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_UNKNOWN && !host_virt_problem(&host));
	put_vm_cr(1 << 4);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_YES);
	CHECK(strstr(host_virt_problem(&host), "switch on SVM Mode in the firmware setup"));
	put_vm_cr(1 << 3);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_NO && !host_virt_problem(&host));
	/* these load only where SVM is on */
	machine(AMD SVM);
	put("/sys/module/kvm_amd/refcnt", "0\n", 2);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_NO);
	machine(AMD SVM);
	put("/sys/module/kiln/refcnt", "0\n", 2);
	host_read(&host, root);
	CHECK(host.locked_off == HOST_NO);
}

static void svm_without_nested_paging_is_seen(void)
{
	struct host host;

	machine(AMD "flags\t\t: fpu svm sse\n");
	host_read(&host, root);
	CHECK(host.kernel_virt && host.second_level == HOST_NO);
	machine(AMD "flags\t\t: fpu sse\n");
	host_read(&host, root);
	CHECK(!host.kernel_virt && host.second_level == HOST_UNKNOWN);
	CHECK(strstr(host_virt_problem(&host), "has no VMX or SVM"));
}

static void a_missing_node_is_explained(void)
{
	machine(INTEL "flags\t\t: fpu\n");
	host_explain_open(root, "/dev/kiln", ENOENT);
	CHECK_ERROR("/dev/kiln: not there: this CPU has no VMX");
	machine(INTEL VMX FULL);
	host_explain_open(root, "/dev/kiln", ENOENT);
	CHECK_ERROR("modprobe kiln");
	put("/sys/module/kiln/refcnt", "0\n", 2);
	host_explain_open(root, "/dev/kiln", ENOENT);
	CHECK_ERROR("although the module kiln is loaded");
	host_explain_open(root, "/dev/kvm", ENOENT);
	CHECK_ERROR("modprobe kvm_intel");
	machine(AMD SVM);
	host_explain_open(root, "/dev/kvm", ENOENT);
	CHECK_ERROR("modprobe kvm_amd");
	put_vm_cr(1 << 4);
	host_explain_open(root, "/dev/kiln", ENOENT);
	CHECK_ERROR("/dev/kiln: not there: firmware switched SVM off");
	host_explain_open(root, "/tmp/other", ENOENT);
	CHECK_ERROR("--device");
}

static void an_unreadable_node_names_the_group(void)
{
	host_explain_open(root, "/dev/kiln", EACCES);
	CHECK_ERROR("usermod -aG kiln");
	host_explain_open(root, "/dev/kvm", EACCES);
	CHECK_ERROR("usermod -aG kvm");
}

static void the_owner_of_the_extension_is_named(void)
{
	char name[64];

	machine(INTEL VMX FULL);
	put("/sys/module/kvm_intel/refcnt", "0\n", 2);
	CHECK(!host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)));
	host_explain_create(root, "/dev/kiln", EBUSY);
	CHECK_ERROR("another hypervisor");
	put("/sys/module/kvm_intel/refcnt", "3\n", 2);
	CHECK(host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)) == HOST_OTHER_GUESTS);
	CHECK(!strcmp(name, "kvm_intel"));
	CHECK(!host_other_hypervisor(root, "/dev/kvm", name, sizeof(name)));
	host_explain_create(root, "/dev/kiln", EBUSY);
	CHECK_ERROR("in use by kvm_intel");
	machine(AMD SVM);
	put("/sys/module/kvm_amd/refcnt", "1\n", 2);
	host_explain_create(root, "/dev/kiln", EBUSY);
	CHECK_ERROR("in use by kvm_amd");
	host_explain_create(root, "/dev/kiln", ENOMEM);
	CHECK_ERROR("no VM can be created");
}

static void kvm_may_hold_the_extension_without_guests(void)
{
	char name[64];

	machine(AMD SVM);
	put("/sys/module/kvm_amd/refcnt", "0\n", 2);
	put("/sys/module/kvm/parameters/enable_virt_at_load", "N\n", 2);
	CHECK(!host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)));
	put("/sys/module/kvm/parameters/enable_virt_at_load", "Y\n", 2);
	CHECK(host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)) == HOST_OTHER_HOLDS);
	CHECK(!host_other_hypervisor(root, "/dev/kvm", name, sizeof(name)));
	host_explain_create(root, "/dev/kiln", EBUSY);
	CHECK_ERROR("in use by kvm_amd for as long as it is loaded; run `modprobe -r kvm_amd`");
	put("/sys/module/kvm_amd/refcnt", "1\n", 2);
	CHECK(host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)) == HOST_OTHER_GUESTS);
	machine(AMD SVM);
	put("/sys/module/kvm/parameters/enable_virt_at_load", "Y\n", 2);
	CHECK(!host_other_hypervisor(root, "/dev/kiln", name, sizeof(name)));
}

static void a_machine_that_tells_nothing_is_no_crash(void)
{
	struct host host;

	host_read(&host, "/nonexistent");
	CHECK(host.vendor == HOST_OTHER && host_virt_problem(&host));
	CHECK(host_module_users("/nonexistent", "kiln") == -1);
	machine("flags\nvendor_id\n:\nflags\t\t:\nvmx flags\t\t:");
	host_read(&host, root);
	CHECK(!host.kernel_virt);
}

static const struct test tests[] = {
	TEST(a_cpu_with_everything_is_recognized),
	TEST(words_are_not_found_within_words),
	TEST(each_missing_thing_has_its_remedy),
	TEST(svm_switched_off_is_seen_as_far_as_it_can_be),
	TEST(svm_without_nested_paging_is_seen),
	TEST(a_missing_node_is_explained),
	TEST(an_unreadable_node_names_the_group),
	TEST(the_owner_of_the_extension_is_named),
	TEST(kvm_may_hold_the_extension_without_guests),
	TEST(a_machine_that_tells_nothing_is_no_crash),
	TESTS_END
};

const struct suite suite_host = { "host", tests };
