# shellcheck shell=bash
# Events that run in forks of the shell: COSHELL_ISOLATION=subshell, and what `restore` falls back
# to for a handler that bash cannot undo.
#
# The fork takes all that the handler changed with it. It is made ahead, while nobody waits, and
# stops at `read` until there is an event. `exit`, `set -e` and traps mean in a subshell what they
# always mean, so nothing has to be undone or unwound. What is said of a handler that fails comes
# from the fork, by our EXIT and ERR traps; the host believes the status alone, which the shell
# reports. A part of seldom.bash.

# The host calls this function, or hands its body to `eval`, so that the handler is called at the top level, as
# in any shell. Makes a fork, which says its process id and waits for a word: `newlines` is for an event that is
# separated by newlines, an empty word for any other, and any other word ends the fork. Before it
# waits it does once what an event makes it do, since the first time costs it a copy of the memory.
# shellcheck disable=SC2030,SC2034 # the variables are for the fork, and exported
__driver_fork() { # __driver_keeps is the word keep if the file uses lambda_keep
  __driver_kind='return'
  # bash has no stderr while it waits: it would print our text if a signal ends the fork. And the
  # event is led in out here: a job of a subshell that has a stdin of its own would inherit it.
  {
    (
      builtin trap '{ \__driver_fork_end "$?" || [[ 1 ]]; } 2>/dev/null' EXIT
      builtin trap '\__driver_seldom __driver_stopped' RTMAX
      builtin mapfile -td '' __driver_arguments </dev/null
      LAMBDA_RUNTIME_AWS_REQUEST_ID='' LAMBDA_RUNTIME_DEADLINE_MS='' LAMBDA_RUNTIME_TRACE_ID='' _X_AMZN_TRACE_ID='' __driver_mark='' __driver_word='' __driver_job=${!-}
      builtin printf 'waiting\0%s\0' "$BASHPID" >&63
      IFS=' ' builtin read -r -u 67 __driver_word __driver_mark || builtin exit 0
      case $__driver_word in
        nul) __driver_word='' ;;
        newlines) __driver_word=$'\n' ;;
        *) builtin exit 0 ;;
      esac
      builtin mapfile -td "$__driver_word" -u60 __driver_arguments
      LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[1]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[2]} LAMBDA_RUNTIME_TRACE_ID=${__driver_arguments[3]} _X_AMZN_TRACE_ID=${__driver_arguments[3]}
      if [[ ! ${__driver_arguments[3]} ]]; then builtin unset -v LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; fi
      if [[ ! ${__driver_arguments[2]} ]]; then builtin unset -v LAMBDA_RUNTIME_DEADLINE_MS; fi
      # Those that seldom change, as name=value.
      if [[ ${__driver_arguments[4]-} ]]; then builtin export "${__driver_arguments[@]:4}"; fi
      __driver_word=${__driver_keeps-}${__driver_watches+watches}
      builtin set -- "${__driver_arguments[0]}"
      # A handler that watches its commands finds what the file has set, and nothing of ours around it:
      # __driver_sees_commands is the word EXIT if it sees those that do not fail.
      # shellcheck disable=SC2154 # the driver sets its options and the function, the host the others
      case $__driver_word$__driver_options in
        *watches*) builtin trap - ERR "${__driver_sees_commands-ERR}" ;;&
        watches*x*)
          # The call itself is not shown.
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
    ) >&62 2>&69 69>&-
  } <&61 69>&2 2>/dev/null
}

# What the EXIT trap of a fork does. A handler that has returned, as the functions around this
# show, and has started no job, is reported before the fork ends, which takes a while. Of any other
# end the shell knows more: a signal leaves 0 as the status here. Descriptor 60 is empty where the host stops the handler; the
# handler may have closed it.
# shellcheck disable=SC2031 # it runs in the fork
__driver_fork_end() { # <status>
  builtin set +eu
  if [[ ! $__driver_mark ]]; then builtin return; fi
  if [[ ${__driver_kept-} ]]; then __driver_show_kept 0 || builtin :; fi
  if [[ $1 == 0 && ${#FUNCNAME[@]} -eq $((${__driver_base-1} + 1)) && ${!-} == "$__driver_job" ]]; then
    builtin printf '%s\0' "$__driver_mark" return 0 "$__driver_mark" >&63
  elif [[ $1 != 0 || (-e /dev/fd/60 && ! -s /dev/fd/60) ]]; then
    __driver_died 1 || builtin :
  fi
}

# Shows the host the variables that live on: they are set again in the shell that the next fork
# is made of. Ends with the status that it is given.
__driver_show_kept() { # <status>
  if [[ ${__driver_kept-} ]]; then
    {
      builtin printf '%s\0' kept "${__driver_kept[@]}" ''
      builtin declare -p "${__driver_kept[@]}" 2>/dev/null || builtin :
      builtin printf '\0'
    } >&66
  fi
  builtin return "$1"
}

# The handler may have set an EXIT trap of its own, which runs in place of ours: what it assigns is
# kept, too.
__driver_keep_at_exit() { # <status>
  builtin local __driver_trap
  __driver_trap=$(builtin trap -p EXIT)
  if [[ $__driver_trap && $__driver_trap != *'\__driver_fork_end '* ]]; then
    builtin eval "__driver_trap=(${__driver_trap#trap})"
    builtin trap "${__driver_trap[1]}"$'\n__driver_show_kept 0' EXIT
  fi
  __driver_show_kept "$1"
}

# Makes a shell that is ready for events into one whose forks take them: `exit` is the builtin there,
# if the file does not define it.
__driver_run_in_subshells() { # [own: the function is the file's]
  __driver_depth=1
  if [[ ! ${1-} ]]; then builtin unset -f exit; fi
}

builtin readonly -f __driver_fork __driver_fork_end __driver_show_kept __driver_keep_at_exit __driver_run_in_subshells
