# shellcheck shell=bash
# What differs in the driver on bash 4.2 and 4.3, which have no `local -`, `mapfile -d`, `inherit_errexit` and `${name@a}`.
#
# On these versions every event runs in a fork of the shell, where nothing has to be undone. bash reads these lines within
# driver.bash, in the place of those about its version. The functions of the same names in other files are left out.
# src/driver/build/older.rs puts the texts together, in which `local -` becomes `local __driver_unused=`.
# shellcheck disable=SC2154 # driver.bash has the variables

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 402)); then
  builtin printf 'this is bash %s, and coshell needs 4.2 or later\n' "$BASH_VERSION" >&2
  exit 1
fi

# In bash 4, `[[` in a trap replaces BASH_COMMAND. So traps keep its value in their first command.
# shellcheck disable=SC2016 # traps expand it
__driver_show_command=' "${__driver_command:=$BASH_COMMAND}"'

# With the EXIT trap bash starts to handle SIGTERM. Setting and removing a trap makes that the way to handle it that forks
# come back to.
builtin trap : EXIT
builtin trap : TERM
builtin trap - TERM

# Reads the arguments of a fork: the number of variables of the context, request id, deadline, trace header, these
# variables, the lines of the event, and the nonce. Leaves them as subshell.bash expects them: the event first, and no
# other if the nonce is missing. Then the host has emptied the file, before the event was read whole.
#
# mapfile reads lines in blocks here, while `read -d ''` would read a byte at a time. printf joins the lines of the event,
# since IFS may be readonly. If it is not, a newline in it keeps bash 4.2 from splitting slices. Subshells do not inherit an
# ERR trap, not even with `set -E`, so a fork sets it. A trap for RTMAX would not know the command, and run again while it
# runs: so the host stops a fork with SIGTERM, and the EXIT trap writes the exit trace. For that, the fork sets and removes a
# trap for TERM, which gives it the shell's way to handle this signal; without that, it would end before its EXIT trap.
__driver_read_arguments() {
  builtin local __driver_first __driver_text
  { builtin local IFS=$'\n' || builtin :; } 2>/dev/null
  builtin mapfile -t -u ARGUMENTS_FD __driver_arguments
  if [[ ${__driver_arguments[*]: -1} != "$__driver_nonce" ]]; then
    __driver_arguments=()
  else
    __driver_first=$((4 + __driver_arguments[0]))
    builtin set -- "$((${#__driver_arguments[@]} - 1 - __driver_first))"
    builtin printf -v __driver_text '\n%s' "${__driver_arguments[@]:__driver_first:$1}"
    __driver_arguments=("${__driver_text:1}" "${__driver_arguments[@]:1:__driver_first-1}")
  fi
  # shellcheck disable=SC2064 # the trap is a text
  builtin trap "$__driver_error_trap" ERR
  builtin trap - RTMAX
  builtin trap : TERM
  builtin trap - TERM
}

# Reads the fields of a long reply, each with a NUL behind it, from standard input.
__driver_read_reply() {
  builtin local __driver_field
  while IFS='' builtin read -r -d '' __driver_field; do __driver_reply+=("$__driver_field"); done
}

# Lists the exported variables that the command may read. A variable shows no attributes here.
__driver_list_exported() { # <name of the command> [its arguments...]
  builtin local __driver_name __driver_lines
  if [[ $1 == jq ]] && ! __driver_may_read_environment "${@:2}"; then builtin return; fi
  __driver_lines=$(builtin compgen -e)
  while IFS='' builtin read -r __driver_name; do
    case $1:$__driver_name in
      jq:* | *:SSL_CERT_FILE | *:AWS_CA_BUNDLE | *:*_proxy | *:*_PROXY | *:PARAMETERS_SECRETS_*) ;;
      fetch:*) builtin continue ;;
      *:AWS_LAMBDA_* | *:AWS_EXECUTION_ENV) builtin continue ;;
      *:AWS_* | *:HOME | *:TZ) ;;
      *) builtin continue ;;
    esac
    __driver_exported+=("$__driver_name=${!__driver_name-}")
  done <<<"$__driver_lines"
}

