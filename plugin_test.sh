#!/usr/bin/env bash
# plugin_test.sh: does an executable keep the contract of gpbackup's storage plugins?
#
#   plugin_test.sh EXECUTABLE CONFIG [SECONDARY_CONFIG]
#
# Every plugin command is tried one by one, as gpbackup, gprestore, gpbackup_helper and gpbackman call it; then a
# stand-in of gpbackup makes a whole backup of several segments and restores it into another directory layout.
# No database is needed: bash, coreutils and gzip are enough. CONFIG is the YAML that --plugin-config would name. What is
# stored behind it, about 5 MB, has fresh timestamps of 14 digits that begin with 99, and is deleted at the end.
# SECONDARY_CONFIG names the replica that replicate_backup writes to.
#
# One line a check, "ok" or "FAIL"; exit 0 only if all pass.
#
#   PLUGIN_TEST_SECTIONS   run only these sections (see the last lines of this file)
#   PLUGIN_TEST_LIMIT      seconds after which a command counts as hung (60)
#   PLUGIN_TEST_PATIENCE   seconds in which a pipe must end after the command has (10)
set -u -o pipefail
export LC_ALL=C
exec </dev/null

usage() { echo "usage: plugin_test.sh EXECUTABLE CONFIG [SECONDARY_CONFIG]" >&2; exit 2; }
(( $# == 2 || $# == 3 )) || usage
exe=$(realpath -s -- "$1") config=$(realpath -s -- "$2") secondary=${3:+$(realpath -s -- "$3")}
[[ -x $exe && ! -d $exe ]] || { echo "plugin_test.sh: $1 is no executable" >&2; exit 2; }
[[ -r $config && ( -z $secondary || -r $secondary ) ]] || { echo "plugin_test.sh: the configuration cannot be read" >&2; exit 2; }
[[ $exe$config$secondary != *[[:space:]]* ]] || { echo "plugin_test.sh: gpbackup does not quote paths: no blanks" >&2; exit 2; }
limit=${PLUGIN_TEST_LIMIT:-60} patience=${PLUGIN_TEST_PATIENCE:-10}

# ---- scaffolding -------------------------------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/plugin_test.XXXXXX") || exit 2
cwd=$work/pgdata # a segment's data directory, where nothing may be left
mkdir "$cwd" "$work/run" "$work/said"
printf -v stem '99%05d%05d' $(((RANDOM * 32768 + RANDOM) % 100000)) $(((RANDOM * 32768 + RANDOM) % 100000))
used=0 passed=0 failed=0 section=none

clean_up() {
    local i
    trap - EXIT INT TERM HUP
    for ((i = 0; i < used; i++)); do
        timeout "$limit" "$exe" delete_backup "$config" "$stem$(printf %02d "$i")" >/dev/null 2>&1
        (($? != 124)) || break # it hangs
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# fresh: a timestamp that was never used (and is no date) in $ts; each is the one before plus 1.
fresh() { printf -v ts '%s%02d' "$stem" "$used"; used=$((used + 1)); }
# dir CONTENT [ROOT]: the directory that gpbackup would name for $ts; key the same of one table.
dir() { echo "${2:-$root}/seg$1/backups/${ts:0:8}/$ts"; }
key() { echo "$(dir "$1")/gpbackup_$1_${ts}_$2"; }

# plugin COMMAND ARGUMENT...: one call. Status in $rc, output in $out and $err; also remembers who spoke out of turn.
plugin() {
    out=$work/run/$BASHPID.out err=$work/run/$BASHPID.err
    (cd "$cwd" && umask 077 && exec timeout -k 5 "$limit" "$exe" "$@") >"$out" 2>"$err"
    rc=$?
    remember "${1:-nothing}"
}
remember() {
    local said=$work/said/$1
    if ((rc == 0)); then
        : >>"$said.succeeded"
        [[ ! -s $err ]] || head -n 1 "$err" >>"$said.stderr"
        case $1 in
        setup_* | cleanup_* | backup_* | restore_file | delete_backup | delete_directory | replicate_backup)
            : >>"$said.mute"
            [[ ! -s $out ]] || head -n 1 "$out" >>"$said.stdout" ;;
        esac
    elif refused; then
        : >>"$said.failed"
        [[ -s $err ]] || echo "failed with status $rc and no word" >>"$said.reason"
        (($(wc -c <"$err") < 65536)) || echo "more than 64 KiB on stderr" >>"$said.reason"
    fi
}

fine() { ((rc == 0)); }
refused() { ((rc > 0 && rc < 124)); } # not hung, not killed, not missing
empty_handed() { refused && [[ ! -s $out ]]; }
gives() { fine && cmp -s "$1" "$out"; } # the last call succeeded and printed this file
same() { cmp -s "$1" "$2"; }
brings() { fine && same "$1" "$2"; } # the last call succeeded, and the file is there

# check WHAT COMMAND...: one line of the result. `expect` is the same for one plugin call and a verdict on it.
check() {
    local what="$section: $1"
    shift
    if "$@"; then
        passed=$((passed + 1)); echo "ok   $what"
    else
        failed=$((failed + 1)); echo "FAIL $what -- exit ${rc:-?}: $(head -c 200 "${err:-/dev/null}" | head -n 1)"
    fi
}
expect() { local what=$1 verdict=$2; shift 2; plugin "$@"; check "$what" $verdict; }

# together COMMAND...: runs it with 0..5 as last argument, all at once; true if each of them was.
together() {
    local i pids=() all=0
    for i in 0 1 2 3 4 5; do "$@" "$i" & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i" || all=1; done
    return $all
}

# store KEY FILE: a stream that later checks need.
store() { plugin backup_data "$config" "$1" <"$2"; }

# ---- test data: less than 1.5 MB ---------------------------------------------------------------------------------

text=$work/text binary=$work/binary big=$work/big nothing=$work/nothing other=$work/other
seq -f 'row %g,"a, ""quoted"" field",\N' 1 900 >"$text"
seq -f 'another %g' 1 900 >"$other"
for ((i = 0; i < 256; i++)); do printf -v hex %02x "$i"; printf "\\x$hex"; done >"$binary"
printf '\r\n\0\0no newline at the end' >>"$binary"
{ head -c 500000 /dev/urandom; seq 1 100000; } | head -c 1000000 >"$big"
: >"$nothing"

# ---- sections ----------------------------------------------------------------------------------------------------

at_least_0_3_0() {
    local v
    v=$(<"$out")
    fine && [[ $v =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] && (($(wc -l <"$out") == 1)) || return 1
    ((BASH_REMATCH[1] > 0 || BASH_REMATCH[2] >= 3))
}
three_words() {
    local words
    read -r -a words <"$out"
    fine && (($(wc -l <"$out") == 1)) && ((${#words[@]} == 3)) && [[ ${words[1]} == version ]]
}
section_versions() {
    expect "plugin_api_version prints one semantic version, at least 0.3.0, and nothing else" at_least_0_3_0 plugin_api_version
    expect "--version prints one line of three words: name, 'version', number" three_words --version
    cp "$out" "$work/version"
    HOME= XDG_CACHE_HOME= plugin --version
    check "--version prints the same without a home directory" gives "$work/version"
}

hook_again() { plugin "$1" "$config" "$(dir "$2")" segment_host && fine && plugin "$1" "$config" "$(dir "$2")" segment "\"$2\"" && fine; }
section_hooks() {
    local hook scope id
    fresh
    for hook in setup_plugin_for_backup setup_plugin_for_restore cleanup_plugin_for_backup cleanup_plugin_for_restore; do
        # gpbackup's quotes arrive as part of the argument.
        for scope in 'master "-1"' 'coordinator "-1"' 'segment "0"' 'master -1' 'segment 0' master segment segment_host; do
            read -r scope id <<<"$scope"
            expect "$hook with $scope and ${id:-no content id}" fine "$hook" "$config" "$(dir 0)" "$scope" ${id:+"$id"}
        done
        plugin "$hook" "$config" "$(dir 0)" segment_host
        expect "$hook a second and third time" fine "$hook" "$config" "$(dir 0)" segment_host
        check "$hook of six segments at once" together hook_again "$hook"
        ls -A "$cwd" >"$work/ls"
        check "$hook leaves nothing in the working directory" same "$work/ls" "$nothing"
    done
}

only_listed() { refused && [[ ! -e $1 ]]; }
section_files() {
    local d stored away
    fresh
    d=$(dir -1) away=$root/elsewhere/${ts:0:8}/$ts
    mkdir -p "$d" "$away"
    stored=$d/gpbackup_${ts}_metadata.sql
    cp "$text" "$stored"; chmod 0444 "$stored"
    expect "backup_file stores a read-only file" fine backup_file "$config" "$stored"
    check "backup_file leaves the file as it was" same "$text" "$stored"
    rm -f "$stored"
    plugin restore_file "$config" "$stored"
    check "restore_file brings the file back" brings "$text" "$stored"
    rm -f "$stored"; cp "$other" "$stored"; chmod 0444 "$stored"
    plugin restore_file "$config" "$stored"
    check "restore_file replaces a read-only file" brings "$text" "$stored"
    plugin restore_file "$config" "$away/${stored##*/}"
    check "restore_file writes under another parent directory" brings "$text" "$away/${stored##*/}"
    plugin restore_file "$config" "$d/gpbackup_${ts}_statistics.sql"
    check "restore_file of a missing key fails and makes no file" only_listed "$d/gpbackup_${ts}_statistics.sql"
    cp "$other" "$d/gpbackup_${ts}_report"
    expect "restore_file of a missing key fails where a file is" refused restore_file "$config" "$d/gpbackup_${ts}_report"
    check "restore_file of a missing key leaves an existing file alone" same "$other" "$d/gpbackup_${ts}_report"
    expect "backup_file of a missing file fails" refused backup_file "$config" "$d/gpbackup_${ts}_config.yaml"

    cp "$nothing" "$d/gpbackup_${ts}_toc.yaml"
    expect "backup_file stores an empty file" fine backup_file "$config" "$d/gpbackup_${ts}_toc.yaml"
    rm -f "$d/gpbackup_${ts}_toc.yaml"
    plugin restore_file "$config" "$d/gpbackup_${ts}_toc.yaml"
    check "restore_file brings an empty file back" brings "$nothing" "$d/gpbackup_${ts}_toc.yaml"

    expect "backup_file of the same file twice is a success" fine backup_file "$config" "$stored"
    rm -f "$stored"; cp "$other" "$stored"
    expect "backup_file does not silently replace other content" refused backup_file "$config" "$stored"
    plugin restore_file "$config" "$stored"
    check "restore_file after a refused backup_file gives the first content" brings "$text" "$stored"

    plugin restore_data "$config" "$stored"
    check "restore_data reads what backup_file stored" gives "$text"
    plugin restore_data "$config" "/reports/${stored##*/}"
    check "restore_data finds a file of the timestamp in its name under any directory" gives "$text"
    store "$(key 0 16384)" "$text"
    mkdir -p "$(dir 0)"
    plugin restore_file "$config" "$(key 0 16384)"
    check "restore_file reads what backup_data stored" brings "$text" "$(key 0 16384)"
}

# round_trip WHAT KEY FILE: two checks.
round_trip() {
    store "$2" "$3"; check "backup_data takes $1" fine
    plugin restore_data "$config" "$2"; check "restore_data gives $1" gives "$3"
}
one_of_six() { { echo "stream $1"; cat "$text"; } >"$work/six.$1"; store "$(key "$1" 500)" "$work/six.$1"; fine; }
six_equal() {
    local i
    for i in 0 1 2 3 4 5; do plugin restore_data "$config" "$(key "$i" 500)"; gives "$work/six.$i" || return 1; done
}
quiet_start() { [[ ! -s $err ]] && head -c 1000 "$big" | cmp -s - "$work/head"; }
section_data() {
    local plain hook
    fresh
    plain=$(key 0 100)
    round_trip "text" "$plain" "$text"
    round_trip "an empty stream" "$(key 0 101)" "$nothing"
    round_trip "binary data" "$(key 0 102)" "$binary"
    round_trip "a million bytes" "$(key 0 103)" "$big"
    round_trip "a key whose parent is not backups" "$work/any/${ts:0:8}/$ts/test_data" "$text"
    plugin restore_data "$config" "$work/new/host/seg7/backups/${ts:0:8}/$ts/gpbackup_0_${ts}_100"
    check "restore_data under another parent directory" gives "$text"
    for hook in cleanup_plugin_for_backup cleanup_plugin_for_restore; do
        plugin $hook "$config" "$(dir -1)" master '"-1"'; plugin $hook "$config" "$(dir 0)" segment_host; plugin $hook "$config" "$(dir 0)" segment '"0"'
    done
    plugin restore_data "$config" "$plain"
    check "restore_data after cleanup gives what was stored before it" gives "$text"
    round_trip "text under the same timestamp after cleanup" "$(key 0 104)" "$other"
    { head -c 5000 "$text"; sleep 0.2; tail -c +5001 "$text"; } | store "$(key 0 105)" /dev/stdin
    plugin restore_data "$config" "$(key 0 105)"
    check "backup_data waits for the end of a slow writer" gives "$text"
    HOME= XDG_CACHE_HOME= plugin backup_data "$config" "$(key 0 106)" <"$text"
    HOME= XDG_CACHE_HOME= plugin restore_data "$config" "$(key 0 106)"
    check "backup_data and restore_data work without a home directory" gives "$text"

    expect "restore_data of a missing key fails before any byte" empty_handed restore_data "$config" "$(key 0 999)"
    fresh
    expect "restore_data of a missing timestamp fails before any byte" empty_handed restore_data "$config" "$(key 0 100)"
    plugin backup_data "$work/no.yaml" "$(key 0 107)" <"$text"
    check "backup_data fails if there is no configuration" refused
    expect "restore_data fails if there is no configuration" empty_handed restore_data "$work/no.yaml" "$plain"

    store "$plain" "$text"; check "backup_data of the same content twice is a success" fine
    store "$plain" "$other"; check "backup_data does not silently replace other content" refused
    plugin restore_data "$config" "$plain"
    check "restore_data after a refused backup_data gives the first content" gives "$text"

    check "backup_data of six streams at once" together one_of_six
    check "restore_data gives each of six streams that were stored at once" six_equal

    fresh
    store "$(key 0 103)" "$big"
    err=$work/run/early.err
    (cd "$cwd" && "$exe" restore_data "$config" "$(key 0 103)" 2>"$err" | head -c 1000 >"$work/head")
    check "restore_data says nothing when its reader closes early" quiet_start
    (trap '' PIPE; cd "$cwd" && timeout "$limit" "$exe" restore_data "$config" "$(key 0 103)" 2>"$err" | head -c 1000 >"$work/head")
    check "restore_data says nothing when its reader closes early and SIGPIPE is ignored" quiet_start
    plugin restore_data "$config" "$(key 0 103)"
    check "restore_data works after a reader that closed early" gives "$big"
    ls -A "$cwd" >"$work/ls"
    check "backup_data and restore_data leave nothing in the working directory" same "$work/ls" "$nothing"
}

# interrupt SIGNAL KEY: backup_data gets the signal in the middle of its stream, which stays open. Status in $rc.
interrupt() {
    local pid fd i
    rm -f "$work/fifo"; mkfifo "$work/fifo"
    err=$work/run/signal.err
    set -m # else SIGINT would be ignored in the background
    (cd "$cwd" && exec "$exe" backup_data "$config" "$2" <"$work/fifo" >/dev/null 2>"$err") &
    pid=$!
    set +m
    exec {fd}>"$work/fifo"
    timeout "$limit" head -c 300000 "$big" >&"$fd" # more than a pipe holds: it is reading
    kill -"$1" $pid
    for ((i = 0; i < patience * 10; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done
    exec {fd}>&-
    wait $pid 2>/dev/null; rc=$?
}
died() { ((rc > 0)); }
section_signals() {
    local signal
    fresh
    # A cancelled COPY sends the first three to the plugin too; then comes the end of the stream, which proves nothing.
    for signal in INT TERM QUIT KILL; do
        interrupt $signal "$(key 0 $signal)" 2>/dev/null
        [[ $signal == KILL ]] || check "backup_data fails when SIG$signal comes in mid stream" died
        expect "restore_data of a stream ended by SIG$signal fails before any byte" empty_handed restore_data "$config" "$(key 0 $signal)"
    done
    store "$(key 0 TERM)" "$text"
    plugin restore_data "$config" "$(key 0 TERM)"
    check "backup_data after an interrupted one of the same key" gives "$text"
}

# ends COMMAND...: stdout and stderr are one pipe; it must end as soon as the command has.
ends() {
    timeout "$patience" bash -o pipefail -c '"$@" 2>&1 | cat >/dev/null' ends "$exe" "$@"
    rc=$?
    fine
}
section_descriptors() {
    fresh
    err=/dev/null
    check "setup_plugin_for_backup keeps no pipe open" ends setup_plugin_for_backup "$config" "$(dir -1)" master '"-1"'
    check "backup_data keeps no pipe open" ends backup_data "$config" "$(key 0 16384)" <"$text"
    check "setup_plugin_for_restore keeps no pipe open" ends setup_plugin_for_restore "$config" "$(dir 0)" segment_host
    check "restore_data keeps no pipe open" ends restore_data "$config" "$(key 0 16384)"
    check "cleanup_plugin_for_backup keeps no pipe open" ends cleanup_plugin_for_backup "$config" "$(dir 0)" segment '"0"'
}

# subset WHAT RANGES KEY FILE: the ranges come out in the order given, as gpbackup_helper wants them.
subset() {
    local numbers i
    read -r -a numbers <<<"$2"
    for ((i = 1; i < ${#numbers[@]}; i += 2)); do
        tail -c +$((numbers[i] + 1)) "$4" | head -c $((numbers[i + 1] - numbers[i]))
    done >"$work/wanted" 2>/dev/null
    (umask 077; printf %s "$2" >"$work/offsets")
    plugin restore_data_subset "$config" "$3" "$work/offsets"
    check "restore_data_subset gives $1 ($2)" gives "$work/wanted"
}
section_subset() {
    local k
    fresh
    k=$(dir 0)/gpbackup_0_$ts
    store "$k" "$big"
    subset "a few bytes" "1 3 10" "$k" "$big"
    subset "one byte far in" "1 900000 900001" "$k" "$big"
    subset "two ranges" "2 0 700000 900000 900001" "$k" "$big"
    subset "the whole" "1 0 1000000" "$k" "$big"
    subset "the last byte" "1 999999 1000000" "$k" "$big"
    subset "nothing for a table without data" "3 0 0 100 120 0 0" "$k" "$big"
    subset "nothing at all" "1 0 0" "$k" "$big"
    subset "ranges out of order" "3 900000 900010 5 20 400000 400100" "$k" "$big"
    subset "ranges that overlap" "2 10 30 20 40" "$k" "$big"
    store "$(dir 1)/gpbackup_1_$ts" "$nothing"
    subset "nothing of an empty stream" "1 0 0" "$(dir 1)/gpbackup_1_$ts" "$nothing"
    subset "a range under another parent directory" "1 5 50" "$work/resized/seg0/backups/${ts:0:8}/$ts/gpbackup_0_$ts" "$big"
    printf %s "1 999990 1000010" >"$work/offsets"
    expect "restore_data_subset of a range beyond the end fails" refused restore_data_subset "$config" "$k" "$work/offsets"
    printf %s "2 5 10" >"$work/offsets"
    expect "restore_data_subset with a broken offsets file fails before any byte" empty_handed restore_data_subset "$config" "$k" "$work/offsets"
    printf %s "1 5 10" >"$work/offsets"
    expect "restore_data_subset of a missing key fails before any byte" empty_handed restore_data_subset "$config" "$k.no" "$work/offsets"
}

# unzips FILE: the last call gave a gzip stream of this content.
unzips() { fine && gzip -d -c <"$out" 2>/dev/null | cmp -s "$1" -; }
section_gzip() {
    local name source
    fresh
    for name in text nothing big; do
        source=$work/$name
        gzip -c -1 <"$source" >"$work/$name.gz"
        store "$(key 0 "$name.gz")" "$work/$name.gz"
        plugin restore_data "$config" "$(key 0 "$name.gz")"
        check "a .gz stream comes back with the same content (${name/nothing/empty})" unzips "$source"
    done
    cat "$work/text.gz" "$work/text.gz" >"$work/two.gz"; cat "$text" "$text" >"$work/two"
    store "$(key 0 two.gz)" "$work/two.gz"
    plugin restore_data "$config" "$(key 0 two.gz)"
    check "a .gz stream of two members comes back with the same content" unzips "$work/two"
    # A gzip that was killed leaves a clean end of a stream that is not whole.
    head -c 400000 "$work/big.gz" >"$work/cut.gz"
    store "$(key 0 cut.gz)" "$work/cut.gz"; check "backup_data of a truncated .gz stream fails" refused
    expect "restore_data of a truncated .gz stream fails before any byte" empty_handed restore_data "$config" "$(key 0 cut.gz)"
    head -c -1 "$work/text.gz" >"$work/cut.gz"
    store "$(key 0 cut1.gz)" "$work/cut.gz"; check "backup_data of a .gz stream without its last byte fails" refused
    store "$(key 0 void.gz)" "$nothing"; check "backup_data of a .gz stream of 0 bytes fails" refused
}

# fill: a timestamp with a stream and a file.
fill() { fresh; store "$(key 0 16384)" "$text"; mkdir -p "$(dir -1)"; report=$(dir -1)/gpbackup_${ts}_report; cp "$other" "$report"; plugin backup_file "$config" "$report"; }
never_lost() {
    store "$1" "$text"
    fine || return 0
    plugin restore_data "$config" "$1"
    gives "$text"
}
section_delete() {
    local first second
    fill; first=$ts
    fill; second=$ts
    ts=$first
    expect "delete_backup succeeds" fine delete_backup "$config" "$ts"
    expect "delete_backup is felt by restore_data at once" empty_handed restore_data "$config" "$(key 0 16384)"
    rm -f "$(dir -1)/gpbackup_${ts}_report"
    plugin restore_file "$config" "$(dir -1)/gpbackup_${ts}_report"
    check "delete_backup is felt by restore_file at once" only_listed "$(dir -1)/gpbackup_${ts}_report"
    printf %s "1 0 10" >"$work/offsets"
    expect "delete_backup is felt by restore_data_subset at once" empty_handed restore_data_subset "$config" "$(key 0 16384)" "$work/offsets"
    expect "delete_backup a second time is a success" fine delete_backup "$config" "$ts"
    expect "cleanup_plugin_for_backup of a deleted timestamp" fine cleanup_plugin_for_backup "$config" "$(dir 0)" master '"-1"'
    expect "cleanup_plugin_for_restore of a deleted timestamp" fine cleanup_plugin_for_restore "$config" "$(dir 0)" segment_host
    check "backup_data into a deleted timestamp is refused or kept, not lost" never_lost "$(key 0 16385)"
    ts=$second
    plugin restore_data "$config" "$(key 0 16384)"
    check "delete_backup leaves the streams of the next timestamp" gives "$text"
    rm -f "$report"; plugin restore_file "$config" "$report"
    check "delete_backup leaves the files of the next timestamp" brings "$other" "$report"
    fresh
    expect "delete_backup of an unknown timestamp is a success" fine delete_backup "$config" "$ts"
    expect "delete_backup refuses a timestamp of 13 digits" refused delete_backup "$config" "${ts%?}"
    expect "delete_backup refuses a timestamp with a letter" refused delete_backup "$config" "${ts%?}x"
    expect "delete_backup refuses a path for a timestamp" refused delete_backup "$config" "../$ts"
    ts=$second
    plugin delete_backup "$config" "$ts"
    expect "delete_backup of the next timestamp works too" empty_handed restore_data "$config" "$(key 0 16384)"
}

lists() { fine && [[ $(<"$out") == *"$1"* ]]; }
lists_not() { fine && [[ $(<"$out") != *"$1"* ]]; }
section_directory() {
    local k d
    fill; k=$(key 0 16384) d=$(dir 0)
    expect "list_directory names what is stored in a directory" "lists ${k##*/}" list_directory "$config" "$d"
    expect "delete_directory succeeds" fine delete_directory "$config" "$d"
    expect "delete_directory is felt by restore_data at once" empty_handed restore_data "$config" "$k"
    expect "list_directory does not name what was deleted" "lists_not ${k##*/}" list_directory "$config" "$d"
    expect "delete_directory a second time is a success" fine delete_directory "$config" "$d"
}

section_unknown() {
    expect "an unknown command fails" empty_handed unknown_command
    expect "an unknown command with a configuration fails" empty_handed unknown_command "$config"
    expect "no command at all fails" refused
    expect "backup_data without a key fails" refused backup_data "$config"
    expect "setup_plugin_for_backup without a directory fails" refused setup_plugin_for_backup "$config"
}

# ---- the stand-in of gpbackup ------------------------------------------------------------------------------------

# as_gpbackup_copies: the configuration as hosts get it: in another place, options as strings and two more of them.
as_gpbackup_copies() {
    local line indent
    copied=$work/${ts}_${config##*/}
    while IFS= read -r line || [[ -n $line ]]; do
        echo "$line"
        if [[ $line =~ ^options:[[:space:]]*$ ]]; then
            IFS= read -r line || true
            indent=${line%%[![:space:]]*}
            [[ $(<"$config") == *pgport:* ]] || echo "${indent}pgport: \"6000\""
            [[ $(<"$config") == *backup_plugin_version:* ]] || echo "${indent}backup_plugin_version: \"\""
            echo "$line"
        fi
    done <"$config" >"$copied"
}

one_hook() { plugin "$@" && fine; }
# hooks COMMAND ROOT: as gpbackup does: the coordinator first, then every segment's host, then every segment.
hooks() {
    local hook=$1 c pid pids all=0
    plugin "$hook" "$copied" "$(dir -1 "$2")" master '"-1"'; fine || all=1
    for scope in segment_host segment; do
        pids=()
        for c in 0 1 2; do
            if [[ $scope == segment ]]; then one_hook "$hook" "$copied" "$(dir $c "$2")" segment "\"$c\"" &
            else one_hook "$hook" "$copied" "$(dir $c "$2")" segment_host &
            fi
            pids+=($!)
        done
        for pid in "${pids[@]}"; do wait "$pid" || all=1; done
    done
    return $all
}

# table CONTENT OID: the rows of a table on a segment. 16385 is empty, 16386 is replicated.
table() {
    case $2 in
    16384) seq -f "$1,%g,\"some text of segment $1\",2024-03-01 00:00:00" 1 400 ;;
    16386) cat "$text" ;;
    16387) seq -f "%g,\\N,\\x00ff$1" 1 300; cat "$binary" ;;
    esac
}

# copy_out CONTENT: COPY ... TO PROGRAM of each table, the way a segment's backend runs it.
copy_out() {
    local oid all=0 errors=$work/run/$BASHPID.copy
    for oid in 16384 16385 16386 16387; do
        mkdir -p "$root/seg$1"
        table "$1" $oid | (cd "$root/seg$1" && umask 077 && GP_SEGMENT_ID=$1 timeout -k 5 "$limit" \
            sh -c "gzip -c -1 | $exe backup_data $copied $(key "$1" $oid).gz") >/dev/null 2>"$errors" || all=1
        [[ ! -s $errors ]] || all=1
    done
    return $all
}
# copy_in CONTENT: COPY ... FROM PROGRAM into another layout; the rows must be the same.
copy_in() {
    local oid all=0 errors=$work/run/$BASHPID.copy
    for oid in 16384 16385 16386 16387; do
        timeout -k 5 "$limit" sh -c "$exe restore_data $copied $(dir "$1" "$new")/gpbackup_$1_${ts}_$oid.gz | gzip -d -c" \
            >"$work/restored.$1.$oid" 2>"$errors" || all=1
        table "$1" $oid | cmp -s - "$work/restored.$1.$oid" && [[ ! -s $errors ]] || all=1
    done
    return $all
}
each_segment() {
    local c pids=() all=0
    for c in 0 1 2; do "$@" $c & pids+=($!); done
    for c in "${pids[@]}"; do wait "$c" || all=1; done
    return $all
}

# write_files: what gpbackup leaves in the coordinator's directory of $ts.
write_files() {
    local f
    f=$(dir -1)/gpbackup_$ts
    mkdir -p "$(dir -1)"
    printf 'CREATE TABLE public.t%s (a int, b text);\n' 1 2 3 4 >"${f}_metadata.sql"
    {
        echo 'globalentries: []'; echo 'predataentries: []'; echo 'postdataentries: []'; echo 'statisticsentries: []'
        echo 'dataentries:'
        for oid in $oids; do
            printf -- '- schema: public\n  name: t%s\n  oid: %s\n  attributestring: (a,b)\n  rowscopied: 0\n' "$oid" "$oid"
            printf '  partitionroot: ""\n  isreplicated: false\n  distbyenum: false\n'
        done
        printf 'incrementalmetadata:\n  ao: {}\n'
    } >"${f}_toc.yaml"
    cat "$config" >"${f}_plugin_config.yaml"
    {
        printf 'backupdir: ""\nbackupversion: 1.30.5\ncompressed: %s\ncompressiontype: %s\n' "$1" "$2"
        printf 'databasename: plugin_test\ndatabaseversion: 6.25.3\nsegmentcount: 3\ndataonly: false\ndatedeleted: ""\n'
        printf 'excluderelations: []\nexcludeschemafiltered: false\nexcludeschemas: []\nexcludetablefiltered: false\n'
        printf 'includerelations: []\nincludeschemafiltered: false\nincludeschemas: []\nincludetablefiltered: false\n'
        printf 'incremental: false\nleafpartitiondata: false\nmetadataonly: false\nplugin: %s\npluginversion: 1.0.0\n' "$exe"
        printf 'restoreplan:\n- timestamp: "%s"\n  tablefqns:\n' "$ts"
        for oid in $oids; do printf '  - public.t%s\n' "$oid"; done
        printf 'singledatafile: %s\ntimestamp: "%s"\nendtime: "%s"\n' "$3" "$ts" "$ts"
        printf 'withoutglobals: false\nwithstatistics: false\nstatus: Success\n'
    } >"${f}_config.yaml"
    echo "plugin_test.sh stands in for gpbackup" >"${f}_report"
    chmod 0444 "$f"_*
}
# files COMMAND ROOT NAME...: coordinator files, one after the other.
files() {
    local command=$1 at=$2 name all=0
    shift 2
    mkdir -p "$(dir -1 "$at")"
    for name in "$@"; do plugin "$command" "$copied" "$(dir -1 "$at")/gpbackup_${ts}_$name"; fine || all=1; done
    return $all
}
files_equal() {
    local name
    for name in metadata.sql toc.yaml config.yaml report; do
        cmp -s "$(dir -1)/gpbackup_${ts}_$name" "$(dir -1 "$new")/gpbackup_${ts}_$name" || return 1
    done
}

# With --single-data-file all tables of a segment are one stream, and its own toc.yaml says where each begins.
one_stream() {
    local oid start=0 size toc
    mkdir -p "$(dir "$1")"
    toc=$(dir "$1")/gpbackup_$1_${ts}_toc.yaml
    echo dataentries: >"$toc"
    for oid in $oids; do
        size=$(table "$1" $oid | wc -c)
        printf '  %s:\n    startbyte: %d\n    endbyte: %d\n' $oid $start $((start + size)) >>"$toc"
        start=$((start + size))
        table "$1" $oid
    done >"$work/single.$1"
    chmod 0444 "$toc"
    plugin backup_data "$copied" "$(dir "$1")/gpbackup_$1_$ts" <"$work/single.$1"; fine || return 1
    plugin backup_file "$copied" "$toc"; fine && chmod 0755 "$toc"
}
# whole_stream CONTENT: as a restore to fewer segments asks: content N from the directory of another segment.
whole_stream() {
    plugin restore_data "$copied" "$(dir 9 "$new")/gpbackup_$1_$ts"
    gives "$work/single.$1" || return 1
    mkdir -p "$(dir 9 "$new")"
    plugin restore_file "$copied" "$(dir 9 "$new")/gpbackup_$1_${ts}_toc.yaml"
    fine && cmp -s "$(dir "$1")/gpbackup_$1_${ts}_toc.yaml" "$(dir 9 "$new")/gpbackup_$1_${ts}_toc.yaml"
}
one_table() {
    local lines start end
    mapfile -t lines <"$(dir "$1")/gpbackup_$1_${ts}_toc.yaml"
    start=${lines[11]##* } end=${lines[12]##* } # the fourth table
    (umask 077; printf '2 0 0 %d %d' "$start" "$end" >"$work/offsets.$1")
    plugin restore_data_subset "$copied" "$(dir "$1" "$new")/gpbackup_$1_$ts" "$work/offsets.$1"
    table "$1" 16387 >"$work/rows.$1"
    gives "$work/rows.$1"
}

section_backup() {
    local previous c
    new=$work/restored/cluster oids='16384 16385 16386 16387'
    fresh; as_gpbackup_copies; write_files true gzip false
    check "setup_plugin_for_backup on the coordinator and 3 segments" hooks setup_plugin_for_backup "$root"
    check "4 tables of 3 segments are copied out through gzip" each_segment copy_out
    check "the coordinator's files are stored, status Success last but one" files backup_file "$root" metadata.sql toc.yaml plugin_config.yaml config.yaml report
    check "cleanup_plugin_for_backup on the coordinator and 3 segments" hooks cleanup_plugin_for_backup "$root"
    for c in 0 1 2; do ls -A "$root/seg$c"; done >"$work/ls"
    check "nothing is left in the data directories" same "$work/ls" "$nothing"
    check "setup_plugin_for_restore in another directory layout" hooks setup_plugin_for_restore "$new"
    check "the coordinator's files are restored" files restore_file "$new" config.yaml metadata.sql report toc.yaml
    check "the coordinator's files are the same" files_equal
    check "4 tables of 3 segments are copied in, every row the same" each_segment copy_in
    check "cleanup_plugin_for_restore in another directory layout" hooks cleanup_plugin_for_restore "$new"

    previous=$ts
    fresh; as_gpbackup_copies; write_files false '""' true
    check "setup_plugin_for_backup of the next backup" hooks setup_plugin_for_backup "$root"
    ts=$((ts - 1)); check "the previous backup's files are there for an incremental one" files restore_file "$new" config.yaml toc.yaml plugin_config.yaml
    ts=$((ts + 1)); check "one stream and a toc.yaml of each segment are stored" each_segment one_stream
    check "the next backup's files are stored" files backup_file "$root" metadata.sql toc.yaml plugin_config.yaml config.yaml report
    check "cleanup_plugin_for_backup of the next backup" hooks cleanup_plugin_for_backup "$root"
    check "a segment's stream is restored under another segment" each_segment whole_stream
    check "one table of each segment's stream is restored" each_segment one_table
    ts=$previous
    check "the previous backup is still the same" each_segment copy_in
}

# known COMMAND: does the executable say the same of it as of a command that cannot exist?
known() {
    local usual
    plugin no_such_command; usual=$(<"$err")
    plugin "$1"
    [[ ${usual//no_such_command/$1} != "$(<"$err")" ]]
}
said_deleted() { fine && [[ $(<"$out") == "already deleted" ]]; }
section_replicate() {
    [[ -n $secondary ]] || { echo "skip replicate: no secondary configuration"; return; }
    known replicate_backup || { echo "skip replicate: replicate_backup is not a command of this plugin"; return; }
    fill
    expect "replicate_backup succeeds" fine replicate_backup "$config" "$ts"
    plugin restore_data "$secondary" "$(key 0 16384)"
    check "the replica gives the stream" gives "$text"
    plugin restore_data "$secondary" "$report"
    check "the replica gives the file" gives "$other"
    plugin replicate_backup "$config" "$ts" # some refuse that, some find that nothing is to be done
    plugin restore_data "$secondary" "$(key 0 16384)"
    check "replicate_backup a second time leaves the replica as it was" gives "$text"
    plugin delete_backup "$config" "$ts"
    expect "replicate_backup of a deleted timestamp fails" refused replicate_backup "$config" "$ts"
    plugin restore_data "$secondary" "$(key 0 16384)"
    check "delete_backup leaves the replica" gives "$text"
    expect "delete_replica succeeds" fine delete_replica "$config" "$ts"
    expect "delete_replica is felt by restore_data at once" empty_handed restore_data "$secondary" "$(key 0 16384)"
    expect "delete_replica a second time says 'already deleted'" said_deleted delete_replica "$config" "$ts"
    fill
    plugin replicate_backup "$config" "$ts"; plugin delete_replica "$config" "$ts"
    plugin restore_data "$config" "$(key 0 16384)"
    check "delete_replica leaves the backup" gives "$text"
    fresh
    expect "replicate_backup of an unknown timestamp fails" refused replicate_backup "$config" "$ts"
}

# What every call must obey, summed up for each command that ran.
summary() {
    local said command kind what
    section=streams rc=
    for kind in succeeded.stderr mute.stdout failed.reason; do
        for said in "$work"/said/*."${kind%.*}"; do
            [[ -e $said ]] || continue
            command=${said##*/} command=${command%.*} err=${said%.*}.${kind#*.}
            case $kind in
            *stderr) what="is silent on stderr when it succeeds" ;;
            *stdout) what="is silent on stdout" ;;
            *) what="says why it fails, in less than 64 KiB" ;;
            esac
            check "${command/nothing/no command} $what" test ! -s "$err"
        done
    done
}

for name in ${PLUGIN_TEST_SECTIONS:-versions hooks files data signals descriptors subset gzip delete directory unknown backup replicate}; do
    declare -F "section_$name" >/dev/null || { echo "plugin_test.sh: no section $name" >&2; exit 2; }
    section=$name root=$work/cluster/$name
    "section_$name"
done
summary
echo "$passed passed, $failed failed"
((failed == 0))
