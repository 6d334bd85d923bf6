# shellcheck shell=bash
# The driver: runs in the shell, takes invocations, calls the handler and reports how it ended.
#
# bash reads the host's lines as its script, so the host decides what runs next. After an error that discards a
# command (1/0, an assignment to a readonly variable), bash goes on with the next line. The functions for each event
# have names of commas, because bash reads its script a byte at a time. All other names start with __driver_, since
# the handler runs in the same shell. `builtin` reaches a builtin whatever functions the handler defines.
#
# src/bootstrap/shell/protocol.rs is the other side, and docs/protocol.md draws what the two exchange.
#
# The descriptors. Commands that the handler starts do not inherit them:
#   60 arguments: a memory file with what an invocation brings, or with commands
#   61 event: a memory file, the handler's standard input
#   62 response: the pipe of the handler's standard output
#   63 control: the pipe of the reports; outside of the handler, 1 leads there too
#   64 log: a pipe; 2 leads there too, unless the handler redirects it
#   65 rare.bash: the functions that few invocations need
#   66 state: the pipe through which the shell shows its state
#   67 turn: the pipe where a fork waits for its event; opened when forks are first made

builtin set +o posix

# The kind: load while the file is sourced, idle between invocations, and then how the handler ends: return, unless
# something else turns out.
__driver_kind=load __driver_status='' __driver_failed_at='' __driver_command=''
__driver_arguments=() __driver_details=()
# The subshell level at which the handler runs: 1 if events run in forks.
__driver_depth=0
# The number of functions around the handler, `main` included. Deeper ones belong to the handler, whatever their
# names. While the file is sourced, all of them belong to it.
__driver_base=0
# The arguments of lambda_keep.
__driver_kept=()

# Takes an invocation from file 60 and calls the handler.
#
# bash copies the body of a function for every call, so this one has as few words as possible. `local -` restores all
# `set` options when the handler has ended, in whichever way. `set -x` would show anything after the call.
,() {
  builtin local -
  builtin mapfile -n3 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[1]} __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[2]}" <&61 >&62
}

# The same with a trace header, the field before the event.
,t() {
  builtin local -
  builtin mapfile -n4 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[1]} LAMBDA_RUNTIME_TRACE_ID=${__driver_arguments[2]} _X_AMZN_TRACE_ID=$LAMBDA_RUNTIME_TRACE_ID __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[3]}" <&61 >&62
}

# The same without a deadline. Lambda always sends one, but an emulator may not.
,d() {
  builtin local -
  builtin mapfile -n2 -td '' -u60 __driver_arguments
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[0]} __driver_kind=return
  builtin set "$__driver_options"
  "$__driver_function" "${__driver_arguments[1]}" <&61 >&62
}

