# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lab/test counts what it parses, so the parsers are fed failures, skips and endings that come too early.

check lab/parsers "" check_parsers

# parsed_as NAME PARSER EXPECTED <INPUT: the parser makes these results of its input.
parsed_as() {
	local name=$1 parser=$2 expected=$3 got RESULTS_KEPT=$RESULTS
	RESULTS=$LOGS/parsed
	rm -f "$RESULTS"
	$parser
	got=$(tr '\t\n' ' ;' <"$RESULTS")
	RESULTS=$RESULTS_KEPT
	echo "# $name: $got"
	if [ "$got" = "$expected" ]; then pass "$name"; else fail "$name"; fi
}

skip_with_reason() {
	skip x "because of this"
}

# summary_of <RESULTS: what lab/test closes with where these are all results, and its status.
summary_of() (
	LOGS=$(mktemp -d)
	# shellcheck disable=SC2034 # of lab/lib/checks.sh
	CHECK_NAMES=()
	trap 'rm -rf "$LOGS"' EXIT
	cat >"$LOGS/x.results"
	summary
	echo "status $?"
)

# runs_on CPU WORDS...: what the check thinks of a log with as many suites, each of which says so of itself.
runs_on() {
	printf '### suite x\nTAP version 13\n# kiln on %s\nok 1 a\n### status 0\n' "${@:2}" |
		if [ $# -gt 1 ]; then cat; else true; fi | suites_ran_on "$1"
}

fails() {
	! "$@"
}

check_parsers() {
	parsed_as "TAP: pass, fail and skip are told apart" "tap_results x." \
		"pass x.a.b;fail x.c;skip x.d no such CPU;" <<-'END'
			TAP version 13
			1..3
			# Starting 3 tests from 1 test cases.
			ok 1 a.b
			not ok 2 c
			ok 3 d # SKIP no such CPU
		END
	parsed_as "TAP: a skipped case gets the name it ran under" "tap_results x." "skip x.a.d no such CPU;" <<-'END'
			1..1
			#  RUN           a.d ...
			ok 1 # SKIP no such CPU
		END
	parsed_as "TAP: a suite that ends early fails" "tap_results x." \
		"pass x.a;fail x.end (1 of 3 cases reported);" <<-'END'
			1..3
			ok 1 a
		END
	parsed_as "TAP: a skip without a reason fails" "tap_results x." "fail x.a (skipped without a reason);" <<-'END'
			1..1
			ok 1 a # SKIP
		END
	parsed_as "KUnit: a skip without a reason fails" "kunit_results x." "fail x.kunit s.a (skipped without a reason);" <<-'END'
			    # Subtest: s
			    1..1
			    ok 1 a # SKIP
		END
	parsed_as "a check that skips without a reason fails" "skip x" "fail x (skipped without a reason);" </dev/null
	parsed_as "a check that skips says why" "skip_with_reason" "skip x because of this;" </dev/null
	parsed_as "TAP: no case at all fails" "tap_results x." "fail x.end (0 of 0 cases reported);" </dev/null
	parsed_as "KUnit: cases are counted, suites and subcases are not" "kunit_results x." \
		"pass x.kunit s.good;fail x.kunit s.bad;skip x.kunit s.none not here;" <<-'END'
			KTAP version 1
			1..1
			    KTAP version 1
			    # Subtest: s
			    1..3
			        # Subtest: good
			        ok 1 one
			        ok 2 two
			    ok 1 good
			    not ok 2 bad
			    ok 3 none # SKIP not here
			# Totals: pass:1 fail:1 skip:1 total:3
			not ok 1 s
		END
	parsed_as "KUnit: a missing case fails" "kunit_results x." \
		"pass x.kunit s.a;fail x.kunit end (1 of 2 cases reported by 1 suites);" <<-'END'
			    # Subtest: s
			    1..2
			    ok 1 a
		END
	expect "lab/test: closes with the three numbers, and fails if one failed" test \
		"$(printf 'pass\ta\npass\tb\nfail\tc\nskip\td\twhy\n' | summary_of | xargs)" = "2 passed, 1 failed, 1 skipped status 1"
	expect "lab/test: succeeds if none did" test \
		"$(printf 'pass\ta\nskip\td\twhy\n' | summary_of | xargs)" = "1 passed, 0 failed, 1 skipped status 0"
	expect "lab/test: fails if nothing passed" test \
		"$(printf 'skip\td\twhy\n' | summary_of | xargs)" = "0 passed, 0 failed, 1 skipped status 1"
	expect "suites: the one that ended the machine is known" test "$(printf '### suite %s\n### status 0\n### suite %s\n' a b | unfinished_suite)" = b
	expect "suites: none did" test -z "$(printf '### suite a\n### status 0\n' | unfinished_suite)"
	expect "suites: those after it are run" test "$(suites_after "$(printf '%s\n' a b c d)" b | xargs)" = "c d"
	expect "suites: all ran on the vendor that they should" runs_on amd "AMD SVM" "AMD SVM"
	expect "suites: one that ran on the other is seen" fails runs_on amd "AMD SVM" "Intel VMX"
	expect "suites: one that does not say is seen" fails runs_on intel "Intel VMX" ""
	expect "suites: no suite at all is seen" fails runs_on intel
	expect "suites: none are after the end" test -z "$(suites_after "$(printf '%s\n' a b)" '')"
}
