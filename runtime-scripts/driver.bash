# shellcheck shell=bash
# The loop in the coprocess: take an invocation, call the handler, tell how it ended.
#
# Twin of src/bootstrap/shell/protocol.rs; docs/protocol.md draws what passes between them.
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
#   66 state: a pipe through which the shell shows its state
#   67 turn: a word lets a fork that was made ahead take its event; opened when forks are made

builtin set +o posix

# kind: load, idle, or how the handler ended: return until something else is known.
__driver_kind=load __driver_status='' __driver_failed_at='' __driver_command=''
__driver_arguments=() __driver_details=()
# How deep in subshells the handler runs: 1 where each event gets a fork.
__driver_depth=0
# How many functions are around what is called for the handler, main among them: what is deeper is
# the handler's, whatever its name. While the file is sourced all are its own.
__driver_base=0
# The variables that lambda_keep names.
__driver_kept=()

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

# Keeps a function `builtin` of the file's for the handler alone. In POSIX mode, which this assignment
# switches on, special builtins come before functions.
__driver_hide_builtin() { # [lives-on: there are no forks that could be given it]
  if ! __driver_builtin=$(\declare -f builtin); then
    __driver_builtin=''
    \return 0
  fi
  __driver_lives_on=${1-}
  POSIXLY_CORRECT=1
  \unset -f builtin
  \set +o posix
  if [[ $BASHOPTS == *expand_aliases* ]]; then builtin shopt -s expand_aliases; fi
}

