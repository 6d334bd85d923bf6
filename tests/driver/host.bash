# shellcheck shell=bash
# A host for the driver alone: the descriptors of src/bootstrap/shell/process.rs, the lines of src/bootstrap/shell/protocol.rs.
#
# host_start, then host_invoke, host_state and host_end leave in host_words what the driver said, a
# word an element. The files in BATS_TEST_TMPDIR: arguments, event, response, control, log, state.

# How long anything may take, in hundredths of a second.
host_limit=2000
host_scripts=$BATS_TEST_DIRNAME/../../runtime-scripts

host_until() { # <command...>: until it succeeds
  local tries
  for ((tries = 0; tries < host_limit; tries++)); do
    if "$@"; then return 0; fi
    sleep 0.01
  done
  printf 'not so after %s: %s\n' "$((host_limit / 100)) s" "$*" >&2
  printf -- '--- control\n%s\n--- log\n%s\n' "$(tr '\0' '\n' <control)" "$(cat log)" >&2
  return 1
}

# Starts bash with the driver and the file function.sh.
host_start() { # <function> [what set is given...]
  local name
  cd "$BATS_TEST_TMPDIR" || return
  for name in arguments event response control log state; do : >"$name"; done
  # shellcheck disable=SC2094 # they are in two folders
  cat "$host_scripts"/{rare,lambda,subshell}.bash >rare
  # shellcheck disable=SC2094
  cat "$host_scripts"/{driver,keep}.bash >driver
  mkfifo script
  exec {host_script}<>script
  host_read=0 host_count=0 host_settled=0
  (
    # As under the real host there is nothing from 10 up, where bash sets descriptors aside; and bats
    # watches 3, which would keep its run from ending.
    for name in /proc/"$BASHPID"/fd/*; do
      name=${name##*/}
      if ((name > 2)); then eval "exec $name>&-"; fi
    done
    exec </dev/null >>log 2>&1 70<>arguments 71<event 72>>response 73>>control 74>>log
    exec 75<rare 76>>state 77<driver 78<script
    # Bash could not trap a signal that was ignored when it started, as INT is behind the & of a script.
    exec env --default-signal -i PATH="$PATH" "${COSHELL_TEST_BASH:-/bin/bash}" /dev/fd/78
  ) &
  host_pid=$!
  host_say "__driver_function=$1 BASH_ARGV0=bootstrap" ". /dev/fd/77" 'exec 77<&- 78<&-'
  shift
  if (($#)); then host_say "builtin set $* || __driver_rare __driver_refuse_options"; fi
  host_say '\exec >&2' '. ./function.sh' '{ \__driver_report_load loaded "$?"; } >/dev/null 2>&1' '\exec >&63' '\,,, state'
}

host_say() { # <line...>: onto the script of bash
  printf '%s\n' "$@" >&"$host_script"
}

# Waits for a word, takes what was said up to the last word in control.
host_take() { # <pattern of the last word>
  # shellcheck disable=SC2034 # for the tests
  host_until host_ends_with "$1" && mapfile -t -d '' host_words < <(tail -c "+$((host_read + 1))" control) &&
    host_read=$(stat -c %s control)
}

host_ends_with() { # <pattern of the last word>
  local words
  mapfile -t -d '' words < <(tail -c "+$((host_read + 1))" control)
  # shellcheck disable=SC2053 # a pattern
  ((${#words[@]} > 0)) && [[ ${words[-1]} == $1 ]]
}

host_loaded() { # waits for the word about the handler; what the state says is left out
  host_take state
}

# One invocation with a trace header: the response is in the file response afterwards.
host_invoke() { # <event>
  host_send "$1" && host_report
}

host_send() { # <event>: does not wait
  # Between two invocations the host asks for the state, which makes the driver forget the first.
  if ((host_count)) && [[ $host_settled != "$host_count" ]]; then host_state || return; fi
  host_count=$((host_count + 1))
  : >response
  # Descriptors 60 and 61 go on where the last invocation ended.
  printf '%s\0' "request-$host_count" 1542409706888 'Root=1-5bef4de7' "$1" >>arguments
  printf '%s' "$1" >>event
  host_say '\,t' "\\,, \"\$?\" mark-$host_count"
}

host_report() { # what precedes the mark, the mark, kind, status, details
  host_until host_is_reported && host_take "mark-$host_count"
}

host_is_reported() {
  local words
  mapfile -t -d '' words < <(tail -c "+$((host_read + 1))" control)
  ((${#words[@]} > 3)) && [[ ${words[0]} == *"mark-$host_count" && ${words[-1]} == "mark-$host_count" ]]
}

# Lets the driver run the EXIT trap that the report told of.
host_exit_trap() { # <status>
  host_count=$((host_count + 1))
  host_say "\\__driver_rare __driver_run_exit_trap $1" "\\,, \"\$?\" mark-$host_count"
  host_report
}

# Runs a function of the file's that belongs to no invocation.
host_hook() { # <function>
  host_count=$((host_count + 1))
  host_say "\\__driver_rare __driver_run_hook $1" "\\,, \"\$?\" mark-$host_count"
  host_report
}

host_state() {
  host_settled=$host_count
  : >state
  host_say '\,,, state'
  host_take state && mapfile -t -d '' host_words <state
}

# Waits for the end of bash: its status in host_status, its last words in host_words.
host_end() {
  host_until host_has_ended || return
  # shellcheck disable=SC2034 # for the tests
  if wait "$host_pid"; then host_status=0; else host_status=$?; fi
  # shellcheck disable=SC2034
  mapfile -t -d '' host_words < <(tail -c "+$((host_read + 1))" control)
}

host_has_ended() {
  local state
  ! state=$(cut -d ' ' -f 3 "/proc/$host_pid/stat" 2>/dev/null) || [[ $state == Z ]]
}

host_stop() {
  if [[ ${host_pid-} ]]; then kill -KILL "$host_pid" 2>/dev/null || :; fi
  wait "${host_pid-}" 2>/dev/null || :
}
