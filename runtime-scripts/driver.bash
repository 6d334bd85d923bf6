# shellcheck shell=bash
# The driver: runs in the shell, loads the handler's file, takes invocations, calls the handler and reports how it ended.
#
# bash reads the host's lines as its script, so the host decides what runs next. After an error that discards a
# command (1/0, an assignment to a readonly variable), bash goes on with the next line.
#
# This file has what is needed until the handler's file is loaded. bash parses it at every start, so it is short:
# invocation.bash comes after the file, and rare.bash when it is first needed. All names start with __driver_, or with a
# comma, since the handler runs in the same shell. `builtin` reaches a builtin whatever functions the handler defines.
#
# Names such as EVENT_FD and KIND_IDLE stand for what src/driver/protocol.toml says, which also describes the descriptors.
# The driver that ships has the values, no comments, and short names. docs/protocol.md draws what the two sides exchange.

builtin set +o posix

# What runs, and then how the handler ends: return, unless something else turns out.
__driver_kind=KIND_LOAD __driver_status='' __driver_failed_at='' __driver_command=''
__driver_arguments=() __driver_details=()
# The subshell level at which the handler runs: 1 if events run in forks.
__driver_depth=0
# Where the request id is in the arguments. A fork gets the event first.
__driver_id_at=0
# The number of functions around the handler, `main` included. Deeper ones belong to the handler, whatever their
# names. While the file is sourced, all of them belong to it.
__driver_base=0
# The arguments of lambda_keep.
__driver_kept=()
# shellcheck disable=SC2016 # expanded when it runs
__driver_error_trap='\__driver_on_error "$?" "$LINENO" "$BASH_COMMAND" "${PIPESTATUS[@]}" && \builtin return 0'

