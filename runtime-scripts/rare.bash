# shellcheck shell=bash
# The functions that few invocations need, mostly for handlers that do not simply return.
#
# bash reads this half of the driver when __driver_rare first calls a function of it. So each function here has
# frames of the driver around it: its own, that of __driver_rare, and for `exit` and the ERR trap one more. Numbers
# such as BASH_LINENO[2] count them.

# The rare ones of the functions that call the handler: see invocation.bash.

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

# Moves a descriptor to another number, and makes it close-on-exec.
__driver_take_descriptor() { # <number> <new number>
  # bash has no command that makes a descriptor close-on-exec. But bash does so when it sets a descriptor aside for a
  # redirection, and also with a duplicate of such a descriptor.
  builtin local __driver_aside=10
  while [[ -e /dev/fd/$__driver_aside ]]; do __driver_aside=$((__driver_aside + 1)); done
  __driver_in_posix_mode builtin eval "{ \exec $2>&$__driver_aside; } $1>&-; \exec $1>&-"
}

# Opens other files and pipes, descriptors of the host, because a process of an earlier event has the present ones.
__driver_renew() { # <the host's /proc/PID/fd> <its numbers of arguments, event, response, control, log, state> [turn]
  __driver_redirect "ARGUMENTS_FD<&- EVENT_FD<&- RESPONSE_FD>&- CONTROL_FD>&- LOG_FD>&- STATE_FD>&-"
  __driver_redirect "INHERITED_ARGUMENTS_FD<$1/$2 INHERITED_EVENT_FD<$1/$3 INHERITED_RESPONSE_FD>$1/$4"
  __driver_redirect "INHERITED_CONTROL_FD>$1/$5 INHERITED_LOG_FD>$1/$6 INHERITED_STATE_FD>>$1/$7"
  __driver_take_descriptor INHERITED_ARGUMENTS_FD ARGUMENTS_FD
  __driver_take_descriptor INHERITED_EVENT_FD EVENT_FD
  __driver_take_descriptor INHERITED_RESPONSE_FD RESPONSE_FD
  __driver_take_descriptor INHERITED_CONTROL_FD CONTROL_FD
  __driver_take_descriptor INHERITED_LOG_FD LOG_FD
  __driver_take_descriptor INHERITED_STATE_FD STATE_FD
  if [[ ${8-} ]]; then
    __driver_redirect "TURN_FD<&- OPENED_TURN_FD<$1/$8"
    __driver_take_descriptor OPENED_TURN_FD TURN_FD
  fi
  __driver_redirect '2>&LOG_FD >&CONTROL_FD'
}

# Opens the descriptors for calls of this shell, which are the host's. It may have had others.
__driver_open_calls() { # <the host's /proc/PID/fd> <its numbers of requests, commands and replies>
  __driver_redirect 'CALL_REQUEST_FD>&- CALL_COMMAND_FD<&- CALL_REPLY_FD<&-'
  __driver_redirect "OPENED_CALL_REQUEST_FD>$1/$2 OPENED_CALL_COMMAND_FD<$1/$3 OPENED_CALL_REPLY_FD<$1/$4"
  __driver_take_descriptor OPENED_CALL_REQUEST_FD CALL_REQUEST_FD
  __driver_take_descriptor OPENED_CALL_COMMAND_FD CALL_COMMAND_FD
  __driver_take_descriptor OPENED_CALL_REPLY_FD CALL_REPLY_FD
  __driver_caller=$BASHPID
}

# Opens arguments and event anew, to read them from their start.
__driver_reopen() {
  __driver_redirect 'INHERITED_ARGUMENTS_FD</dev/fd/ARGUMENTS_FD INHERITED_EVENT_FD</dev/fd/EVENT_FD'
  __driver_redirect 'ARGUMENTS_FD<&- EVENT_FD<&-'
  __driver_take_descriptor INHERITED_ARGUMENTS_FD ARGUMENTS_FD
  __driver_take_descriptor INHERITED_EVENT_FD EVENT_FD
}

# Runs the EXIT trap of the handler, as bash does at the end of a subshell.
__driver_run_exit_trap() { # <status of the handler>
  builtin local - __driver_trap __driver_base=3
  # shellcheck disable=SC2154 # the driver sets both
  builtin set "$__driver_options"
  __driver_trap=$(\builtin trap -p EXIT)
  builtin trap '\__driver_rare __driver_on_exit "$?"' EXIT
  builtin eval "__driver_trap=(${__driver_trap#trap})"
  __driver_kind=KIND_RETURN
  if (($1 == 0)); then
    # shellcheck disable=SC2154 # and this
    __driver_eval_trap "${__driver_arguments[@]: -1}" <&EVENT_FD >&RESPONSE_FD
  else
    __driver_set_status "$1" || __driver_eval_trap "${__driver_arguments[@]: -1}" <&EVENT_FD >&RESPONSE_FD
  fi
  if [[ $__driver_kind == KIND_RETURN ]]; then __driver_status=$1; fi
}

