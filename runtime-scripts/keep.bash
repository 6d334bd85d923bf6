# shellcheck shell=bash
# Shows the state of a shell that keeps its variables and functions, or that serves no second event:
# COSHELL_ISOLATION=none, subshell or process.
#
# bash reads this file together with driver.bash. src/bootstrap/shell/state.rs reads the state.

# Forgets the invocation, and shows the few things that are restored here too, in the form of restore.bash. Of the
# variables it shows only the kept ones.
__driver_show_state() { # <nonce> [first]
  if [[ ${2-} == first ]]; then __driver_use_control; fi
  __driver_kind=KIND_IDLE __driver_status='' __driver_details=() __driver_arguments=()
  # shellcheck disable=SC2034 # they get their values when an invocation comes
  builtin declare -gx +iuln LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
  builtin disown -a
  # With such a limit, the next event could not call any function. A restricted shell cannot take it.
  if [[ ${FUNCNEST-} == [1-9] || $- == *r* ]]; then
    builtin trap - EXIT
    builtin exit 1
  fi
  {
    builtin printf '%s\0' RECORD_STATE "${__driver_kept[@]}" '' KEPT_STATE_FIELDS
    builtin umask
    builtin trap -p
    builtin alias -p
    builtin declare -p BASHOPTS IFS __driver_options __driver_builtin "${__driver_kept[@]#fd:}" 2>/dev/null
    builtin printf '\0'
    builtin declare -f exit
    builtin printf '\0\0'
    # The host looks through the functions of the file once.
    if [[ ${2-} == first ]]; then builtin declare -f; fi
  } >&STATE_FD
  builtin printf '%s\0' "$1"
}
builtin declare -ft __driver_show_state

# Shows the kept variables of a shell that is about to be replaced.
__driver_show_all_kept() { # <nonce>
  if [[ ${__driver_kept-} ]]; then __driver_rare __driver_show_kept 0; fi
  builtin printf '%s\0' "$1"
}

builtin readonly -f __driver_show_state __driver_show_all_kept
