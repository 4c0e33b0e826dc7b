# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The commands on running guests, and what the launcher gives up.

check control/amd "build/module-stock build/launcher kernel/dev kernel/stock" check_control amd stock 2 /dev/kiln
# In TCG a vCPU of stock KVM that spins was not to be killed, now and then.
check control/kvm "build/launcher kernel/dev" check_control intel dev 1 /dev/kvm

# control_initrd: prints the path of an initrd with launcher/tests/control-guest.
control_initrd() {
	local initrd=$BUILD/lab/control.cpio tree
	mkdir -p "$BUILD/lab"
	tree=$(mktemp -d)
	cp launcher/tests/control-guest "$tree/"
	{ cat "$(guest_initrd)" && pack "$tree"; } >"$initrd.$$" && mv "$initrd.$$" "$initrd"
	rm -rf "$tree"
	echo "$initrd"
}

# check_control CPU KERNEL CPUS DEVICE: launcher/tests/control, with the files it wants beside it.
check_control() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt options=() setup=:
	dir=$(kernel_dir dev)
	make -s -C launcher guest O="$BUILD" || return
	if [ "$4" = /dev/kvm ]; then
		options=(--no-load)
		setup="modprobe kvm-$1"
	fi
	"$LAB/vm" --cpu "$1" --kernel "$2" --cpus "$3" "${options[@]}" --timeout 600 --memory 1536 \
		--add launcher/tests/control:/t/control --add "$BUILD/launcher-guest:/t/launcher-guest" \
		--add "$dir/vmlinux:/t/vmlinux" --add "$(control_initrd):/t/initrd" -- \
		sh -c "$setup; sh /t/control $4" >"$log"
	expect "control on $1 $4: ends well" test $? = 0
	cat "$log"
	tap_results "control on $1 $4: " <"$log"
}
