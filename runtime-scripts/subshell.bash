# shellcheck shell=bash
# Runs events in forks of the shell: with COSHELL_ISOLATION=subshell, and with `restore` for handlers that bash cannot
# undo.
#
# Whatever the handler changes ends with the fork. The fork is made after an answer and waits at `read` for its event.
# `exit`, `set -e` and traps mean in a fork what they mean in any subshell, so nothing has to be undone or unwound. If
# the handler fails, the traps of the fork write where it was; the status comes from the shell, which the handler
# cannot imitate. bash reads this file together with rare.bash.

# Makes a fork, which writes its process id and waits for its event. The line that it waits for is `nul NONCE` or
# `newlines NONCE`, by what separates the fields of the event; any other line ends it.
#
# The host calls this function, or hands its body to `eval`, so that the handler is called at the top level, as in any
# shell. Before the fork waits, it runs `mapfile` and the assignments once, since the first time copies memory.
# shellcheck disable=SC2030,SC2034 # the variables are for the fork, and exported
__driver_fork() { # __driver_keeps=keep if lambda_keep was called
  __driver_kind=KIND_RETURN
  # The shell has no stderr while it waits for the fork: it would print our text if a signal ended the fork. The event
  # is redirected out here, because a job of a subshell that redirects its own stdin would inherit it.
  {
    (
      # shellcheck disable=SC2064 # to be expanded here
      builtin trap "{ \\__driver_on_fork_exit \"\$?\"${__driver_show_command-} || [[ 1 ]]; } 2>/dev/null" EXIT
      # shellcheck disable=SC2064
      builtin trap "\\__driver_rare __driver_on_stop${__driver_show_command-}" RTMAX
      builtin mapfile -td '' __driver_arguments </dev/null
      LAMBDA_RUNTIME_AWS_REQUEST_ID='' LAMBDA_RUNTIME_DEADLINE_MS='' LAMBDA_RUNTIME_TRACE_ID='' _X_AMZN_TRACE_ID='' __driver_nonce='' __driver_word='' __driver_job=${!-}
      builtin printf 'RECORD_WAITING\0%s\0' "$BASHPID" >&CONTROL_FD
      # Not by `read`: the file may have a readonly IFS, and TMOUT would end the wait.
      builtin mapfile -tn 1 -u TURN_FD __driver_arguments
      __driver_word=${__driver_arguments[0]-}
      __driver_nonce=${__driver_word#* }
      case $__driver_word in
        nul\ *) __driver_word='' ;;
        newlines\ *) __driver_word=$'\n' ;;
        *) builtin exit 0 ;;
      esac
      builtin mapfile -td "$__driver_word" -u ARGUMENTS_FD __driver_arguments
      # The host empties the file when the time is up. The handler must not run with an empty event then.
      if [[ ! ${__driver_arguments[1]-} ]]; then builtin exit 143; fi
      LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[1]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[2]} LAMBDA_RUNTIME_TRACE_ID=${__driver_arguments[3]} _X_AMZN_TRACE_ID=${__driver_arguments[3]}
      if [[ ! ${__driver_arguments[3]} ]]; then builtin unset -v LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; fi
      if [[ ! ${__driver_arguments[2]} ]]; then builtin unset -v LAMBDA_RUNTIME_DEADLINE_MS; fi
      # The context, as name=value.
      if [[ ${__driver_arguments[4]-} ]]; then builtin export "${__driver_arguments[@]:4}"; fi
      __driver_word=${__driver_keeps-}${__driver_watches+watches}
      builtin set -- "${__driver_arguments[0]}"
      # A handler that watches its commands finds the traps of the file, and nothing of the driver around it.
      # __driver_sees_commands is EXIT if it sees every command, and not only those that fail.
      # shellcheck disable=SC2154 # the driver sets its options and the function, the host the others
      case $__driver_word$__driver_options in
        *watches*) builtin trap - ERR "${__driver_sees_commands-ERR}" ;;&
        watches*x*)
          # `set -x` does not show the call itself.
          {
            builtin set +E "$__driver_options"
            builtin eval "$__driver_watches"
            "$__driver_function" "$1" 2>&69 69>&-
          } 69>&2 2>/dev/null
          ;;
        watches*)
          builtin set +E "$__driver_options"
          { builtin eval "$__driver_watches"; } 2>/dev/null
          "$__driver_function" "$1"
          ;;
        *watches*)
          builtin set +E "$__driver_options"
          { builtin eval "$__driver_watches"; } 2>/dev/null
          "$__driver_function" "$1"
          { __driver_keep_at_exit "$?"; } >/dev/null 2>&1
          ;;
        keep*)
          builtin set "$__driver_options"
          "$__driver_function" "$1"
          { __driver_keep_at_exit "$?"; } 2>/dev/null
          ;;
        *)
          builtin set "$__driver_options"
          "$__driver_function" "$1"
          ;;
      esac
    ) >&RESPONSE_FD 2>&69 69>&-
  } <&EVENT_FD 69>&2 2>/dev/null
}

