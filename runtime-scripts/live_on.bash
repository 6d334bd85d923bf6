# shellcheck shell=bash
# How the shell shows its state where variables and functions live on, or where there is nothing
# to put back: COSHELL_ISOLATION=none, subshell or process.
#
# Read after driver.bash; src/bootstrap/shell/state.rs reads what it writes.

# Forgets the invocation and shows what is put back all the same, in the form that restore.bash
# has; of the variables those that lambda_keep names.
,,,() { # <mark> [first]
  __driver_kind=idle __driver_status='' __driver_details=() __driver_arguments=()
  # shellcheck disable=SC2034 # they get their values when an invocation comes
  builtin declare -gx +iuln LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
  builtin disown -a
  # With fewer the next event could call no function.
  if [[ ${FUNCNEST-} == [1-9] ]]; then builtin exit 1; fi
  {
    builtin printf '%s\0' state "${__driver_kept[@]}" '' '' "$0" "$-" "${IFS-unset}" '' "${LAMBDA_RUNTIME_DEADLINE_MS+set}|${_X_AMZN_TRACE_ID+set}|${LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN-}|${LAMBDA_RUNTIME_CLIENT_CONTEXT-}|${LAMBDA_RUNTIME_COGNITO_IDENTITY-}|${LAMBDA_RUNTIME_AWS_TENANT_ID-}"
    builtin umask
    builtin trap -p
    builtin alias -p
    builtin declare -p BASHOPTS __driver_options __driver_builtin "${__driver_kept[@]#fd:}" 2>/dev/null
    builtin printf '\0'
    builtin declare -f exit
    builtin printf '\0\0'
    # What the file's functions watch is looked for once.
    if [[ ${2-} == first ]]; then builtin declare -f; fi
  } >&66
  builtin printf '%s\0' "$1"
}
builtin declare -ft ,,,

# Shows the kept variables of a shell that is about to be replaced.
__driver_show_all_kept() { # <mark>
  if [[ ${__driver_kept-} ]]; then __driver_seldom __driver_show_kept 0; fi
  builtin printf '%s\0' "$1"
}

builtin readonly -f ,,, __driver_show_all_kept