# Runs the trap in a function of its own, so that `exit` in it skips the rest. Its argument is the event, as in a fork.
__driver_eval_trap() { # [event]
  builtin eval "${__driver_trap[1]}"
}

# Finds a special variable that was unset, and so is an ordinary one, even if an event has declared it again. Nothing that
# bash shows of it differs, so this looks whether it still has its meaning.
__driver_find_lost() {
  __driver_lost=''
  # bash has it from 5.1 on.
  if [[ ${SRANDOM-} == "${SRANDOM-}" ]] && ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] > 500)); then __driver_lost=SRANDOM; fi
  builtin alias __driver_lost=x
  if [[ ! ${BASH_ALIASES[__driver_lost]-} ]]; then __driver_lost=BASH_ALIASES; fi
  builtin unalias __driver_lost
  if [[ $- == *h* ]]; then
    builtin hash -p /dev/null __driver_lost
    if [[ ! ${BASH_CMDS[__driver_lost]-} ]]; then __driver_lost=BASH_CMDS; fi
    builtin hash -d __driver_lost
  fi
  builtin pushd -n / >/dev/null
  if [[ ${DIRSTACK[1]-} != / ]]; then __driver_lost=DIRSTACK; fi
  builtin dirs -c
}

# Sets $?.
__driver_set_status() { # <status>
  builtin return "$1"
}

