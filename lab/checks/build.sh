# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Kernels and builds: what other checks need, and checks themselves.

check kernel/dev "" kernel_dir dev
check kernel/stock "" kernel_dir stock
check kernel/stock-6.12 "" kernel_dir stock-6.12
check kernel/debug "kernel/dev" kernel_dir debug
check build/launcher "" make launcher
check build/selftests "kernel/dev" make -j2 selftests
check build/module-dev "kernel/dev" build_module dev module
check build/module-debug "kernel/debug" build_module debug module
check build/module-stock "kernel/stock" build_module stock module
check build/module-stock-6.12 "kernel/stock-6.12" build_module stock-6.12 module
check build/kunit-dev "build/module-dev" build_module dev kunit
check build/kunit-debug "build/module-debug" build_module debug kunit

check build/install "build/module-stock build/launcher" check_install

# Into a directory, so that nothing of this machine changes: what lands there, and that all of it goes again.
check_install() {
	local dest=$LOGS/dest kernel
	kernel=$(kernel_dir stock)
	rm -rf "$dest"
	expect "make install" make install KDIR="$kernel/build" DESTDIR="$dest"
	expect "installs the module" test -n "$(find "$dest/lib/modules/$(cat "$kernel/release")" -name kiln.ko)"
	expect "installs the launcher" "$dest/usr/local/bin/kiln" --help
	expect "installs the man page" test -s "$dest/usr/local/share/man/man1/kiln.1"
	expect "installs the udev rule" grep -q 'GROUP="kiln", MODE="0660"' "$dest/etc/udev/rules.d/60-kiln.rules"
	expect "make uninstall" make uninstall KDIR="$kernel/build" DESTDIR="$dest"
	expect "leaves no file of ours" test -z "$(find "$dest" -name '*kiln*')"
}

# build_module KERNEL TARGET
build_module() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt status
	make -j2 "$2" KDIR="$(kernel_dir "$1")/build" >"$log" 2>&1
	status=$?
	cat "$log"
	# Stack frames that KASAN makes too large, for one, show nowhere else.
	[ $status = 0 ] && ! grep -q 'warning:' "$log"
}
