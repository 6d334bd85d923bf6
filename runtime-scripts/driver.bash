# shellcheck shell=bash
# The loop in the coprocess: take an invocation, call the handler, tell how it ended.
#
# Twin of src/shell/protocol.rs; docs/protocol.md draws what passes between them.
# bash reads the lines that the host sends as its script, so the host decides what
# runs next, and an error that discards a command (1/0, a readonly variable) is
# followed by the next line. Three functions are named by commas, because bash reads
# its script a byte at a time. The handler shares this process: everything else of
# ours starts with __driver_, and `builtin` passes by what the handler redefines.
#
# Our descriptors, which no command that the handler starts inherits:
#   60 arguments: what an invocation brings, a NUL after each
#   61 event: the handler's standard input
#   62 response: the handler's standard output
#   63 control: what we tell the host; 1 is the same outside of the handler
#   64 the log, as 2 is unless the handler changed it
#   65 seldom.bash, which holds what few invocations need

builtin set +o posix

# kind: load, idle, or how the handler ended: return until something else is known.
__driver_kind=load __driver_status='' __driver_failed_at='' __driver_command=''
__driver_arguments=() __driver_details=()
# How deep in subshells the handler runs: 1 if subshell.bash was read before this file.
__driver_depth=${__driver_depth-0}

# Takes the invocation that lies in descriptor 60, and calls the handler. bash copies the
# whole body of a function each time it calls it: what is called for every invocation has
# as few words as it can. `local -` gives back every `set` option when the handler is done,
# however it ended; nothing of ours comes after the call, where `set -x` would show it.
,() {
  builtin local -
  builtin mapfile -n3 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[1]} __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[2]}" <&61 >&62
}

# The same with the trace header, which is the event's neighbour then.
,t() {
  builtin local -
  builtin mapfile -n4 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[1]} LAMBDA_RUNTIME_TRACE_ID=${__driver_arguments[2]} _X_AMZN_TRACE_ID=$LAMBDA_RUNTIME_TRACE_ID __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[3]}" <&61 >&62
}

# The same without the deadline, which Lambda always sends and an emulator may not.
,d() {
  builtin local -
  builtin mapfile -n2 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[1]}" <&61 >&62
}

# Sets the variables that seldom change, from what precedes the invocation in descriptor 60:
# the name and the value of seven.
__driver_context() { # [separator: NUL if none]
  builtin local __driver_i __driver_pairs
  builtin mapfile -n 14 -t -d "${1-}" -u 60 __driver_pairs
  for ((__driver_i = 0; __driver_i < 14; __driver_i += 2)); do
    if [[ ${__driver_pairs[__driver_i + 1]} ]]; then
      builtin export "${__driver_pairs[__driver_i]}=${__driver_pairs[__driver_i + 1]}"
    else
      builtin unset -v "${__driver_pairs[__driver_i]}"
    fi
  done
}

# Tells how the invocation ended: the mark, the kind, the status, the details, the mark.
# bash reads this line, and the mark in it, only when the handler has ended: nothing that a
# handler writes can hold the mark.
,,() { # <status> <mark>
  builtin trap -p EXIT
  builtin printf '%s\0' "$2" "$__driver_kind" "${__driver_status:-$1}" "${__driver_details[@]}" "$2" || builtin exit "$1"
}

# Forgets the invocation, and shows the host what the handler may have changed: traps,
# aliases, umask; options, IFS, the variables that seldom change. `shopt -s` would be a write a
# line. Nobody waits for this: the answer is on its way. DEBUG and RETURN traps are seen by functions that are traced alone.
,,,() { # <mark>
  __driver_kind=idle __driver_status='' __driver_details=() __driver_arguments=()
  # shellcheck disable=SC2034 # they get their values when an invocation comes
  builtin declare -gx +iuln LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
  builtin disown -a
  builtin trap -p
  builtin alias -p
  builtin declare -f exit
  builtin umask
  builtin printf '\0%s\0%s\0%s\0%s\0' "$BASHOPTS" "${IFS-unset}" "${LAMBDA_RUNTIME_DEADLINE_MS+set}|${_X_AMZN_TRACE_ID+set}|${LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN-}|${LAMBDA_RUNTIME_CLIENT_CONTEXT-}|${LAMBDA_RUNTIME_COGNITO_IDENTITY-}|${LAMBDA_RUNTIME_AWS_TENANT_ID-}" "$1"
}
builtin declare -ft ,,,