# Calls the function for one record, with the options of the handler.
__driver_call_for_record() {
  __driver_record=${__driver_records[__driver_number]}
  builtin set "$__driver_flags_of_records"
  "$__driver_target" "$__driver_record"
  { builtin set -- "$?" && builtin set +euxvT; } 2>/dev/null
  builtin return "$1"
}

# True if the variables of an event can be set: the file has made none of them readonly.
# shellcheck disable=SC2034 # it only tries to set them
__driver_can_set_variables() {
  (LAMBDA_RUNTIME_AWS_REQUEST_ID='' LAMBDA_RUNTIME_DEADLINE_MS='' LAMBDA_RUNTIME_TRACE_ID='' _X_AMZN_TRACE_ID='') 2>/dev/null
}

# As in driver.bash. But here `set -e` holds in a trap, and what `return` gives there replaces the status of the handler. So
# it ends the shell itself, with the status that `set -e` would give it.
__driver_on_error() { # <status> <line> <command> <statuses of the parts of the pipeline...>
  [[ -o errexit && ${BASH_SUBSHELL-} == "${__driver_depth-0}" && (${__driver_depth-0} != 0 || ${BASHPID-} == "$$") && ${FUNCNAME-} == __driver_on_error ]] || builtin return "$1"
  builtin set +e
  # For a function of ours LINENO is that of its `return`.
  case $3 in 'builtin return' | 'builtin return "$?"') builtin set -- "$1" "$__driver_line" "${@:3}" ;; esac
  __driver_rare __driver_leave_on_error "$@" && builtin return 0
  if [[ $__driver_kind != KIND_ERREXIT || ${__driver_depth-0} != 0 ]]; then builtin exit "$1"; fi
  builtin return 1
}

# As in driver.bash, but it also switches off the options that a hook gets, once that has ended.
__driver_rare() { # <function> [argument...]
  if [[ ${__driver_builtin-} ]] && \declare -F builtin >/dev/null; then
    __driver_hide_builtin
    "$@"
    __driver_exit=$?
    \eval "$__driver_builtin"
    \return "$__driver_exit"
  fi
  if [[ ! ${__driver_has_rare-} ]]; then __driver_read RARE_FD; fi
  if [[ $1 == __driver_run_hook ]]; then
    "$@"
    { __driver_exit=$? && builtin set +euxkvT && builtin return "$__driver_exit"; } 2>/dev/null
  fi
  "$@"
}

# As in driver.bash.
__driver_read() { # <descriptor>
  builtin local "__driver_aliases=-u" "__driver_posix=+o" "__driver_letters=${-//[!aeukvxT]/}"
  if [[ -o posix ]]; then __driver_posix=-o; fi
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  builtin set +aeukvx +o posix
  builtin shopt -u expand_aliases
  # shellcheck disable=SC1090 # a file without a name
  builtin . "/dev/fd/$1" 2>/dev/null
  builtin shopt "$__driver_aliases" expand_aliases
  builtin set "$__driver_posix" posix
  __driver_set_letters 0
}

# Sets the options again that a function of ours has switched off.
__driver_set_letters() { # <status to return>
  if [[ $__driver_letters ]]; then builtin set "-$__driver_letters"; fi
  builtin return "$1"
}

# As in rare.bash.
__driver_in_posix_mode() { # <command...>
  builtin local __driver_aliases=-u
  if [[ -o posix ]]; then
    "$@"
    builtin return
  fi
  if builtin shopt -q expand_aliases; then __driver_aliases=-s; fi
  builtin set -o posix
  "$@"
  builtin set +o posix
  builtin shopt "$__driver_aliases" expand_aliases
}

builtin readonly -f __driver_read_arguments __driver_read_reply __driver_list_exported __driver_can_set_variables __driver_set_letters
