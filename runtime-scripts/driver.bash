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

builtin set +o posix

# kind: load, idle, or how the handler ended: return until something else is known.
__driver_kind=load __driver_status='' __driver_failed_at='' __driver_command=''
__driver_arguments=() __driver_details=()

__driver_adopt() { # <inherited descriptor> <ours>
  # Children inherit every descriptor but those that bash sets aside itself, and a
  # duplicate of such a one is closed for them too: so let bash set it aside.
  builtin local __driver_aside=10
  while [[ -e /dev/fd/$__driver_aside ]]; do __driver_aside=$((__driver_aside + 1)); done
  builtin eval "{ \exec $2>&$__driver_aside; } $1>&-; \exec $1>&-"
}

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

# Tells how the invocation ended: the mark, the kind, the status, the details, the mark. bash reads this line, and the mark in it, only when the handler has ended:
# nothing that a handler writes can hold the mark.
,,() { # <status> <mark>
  builtin trap -p EXIT
  builtin printf '%s\0' "$2" "$__driver_kind" "${__driver_status:-$1}" "${__driver_details[@]}" "$2" || builtin exit "$1"
}

# Forgets the invocation, and shows the host what the handler may have changed: traps,
# aliases, options, umask; IFS; the variables that seldom change. Nobody waits for this: the
# answer is on its way. DEBUG and RETURN traps are seen by functions that are traced alone.
,,,() { # <mark>
  __driver_kind=idle __driver_status='' __driver_details=()
  builtin declare -gx +iuln LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
  builtin disown -a
  builtin trap -p
  builtin alias -p
  builtin shopt -s
  builtin umask
  builtin printf '\0%s\0%s\0%s\0' "${IFS-unset}" "${LAMBDA_RUNTIME_DEADLINE_MS+set}|${_X_AMZN_TRACE_ID+set}|${LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN-}|${LAMBDA_RUNTIME_CLIENT_CONTEXT-}|${LAMBDA_RUNTIME_COGNITO_IDENTITY-}|${LAMBDA_RUNTIME_AWS_TENANT_ID-}" "$1"
}
builtin declare -ft ,,,

# Runs the EXIT trap that the handler set, as the end of a subshell would have.
__driver_exit_trap() { # <status of the handler>
  builtin local - __driver_trap
  builtin set "$__driver_options"
  __driver_trap=$(\builtin trap -p EXIT)
  builtin trap '\__driver_died' EXIT
  builtin eval "__driver_trap=(${__driver_trap#trap})"
  __driver_kind='return'
  if (($1 == 0)); then
    builtin eval "${__driver_trap[1]}" <&61 >&62
  else
    __driver_ended_with "$1" || builtin eval "${__driver_trap[1]}" <&61 >&62
  fi
  if [[ $__driver_kind == return ]]; then __driver_status=$1; fi
}

__driver_ended_with() { # <status>: makes it $?
  builtin return "$1"
}