__driver_loaded() { # <mark>: tells that the file is sourced, and whether the handler is there
  builtin local __driver_exit=$?
  __driver_kind=idle __driver_command=''
  # Of the options that the file leaves behind these three are given to the handler alone.
  __driver_options=${-//[!eux]/}
  __driver_options=${__driver_options:+-$__driver_options}
  __driver_options=${__driver_options:-+e}
  builtin readonly __driver_options
  builtin set +eux
  if [[ $__driver_function != @(,*|exit|__driver_*|lambda_log|lambda_@(http|stream)_response) ]] && builtin declare -F -- "$__driver_function" >/dev/null; then
    builtin declare -F lambda_shutdown >/dev/null && __driver_shutdown=shutdown
    builtin printf '%s ready %s %s.%s %s\0' "$1" "$__driver_exit" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "${__driver_shutdown-}"
  else
    __driver_seldom __driver_undefined "$1"
  fi
}

# Calls a function of seldom.bash, which is read when it is first needed: reading it at each
# start would cost half a millisecond.
__driver_seldom() { # <function> [its arguments...]
  # shellcheck disable=SC1091 # a file without a name
  builtin declare -F __driver_note >/dev/null || . /dev/fd/65
  "$@"
}

# For handler authors: a record of the log, whatever lines its message has.
lambda_log() { __driver_seldom __driver_log "$@"; } # [TRACE|DEBUG|INFO|WARN|ERROR|FATAL] <message...>
# What they ask of their response. `||` keeps `set -e` out of what is ours.
lambda_http_response() { __driver_seldom __driver_http_response "$@" || builtin return; }
lambda_stream_response() { __driver_seldom __driver_stream_response "$@" || builtin return; }

# The ERR trap: only where `set -e` is about to end the shell there is something to do.
__driver_on_error() { # <status> <line> <command>
  [[ -o errexit && $BASH_SUBSHELL == "$__driver_depth" ]] && __driver_seldom __driver_leave_on_error "$@"
}

# `exit` in a handler ends the invocation and not the shell.
__driver_guard_exit() {
  exit() {
    builtin local __driver_exit=${1-$?}
    if [[ $BASH_SUBSHELL != 0 ]]; then builtin exit "${@:-$__driver_exit}"; fi
    __driver_seldom __driver_exit "$__driver_exit" "$@"
  }
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  builtin printf 'this is bash %s, and coshell needs 4.4 or later\n' "$BASH_VERSION" >&2
  exit 1
elif ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 502)); then
  # Here bash reads a file that is separated by NUL a byte at a time: so an event without
  # newlines comes separated by newlines, and the lines are `,l`, `,tl` and `,dl`.
  for __driver_name in ',' ',t' ',d'; do
    __driver_text=$(\builtin declare -f "$__driver_name")
    __driver_text=${__driver_text#"$__driver_name"}
    builtin eval "${__driver_name}l${__driver_text/-td \'\'/-t}"
  done
fi

# What __driver_adopt does, for all six at once: bash sets them aside at 10 and up, where
# nothing is yet.
{ exec 60>&10 61>&11 62>&12 63>&13 64>&14 65>&15; } 70>&- 71>&- 72>&- 73>&- 74>&- 75>&-
exec 70>&- 71>&- 72>&- 73>&- 74>&- 75>&-
exec >&63
# As under POSIX mode, which the tutorial's bootstrap has on Amazon Linux: `set -e` holds in
# $(...) as well.
builtin shopt -s inherit_errexit
builtin set -E
builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" && \builtin return 0' ERR
builtin trap '\__driver_seldom __driver_died "$?"' EXIT
__driver_guard_exit
builtin readonly __driver_function
builtin readonly -f , ,t ,d ,, ,,, __driver_context __driver_loaded __driver_seldom __driver_on_error __driver_guard_exit
if ((__driver_depth)); then __driver_run_in_subshells; fi
builtin printf 'started\0'
