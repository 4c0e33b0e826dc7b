# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A whole Debian system as a guest, from its disk to a login, on the stock kernel.

check image/debian "" check_debian_image

# CPU, case of debian.exp, CPUs of the guest, its kernel if it is not the disk's.
while read -r cpu case cpus kernel; do
	has_backend "$cpu" || continue
	name=debian/$cpu-$case${kernel:+-$kernel} needs="build/module-stock build/launcher image/debian${kernel:+ kernel/$kernel}"
	case $cpu-$case in
	intel-*) why="in Bochs it takes longer than most other checks" ;;
	*-reboot) why="it takes minutes, and control/amd reboots guests" ;;
	*) why= ;;
	esac
	if [ -n "$why" ]; then
		slow_check "$name" "$needs" "$why" check_debian "$cpu" "$case" "$cpus" "$kernel"
	else
		check "$name" "$needs" check_debian "$cpu" "$case" "$cpus" "$kernel"
	fi
done <<'END'
amd readme 2
amd login 2
amd net 2
amd devices 2 stock-6.12
amd reboot 2 stock-6.12
intel whole 1
END

check_debian_image() {
	expect "a Debian system is there" test -s "$("$LAB/debian")/disk.img"
}

# What a kernel that is not the disk's has as modules: for all our devices, and what the system would look for on the disk.
DEBIAN_MODULES="virtio_net virtio_console virtio_balloon af_packet autofs4 button evdev"

# debian_kernel DIRECTORY NAME: the options of lab/vm for the guest's kernel, one a line: that of the disk, or the one of
# this name.
debian_kernel() {
	local dir=$1
	if [ -z "$2" ]; then
		printf '%s\n' --add "$dir/vmlinuz:/guest/vmlinuz" --add "$dir/initrd:/guest/initrd"
	else
		dir=$(kernel_dir "$2") || return
		printf '%s\n' --unpacked "$dir/vmlinuz" --add "$dir/vmlinuz:/guest/vmlinuz" --add "$dir/release:/guest/release" \
			--add "$(disk_initrd "$dir" "$DEBIAN_MODULES"):/guest/initrd"
	fi
}

# What the cases with a network find in the machine: the bridge br0, with IPv6 as well, a tap for it whose packets are smaller
# than usual, a server of files and one of streams on the bridge and beyond it, and a disk to write to.
debian_network() {
	cat <<-'END'
		. /lab/network
		make_outside || exit
		echo '10.30.0.1 host.test' >/etc/hosts
		kiln net create br0 --subnet 10.30.0.0/24 || exit
		/work/ip tuntap add dev card0 mode tap multi_queue && /work/ip link set card0 mtu 1450 || exit
		/work/ip addr add fd00:30::1/64 dev br0 nodad || exit
		mkdir /www
		dd if=/dev/urandom of=/www/file bs=1M count=16 2>/dev/null
		dd if=/dev/urandom of=/outside/file bs=1M count=4 2>/dev/null
		httpd -p 80 -h /www
		iperf3 -s >/dev/null &
		/work/ip netns exec outside iperf3 -s >/dev/null &
		truncate -s 32M /tmp/scratch
	END
}

# What README tells a new user to type, as a script; only that the machine has no sudo, no room for a copy of the disk, and the
# system already.
debian_readme() {
	cat <<-'END'
		. /lab/network
		mkdir lab
		printf '#!/bin/sh\necho .\n' >lab/debian
		chmod 755 lab/debian
		ln -s "$DISK" disk.img
		ln -s /guest/vmlinuz /guest/initrd .
		cat >readme <<'README'
		sudo() { "$@"; }
		cp() { ln -s "$@"; }
	END
	sed -n '/^    image=.*lab.debian/,/^$/p' "$TOP/README.md"
	echo README
}

# debian_machine CPU KERNEL NETWORK COMMAND...: in a machine that has the system's disk, as a file's name in the
# environment: DISK. NETWORK: what it does before, if anything. libgcc_s is what glibc loads to end a thread, and
# aborts without.
debian_machine() {
	local cpu=$1 network=$3 image options libgcc=/lib/x86_64-linux-gnu/libgcc_s.so.1
	need debian network
	image=$("$LAB/debian") || return
	mapfile -t options < <(debian_kernel "$image" "$2" && network_options)
	shift 3
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" --cpu "$cpu" --kernel stock --cpus "$([ "$cpu" = amd ] && echo 2 || echo 1)" --memory 1536 --timeout 1800 \
		--disk "$image/disk.img" "${options[@]}" --add "$LAB/checks/debian.exp" --add "$(command -v iperf3)" \
		--add /usr/bin/expect:/bin/expect --add "$libgcc:$libgcc" --add /usr/share/tcltk/tcl8.6:/usr/share/tcltk/tcl8.6 -- sh -c '
		for module in virtio_pci virtio_blk ata_piix sd_mod; do modprobe $module; done
		for DISK in /dev/vda /dev/sda; do [ ! -b $DISK ] || break; done
		export DISK
		eval "$1"
		shift
		exec "$@"' sh "$network" "$@"
}

# check_debian CPU CASE CPUS KERNEL
check_debian() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt status network=
	case $2 in
	net | devices | reboot | whole) network=$(debian_network) ;;
	readme) network=$(debian_readme) ;;
	esac
	# shellcheck disable=SC2016 # for the shell of the machine
	debian_machine "$1" "$4" "$network" sh -c 'expect debian.exp "$0" "$DISK" "$1"' "$2" "$3" | stdbuf -oL tr -d '\r' | tee "$log"
	status=${PIPESTATUS[0]}
	expect_results "$CHECK_NAME: " <"$log"
	expect "$CHECK_NAME: ends with status 0 (is: $status)" test "$status" = 0
}
