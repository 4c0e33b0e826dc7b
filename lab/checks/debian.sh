# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A whole Debian system as a guest, from its disk to a login, on the stock kernel.

check image/debian "" check_debian_image

# CPU, case of debian.exp, CPUs of the guest.
while read -r cpu case cpus; do
	# In Bochs it takes longer than all other checks together: on request.
	[ "$cpu" != intel ] || [ -n "${KILN_SLOW:-}" ] || continue
	! has_backend "$cpu" || check "debian/$cpu-$case" "build/module-stock build/launcher image/debian" check_debian "$cpu" "$case" "$cpus"
done <<'END'
amd login 2
amd cut 1
amd console 2
amd balloon 2
intel boot 1
END

check_debian_image() {
	expect "a Debian system is there" test -s "$("$LAB/debian")/disk.img"
}

# debian_machine CPU COMMAND...: in a machine that has the system's disk, as a file's name in the environment: DISK.
# libgcc_s is what glibc loads to end a thread, and aborts without.
debian_machine() {
	local cpu=$1 image libgcc=/lib/x86_64-linux-gnu/libgcc_s.so.1
	shift
	need debian
	image=$("$LAB/debian") || return
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" --cpu "$cpu" --kernel stock --cpus "$([ "$cpu" = amd ] && echo 2 || echo 1)" --memory 1536 --timeout 1800 --disk "$image/disk.img" \
		--add "$image/vmlinuz:/guest/vmlinuz" --add "$image/initrd:/guest/initrd" --add "$LAB/checks/debian.exp" \
		--add /usr/bin/expect:/bin/expect --add "$libgcc:$libgcc" --add /usr/share/tcltk/tcl8.6:/usr/share/tcltk/tcl8.6 -- sh -c '
		for module in virtio_pci virtio_blk ata_piix sd_mod; do modprobe $module; done
		for DISK in /dev/vda /dev/sda; do [ ! -b $DISK ] || break; done
		export DISK
		exec "$@"' sh "$@"
}

# check_debian CPU CASE CPUS
check_debian() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt status
	# shellcheck disable=SC2016 # for the shell of the machine
	debian_machine "$1" sh -c 'expect debian.exp "$0" "$DISK" "$1"' "$2" "$3" | tr -d '\r' | tee "$log"
	status=${PIPESTATUS[0]}
	while read -r line; do
		case $line in
		"ok "*) pass "$CHECK_NAME: ${line#ok }" ;;
		"not ok "*) fail "$CHECK_NAME: ${line#not ok }" ;;
		esac
	done < <(grep -E '^(not )?ok ' "$log")
	expect "$CHECK_NAME: ends with status 0 (is: $status)" test "$status" = 0
}
