# shellcheck shell=bash
# What few invocations need: how a handler that does not simply return is left, and told of.
#
# The other half of driver.bash, which reads it when one of these is first called, by way of
# __driver_seldom. So each has frames of ours below it: its own, __driver_seldom's, and for
# `exit` and the ERR trap another one.

__driver_adopt() { # <inherited descriptor> <ours>
  # Children inherit every descriptor but those that bash sets aside itself, and a
  # duplicate of such a one is closed for them too: so let bash set it aside.
  builtin local __driver_aside=10
  while [[ -e /dev/fd/$__driver_aside ]]; do __driver_aside=$((__driver_aside + 1)); done
  builtin eval "{ \exec $2>&$__driver_aside; } $1>&-; \exec $1>&-"
}

# Runs the EXIT trap that the handler set, as the end of a subshell would have.
__driver_exit_trap() { # <status of the handler>
  builtin local - __driver_trap
  # shellcheck disable=SC2154 # the driver sets it
  builtin set "$__driver_options"
  __driver_trap=$(\builtin trap -p EXIT)
  builtin trap '\__driver_seldom __driver_died "$?"' EXIT
  builtin eval "__driver_trap=(${__driver_trap#trap})"
  __driver_kind='return'
  if (($1 == 0)); then
    __driver_run_trap "${__driver_trap[1]}" <&61 >&62
  else
    __driver_ended_with "$1" || __driver_run_trap "${__driver_trap[1]}" <&61 >&62
  fi
  if [[ $__driver_kind == return ]]; then __driver_status=$1; fi
}

# A frame of its own, so that `exit` in the trap leaves the rest of it.
__driver_run_trap() { # <commands>
  builtin eval "$1"
}

__driver_ended_with() { # <status>: makes it $?
  builtin return "$1"
}