# Reports that bash has sourced the file, and whether it defines the handler.
#
# Before that it removes what the file has set to watch commands: the traps, which it writes to the state pipe, and the
# options, which only the handler gets from now on. It also removes `set -a`, which would export what is restored. The
# function is traced (declare -t); others do not see these traps.
# shellcheck disable=SC2154 # the host sets __driver_function
__driver_report_load() { # <nonce> <status of sourcing>
  # A restricted shell, and one that ends after a command.
  if [[ $- == *r* || -o onecmd ]]; then
    builtin printf '%s RECORD_UNUSABLE options %s\0' "$1" "$-" >&CONTROL_FD
    builtin return 0
  fi
  # Lists the builtins that the file has switched off. The host knows which ones the driver needs.
  builtin enable -n >&CONTROL_FD
  builtin trap -p DEBUG RETURN ERR >&STATE_FD
  builtin trap - DEBUG RETURN
  # shellcheck disable=SC2064 # the trap is a text
  builtin trap "$__driver_error_trap" ERR
  # Unless the file names the ERR trap, -E is the driver's, and the handler does not get it. It is switched off here,
  # because the pattern below may not distinguish E from e (nocasematch).
  if [[ ! ${__driver_names_err_trap-} ]]; then builtin set +E; fi
  __driver_options=${-//[!aeuxkvET]/}
  builtin set +aeuxkvT -E
  __driver_kind=KIND_IDLE __driver_command='' __driver_base=2
  __driver_options=${__driver_options:+-$__driver_options}
  __driver_options=${__driver_options:-+e}
  builtin declare -gr +x __driver_options
  if [[ ${FUNCNEST-} == [1-9] ]]; then
    __driver_unusable=funcnest
  elif [[ ${LAMBDA_RUNTIME_AWS_REQUEST_ID@a}${LAMBDA_RUNTIME_DEADLINE_MS@a}${LAMBDA_RUNTIME_TRACE_ID@a}${_X_AMZN_TRACE_ID@a} == *r* ]]; then
    __driver_unusable='readonly'
  fi
  if [[ ${__driver_unusable-} ]]; then
    builtin printf '%s RECORD_UNUSABLE %s\0' "$1" "$__driver_unusable" >&CONTROL_FD
  elif builtin declare -F -- "$__driver_function" >/dev/null; then
    builtin declare -F lambda_shutdown >/dev/null && __driver_shutdown=shutdown
    builtin printf '%s RECORD_READY %s %s.%s %s\0' "$1" "$2" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "${__driver_shutdown-}" >&CONTROL_FD
    # The host asks for the first event now. It has put invocation.bash there, unless this shell has read it.
    if [[ ! ${__driver_can_invoke-} ]]; then __driver_read ARGUMENTS_FD; fi
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
  # The last line of the file sets this.
  if [[ ! ${__driver_has_rare-} ]]; then __driver_read RARE_FD; fi
  "$@"
}

# Reads a part of the driver, whatever options the handler has set. `set -a` would export its functions, `set -v` show them,
# POSIX mode rejects their names, and aliases would change their commands. `set -k` takes what is not quoted out of arguments.
__driver_read() { # <descriptor>
  builtin local - "__driver_aliases=-u"
  # Leaving POSIX mode also switches aliases off.
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  builtin set +aeukvx +o posix
  builtin shopt -u expand_aliases
  # A trap that runs meanwhile may read the file too. Then bash complains here that the functions are readonly.
  # shellcheck disable=SC1090 # a file without a name
  builtin . "/dev/fd/$1" 2>/dev/null
  builtin shopt "$__driver_aliases" expand_aliases
}

# The ERR trap. It acts only where `set -e` is about to end the shell.
#
# It does nothing in the process in which bash runs command_not_found_handle: that has another id, but the same
# subshell level. It does nothing either if bash no longer computes a variable such as FUNCNAME.
__driver_on_error() { # <status> <line> <command> <statuses of the parts of the pipeline...>
  [[ -o errexit && ${BASH_SUBSHELL-} == "${__driver_depth-0}" && (${__driver_depth-0} != 0 || ${BASHPID-} == "$$") && ${FUNCNAME-} == __driver_on_error ]] && __driver_rare __driver_leave_on_error "$@"
}

# Defines `exit` so that it ends the handler, and not the shell.
# shellcheck disable=SC2317 # `exit` is called
__driver_guard_exit() {
  exit() {
    builtin local "__driver_exit=$?"
    if [[ ${BASH_SUBSHELL-} != 0 || ${BASHPID-} != "$$" || ${FUNCNAME-} != exit ]]; then builtin exit "${@-$__driver_exit}"; fi
    __driver_rare __driver_exit "$__driver_exit" "$@"
  }
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  # The host starts bash again, and it then reads older.bash in the place of the lines from here to inherit_errexit.
  builtin printf 'RECORD_OLDER %s.%s\0' "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" >&INHERITED_CONTROL_FD
  exit 0
elif ((BASH_VERSINFO[0] < 5)); then
  # In bash 4, `[[` in a trap replaces BASH_COMMAND. So traps keep its value in their first command.
  # shellcheck disable=SC2016 # traps expand it
  __driver_show_command=' "${__driver_command:=$BASH_COMMAND}"'
fi
# `set -e` holds inside $(...) too, as it does in the tutorial's bootstrap: on Amazon Linux that runs in POSIX mode.
builtin shopt -s inherit_errexit

# The build makes the commands that move the inherited descriptors, as __driver_take_descriptor does, but all at once. bash
# sets them aside at the lowest numbers that are free from 10 on.
MOVE_INHERITED_FDS
builtin set -E
# shellcheck disable=SC2064
builtin trap "$__driver_error_trap" ERR
# shellcheck disable=SC2064 # to be expanded here
builtin trap "\\__driver_rare __driver_on_exit \"\$?\"${__driver_show_command-}" EXIT
# shellcheck disable=SC2064
builtin trap "\\__driver_rare __driver_on_stop${__driver_show_command-}" RTMAX
__driver_guard_exit
builtin readonly __driver_function
builtin declare -ft __driver_report_load
builtin readonly -f __driver_report_load __driver_rare __driver_read __driver_on_error __driver_guard_exit
# shellcheck disable=SC2034 # they get their values when an invocation comes
builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
builtin printf 'RECORD_STARTED\0' >&CONTROL_FD