# The EXIT trap of a fork.
#
# It reports a handler that has returned 0 and started no job, because a fork takes a while to end. The number of
# functions around the trap shows that the handler has returned. Any other end is reported by the shell, which knows
# more: after a signal, for example, the status here is 0. If the handler failed, or the host is stopping it, the trap
# writes an exit trace. The host empties file 60 before it stops a fork. The handler may have closed 60.
# shellcheck disable=SC2031 # it runs in the fork
__driver_on_fork_exit() { # <status>
  builtin set +eu
  if [[ ! $__driver_nonce ]]; then builtin return; fi
  if [[ ${__driver_kept-} ]]; then __driver_show_kept 0 || builtin :; fi
  if [[ $1 == 0 && ${#FUNCNAME[@]} -eq $((${__driver_base-1} + 1)) && ${!-} == "$__driver_job" ]]; then
    builtin printf '%s\0' "$__driver_nonce" return 0 "$__driver_nonce" >&CONTROL_FD
  elif [[ $1 == 0 && ${__driver_command:-$BASH_COMMAND} == exec\ [!0-9\<\>\&\{]* ]]; then
    # As in __driver_on_exit.
    __driver_on_exit 127 || builtin :
    builtin exit 127
  elif [[ $1 != 0 || (-e /dev/fd/ARGUMENTS_FD && ! -s /dev/fd/ARGUMENTS_FD) ]]; then
    __driver_on_exit 1 || builtin :
  fi
}

# Shows the kept variables. The host sets them in the shell, from which the next fork is made. A signal can end a fork
# in here, and its EXIT trap then shows them anew: no field of a complete record ends like the first one.
__driver_show_kept() { # <status to return>
  if [[ ${__driver_kept-} ]]; then
    {
      builtin printf '%s\0' RECORD_KEPT "${__driver_kept[@]}" ''
      builtin declare -p "${__driver_kept[@]}" 2>/dev/null || builtin :
      builtin printf '\0'
    } >&STATE_FD
  fi
  builtin return "$1"
}

# Shows the kept variables when the handler has returned, and again after an EXIT trap of the handler, which replaces
# ours and may assign to them.
__driver_keep_at_exit() { # <status>
  builtin local __driver_trap
  __driver_trap=$(builtin trap -p EXIT)
  if [[ $__driver_trap && $__driver_trap != *'\__driver_on_fork_exit '* ]]; then
    builtin eval "__driver_trap=(${__driver_trap#trap})"
    builtin trap "${__driver_trap[1]}"$'\n__driver_show_kept 0' EXIT
  fi
  __driver_show_kept "$1"
}

# Prepares the shell for making forks. In forks, `exit` is the builtin, unless the file defines it.
__driver_run_in_forks() { # [own, if the function exit belongs to the file]
  __driver_depth=1 __driver_id_at=1
  if [[ ! ${1-} ]]; then builtin unset -f exit; fi
  # The forks have copies of stderr. If the file has closed it, writing there fails in this way too.
  if [[ ! -e /dev/fd/2 ]]; then __driver_redirect '2</dev/null'; fi
}

builtin readonly -f __driver_fork __driver_on_fork_exit __driver_show_kept __driver_keep_at_exit __driver_run_in_forks
# shellcheck disable=SC2034 # driver.bash reads it, and this file is the last one of those that it reads together
__driver_has_rare=1
