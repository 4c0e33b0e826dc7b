# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Kernels and builds: what other checks need, and checks themselves.

check kernel/dev "" kernel_dir dev
check kernel/stock "" kernel_dir stock
check kernel/stock-6.12 "" kernel_dir stock-6.12
check build/launcher "" make launcher
check build/selftests "kernel/dev" make -j2 selftests
check build/module-dev "kernel/dev" build_module dev module
check build/module-stock "kernel/stock" build_module stock module
check build/kunit "build/module-dev" build_module dev kunit

build_module() {
	make -j2 "$2" KDIR="$(kernel_dir "$1")/build"
}
