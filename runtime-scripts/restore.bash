# shellcheck shell=bash
# How the shell shows its state where everything is put back: COSHELL_ISOLATION=restore.
#
# Read after driver.bash; src/bootstrap/shell/state.rs reads what it writes. The state goes through a pipe of its
# own, which the host looks at last: each line is a write, and would wake it up.

# Forgets the invocation and shows what the handler may have changed; nobody waits for it, since
# the answer is on its way. The first time it shows everything. After that the host defines
# __driver_show and __driver_reset, because what no function of the file can change need not be
# looked at. The mark is a number to base 32, too. Fields end in NUL: the word state; the kept variables and an empty field; the last job;
# $0; the options; IFS; values that bash computes; the context. Then what bash prints of variables
# and so on. The function is traced (declare -t), because others do not see DEBUG and RETURN traps.
# shellcheck disable=SC2154 # the driver sets its variables
,,,() { # <mark> [first|reset]
  __driver_kind=idle __driver_status='' __driver_details=() __driver_arguments=()
  if [[ ${2-} == reset ]]; then __driver_reset "$((32#$1))"; fi
  {
    builtin printf '%s\0' state "${__driver_kept[@]}" '' "${!-}" "$0" "$-" "${IFS-unset}" "${SECONDS-} ${EPOCHSECONDS-} ${LINENO-} ${BASHPID-} ${BASH_SUBSHELL-} ${FUNCNAME-} ${#BASH_SOURCE[@]} ${RANDOM-} ${RANDOM-}" "${LAMBDA_RUNTIME_DEADLINE_MS+set}|${_X_AMZN_TRACE_ID+set}|${LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN-}|${LAMBDA_RUNTIME_CLIENT_CONTEXT-}|${LAMBDA_RUNTIME_COGNITO_IDENTITY-}|${LAMBDA_RUNTIME_AWS_TENANT_ID-}"
    builtin declare -p
    if [[ ${2-} == first ]]; then __driver_show_first; else __driver_show; fi
  } >&66
  builtin printf '%s\0' "$1"
}
builtin declare -ft ,,,

__driver_reset() { # <random number>
  builtin :
}

__driver_show() {
  builtin :
}

__driver_show_first() {
  builtin umask
  builtin trap -p
  builtin alias -p
  builtin printf '\0'
  builtin enable -n
  builtin declare -F
  builtin printf '\0\0'
  builtin declare -f
  builtin printf '\0'
  builtin hash -l
  builtin printf '\0'
  builtin dirs -p -l
  # A bash without readline has neither of these.
  builtin printf '\0'
  builtin complete -p 2>/dev/null
  builtin printf '\0'
  builtin history 2>/dev/null
}

builtin declare -ft __driver_show __driver_show_first
builtin readonly -f ,,, __driver_show_first
