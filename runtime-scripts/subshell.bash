# shellcheck shell=bash
# For COSHELL_ISOLATION=subshell: the handler runs in a fork of the shell, which takes all that
# it changed with it. Read before driver.bash.
#
# `exit`, `set -e` and traps mean in a subshell what they always mean, so nothing has to be
# undone or unwound. What is told of a handler that fails comes from the fork, by our EXIT and
# ERR traps; the host believes the status alone, which the shell reports.

# shellcheck disable=SC2034 # driver.bash reads it
__driver_depth=1

# Takes the invocation that lies in descriptor 60, and calls the handler. The event is read in
# the fork: the shell itself never holds it.
,s() { # [separator: NUL if none]
  __driver_kind='return'
  # bash has no stderr while it waits: it would print our text if a signal ends the fork. And the
  # event is led in out here: a job of a subshell that has a stdin of its own would inherit it.
  { (
    # Descriptor 60 is empty where the host stops the handler: the status is 0 here then. The handler
    # may have closed it, and the one that seldom.bash is read from.
    builtin trap '[[ $? = 0 && (-s /dev/fd/60 || ! -e /dev/fd/60) ]] || { \__driver_seldom __driver_died 1 || \builtin :; } 2>/dev/null' EXIT
    builtin mapfile -td "${1-}" -u60 __driver_arguments
    LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_arguments[1]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_arguments[2]} LAMBDA_RUNTIME_TRACE_ID=${__driver_arguments[3]} _X_AMZN_TRACE_ID=${__driver_arguments[3]}
    if [[ ! ${__driver_arguments[3]} ]]; then builtin unset -v LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; fi
    if [[ ! ${__driver_arguments[2]} ]]; then builtin unset -v LAMBDA_RUNTIME_DEADLINE_MS; fi
    # Those that seldom change, as name=value.
    if [[ ${__driver_arguments[4]-} ]]; then builtin export "${__driver_arguments[@]:4}"; fi
    # shellcheck disable=SC2154 # the driver sets it, and the function
    builtin set "$__driver_options"
    # shellcheck disable=SC2154
    "$__driver_function" "${__driver_arguments[0]}"
  ) >&62 2>&66 66>&-; } <&61 66>&2 2>/dev/null
}
builtin readonly -f ,s

# Called at the end of driver.bash.
__driver_run_in_subshells() {
  builtin unset -f exit
  builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
}
