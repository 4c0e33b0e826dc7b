#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# sigkill.sh KERNEL INITRD: kills `kiln run` with SIGKILL at 50 random points of a Linux guest's life, in a lab
# machine with kiln.ko loaded. TAP on stdout. What a kill leaves behind would add up, so memory is compared after
# a first round, which warms every cache, and after the last.

kernel=$1 initrd=$2
number=0

check() {
	name=$1
	shift
	number=$((number + 1))
	if "$@"; then echo "ok $number - $name"; else echo "not ok $number - $name"; fi
}

# One guest, killed after up to a second and a half: while it is set up, boots, or runs.
kill_one() {
	kiln run --kernel "$kernel" --initrd "$initrd" --cpus 2 --memory 128M --console null \
		--append "console=ttyS0 shell" </dev/null >/dev/null 2>&1 &
	pid=$!
	usleep $(((RANDOM % 1500) * 1000))
	kill -KILL $pid
	wait $pid
	[ $? = 137 ] || early=$((early + 1))
}

kill_some() {
	rounds=$1
	while [ "$rounds" -gt 0 ]; do
		kill_one
		rounds=$((rounds - 1))
	done
}

# KiB that are free once nobody holds on to them.
free_memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	usleep 500000
	awk '$1 == "MemFree:" { print $2 }' /proc/meminfo
}

unused() {
	[ "$(awk '$1 == "kiln" { print $3 }' /proc/modules)" = 0 ]
}

early=0
kill_some 10
before=$(free_memory)
kill_some 40
after=$(free_memory)
echo "# free after 10 kills: $before KiB, after 50: $after KiB; ended before their kill: $early"
check "most of the 50 guests were alive when killed" [ $early -lt 10 ]
check "40 kills cost less than 512 KiB of memory" [ $((before - after)) -lt 512 ]
check "no killed guest holds on to the module" unused
check "kiln.ko unloads" rmmod kiln
check "nothing of kiln is left in the kernel" [ -z "$(grep -E '\[kiln\]|^kiln' /proc/kallsyms /proc/slabinfo)" ]
check "/dev/kiln is gone" [ ! -e /dev/kiln ]
echo "1..$number"