# `exit` in a handler. In a subshell, and while the file is sourced, it means what it always
# means.
__driver_exit() { # <status> [the arguments of exit...]
  builtin local __driver_exit=$1
  builtin shift
  if [[ $BASH_SUBSHELL != 0 || ${__driver_kind-return} != return ]]; then
    if [[ ${__driver_kind-} == load ]]; then __driver_kind=exited; fi
    builtin exit "${@:-$__driver_exit}"
  fi
  if (($# > 1)); then
    builtin printf '%s: line %s: exit: too many arguments\n' "${BASH_SOURCE[3]}" "${BASH_LINENO[2]}" >&2
    __driver_exit=1
  fi
  if [[ ! $__driver_exit =~ ^[-+]?[0-9]{1,18}$ ]]; then
    builtin printf '%s: line %s: exit: %s: numeric argument required\n' "${BASH_SOURCE[3]}" "${BASH_LINENO[2]}" "$1" >&2
    __driver_exit=2
  fi
  if [[ $__driver_exit == -* ]]; then __driver_exit=$((256 - (10#${__driver_exit#-} & 255))); fi
  __driver_kind='exit' __driver_status=$((10#${__driver_exit#+} & 255))
  __driver_note 4 ''
  __driver_unwind
}

# Leaves the handler where `set -e` would end the shell. True if the handler itself returned the
# status: the trap then returns from `,`, and there is no other command to blame.
__driver_leave_on_error() { # <status> <line> <command>
  case $__driver_kind in
    return) ;;
    load)
      # The command in the file, and not the line of ours that sources it.
      if [[ ! $__driver_failed_at ]]; then
        __driver_failed_at=${BASH_SOURCE[3]}:$2 __driver_command=$3
      fi
      builtin return 1
      ;;
    *) builtin return 1 ;;
  esac
  __driver_status=$1
  # shellcheck disable=SC2154 # the driver sets it
  if [[ ${FUNCNAME[3]} == @(,*|__driver_hook) ]]; then builtin return "$__driver_depth"; fi
  __driver_kind=errexit
  if [[ $3 == 'builtin return' ]]; then builtin set -- "$1" "$2" "${__driver_refused-$3}"; fi
  if ((__driver_depth)); then
    # A fork ends by itself, as a subshell does.
    __driver_note 4 "$3" "$2"
    __driver_tell "$1"
    builtin return 1
  fi
  __driver_note 4 "$3" "$2"
  __driver_unwind
  builtin return 1
}

# What lambda_log does. Where the host takes the log apart it gave us a mark, which tells it the
# level and the lines that belong together; else the message goes through as it is. A log that
# cannot be written to is no failure of the handler's: bash says so.
__driver_log() { # [level] <message...>
  builtin local -
  builtin set +eux
  builtin local IFS=' ' __driver_level=INFO __driver_text __driver_backslash="\\"
  case ${2+$1} in TRACE | DEBUG | INFO | WARN | ERROR | FATAL) __driver_level=$1 && builtin shift ;; esac
  __driver_text=$*
  if [[ ${__driver_log_mark-} ]]; then
    __driver_text=${__driver_text//"$__driver_backslash"/"$__driver_backslash$__driver_backslash"}
    __driver_text=${__driver_text//$'\n'/"${__driver_backslash}n"}
    __driver_text="$__driver_log_mark$__driver_level $__driver_text"
  fi
  builtin printf '%s\n' "$__driver_text" >&64 || builtin :
}

__driver_note() { # <frames of ours> <command> [line]: remembers where the handler was
  builtin local __driver_i __driver_line
  __driver_details=("${2:0:1024}")
  for ((__driver_i = $1; __driver_i < ${#FUNCNAME[@]}; __driver_i++)); do
    case ${FUNCNAME[__driver_i]} in ,* | __driver_run_trap | __driver_hook) break ;; esac
    __driver_line=${BASH_LINENO[__driver_i - 1]}
    if ((__driver_i == $1)); then __driver_line=${3:-$__driver_line}; fi
    __driver_details+=("${FUNCNAME[__driver_i]} ${BASH_SOURCE[__driver_i]}:$__driver_line")
  done
}

# A DEBUG trap that ends with 2 under extdebug returns from the function around it: so the
# handler is left frame by frame, on every version of bash, and the shell lives on. Outside of
# the handler the trap takes itself away; in a function of ours that would be undone.
__driver_unwind() {
  builtin set +e
  builtin shopt -s extdebug
  # shellcheck disable=SC2154
  builtin trap '\builtin trap - RETURN; case ${FUNCNAME-main} in
    ,* | __driver_exit_trap | __driver_hook | main) \builtin trap - DEBUG; \builtin shopt -u extdebug; \builtin set -E +T ;;
    *) \__driver_ended_with 2 ;;
    esac' DEBUG
}

# The EXIT trap: bash is about to end. The host believes the end itself, not this line;
# it takes from it only where the shell was.
__driver_died() { # <status>
  # A fork that told why it ends has said all.
  if [[ $BASH_SUBSHELL -gt $__driver_depth || ($__driver_kind == errexit && $BASH_SUBSHELL != 0) ]]; then builtin return; fi
  builtin set +eu
  # bash does not know the line here.
  __driver_note 3 "${__driver_command:-$BASH_COMMAND}" 0
  __driver_tell "$1"
}

__driver_tell() { # <status>: the last words
  {
    builtin printf '%s\0' died "$__driver_kind" "$1" "$__driver_failed_at" "${__driver_details[@]}" died
  } >&63
}

# Runs a function of the file's that belongs to no invocation, such as `lambda_shutdown`; if there
# is none the kind stays idle.
__driver_hook() { # <function>
  builtin declare -F -- "$1" >/dev/null || builtin return 0
  # It is in no fork, wherever handlers are.
  builtin local - __driver_depth=0
  builtin set "$__driver_options"
  __driver_kind='return'
  "$1" </dev/null >&64
}

# Starts RANDOM anew: after the restore from a snapshot all its copies would give the same numbers.
__driver_reseed() { # <number>
  # It never gives a number twice in a row. If it does, the file has made a variable like any other of it.
  if [[ ${RANDOM-} != "${RANDOM-}" ]]; then RANDOM=$1; fi
}

__driver_refuse_options() { # `set` did not take what COSHELL_SHELL_OPTIONS says
  __driver_kind=options
  builtin exit 2
}

__driver_undefined() { # <mark>: tells that the handler's function is not there, and which are
  builtin local __driver_name __driver_names
  __driver_names=$(\builtin compgen -A function | while \builtin read -r __driver_name; do
    case $__driver_name in ,* | exit | __driver_* | lambda_log | lambda_http_response | lambda_stream_response) ;; *) \builtin printf '%s ' "$__driver_name" ;; esac
  done)
  builtin printf '%s undefined %s\0' "$1" "$__driver_names"
}

builtin readonly -f __driver_adopt __driver_exit __driver_exit_trap __driver_run_trap __driver_ended_with \
  __driver_leave_on_error __driver_log __driver_note __driver_unwind __driver_died __driver_tell \
  __driver_hook __driver_reseed __driver_refuse_options __driver_undefined
