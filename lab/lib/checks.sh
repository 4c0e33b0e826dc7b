# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The framework of lab/test. A check is a row: its name, the checks it needs, and the function that does it. The
# function runs in a process of its own with its output in a log, and reports with pass, fail and skip, once for
# each case it stands for. Without any such report its return value is the one result.

declare -a CHECK_NAMES=()
declare -A CHECK_NEEDS CHECK_FUNCTION CHECK_STATE

# check NAME "NEEDED CHECKS" FUNCTION [ARG...]
check() {
	CHECK_NAMES+=("$1")
	CHECK_NEEDS[$1]=$2
	CHECK_FUNCTION[$1]="${*:3}"
}

# In a check: the results file of the running check is $RESULTS, its name $CHECK_NAME.
pass() {
	printf 'pass\t%s\n' "$1" >>"$RESULTS"
}

fail() {
	printf 'fail\t%s\n' "$1" >>"$RESULTS"
}

# skip NAME WHY: one without a reason is a failure.
skip() {
	if [ -n "${2:-}" ]; then
		printf 'skip\t%s\t%s\n' "$1" "$2" >>"$RESULTS"
	else
		fail "$1 (skipped without a reason)"
	fi
}

# slow_check NAME "NEEDED CHECKS" WHY FUNCTION [ARG...]: a check that is done only on request.
slow_check() {
	if [ -n "${KILN_SLOW:-}" ]; then
		check "$1" "$2" "${@:4}"
	else
		check "$1" "" slow "$1" "$3"
	fi
}

# slow NAME WHY...: says so.
slow() {
	skip "$1" "${*:2}; set KILN_SLOW=1"
}

# print LINE: what lab/test prints with the check's result.
print() {
	printf '%s\n' "$1" >>"${RESULTS%.results}.printed"
}

# expect NAME COMMAND...: a case that passes if the command succeeds.
expect() {
	local name=$1
	shift
	echo "# $name: $*"
	if "$@"; then
		pass "$name"
	else
		echo "# exit status $?"
		fail "$name"
	fi
}

# expect_results PREFIX: the results of a script for expect, on stdin between all that its terminal showed: "ok NAME" and
# "not ok NAME".
expect_results() {
	local line
	while read -r line; do
		case $line in
		"ok "*) pass "$1${line#ok }" ;;
		"not ok "*) fail "$1${line#not ok }" ;;
		esac
	done
}

# tap_results PREFIX: each line of a kselftest's TAP on stdin as a result. The plan has to be met: a suite that
# ends early fails, as does one without any case.
tap_results() {
	awk -v prefix="$1" '
		function result(kind, name, why) { printf "%s\t%s\t%s\n", kind, prefix name, why; seen++ }
		# A skipped case has no name on its own line.
		/^# +RUN +/ { running = $3 }
		/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0 }
		/^(not )?ok [0-9]+/ {
			kind = /^ok/ ? "pass" : "fail"
			line = $0
			sub(/^(not )?ok [0-9]+ *(- )?/, "", line)
			why = ""
			if (match(line, /# *(SKIP|XFAIL)/)) {
				kind = "skip"
				why = substr(line, RSTART + RLENGTH)
				sub(/^ */, "", why)
				line = substr(line, 1, RSTART - 1)
			}
			sub(/ +$/, "", line)
			line = line == "" ? running : line
			if (kind == "skip" && why == "") {
				kind = "fail"
				line = line " (skipped without a reason)"
			}
			result(kind, line, why)
		}
		END {
			if (!seen || seen < plan)
				printf "fail\t%send (%d of %d cases reported)\n", prefix, seen, plan
		}' | awk -F '\t' '$1 == "skip" { print; next } { print $1 "\t" $2 }' >>"$RESULTS"
}

