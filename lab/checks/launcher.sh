# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The launcher's own tests: without a hypervisor, under sanitizers, and booting guests on kiln and on stock KVM.

check launcher/unit "build/launcher" check_launcher_unit
for cpu in $BACKENDS; do
	check "launcher/boot-kiln-$cpu" "build/module-dev build/launcher" check_launcher_boot "$cpu" /dev/kiln
done
for cpu in intel amd; do
	check "launcher/boot-kvm-$cpu" "kernel/dev build/launcher" check_launcher_boot "$cpu" /dev/kvm
done

check_launcher_unit() {
	local log=$LOGS/launcher-unit.txt
	make -s -C launcher test O="$BUILD" >"$log" 2>&1
	expect "launcher unit tests and bad input end well" test $? = 0
	cat "$log"
	tap_results "launcher: " <"$log"
}

# check_launcher_boot CPU DEVICE: launcher/tests/boot, with the files it wants beside it.
check_launcher_boot() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt options=() setup=:
	dir=$(kernel_dir dev)
	make -s -C launcher guest O="$BUILD" || return
	if [ "$2" = /dev/kvm ]; then
		options=(--no-load)
		setup="modprobe kvm-$1"
	fi
	"$LAB/vm" --cpu "$1" "${options[@]}" --timeout 900 --memory 1536 \
		--add launcher/tests/boot:/t/boot --add "$BUILD/launcher-guest:/t/launcher-guest" \
		--add "$dir/vmlinuz:/t/vmlinuz" --add "$dir/vmlinux:/t/vmlinux" --add "$(guest_initrd):/t/initrd" -- \
		sh -c "$setup; sh /t/boot $2" >"$log"
	expect "launcher on $1 $2: guests end well" test $? = 0
	cat "$log"
	tap_results "launcher on $1 $2: " <"$log"
}
