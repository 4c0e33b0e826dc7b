# SPDX-License-Identifier: GPL-2.0-only
#
# kiln: builds everything below build/ and leaves the source tree alone. `make help` lists the targets.

KDIR ?= /lib/modules/$(shell uname -r)/build
BUILD := $(CURDIR)/build
PREFIX ?= /usr/local
# Without it objects that were built to be checked would be built again.
W ?= 1
UDEV_DIR ?= /etc/udev/rules.d

# The kernel release that KDIR is for: modules for several kernels lie side by side.
release = $(shell sed -n 's/^#define UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h 2>/dev/null)
MODULE_DIR = $(BUILD)/$(release)

KBUILD = $(MAKE) -C $(KDIR) M=$(MODULE_DIR) $(if $(W),W=$(W)) $(if $(C),C=$(C)) $(if $(CHECK),CHECK="$(CHECK)")

.DEFAULT_GOAL := all

##@ Build
all: module launcher		## module for the running kernel, and the launcher

module: mirror			## build/<release>/kiln.ko for the kernel of KDIR= (C=2: sparse)
	+@flock $(MODULE_DIR)/.lock $(KBUILD) modules

kunit: mirror			## build/<release>/kiln-kunit.ko, if the kernel of KDIR= has KUnit
	@grep -q '^CONFIG_KUNIT=' $(KDIR)/.config || { echo "the kernel of $(KDIR) has no KUnit" >&2; exit 1; }
	+@flock $(MODULE_DIR)/.lock $(KBUILD) KILN_KUNIT=m modules

# Kbuild of 6.1 puts objects beside their sources, so it gets a tree of links to them.
mirror:
	@test -n "$(release)" || { echo "$(KDIR): no kernel headers there; install linux-headers-$$(uname -r) or give KDIR=" >&2; exit 1; }
	@mkdir -p $(MODULE_DIR)
	@find $(MODULE_DIR) -xtype l -delete
	+@flock $(MODULE_DIR)/.lock cp -rsf $(CURDIR)/Kbuild $(CURDIR)/module $(CURDIR)/uapi $(MODULE_DIR)/

launcher:			## build/kiln
	@$(MAKE) -C launcher O=$(BUILD)

# The test harness comes with the kernel's source.
selftests:			## build/selftests/*, static test programs
	+@source=$$(lab/kernel --source) && $(MAKE) -C selftests O=$(BUILD)/selftests KSRC="$$source"

##@ Check
check:				## static analysis of everything
	@lab/test --only 'static/*'

test:				## everything there is to check, as ./lab/test
	@lab/test

# What it finds is printed as KILN_PROGRAM=...: the same variable has fuzz_test run that alone.
FUZZ_SECONDS ?= 1800
FUZZ_CPU ?= amd
fuzz: $(if $(KILN_PROGRAM),,fuzz-vring) fuzz-ioctls	## fuzz first the vring engine, then the ioctls, FUZZ_SECONDS= (1800) each

fuzz-vring:			## fuzz the vring engine in user space for FUZZ_SECONDS=
	@$(MAKE) -C module/virtio/host fuzz OUT=$(BUILD)/vring FUZZ_SECONDS=$(FUZZ_SECONDS)

fuzz-ioctls: selftests		## fuzz the ioctls on the debug kernel for FUZZ_SECONDS=, FUZZ_CPU=amd or intel
	@$(MAKE) module KDIR=$$(lab/kernel --kdir debug)
	@lab/vm --kernel debug --cpu $(FUZZ_CPU) --cpus 2 --timeout $$(($(FUZZ_SECONDS) * 4 + 300)) -- \
		env FUZZ_SECONDS=$(FUZZ_SECONDS) KILN_SEED=$(KILN_SEED) KILN_PROGRAM=$(KILN_PROGRAM) fuzz_test

bench:				## kiln beside stock KVM: each vendor, boots, virtio devices; build/bench-*.json
	@lab/bench
	@lab/bench --cpu amd --boot
	@lab/bench --devices

##@ Install
install: install-launcher install-module install-access	## module, launcher, man page, udev rule, group kiln

install-module: module
	$(MAKE) -C $(KDIR) M=$(MODULE_DIR) $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install
	$(if $(DESTDIR),,depmod $(release))

install-launcher: launcher
	install -D -m 755 $(BUILD)/kiln $(DESTDIR)$(PREFIX)/bin/kiln
	install -D -m 644 Documentation/kiln.1 $(DESTDIR)$(PREFIX)/share/man/man1/kiln.1

# Members of the group kiln may start guests.
install-access:
	install -d $(DESTDIR)$(UDEV_DIR)
	echo 'KERNEL=="kiln", GROUP="kiln", MODE="0660"' >$(DESTDIR)$(UDEV_DIR)/60-kiln.rules
	$(if $(DESTDIR),,getent group kiln >/dev/null || groupadd --system kiln)
	$(if $(DESTDIR),,udevadm control --reload 2>/dev/null || true)

uninstall:			## what install put there; the group stays
	rm -f $(DESTDIR)$(PREFIX)/bin/kiln $(DESTDIR)$(PREFIX)/share/man/man1/kiln.1
	rm -f $(DESTDIR)$(UDEV_DIR)/60-kiln.rules
	rm -f $(DESTDIR)/lib/modules/*/*/kiln.ko*
	$(if $(DESTDIR),,depmod)

##@ Other
clean:				## remove build/
	rm -rf $(BUILD)

help:				## this
	@awk -F ':.*## *' '/^##@/ { print substr($$0, 5) } /^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: all module kunit mirror launcher selftests check test fuzz fuzz-vring fuzz-ioctls bench \
	install install-module install-launcher install-access uninstall clean help
