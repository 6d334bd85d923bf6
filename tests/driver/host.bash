# shellcheck shell=bash
# A host for the driver alone, with its long names. It opens the descriptors of src/bootstrap/shell/process.rs and sends
# the lines of src/bootstrap/shell/to_shell.rs.
#
# host_start, host_invoke, host_read_state and host_wait_end store in host_fields what the driver
# reported, one field in each element. The files in BATS_TEST_TMPDIR are arguments, event, response,
# control, log and state.

# How often host_wait_until tries, with a pause of 0.01 s.
host_limit=2000
# `make driver` sets the path of the program that prints the files of runtime-scripts.
host_driver_text=${DRIVER_TEXT:-$BATS_TEST_DIRNAME/../../target/debug/driver-text}

host_wait_until() { # <command...>: waits until it succeeds
  local tries
  for ((tries = 0; tries < host_limit; tries++)); do
    if "$@"; then return 0; fi
    sleep 0.01
  done
  printf 'failed for %s: %s\n' "$((host_limit / 100)) s" "$*" >&2
  printf -- '--- control\n%s\n--- log\n%s\n' "$(tr '\0' '\n' <control)" "$(cat log)" >&2
  return 1
}

# Starts bash with the driver and function.sh.
host_start() { # <function> [arguments of set...]
  local name
  cd "$BATS_TEST_TMPDIR" || return
  for name in event response control log state; do : >"$name"; done
  # shellcheck disable=SC2094 # the files have nothing to do with the names
  "$host_driver_text" long calls rare lambda subshell >rare || return
  # shellcheck disable=SC2094
  {
    "$host_driver_text" long driver &&
      # As src/bootstrap/shell/startup_script.rs makes them for a file that names them.
      for name in log http_response stream_response keep; do
        printf '%s\n' "lambda_$name() { { builtin local - && builtin set +xT; } 2>/dev/null; __driver_rare __driver_$name \"\$@\" || builtin return \"\$?\"; }"
      done &&
      printf '%s\n' 'lambda_get() { __driver_rare __driver_call_about_event get "$@"; }'
  } >driver || return
  "$host_driver_text" long invocation keep >arguments || return
  mkfifo script
  exec {host_script}<>script
  host_read_bytes=0 host_count=0 host_state_count=0
  (
    # As under the real host, the descriptors from 10 up are free: bash moves its own there. And bats
    # waits for the end of descriptor 3, so bash must not keep it open.
    for name in /proc/"$BASHPID"/fd/*; do
      name=${name##*/}
      if ((name > 2)); then eval "exec $name>&-"; fi
    done
    exec </dev/null >>log 2>&1 70<>arguments 71<event 72>>response 73>>control 74>>log
    exec 75<rare 76>>state 77<driver 78<script
    # Bash cannot trap a signal that was ignored when it started, as INT is for a background process of a script.
    exec env --default-signal -i PATH="$PATH" "${COSHELL_TEST_BASH:-/bin/bash}" /dev/fd/78
  ) &
  host_pid=$!
  host_send_lines "__driver_function=$1 BASH_ARGV0=bootstrap" ". /dev/fd/77"
  shift
  if (($#)); then host_send_lines "builtin set $* || __driver_rare __driver_refuse_options"; fi
  host_send_lines '\exec >&2' '. ./function.sh' '{ \__driver_report_load loaded "$?"; } >/dev/null 2>&1' '\__driver_read 60' '\exec >&63' '\,,, state'
}

host_send_lines() { # <line...>: appends them to the script that bash reads
  printf '%s\n' "$@" >&"$host_script"
}

# Waits until the last field in control matches, then reads the new fields.
host_read_fields() { # <pattern of the last field>
  # shellcheck disable=SC2034 # for the tests
  host_wait_until host_has_last_field "$1" && mapfile -t -d '' host_fields < <(tail -c "+$((host_read_bytes + 1))" control) &&
    host_read_bytes=$(stat -c %s control)
}

host_has_last_field() { # <pattern of the last field>
  local fields
  mapfile -t -d '' fields < <(tail -c "+$((host_read_bytes + 1))" control)
  # shellcheck disable=SC2053 # a pattern
  ((${#fields[@]} > 0)) && [[ ${fields[-1]} == $1 ]]
}

host_wait_loaded() { # waits until function.sh is loaded and the state is written; does not read the state
  host_read_fields state || return
  # The file had what bash reads before the first invocation.
  : >arguments
}

# Runs one invocation with a trace header, and with the reply host_prepared_reply to the call host_prepared_call if they are set.
# Afterwards its response is in the file response.
host_invoke() { # <event>
  host_send_event "$1" && host_wait_report
}

host_send_event() { # <event>: does not wait for the report
  # Between two invocations the host reads the state, and the driver then resets what belongs to the first.
  if ((host_count)) && [[ $host_state_count != "$host_count" ]]; then host_read_state || return; fi
  host_count=$((host_count + 1))
  : >response
  # Bash reads on at descriptors 60 and 61 where the last invocation ended, so both files are appended to.
  printf '%s\0' "request-$host_count" "${host_prepared_call-}" "${host_prepared_reply-}" 1542409706888 'Root=1-5bef4de7' "$1" >>arguments
  printf '%s' "$1" >>event
  host_send_lines '\,t' "\\,, \"\$?\" mark-$host_count"
}

host_wait_report() { # host_fields: the EXIT trap and the mark, kind, status, details, the mark
  host_wait_until host_has_report && host_read_fields "mark-$host_count"
}

host_has_report() {
  local fields
  mapfile -t -d '' fields < <(tail -c "+$((host_read_bytes + 1))" control)
  ((${#fields[@]} > 3)) && [[ ${fields[0]} == *"mark-$host_count" && ${fields[-1]} == "mark-$host_count" ]]
}

# Makes the driver run the EXIT trap that was in the report.
host_exit_trap() { # <status>
  host_count=$((host_count + 1))
  host_send_lines "\\__driver_rare __driver_run_exit_trap $1" "\\,, \"\$?\" mark-$host_count"
  host_wait_report
}

# Runs a function of function.sh outside any invocation.
host_hook() { # <function>
  host_count=$((host_count + 1))
  host_send_lines "\\__driver_rare __driver_run_hook $1" "\\,, \"\$?\" mark-$host_count"
  host_wait_report
}

host_read_state() {
  host_state_count=$host_count
  : >state
  host_send_lines '\,,, state'
  host_read_fields state && mapfile -t -d '' host_fields <state
}

# Waits for the end of bash. Its status is then in host_status, its last fields in host_fields.
host_wait_end() {
  host_wait_until host_has_ended || return
  # shellcheck disable=SC2034 # for the tests
  if wait "$host_pid"; then host_status=0; else host_status=$?; fi
  # shellcheck disable=SC2034
  mapfile -t -d '' host_fields < <(tail -c "+$((host_read_bytes + 1))" control)
}

host_has_ended() {
  local state
  ! state=$(cut -d ' ' -f 3 "/proc/$host_pid/stat" 2>/dev/null) || [[ $state == Z ]]
}

host_stop() {
  if [[ ${host_pid-} ]]; then kill -KILL "$host_pid" 2>/dev/null || :; fi
  wait "${host_pid-}" 2>/dev/null || :
}