# kunit_results PREFIX: KUnit's nested TAP on stdin, a result for each case of each suite.
kunit_results() {
	awk -v prefix="$1" '
		/# Subtest:/ && !/^        / { suite = $0; sub(/.*# Subtest: /, "", suite); suites++ }
		/^    1\.\.[0-9]+/ { plan += substr($1, 4) }
		/^    (not )?ok [0-9]+/ {
			kind = $1 == "ok" ? "pass" : "fail"
			name = $0
			sub(/^ *(not )?ok [0-9]+ (- )?/, "", name)
			why = ""
			if (match(name, / *# SKIP/)) {
				kind = "skip"
				why = substr(name, RSTART + RLENGTH)
				name = substr(name, 1, RSTART - 1)
				sub(/^ */, "", why)
				if (why == "") {
					kind = "fail"
					name = name " (skipped without a reason)"
				}
			}
			printf kind == "skip" ? "%s\t%s\t%s\n" : "%s\t%s\n", kind, prefix "kunit " suite "." name, why
			seen++
		}
		END {
			if (!seen || seen < plan)
				printf "fail\t%skunit end (%d of %d cases reported by %d suites)\n", prefix, seen, plan, suites
		}' >>"$RESULTS"
}

# What lab/vm says of a machine that QEMU's TCG has lost with an interrupt (Documentation/lab.rst).
LOST_BY_TCG='^lab/vm: (no end after|the machine ended)'
# More than so many in one run are no accident.
REPEATS_MAX=3

# Was the machine of the check that has just failed lost by TCG? Then it is noted, as it is done once more. Machines that
# count instructions do all the same again, and the lab's own checks have such machines on purpose.
lost_by_tcg() {
	local log=$LOGS/${CHECK_NAME//\//.}.log
	case $CHECK_NAME in *intel* | bench/* | lab/*) return 1 ;; esac
	grep -qE "$LOST_BY_TCG" "$log" && ! grep -qE "$REPORT" "$log" || return
	[ ! -e "$LOGS/repeated" ] || [ "$(wc -l <"$LOGS/repeated")" -lt $REPEATS_MAX ] || return
	echo "$CHECK_NAME" >>"$LOGS/repeated"
}

# run_check NAME: does it, in this process; 0 if nothing failed.
run_check() {
	CHECK_NAME=$1
	RESULTS=$LOGS/${CHECK_NAME//\//.}.results
	do_check && return
	lost_by_tcg || return
	echo "# the emulator may have lost the machine: once more"
	do_check
}

do_check() {
	local status
	: >"$RESULTS"
	rm -f "${RESULTS%.results}.printed"
	(${CHECK_FUNCTION[$CHECK_NAME]})
	status=$?
	if [ ! -s "$RESULTS" ]; then
		if [ $status = 0 ]; then pass "$CHECK_NAME"; else fail "$CHECK_NAME"; fi
	elif [ $status != 0 ] && ! grep -q '^fail' "$RESULTS"; then
		fail "$CHECK_NAME (exit status $status)"
	fi
	! grep -q '^fail' "$RESULTS"
}

# select_checks PATTERN: the checks whose name matches, and what they need.
select_checks() {
	local name
	for name in "${CHECK_NAMES[@]}"; do
		# shellcheck disable=SC2254 # the pattern is meant as one
		case $name in
		$1 | *$1*) select_check "$name" ;;
		esac
	done
}

select_check() {
	local need
	[ -z "${CHECK_STATE[$1]:-}" ] || return
	CHECK_STATE[$1]=waiting
	for need in ${CHECK_NEEDS[$1]}; do
		select_check "$need"
	done
}

# ready NAME: 0 if all it needs has passed, 1 if not yet, 2 if it never will.
ready() {
	local need
	for need in ${CHECK_NEEDS[$1]}; do
		case ${CHECK_STATE[$need]} in
		passed) ;;
		failed | dropped) return 2 ;;
		*) return 1 ;;
		esac
	done
}

drop_check() {
	local need
	for need in ${CHECK_NEEDS[$1]}; do
		case ${CHECK_STATE[$need]} in failed | dropped) break ;; esac
	done
	CHECK_STATE[$1]=dropped
	printf 'skip\t%s\t%s did not pass\n' "$1" "$need" >"$LOGS/${1//\//.}.results"
	say "skip $1: $need did not pass"
}

start_check() {
	local name=$1
	CHECK_STATE[$name]=running
	(run_check "$name" >"$LOGS/${name//\//.}.log" 2>&1 </dev/null) &
	RUNNING[$!]=$name
	BEGAN[$name]=$SECONDS
}

finish_check() {
	local name=$1 status=$2 results=$LOGS/${1//\//.}.results passed failed
	passed=$(grep -c '^pass' "$results")
	failed=$(grep -c '^fail' "$results")
	if [ "$status" = 0 ]; then
		CHECK_STATE[$name]=passed
		say "pass $name ($passed, $((SECONDS - BEGAN[$name])) s)"
	else
		CHECK_STATE[$name]=failed
		say "FAIL $name ($failed of $((passed + failed)), $((SECONDS - BEGAN[$name])) s), see ${LOGS#"$TOP/"}/${name//\//.}.log"
		sed -n 's/^fail\t/         /p' "$results" | head -n 20 >&2
	fi
	[ ! -s "${results%.results}.printed" ] || fold -s -w 110 "${results%.results}.printed" | sed 's/^/         /' >&2
	skips_by_reason <"$results" >&2
}

# skips_by_reason <RESULTS: a line for each reason, with the first case it holds for and how many more there are.
skips_by_reason() {
	awk -F '\t' '
		$1 == "skip" && !n[$3]++ { reasons[++m] = $3; first[$3] = $2 }
		END {
			for (i = 1; i <= m; i++) {
				more = n[reasons[i]] - 1
				printf "         skipped %s%s: %s\n", first[reasons[i]], more ? " and " more " more" : "", reasons[i]
			}
		}'
}

# failures: for each check that failed, its cases and what its log says around them, and the latter for each that was
# done twice, so that the end of a long run's output is enough to know what happened.
failures() {
	local name log
	while read -r name; do
		printf '=== %s was done twice\n' "$name"
		log_around_failures <"$LOGS/${name//\//.}.log" | cut -c -240 | head -n 60
	done < <(cat "$LOGS/repeated" 2>/dev/null)
	for name in "${CHECK_NAMES[@]}"; do
		[ "${CHECK_STATE[$name]:-}" = failed ] || continue
		log=$LOGS/${name//\//.}
		printf '=== %s failed\n' "$name"
		sed -n 's/^fail\t/    /p' "$log.results" | head -n 20
		printf -- '--- from its log\n'
		log_around_failures <"$log.log" | cut -c -240 | head -n 80
		printf -- '--- the end of its log\n'
		tail -n 25 "$log.log" | cut -c -240
	done
}

# log_around_failures <LOG: each case that failed in a kselftest's TAP, and what lab/vm and the report of a kernel say,
# with up to 12 lines before.
log_around_failures() {
	report=$REPORT awk '
		/^ok [0-9]|^# +(OK|RUN) / { kept = 0; next }
		{ line[kept++ % 12] = $0 }
		/^ *not ok [0-9]/ || /^# exit status / || /^(lab\/vm|timeout):/ || $0 ~ ENVIRON["report"] {
			for (i = kept > 12 ? kept - 12 : 0; i < kept; i++)
				print line[i % 12]
			kept = 0
		}'
}

# run_checks JOBS: all selected checks, as many at a time, in the order of the table as far as needs allow.
run_checks() {
	local jobs=$1 name pid status open
	declare -gA RUNNING=() BEGAN=()
	trap stop_checks INT TERM HUP
	while :; do
		open=
		for name in "${CHECK_NAMES[@]}"; do
			[ "${CHECK_STATE[$name]:-}" = waiting ] || continue
			ready "$name"
			case $? in
			0) if [ ${#RUNNING[@]} -lt "$jobs" ]; then start_check "$name"; fi ;;
			2) drop_check "$name" ;;
			esac
			open=1
		done
		if [ ${#RUNNING[@]} -gt 0 ]; then
			wait -n -p pid "${!RUNNING[@]}"
			status=$?
			name=${RUNNING[$pid]}
			unset "RUNNING[$pid]"
			finish_check "$name" "$status"
		elif [ -z "$open" ]; then
			break
		fi
	done
}

# What was started and everything it started, when this run is cut short.
stop_checks() {
	local pid
	trap - INT TERM HUP
	for pid in "${!RUNNING[@]}"; do
		stop_tree "$pid"
	done
	exit 130
}

stop_tree() {
	local child children=()
	read -ra children 2>/dev/null <"/proc/$1/task/$1/children"
	for child in "${children[@]}"; do
		stop_tree "$child"
	done
	kill -TERM "$1" 2>/dev/null
}

# Prints what failed and the closing line; 0 if nothing failed and something passed.
summary() {
	failures
	[ ! -e "$LOGS/repeated" ] || echo "done twice, as QEMU may have lost the machine: $(sort "$LOGS/repeated" | paste -sd ' ')"
	say "it took $((SECONDS / 60)) min $((SECONDS % 60)) s"
	cat "$LOGS"/*.results 2>/dev/null | awk -F '\t' '
		{ n[$1]++ }
		END {
			printf "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"]
			exit n["fail"] > 0 || n["pass"] == 0
		}'
}

# scratch_disk: prints the path of an empty disk of 8 MiB for lab/vm --disk, which writes nothing to it.
scratch_disk() {
	mkdir -p "$BUILD/lab"
	truncate -s 8M "$BUILD/lab/scratch.img"
	echo "$BUILD/lab/scratch.img"
}