# What the function `exit` does: ends the handler. In subshells, and while the file is sourced, it acts like the
# builtin.
__driver_exit() { # <status so far> [argument of exit...]
  builtin local "__driver_exit=$1" __driver_text
  builtin shift
  if [[ ${BASH_SUBSHELL-} != 0 || ${__driver_kind-KIND_RETURN} != KIND_RETURN ]]; then
    if [[ ${__driver_kind-} == KIND_LOAD && ${BASH_SUBSHELL-} == 0 && ${BASHPID-} == "$$" ]]; then
      __driver_kind=KIND_EXITED
      __driver_record_place 4 ''
      __driver_write_exit_trace "${1-$__driver_exit}"
    fi
    builtin exit "${@-$__driver_exit}"
  fi
  if [[ $# -gt 1 || ! ${1-0} =~ ^[0-9]{1,9}$ ]]; then
    # The builtin reads what is no plain number.
    if __driver_text=$(
      __driver_set_status "$__driver_exit"
      builtin exit "$@" 2>&1
    ); then __driver_exit=0; else __driver_exit=$?; fi
    if [[ $__driver_text ]]; then builtin printf '%s: line %s: exit%s\n' "${BASH_SOURCE[3]}" "${BASH_LINENO[2]}" "${__driver_text#*exit}" >&2; fi
  elif (($#)); then
    __driver_exit=$((10#$1 & 255))
  fi
  # Under `set -a` programs of later events would get these.
  builtin set +a
  __driver_kind=KIND_EXIT __driver_status=$__driver_exit
  __driver_record_place 4 ''
  if __driver_has_exit_trap; then
    __driver_write_exit_trace "$__driver_status"
    __driver_exit_in_place
  else
    __driver_unwind
  fi
}

# True if the handler has set an EXIT trap. Then bash has to end here, so that the trap runs in its place. To see that
# takes a process, so the host sets __driver_may_trap if the file contains such a trap.
__driver_has_exit_trap() {
  builtin local __driver_trap
  if [[ ! ${__driver_may_trap-} ]]; then builtin return 1; fi
  __driver_trap=$(\builtin trap -p EXIT)
  [[ $__driver_trap && $__driver_trap != *__driver_on_exit* ]]
}

# Ends bash in the function that called `exit`: before the next command there, or when that function returns.
__driver_exit_in_place() {
  # `set -v` would show the trap.
  builtin set +evT
  # The number of functions of the handler: the innermost four belong to the driver.
  __driver_floor=$((${#FUNCNAME[@]} - 4))
  builtin trap 'if ((${#FUNCNAME[@]} <= __driver_floor)); then \builtin trap - DEBUG RETURN; \builtin exit "$__driver_status"; fi' DEBUG RETURN
}

# Leaves the handler where `set -e` would end the shell. True if the handler itself returned the status: then no
# command of it failed, and the trap returns from `,`.
__driver_leave_on_error() { # <status> <line> <command> <statuses...>
  builtin local __driver_parts
  builtin printf -v __driver_parts '%s ' "${@:4}"
  case $__driver_kind in
    KIND_RETURN) ;;
    KIND_LOAD)
      # Only the first time: after the command in the file, the line of ours that sources the file fails too.
      if [[ ! $__driver_failed_at ]]; then
        __driver_failed_at=${BASH_SOURCE[3]}:$2 __driver_command=$3
        # The EXIT trap would not know the line, and the file may have set one of its own.
        __driver_record_place 4 "$3" "$2"
        __driver_write_exit_trace "$1"
      fi
      builtin return 1
      ;;
    *)
      # While the handler is being left, a function that has options of its own puts `set -e` back.
      if builtin shopt -q extdebug; then builtin set +e; fi
      builtin return 1
      ;;
  esac
  builtin set +a
  __driver_status=$1
  # No function of the handler is left: it returned the status itself. In a fork (depth 1) the trap must not return.
  # shellcheck disable=SC2154 # the driver sets it
  if ((${#FUNCNAME[@]} <= ${__driver_base-2} + 3)); then builtin return "$((${__driver_depth-0} != 0))"; fi
  __driver_kind=KIND_ERREXIT
  if [[ $3 == 'builtin return' || $3 == 'builtin return "$?"' ]]; then builtin set -- "$1" "$2" "${__driver_refused-$3}"; fi
  if ((${__driver_depth-0})) || __driver_has_exit_trap; then
    # bash ends by itself here: a fork like any subshell, and a shell so that the handler's EXIT trap runs here.
    __driver_record_place 4 "$3" "$2"
    __driver_write_exit_trace "$1"
    builtin return 1
  fi
  __driver_record_place 4 "$3" "$2"
  __driver_unwind
  builtin return 1
}

# What lambda_log does. If the host cuts the log into records, it has set a nonce. Then the message goes on one line,
# with the nonce and the level before it; otherwise it is written unchanged. If the log cannot be written, bash prints
# an error and the handler goes on.
__driver_log() { # [level] <message...>
  builtin local -
  builtin set +eux
  builtin local __driver_level=INFO __driver_text __driver_backslash="\\"
  case ${2+$1} in TRACE | DEBUG | INFO | WARN | ERROR | FATAL) __driver_level=$1 && builtin shift ;; esac
  __driver_join "$@"
  if [[ ${__driver_log_nonce-} ]]; then
    __driver_text=${__driver_text//"$__driver_backslash"/"$__driver_backslash$__driver_backslash"}
    __driver_text=${__driver_text//$'\n'/"${__driver_backslash}n"}
    __driver_text="$__driver_log_nonce$__driver_level $__driver_text"
  fi
  builtin printf '%s\n' "$__driver_text" >&LOG_FD || builtin :
}

# Sets __driver_text to the words with blanks between them. Not by `$*`: the file may have a readonly IFS.
__driver_join() { # [word...]
  builtin printf -v __driver_text ' %s' "$@"
  __driver_text=${__driver_text:1}
}

# Records where the handler is, for the report or the exit trace: command, statuses of the pipeline, frames. If the innermost
# function is the driver's, the command is the function of coshell that the handler called. The host leaves out frames of ours.
__driver_record_place() { # <number of the driver's frames> <command> [line]
  builtin local __driver_i __driver_line "__driver_in_call=$1"
  __driver_details=("${2:0:1024}" "${__driver_parts-}")
  # The host keeps 100.
  for ((__driver_i = $1; __driver_i < ${#FUNCNAME[@]} - ${__driver_base-2} && __driver_i < $1 + 101; __driver_i++)); do
    if [[ ${FUNCNAME[__driver_i]} == __driver_* ]]; then builtin continue; fi
    if ((__driver_i > __driver_in_call)); then __driver_details[0]=${FUNCNAME[__driver_i]}; fi
    __driver_line=${BASH_LINENO[__driver_i - 1]}
    if ((__driver_i == $1)); then __driver_line=${3:-$__driver_line}; fi
    __driver_details+=("${FUNCNAME[__driver_i]} ${BASH_SOURCE[__driver_i]}:$__driver_line")
    __driver_in_call=${#FUNCNAME[@]}
  done
}

# Leaves the handler frame by frame, so that the shell goes on. It works in every version of bash.
#
# Under extdebug, a DEBUG trap that ends with status 2 makes bash return from the function around it. The depth shows
# which functions belong to the handler. The trap removes itself outside of functions, since bash would undo that in
# `,`. No ERR trap of the file or the handler may see the status 2, so ours takes its place: it is set in the innermost
# function, and holds in those around it too. Afterwards the trap of the file is set again.
__driver_unwind() {
  builtin set +ev
  # shellcheck disable=SC2064,SC2154 # the trap is a text, and the driver sets it
  if [[ ${__driver_errtrace-} ]]; then builtin trap "$__driver_error_trap" ERR; fi
  builtin shopt -s extdebug
  # shellcheck disable=SC2154
  builtin trap '\builtin trap - RETURN; if [[ ${FUNCNAME+set} && ${#FUNCNAME[@]} -gt ${__driver_base-2} ]]; then
    \__driver_set_status 2
    else \builtin trap - DEBUG; \builtin shopt -u extdebug; \builtin set "${__driver_errtrace--E}" +T; "${__driver_err_trap[@]}"
    fi' DEBUG
}

# The EXIT trap: writes the exit trace, since bash is about to end. The host believes it only about where the shell was.
__driver_on_exit() { # <status>
  builtin set +eu
  # The ERR trap of a fork has written the exit trace already.
  if [[ $BASH_SUBSHELL -gt ${__driver_depth-0} || ($__driver_kind == KIND_ERREXIT && $BASH_SUBSHELL != 0) ]]; then builtin return; fi
  # While the file is sourced, the ERR trap or `exit` has written the exit trace, unless only bash noticed the error.
  if [[ $__driver_kind == KIND_EXITED || $__driver_failed_at ]]; then builtin return; fi
  # bash does not know the line in this trap. If the host's patience ends while the RTMAX trap runs, that one knows more.
  if [[ ! ${__driver_has_stopped-} ]]; then __driver_record_place 3 "${__driver_command:-$BASH_COMMAND}" 0; fi
  # If `exec` does not find its command, bash before 5.2 ends with the status of the command before.
  if [[ $1 == 0 && ${__driver_details[0]} == exec\ [!0-9\<\>\&\{]* ]]; then
    __driver_write_exit_trace 127
    builtin exit 127
  fi
  __driver_write_exit_trace "$1"
}

# The RTMAX trap, by which the host stops the handler: writes the exit trace, and ends bash with SIGTERM. bash runs it
# as soon as the command that it waited for has ended. Traps of the handler for EXIT and SIGTERM run after it.
__driver_on_stop() {
  builtin local -
  builtin set +eu
  __driver_record_place 3 "${__driver_command:-$BASH_COMMAND}" 0
  __driver_has_stopped=1
  __driver_write_exit_trace 143
  # So the EXIT trap writes nothing more. The host sees from the removed trap that the exit trace is written.
  __driver_kind=KIND_EXITED
  builtin trap - RTMAX
  builtin kill -s TERM "$BASHPID"
}

# Writes the exit trace.
__driver_write_exit_trace() { # <status>
  {
    builtin printf '%s\0' RECORD_DIED "$__driver_kind" "$1" "$__driver_failed_at" "${__driver_details[@]}" RECORD_DIED
  } >&CONTROL_FD
}

# Runs a hook, such as `lambda_shutdown`. If the file does not define it, the kind stays idle.
__driver_run_hook() { # <function>
  builtin declare -F -- "$1" >/dev/null || builtin return 0
  # A hook runs in the shell itself, even if handlers run in forks.
  builtin local - __driver_depth=0 __driver_base=3
  builtin set "$__driver_options"
  # An event may have ended just before.
  __driver_kind=KIND_RETURN __driver_status='' __driver_details=()
  "$1" </dev/null >&LOG_FD
}

# Seeds RANDOM: otherwise all copies of a snapshot would give the same numbers.
__driver_reseed() { # <number>
  # bash never gives the same number twice in a row. If RANDOM does, the file has made it an ordinary variable.
  if [[ ${RANDOM-} != "${RANDOM-}" ]]; then RANDOM=$1; fi
}

# Ends bash because `set` rejected COSHELL_SHELL_OPTIONS.
__driver_refuse_options() {
  __driver_kind=KIND_OPTIONS
  builtin exit 2
}

# Reports that the file does not define the handler, and which functions it defines.
__driver_report_undefined() { # <nonce>
  builtin local __driver_names
  __driver_names=$(\builtin compgen -A function)
  builtin printf '%s RECORD_UNDEFINED %s\0' "$1" "$__driver_names" >&CONTROL_FD
}

builtin readonly -f ,d ,l ,tl ,dl __driver_redirect __driver_in_posix_mode __driver_take_descriptor __driver_renew __driver_open_calls __driver_reopen __driver_exit __driver_run_exit_trap __driver_eval_trap __driver_set_status __driver_find_lost \
  __driver_leave_on_error __driver_log __driver_join __driver_record_place __driver_unwind __driver_on_exit __driver_on_stop __driver_write_exit_trace \
  __driver_has_exit_trap __driver_exit_in_place __driver_run_hook __driver_reseed __driver_refuse_options __driver_report_undefined
