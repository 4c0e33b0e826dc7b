# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034 # its variables are for those who source it
# What every lab script shares: where things are, how to speak, how to fail, packages.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB=$TOP/lab
BUILD=$TOP/build
# The vendors that kiln.ko has a backend for, the one whose machine is the quicker first: where `lab/demo` runs, and
# which rows of the checks' tables become checks.
BACKENDS="amd intel"
CACHE=${KILN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kiln}
LAB_STARTED=${LAB_STARTED:-$(date +%s)}
export LAB_STARTED
# depmod and modprobe live where a plain user does not look.
PATH=$PATH:/usr/sbin:/sbin

# has_backend intel|amd
has_backend() {
	[[ " $BACKENDS " = *" $1 "* ]]
}

# Progress goes to stderr, with the seconds since the first script of this run began.
say() {
	printf '[%4ds] %s\n' $(($(date +%s) - LAB_STARTED)) "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 125
}

# as_root COMMAND...: runs it as root, through sudo when we are not.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		return 1
	fi
}

# packages_of GROUP...: the packages of these groups in lab/packages, one a line.
packages_of() {
	local group
	for group; do
		awk -v g="$group" '$1 == g { print $2 }' "$LAB/packages"
	done | sort -u
}

# installed PACKAGE: true for a package that is installed, also by another's Provides.
installed() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# need GROUP...: sees to it that the packages of these groups are installed.
need() {
	local package missing=()
	for package in $(packages_of "$@"); do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	say "installing ${missing[*]}"
	if ! with_lock "$CACHE/apt.lock" install_packages "${missing[@]}"; then
		die "these packages are missing: ${missing[*]} (install them as root with apt-get, or run this as root or with sudo)"
	fi
}

install_packages() {
	local log=$CACHE/apt.log
	: >"$log"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 && return
	as_root apt-get update >>"$log" 2>&1
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 && return
	tail -n 5 "$log" >&2
	return 1
}

# with_lock FILE COMMAND...: runs it while no other process holds the lock.
with_lock() {
	local file=$1 fd status
	shift
	mkdir -p "${file%/*}"
	exec {fd}>"$file"
	flock "$fd"
	"$@" {fd}>&-
	status=$?
	exec {fd}>&-
	return $status
}

# fresh FILE DEPENDENCY...: true if FILE exists and no dependency is newer.
fresh() {
	local file=$1 dependency
	shift
	[ -e "$file" ] || return 1
	for dependency; do
		[ "$dependency" -nt "$file" ] && return 1
	done
	return 0
}