# Sets the variables that rarely change: seven names and values before the invocation in file 60. An empty value
# unsets one.
__driver_context() { # [separator; NUL by default]
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

# Reports how the handler ended: nonce, kind, status, details, nonce. bash reads the line with the nonce when the
# handler has ended, so nothing that a handler writes can contain it.
,,() { # <status> <nonce>
  builtin trap -p EXIT
  builtin printf '%s\0' "$2" "$__driver_kind" "${__driver_status:-$1}" "${__driver_details[@]}" "$2" || builtin exit "$1"
}

# Hides a function `builtin` of the file from the driver, and keeps it for the handler. Assigning to POSIXLY_CORRECT
# switches POSIX mode on, in which special builtins such as `unset` come before functions.
__driver_hide_builtin() { # [no-forks, if the function cannot be given to a fork]
  if ! __driver_builtin=$(\declare -f builtin); then
    __driver_builtin=''
    \return 0
  fi
  __driver_no_forks=${1-}
  POSIXLY_CORRECT=1
  \unset -f builtin
  \set +o posix
  if [[ $BASHOPTS == *expand_aliases* ]]; then builtin shopt -s expand_aliases; fi
}

# Reports that bash has sourced the file, and whether it defines the handler.
#
# Before that it removes what the file has set to watch commands: the traps, which it writes to the state pipe, and the
# options, which only the handler gets from now on. The function is traced (declare -t); others do not see these traps.
__driver_report_load() { # <nonce> <status of sourcing>
  if [[ $- == *r* ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it restricts its shell (set -r)' >&63
    builtin return 0
  elif [[ -o onecmd ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it ends its shell after a command (set -t)' >&63
    builtin return 0
  fi
  # Lists the builtins that the file has switched off. The host knows which ones the driver needs.
  builtin enable -n >&63
  builtin trap -p DEBUG RETURN ERR >&66
  builtin trap - DEBUG RETURN
  builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" "${PIPESTATUS[@]}" && \builtin return 0' ERR
  # Unless the file names the ERR trap, -E is the driver's, and the handler does not get it. It is switched off here,
  # because the pattern below may not distinguish E from e (nocasematch).
  if [[ ! ${__driver_names_err_trap-} ]]; then builtin set +E; fi
  __driver_options=${-//[!euxkvET]/}
  builtin set +euxkvT -E
  __driver_kind=idle __driver_command='' __driver_base=2
  __driver_options=${__driver_options:+-$__driver_options}
  __driver_options=${__driver_options:-+e}
  builtin readonly __driver_options
  if [[ ${__driver_no_forks-} ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it defines a function builtin, for which COSHELL_ISOLATION has to be restore or subshell' >&63
  elif [[ ${FUNCNEST-} == [1-9] ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it sets FUNCNEST too low' >&63
  elif [[ ${LAMBDA_RUNTIME_AWS_REQUEST_ID@a}${LAMBDA_RUNTIME_DEADLINE_MS@a}${LAMBDA_RUNTIME_TRACE_ID@a}${_X_AMZN_TRACE_ID@a} == *r* ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it makes a variable readonly that coshell sets for each event' >&63
  elif [[ $__driver_function != @(,|,[dlt,]|,[dt]l|,,,|exit|__driver_*|lambda_log|lambda_keep|lambda_@(http|stream)_response|lambda_@(get|json|request|each|encode|decode|hash|metric|tempdir|error|remaining_ms)) ]] && builtin declare -F -- "$__driver_function" >/dev/null; then
    builtin declare -F lambda_shutdown >/dev/null && __driver_shutdown=shutdown
    builtin printf '%s ready %s %s.%s %s\0' "$1" "$2" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "${__driver_shutdown-}" >&63
  else
    __driver_rare __driver_report_undefined "$1"
  fi
}

# Calls a function of rare.bash, and reads the file before the first call. Reading it at every start would cost half a
# millisecond.
__driver_rare() { # <function> [argument...]
  if [[ ${__driver_builtin-} ]] && \declare -F builtin >/dev/null; then
    __driver_hide_builtin
    "$@"
    __driver_exit=$?
    \eval "$__driver_builtin"
    \return "$__driver_exit"
  fi
  # This function is the last one in what the file defines.
  builtin declare -F __driver_run_in_forks >/dev/null || __driver_read_rare
  "$@"
}

# Reads rare.bash, whatever options the handler has set. `set -a` would export its functions, POSIX mode rejects
# their names, and aliases would change their commands.
__driver_read_rare() {
  builtin local - __driver_aliases=-u
  # Leaving POSIX mode also switches aliases off.
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  builtin set +aeux +o posix
  builtin shopt -u expand_aliases
  # A trap that runs meanwhile may read the file too. Then bash complains here that the functions are readonly.
  # shellcheck disable=SC1091 # a file without a name
  builtin . /dev/fd/65 2>/dev/null
  builtin shopt "$__driver_aliases" expand_aliases
}

# For handlers: writes a message to the log as one record, even if it has several lines.
lambda_log() { # [TRACE|DEBUG|INFO|WARN|ERROR|FATAL] <message...>
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_rare __driver_log "$@"
}
# For handlers: requests an HTTP response. `||` keeps `set -e` out of the driver.
lambda_http_response() { # [--stream] [--cookie <cookie>]... <status> [header...] [--json|--file|--redirect ...]
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_rare __driver_http_response "$@" || builtin return
}
# For handlers: requests that the response is streamed.
lambda_stream_response() { # [content type]
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_rare __driver_stream_response "$@" || builtin return
}
# For handlers: keeps variables from one event to the next.
lambda_keep() { # <name...>
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_rare __driver_keep "$@" || builtin return
}

# Redirects descriptors of the shell permanently, with `exec`. In POSIX mode that builtin comes before a function
# `exec` of the file.
__driver_redirect() { # <redirections>
  __driver_in_posix_mode builtin eval "\exec $1"
}

# Runs a command in POSIX mode. Leaving POSIX mode silently switches aliases off, and entering it changes
# inherit_errexit; so both are restored.
__driver_in_posix_mode() { # <command...>
  builtin local __driver_aliases=-u __driver_errexit=-u
  if [[ -o posix ]]; then
    "$@"
    builtin return
  fi
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  if builtin shopt -q inherit_errexit; then __driver_errexit=-s; fi
  builtin set -o posix
  "$@"
  builtin set +o posix
  builtin shopt "$__driver_aliases" expand_aliases
  builtin shopt "$__driver_errexit" inherit_errexit
}

# The ERR trap. It acts only where `set -e` is about to end the shell.
#
# It does nothing in the process in which bash runs command_not_found_handle: that has another id, but the same
# subshell level. It does nothing either if bash no longer computes a variable such as FUNCNAME.
__driver_on_error() { # <status> <line> <command> <statuses of the parts of the pipeline...>
  [[ -o errexit && ${BASH_SUBSHELL-} == "${__driver_depth-0}" && (${__driver_depth-0} != 0 || ${BASHPID-} == "$$") && ${FUNCNAME-} == __driver_on_error ]] && __driver_rare __driver_leave_on_error "$@"
}

# Defines `exit` so that it ends the handler, and not the shell.
__driver_guard_exit() {
  exit() {
    builtin local "__driver_exit=${1-$?}"
    if [[ ${BASH_SUBSHELL-} != 0 || ${BASHPID-} != "$$" || ${FUNCNAME-} != exit ]]; then builtin exit "${@:-$__driver_exit}"; fi
    __driver_rare __driver_exit "$__driver_exit" "$@"
  }
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  builtin printf 'this is bash %s, and coshell needs 4.4 or later\n' "$BASH_VERSION" >&2
  exit 1
elif ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 502)); then
  # These versions read a file with NULs a byte at a time. So the fields of an event without newlines end in newlines,
  # and `,l`, `,tl` and `,dl` read them.
  for __driver_name in ',' ',t' ',d'; do
    __driver_text=$(\builtin declare -f "$__driver_name")
    __driver_text=${__driver_text#"$__driver_name"}
    builtin eval "${__driver_name}l${__driver_text/-td \'\'/-t}"
  done
fi

# Moves the inherited descriptors, as __driver_take_descriptor does, but all seven at once. bash sets them aside
# at 10 to 16, which are still free.
{ exec 60>&10 61>&11 62>&12 63>&13 64>&14 65>&15 66>&16; } 70>&- 71>&- 72>&- 73>&- 74>&- 75>&- 76>&-
exec 70>&- 71>&- 72>&- 73>&- 74>&- 75>&- 76>&-
exec >&63
# `set -e` holds inside $(...) too, as it does in the tutorial's bootstrap: on Amazon Linux that runs in POSIX mode.
builtin shopt -s inherit_errexit
builtin set -E
builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" "${PIPESTATUS[@]}" && \builtin return 0' ERR
builtin trap '\__driver_rare __driver_on_exit "$?"' EXIT
builtin trap '\__driver_rare __driver_on_stop' RTMAX
__driver_guard_exit
builtin readonly __driver_function
builtin declare -ft __driver_report_load
builtin readonly -f , ,t ,d ,, __driver_context __driver_hide_builtin __driver_report_load __driver_rare __driver_read_rare __driver_redirect __driver_in_posix_mode __driver_on_error __driver_guard_exit
# shellcheck disable=SC2034 # they get their values when an invocation comes
builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
builtin printf 'started\0'
