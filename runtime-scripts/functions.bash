# shellcheck shell=bash
# The functions of coshell for a whole script that sources "$COSHELL_FUNCTIONS".
#
# The host puts calls.bash, some functions of lambda.bash and rare.bash, and those that the script calls in the place of
# the line below. They expect what the driver has: the request id, and a depth. src/bootstrap/calls/functions.rs makes
# the file.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  builtin printf 'coshell: its functions need bash 4.4 or later, and this is %s\n' "$BASH_VERSION" >&2
  builtin return 1
fi
# `set -a` would export the functions.
__driver_options=$-
builtin set +a
__driver_in_script=1 __driver_depth=0 __driver_id_at=0 __driver_base=0
__driver_arguments=("${LAMBDA_RUNTIME_AWS_REQUEST_ID-}")
# Everything is here already.
__driver_rare() {
  "$@"
}
__driver_functions
# Calls the functions of a batch with the options of the script, as they are at the call.
lambda_each() {
  { __driver_each_flags=$- __driver_options=$- && builtin local - && builtin set +xkTEe; } 2>/dev/null
  __driver_rare __driver_each "$@"
}
# Ends the script, or a subshell of it.
lambda_error() {
  { builtin set +xkTE; } 2>/dev/null
  builtin local __driver_exit=1
  __driver_rare __driver_error "$@" || __driver_exit=2
  builtin exit "$__driver_exit"
}
if [[ $__driver_options == *a* ]]; then builtin set -a; fi
