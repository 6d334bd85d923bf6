# shellcheck shell=bash
# For a file that defines a function `builtin`: bash reads this at the start, together with driver.bash.

# Hides the function from the driver, and keeps it for the handler. Assigning to POSIXLY_CORRECT switches POSIX mode on, in
# which special builtins such as `unset` come before functions.
__driver_hide_builtin() { # [no-forks, if the function cannot be given to a fork]
  if ! __driver_builtin=$(\declare -f builtin); then
    __driver_builtin=''
    \return 0
  fi
  if [[ ${1-} ]]; then __driver_unusable=builtin; fi
  POSIXLY_CORRECT=1
  \unset -f builtin
  \set +o posix
  if [[ $BASHOPTS == *expand_aliases* ]]; then builtin shopt -s expand_aliases; fi
}
builtin readonly -f __driver_hide_builtin
