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
  __driver_in_posix_mode builtin eval "{ \exec $2>&$__driver_aside; } $1>&-; \exec $1>&-"
}

# A process that an event left has what is ours open: the next one gets other files and pipes, which are
# descriptors of the host's. The state is appended to its file, since the host cannot rewind what bash opens.
__driver_renew() { # <the host's folder in /proc> <its numbers of arguments, event, response, control, log, state> [turn]
  __driver_redirect "60<&- 61<&- 62>&- 63>&- 64>&- 66>&- 70<$1/$2 71<$1/$3 72>$1/$4 73>$1/$5 74>$1/$6 76>>$1/$7"
  __driver_adopt 70 60
  __driver_adopt 71 61
  __driver_adopt 72 62
  __driver_adopt 73 63
  __driver_adopt 74 64
  __driver_adopt 76 66
  if [[ ${8-} ]]; then
    __driver_redirect "67<&- 79<$1/$8"
    __driver_adopt 79 67
  fi
  __driver_redirect '2>&64 >&63'
}

# Opens arguments and event anew, to be read from their start.
__driver_reopen() {
  __driver_redirect '70</dev/fd/60 71</dev/fd/61'
  __driver_redirect '60<&- 61<&-'
  __driver_adopt 70 60
  __driver_adopt 71 61
}

# Runs the EXIT trap that the handler set, as the end of a subshell would have.
__driver_exit_trap() { # <status of the handler>
  builtin local - __driver_trap __driver_base=3
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
  builtin local "__driver_exit=$1"
  builtin shift
  if [[ ${BASH_SUBSHELL-} != 0 || ${__driver_kind-return} != return ]]; then
    if [[ ${__driver_kind-} == load && ${BASH_SUBSHELL-} == 0 && ${BASHPID-} == "$$" ]]; then
      __driver_kind=exited
      __driver_note 4 ''
      __driver_tell "$__driver_exit"
    fi
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
  if __driver_traps_exit; then
    __driver_tell "$__driver_status"
    __driver_exit_there
  else
    __driver_unwind
  fi
}

# Whether bash has to end by itself, since the handler has set an EXIT trap, which runs where that is.
# The host says whether the file may: it takes a process to see.
__driver_traps_exit() {
  builtin local __driver_trap
  if [[ ! ${__driver_may_trap-} ]]; then builtin return 1; fi
  __driver_trap=$(\builtin trap -p EXIT)
  [[ $__driver_trap && $__driver_trap != *__driver_died* ]]
}

# Ends bash in the function that called `exit`: before its next command, or when it returns.
__driver_exit_there() {
  builtin set +eT
  # That many functions are the handler's: the last four are ours.
  __driver_floor=$((${#FUNCNAME[@]} - 4))
  builtin trap 'if ((${#FUNCNAME[@]} <= __driver_floor)); then \builtin trap - DEBUG RETURN; \builtin exit "$__driver_status"; fi' DEBUG RETURN
}

# Leaves the handler where `set -e` would end the shell. True if the handler itself returned the
# status: the trap then returns from `,`, and there is no other command to blame.
__driver_leave_on_error() { # <status> <line> <command> <statuses...>
  builtin local __driver_parts
  builtin printf -v __driver_parts '%s ' "${@:4}"
  case $__driver_kind in
    return) ;;
    load)
      # The command in the file, and not the line of ours that sources it.
      if [[ ! $__driver_failed_at ]]; then
        __driver_failed_at=${BASH_SOURCE[3]}:$2 __driver_command=$3
        # Here and not in the EXIT trap, which may be the file's own, and does not know the line.
        __driver_note 4 "$3" "$2"
        __driver_tell "$1"
      fi
      builtin return 1
      ;;
    *) builtin return 1 ;;
  esac
  __driver_status=$1
  # shellcheck disable=SC2154 # the driver sets it
  if ((${#FUNCNAME[@]} <= ${__driver_base-2} + 3)); then builtin return "${__driver_depth-0}"; fi
  __driver_kind=errexit
  if [[ $3 == 'builtin return' ]]; then builtin set -- "$1" "$2" "${__driver_refused-$3}"; fi
  if ((${__driver_depth-0})) || __driver_traps_exit; then
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
  __driver_details=("${2:0:1024}" "${__driver_parts-}")
  # The host keeps 100.
  for ((__driver_i = $1; __driver_i < ${#FUNCNAME[@]} - ${__driver_base-2} && __driver_i < $1 + 101; __driver_i++)); do
    case ${FUNCNAME[__driver_i]} in __driver_*) break ;; esac
    __driver_line=${BASH_LINENO[__driver_i - 1]}
    if ((__driver_i == $1)); then __driver_line=${3:-$__driver_line}; fi
    __driver_details+=("${FUNCNAME[__driver_i]} ${BASH_SOURCE[__driver_i]}:$__driver_line")
  done
}

# A DEBUG trap that ends with 2 under extdebug returns from the function around it: so the
# handler is left frame by frame, on every version of bash, and the shell lives on. Outside of
# the handler the trap takes itself away; in a function of ours that would be undone. How deep it is
# tells what is the handler's.
__driver_unwind() {
  builtin set +e
  builtin shopt -s extdebug
  # shellcheck disable=SC2154
  builtin trap '\builtin trap - RETURN; if [[ ${FUNCNAME+set} && ${#FUNCNAME[@]} -gt ${__driver_base-2} ]]; then
    \__driver_ended_with 2
    else \builtin trap - DEBUG; \builtin shopt -u extdebug; \builtin set "${__driver_inherits--E}" +T
    fi' DEBUG
}

# The EXIT trap: bash is about to end. The host believes the end itself, not this line;
# it takes from it only where the shell was.
__driver_died() { # <status>
  builtin set +eu
  # A fork that has reported why it ends has nothing to add.
  if [[ $BASH_SUBSHELL -gt ${__driver_depth-0} || ($__driver_kind == errexit && $BASH_SUBSHELL != 0) ]]; then builtin return; fi
  # While the file is sourced the ERR trap and `exit` have reported it, unless only bash noticed.
  if [[ $__driver_kind == exited || $__driver_failed_at ]]; then builtin return; fi
  # bash does not know the line here.
  __driver_note 3 "${__driver_command:-$BASH_COMMAND}" 0
  __driver_tell "$1"
}

# The host stops the handler, which may have set an EXIT trap. bash comes here when what it waited for has
# ended, and before it does anything else: what the handler has for SIGTERM comes after this.
__driver_stopped() {
  builtin local -
  builtin set +eu
  __driver_note 3 "$BASH_COMMAND" 0
  __driver_tell 143
  # All is said; and the host sees by the trap that it is.
  __driver_kind=exited
  builtin trap - RTMAX
  builtin kill -s TERM "$BASHPID"
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
  builtin local - __driver_depth=0 __driver_base=3
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
    case $__driver_name in , | ,[dlt,] | ,[dt]l | ,,, | exit | __driver_* | lambda_log | lambda_keep | lambda_http_response | lambda_stream_response) ;; *) \builtin printf '%s ' "$__driver_name" ;; esac
  done)
  builtin printf '%s undefined %s\0' "$1" "$__driver_names" >&63
}

builtin readonly -f __driver_adopt __driver_renew __driver_reopen __driver_exit __driver_exit_trap __driver_run_trap __driver_ended_with \
  __driver_leave_on_error __driver_log __driver_note __driver_unwind __driver_died __driver_stopped __driver_tell \
  __driver_traps_exit __driver_exit_there __driver_hook __driver_reseed __driver_refuse_options __driver_undefined