# `exit` in a handler ends the invocation and not the shell. In a subshell, and while
# the file is sourced, it means what it always means.
exit() {
  builtin local __driver_exit=${1-$?}
  if [[ $BASH_SUBSHELL != 0 || ${__driver_kind-return} != return || $# -gt 1 ]]; then
    if [[ ${__driver_kind-} == load ]]; then __driver_kind=exited; fi
    builtin exit "$@"
  fi
  if [[ ! $__driver_exit =~ ^[-+]?[0-9]{1,18}$ ]]; then
    builtin printf '%s: line %s: exit: %s: numeric argument required\n' "${BASH_SOURCE[1]}" "${BASH_LINENO[0]}" "$1" >&2
    __driver_exit=2
  fi
  if [[ $__driver_exit == -* ]]; then __driver_exit=$((256 - (10#${__driver_exit#-} & 255))); fi
  __driver_kind='exit' __driver_status=$((10#${__driver_exit#+} & 255))
  __driver_note 2 ''
  __driver_unwind
}

# The ERR trap, where `set -e` would end the shell. True if the handler itself returned the
# status: the trap then returns from `,`, and there is no other command to blame.
__driver_on_error() { # <status> <line> <command>
  [[ $- == *e* && $BASH_SUBSHELL == 0 ]] || builtin return 1
  case $__driver_kind in
    return) ;;
    load)
      # The command in the file, and not the line of ours that sources it.
      if [[ ! $__driver_failed_at ]]; then
        __driver_failed_at=${BASH_SOURCE[1]}:$2 __driver_command=$3
      fi
      builtin return 1
      ;;
    *) builtin return 1 ;;
  esac
  __driver_status=$1
  [[ ${FUNCNAME[1]} == ,* ]] && builtin return 0
  __driver_kind=errexit
  __driver_note 2 "$3" "$2"
  __driver_unwind
  builtin return 1
}

__driver_note() { # <frames of ours> <command> [line]: remembers where the handler was
  builtin local __driver_i __driver_line
  __driver_details=("${2:0:1024}")
  for ((__driver_i = $1; __driver_i < ${#FUNCNAME[@]}; __driver_i++)); do
    case ${FUNCNAME[__driver_i]} in , | ,? | __driver_exit_trap) break ;; esac
    __driver_line=${BASH_LINENO[__driver_i - 1]}
    if ((__driver_i == $1)); then __driver_line=${3:-$__driver_line}; fi
    __driver_details+=("${FUNCNAME[__driver_i]} ${BASH_SOURCE[__driver_i]}:$__driver_line")
  done
}

# A DEBUG trap that returns 2 under extdebug returns from the function around it: so
# the handler is left frame by frame, on every version of bash, and the shell lives on.
__driver_unwind() {
  builtin set +e
  builtin shopt -s extdebug
  builtin trap '\builtin trap - RETURN; \__driver_leave_frame' DEBUG
}

__driver_leave_frame() {
  case ${FUNCNAME[1]-} in
    ,* | __driver_exit_trap | main | '')
      builtin trap - DEBUG
      builtin shopt -u extdebug
      builtin set +T
      builtin return 0
      ;;
  esac
  builtin return 2
}

# The EXIT trap: bash is about to end. The host believes the end itself, not this line;
# it takes from it only where the shell was.
__driver_died() {
  builtin local __driver_exit=$?
  if [[ $BASH_SUBSHELL != 0 ]]; then builtin return; fi
  builtin set +eu
  # bash does not know the line here.
  __driver_note 2 "${__driver_command:-$BASH_COMMAND}" 0
  {
    builtin printf '%s\0' died "$__driver_kind" "$__driver_exit" "$__driver_failed_at" "${__driver_details[@]}" died
  } >&63
}

__driver_refuse_options() { # `set` did not take what COSHELL_SHELL_OPTIONS says
  __driver_kind=options
  builtin exit 2
}

__driver_loaded() { # <mark>: tells that the file is sourced, and whether the handler is there
  builtin local __driver_exit=$? __driver_name __driver_names
  __driver_kind=idle __driver_command=''
  # Of the options that the file leaves behind these three are given to the handler alone.
  __driver_options=${-//[!eux]/}
  __driver_options=${__driver_options:+-$__driver_options}
  __driver_options=${__driver_options:-+e}
  builtin readonly __driver_options
  builtin set +eux
  if builtin declare -F -- "$__driver_function" >/dev/null; then
    builtin printf '%s ready %s %s.%s\0' "$1" "$__driver_exit" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"
  else
    __driver_names=$(\builtin compgen -A function | while \builtin read -r __driver_name; do
      case $__driver_name in ,* | exit | __driver_*) ;; *) \builtin printf '%s ' "$__driver_name" ;; esac
    done)
    builtin printf '%s undefined %s\0' "$1" "$__driver_names"
  fi
  # shellcheck disable=SC2034 # they get their values when an invocation comes
  builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
}

# Before 5.2 bash reads a file that is separated by NUL a byte at a time: there an event
# without newlines comes separated by newlines, and the lines are `,l` and `,tl`.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 502)); then
  for __driver_name in ',' ',t' ',d'; do
    __driver_text=$(\builtin declare -f "$__driver_name")
    __driver_text=${__driver_text#"$__driver_name"}
    builtin eval "${__driver_name}l${__driver_text/-td \'\'/-t}"
  done
fi

# What __driver_adopt does, for all five at once: bash sets them aside at 10 and up, where
# nothing is yet.
{ exec 60>&10 61>&11 62>&12 63>&13 64>&14; } 70>&- 71>&- 72>&- 73>&- 74>&-
exec 70>&- 71>&- 72>&- 73>&- 74>&-
exec >&63
# As under POSIX mode, which the tutorial's bootstrap has on Amazon Linux: `set -e` holds in
# $(...) as well.
builtin shopt -s inherit_errexit
builtin set -E
builtin trap '\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" && \builtin return 0' ERR
builtin trap '\__driver_died' EXIT
builtin readonly __driver_function
builtin readonly -f , ,t ,d ,, ,,, __driver_adopt __driver_context __driver_exit_trap __driver_ended_with \
  __driver_on_error __driver_note __driver_unwind __driver_leave_frame __driver_died __driver_loaded __driver_refuse_options
builtin printf 'started\0'
