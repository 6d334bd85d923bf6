# shellcheck shell=bash
# Takes invocations, calls the handler and reports how it ended.
#
# bash reads this file when the handler's file is loaded and the report of that is written, so that it does so while the
# host asks for the first event; a standby shell reads it before. The state is shown by restore.bash or keep.bash, which
# are read together with it.

# Takes an invocation from the file of the arguments and calls the handler.
#
# This is the text of `,` and its kin: src/driver/protocol.toml lists them with their fields, and the build puts in how many
# there are, the assignments, and the place of the event.
#
# HOT: bash copies the body of a function for every call, so this one has as few words as possible. `local -` restores all
# `set` options when the handler has ended, in whichever way. `set -x` would show anything after the call.
# shellcheck disable=SC2154 # what driver.bash sets
__driver_call_handler() {
  builtin local -
  builtin mapfile -n FIELD_COUNT -td '' -u ARGUMENTS_FD __driver_arguments
  FIELD_ASSIGNMENTS __driver_kind=KIND_RETURN
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[EVENT_FIELD]}" <&EVENT_FD >&RESPONSE_FD
}

# Sets the variables that rarely change: their names and values, before the invocation in the file of the arguments. An
# empty value unsets one.
__driver_context() { # [separator; NUL by default]
  builtin local __driver_i __driver_pairs
  builtin mapfile -n CONTEXT_FIELDS -t -d "${1-}" -u ARGUMENTS_FD __driver_pairs
  for ((__driver_i = 0; __driver_i < CONTEXT_FIELDS; __driver_i += 2)); do
    if [[ ${__driver_pairs[__driver_i + 1]} ]]; then
      builtin export "${__driver_pairs[__driver_i]}=${__driver_pairs[__driver_i + 1]}"
    else
      builtin unset -v "${__driver_pairs[__driver_i]}"
      # The driver exports these from the start, also without a value.
      case ${__driver_pairs[__driver_i]} in
        LAMBDA_RUNTIME_TRACE_ID | _X_AMZN_TRACE_ID | LAMBDA_RUNTIME_DEADLINE_MS) builtin export "${__driver_pairs[__driver_i]}" ;;
      esac
    fi
  done
}

# Reports how the handler ended: nonce, kind, status, details, nonce. bash reads the line with the nonce when the
# handler has ended, so nothing that a handler writes can contain it.
#
# HOT
__driver_report() { # <status> <nonce>
  builtin trap -p EXIT
  builtin printf '%s\0' "$2" "$__driver_kind" "${__driver_status:-$1}" "${__driver_details[@]}" "$2" || builtin exit "$1"
}

# Makes standard output lead to the control pipe, where it leads outside of the handler. Until the file is loaded it leads to
# the log.
__driver_use_control() {
  if builtin declare -F exec >/dev/null; then __driver_rare __driver_redirect '>&CONTROL_FD'; else exec >&CONTROL_FD; fi
}

# shellcheck disable=SC2034 # driver.bash reads it
__driver_can_invoke=1
builtin readonly -f , ,t __driver_context __driver_report __driver_use_control
