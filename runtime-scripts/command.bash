# shellcheck shell=bash
# The functions that the host's second program does: jq and aws, where there is no such program, or COSHELL_COMMANDS names it,
# and lambda_fetch and its kin.
#
# The driver has this file only if the handler's file names one of them. A call goes to the host like those of calls.bash. The
# second program then reads and writes the caller's descriptors itself, and this function waits for its status.
# src/bootstrap/calls/command.rs is the other side.

__driver_command() { # <function> <name of the command> [its arguments...]
  builtin local - __driver_in='' __driver_out='' __driver_err='' __driver_exported __driver_reply __driver_slot='' __driver_line='' __driver_status='' __driver_rest='' __driver_folder
  builtin set +eu
  __driver_exported=() __driver_reply=()
  # shellcheck disable=SC2154 # the host sets it
  __driver_folder=${__driver_calls[0]%/*}
  __driver_list_exported "${@:2}"
  # bash puts other files at 0 and 1 while it speaks to the host. So the host gets the numbers of copies.
  case $2 in
    # They read nothing, and write to a variable.
    secret | parameter) ;;
    *)
      if [[ -e /dev/fd/0 ]]; then { builtin :; } {__driver_in}<&0; fi
      if [[ -e /dev/fd/1 ]]; then { builtin :; } {__driver_out}>&1; fi
      ;;
  esac
  if [[ -e /dev/fd/2 ]]; then { builtin :; } {__driver_err}>&2; fi
  if IFS='' builtin read -r -N 1 __driver_slot <"${__driver_calls[0]}"; then
    __driver_slot=$((1 + 3 * __driver_slot))
    builtin printf '%s\0' "$((4 + ${#__driver_exported[@]} + $#))" "$BASHPID" "${__driver_arguments[__driver_id_at]-}" 0 '' \
      run "$2" "$__driver_in" "$__driver_out" "$__driver_err" "${#__driver_exported[@]}" "${__driver_exported[@]}" "${@:3}" >"${__driver_calls[__driver_slot]}"
    IFS=' ' builtin read -r __driver_line __driver_status __driver_rest <"${__driver_calls[__driver_slot + 1]}"
    if [[ $__driver_line == w ]]; then
      {
        __driver_line=''
        IFS=' ' builtin read -r __driver_line __driver_status __driver_rest
        if [[ $__driver_line == o ]]; then
          builtin mapfile -t -d '' __driver_reply <"$__driver_folder/$__driver_rest"
          builtin read -r __driver_rest
        fi
      } <"$__driver_folder/$__driver_rest"
    fi
  fi
  if [[ $__driver_in ]]; then { builtin :; } {__driver_in}<&-; fi
  if [[ $__driver_out ]]; then { builtin :; } {__driver_out}>&-; fi
  if [[ $__driver_err ]]; then { builtin :; } {__driver_err}>&-; fi
  case $__driver_line in
    d) ;;
    o)
      if [[ ${__driver_reply[2]-} ]]; then
        builtin printf -v "${__driver_reply[2]}" %s "${__driver_reply[0]}"
      else
        builtin printf %s "${__driver_reply[0]-}"
      fi
      builtin printf %s "${__driver_reply[1]-}" >&2
      ;;
    *) __driver_rare __driver_refuse_call 4 "${__driver_rest:-the host does not answer}" ;;
  esac
  # The error document names this command. bash would name the last command of the function.
  __driver_refused=$1
  builtin return "${__driver_status:-5}"
}

# Lists the exported variables that the command may read. bash shows them to no function without a process.
__driver_list_exported() { # <name of the command> [its arguments...]
  builtin local __driver_letter __driver_names __driver_name
  if [[ $1 != jq ]]; then
    # What AWS's SDKs and curl read.
    __driver_names=("${!AWS_@}" "${!PARAMETERS_SECRETS_@}" HOME TZ SSL_CERT_FILE http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY)
    __driver_add_exported
  elif [[ "$*" == *@(env|ENV|-*f)* ]]; then
    for __driver_letter in {a..z} {A..Z} _; do
      builtin eval "__driver_names=(\"\${!$__driver_letter@}\")"
      __driver_add_exported
    done
  fi
}

# Adds those of __driver_names that are exported.
__driver_add_exported() {
  for __driver_name in "${__driver_names[@]}"; do
    if [[ ${!__driver_name@a} == *x* ]]; then __driver_exported+=("$__driver_name=${!__driver_name-}"); fi
  done
}

builtin readonly -f __driver_command __driver_list_exported __driver_add_exported