# Tells that the file is sourced, and whether the handler is there. First it takes away what the file
# has set to watch its commands, before that sees more of ours: the traps, which it leaves in the file
# of the state, and the options, which are given to the handler alone. It is traced (declare -t), because
# others do not see the traps.
__driver_loaded() { # <mark> <status of sourcing>
  if [[ $- == *r* ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it restricts its shell (set -r)' >&63
    builtin return 0
  elif [[ -o onecmd ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it ends its shell after a command (set -t)' >&63
    builtin return 0
  fi
  # The builtins that the file has switched off; the host knows which are needed.
  builtin enable -n >&63
  builtin trap -p DEBUG RETURN ERR >&66
  builtin trap - DEBUG RETURN
  builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" "${PIPESTATUS[@]}" && \builtin return 0' ERR
  # Where functions do not decide on that themselves it is ours. A pattern might not tell E from e.
  if [[ ! ${__driver_own_errors-} ]]; then builtin set +E; fi
  __driver_options=${-//[!euxkvET]/}
  builtin set +euxkvT -E
  __driver_kind=idle __driver_command='' __driver_base=2
  __driver_options=${__driver_options:+-$__driver_options}
  __driver_options=${__driver_options:-+e}
  builtin readonly __driver_options
  if [[ ${__driver_lives_on-} ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it defines a function builtin, for which COSHELL_ISOLATION has to be restore or subshell' >&63
  elif [[ ${FUNCNEST-} == [1-9] ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it allows too few functions within each other (FUNCNEST)' >&63
  elif [[ ${LAMBDA_RUNTIME_AWS_REQUEST_ID@a}${LAMBDA_RUNTIME_DEADLINE_MS@a}${LAMBDA_RUNTIME_TRACE_ID@a}${_X_AMZN_TRACE_ID@a} == *r* ]]; then
    builtin printf '%s unusable %s\0' "$1" 'it makes a variable readonly that coshell sets for each event' >&63
  elif [[ $__driver_function != @(,|,[dlt,]|,[dt]l|,,,|exit|__driver_*|lambda_log|lambda_keep|lambda_@(http|stream)_response) ]] && builtin declare -F -- "$__driver_function" >/dev/null; then
    builtin declare -F lambda_shutdown >/dev/null && __driver_shutdown=shutdown
    builtin printf '%s ready %s %s.%s %s\0' "$1" "$2" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "${__driver_shutdown-}" >&63
  else
    __driver_seldom __driver_undefined "$1"
  fi
}

# Calls a function of seldom.bash, which is read when it is first needed: reading it at each
# start would cost half a millisecond.
__driver_seldom() { # <function> [its arguments...]
  if [[ ${__driver_builtin-} ]] && \declare -F builtin >/dev/null; then
    __driver_hide_builtin
    "$@"
    __driver_exit=$?
    \eval "$__driver_builtin"
    \return "$__driver_exit"
  fi
  # The last one that is defined there.
  builtin declare -F __driver_run_in_subshells >/dev/null || __driver_read_seldom
  "$@"
}

# Whatever options the handler has set: `set -a` would export what is defined here, POSIX mode
# does not take its names, and aliases would change what it says.
__driver_read_seldom() {
  builtin local - __driver_aliases=-u
  # To leave POSIX mode switches aliases off, too.
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  builtin set +aeux +o posix
  builtin shopt -u expand_aliases
  # A trap that runs meanwhile reads it too; what it has made readonly cannot be defined again, which need not be said.
  # shellcheck disable=SC1091 # a file without a name
  builtin . /dev/fd/65 2>/dev/null
  builtin shopt "$__driver_aliases" expand_aliases
}

# For handler authors: a record of the log, whatever lines its message has.
lambda_log() { # [TRACE|DEBUG|INFO|WARN|ERROR|FATAL] <message...>
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_seldom __driver_log "$@"
}
# What they ask of their response. `||` keeps `set -e` out of what is ours.
lambda_http_response() {
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_seldom __driver_http_response "$@" || builtin return
}
lambda_stream_response() {
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_seldom __driver_stream_response "$@" || builtin return
}
# What lives on from one event to the next.
lambda_keep() {
  { builtin local - && builtin set +xT; } 2>/dev/null
  __driver_seldom __driver_keep "$@" || builtin return
}

# `exec` with redirections, for good, and whatever function of the file's has that name: in POSIX mode
# a special builtin comes before it.
__driver_redirect() { # <redirections>
  __driver_in_posix_mode builtin eval "\exec $1"
}

# To leave POSIX mode switches aliases off, and does not say so; to enter it changes inherit_errexit.
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

# The ERR trap: only where `set -e` is about to end the shell there is something to do. bash runs
# command_not_found_handle in a process that has another id and no other depth. Where a variable that
# bash computes is none any more, bash ends as it does without us.
__driver_on_error() { # <status> <line> <command> <statuses of the parts of the pipeline...>
  [[ -o errexit && ${BASH_SUBSHELL-} == "${__driver_depth-0}" && (${__driver_depth-0} != 0 || ${BASHPID-} == "$$") && ${FUNCNAME-} == __driver_on_error ]] && __driver_seldom __driver_leave_on_error "$@"
}

# `exit` in a handler ends the invocation and not the shell.
__driver_guard_exit() {
  exit() {
    builtin local "__driver_exit=${1-$?}"
    if [[ ${BASH_SUBSHELL-} != 0 || ${BASHPID-} != "$$" || ${FUNCNAME-} != exit ]]; then builtin exit "${@:-$__driver_exit}"; fi
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

# What __driver_adopt does, for all seven at once: bash sets them aside at 10 and up, where
# nothing is yet.
{ exec 60>&10 61>&11 62>&12 63>&13 64>&14 65>&15 66>&16; } 70>&- 71>&- 72>&- 73>&- 74>&- 75>&- 76>&-
exec 70>&- 71>&- 72>&- 73>&- 74>&- 75>&- 76>&-
exec >&63
# As under POSIX mode, which the tutorial's bootstrap has on Amazon Linux: `set -e` holds in
# $(...) as well.
builtin shopt -s inherit_errexit
builtin set -E
builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" "${PIPESTATUS[@]}" && \builtin return 0' ERR
builtin trap '\__driver_seldom __driver_died "$?"' EXIT
builtin trap '\__driver_seldom __driver_stopped' RTMAX
__driver_guard_exit
builtin readonly __driver_function
builtin declare -ft __driver_loaded
builtin readonly -f , ,t ,d ,, __driver_context __driver_hide_builtin __driver_loaded __driver_seldom __driver_read_seldom __driver_redirect __driver_in_posix_mode __driver_on_error __driver_guard_exit
# shellcheck disable=SC2034 # they get their values when an invocation comes
builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
builtin printf 'started\0'
