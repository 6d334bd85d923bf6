# shellcheck shell=bash
# The functions that the host's second program does: jq and aws, where there is no such program, or COSHELL_COMMANDS names it,
# and lambda_fetch and its kin.
#
# The driver has this file only if the handler's file names one of them. A call goes to the host like those of calls.bash: from
# the shell itself through its own descriptors, from other processes with a ticket. The second program reads and writes the
# caller's descriptors itself, and these functions wait for its status. src/bootstrap/calls/command.rs is the other side.

# HOT
__driver_command() { # <function> <name of the command> [its arguments...]
  builtin local - __driver_self __driver_mark __driver_exported __driver_line='' __driver_is_lost=''
  # In POSIX mode a signal would interrupt `read`.
  builtin set +euv +o posix
  # With it, `read` would give up. It may be readonly.
  if [[ ${TMOUT-} ]]; then builtin local TMOUT='' 2>/dev/null; fi
  __driver_self=${__driver_caller-} __driver_exported=()
  if [[ ! $__driver_self || $__driver_self != "${BASHPID-}" ]]; then
    __driver_command_by_ticket "$@"
    __driver_line=$?
  else
    case $2 in
      # The host knows the values that it has found before, with the same words and what decides who asks whom. If a file does, only
      # the second program knows.
      secret | parameter)
        if [[ ! ${AWS_ACCESS_KEY_ID-} || ! ${AWS_SECRET_ACCESS_KEY-} || ${AWS_PROFILE-}${AWS_DEFAULT_PROFILE-}${AWS_CONFIG_FILE-}${AWS_SHARED_CREDENTIALS_FILE-} || -e ${HOME-}/.aws || "${*:3}" == *--profile* ]]; then
          __driver_run_command "$@"
        else
          # As __driver_exchange does, without the cost of a function.
          __driver_caller='' __driver_mark=$__driver_self.$((++__driver_call_count))
          builtin printf '%s\0' "$(($# + 1))" "$__driver_mark" "${__driver_arguments[__driver_id_at]-}" 0 '' known "$2" \
            "${AWS_REGION@A}${AWS_DEFAULT_REGION@A}${AWS_ACCESS_KEY_ID@A}${AWS_SECRET_ACCESS_KEY@A}${AWS_SESSION_TOKEN@A}${HOME@A}${AWS_ENDPOINT_URL@A}${AWS_ENDPOINT_URL_SSM@A}${AWS_ENDPOINT_URL_SECRETS_MANAGER@A}${AWS_IGNORE_CONFIGURED_ENDPOINT_URLS@A}${AWS_USE_FIPS_ENDPOINT@A}${AWS_USE_DUALSTACK_ENDPOINT@A}" \
            "${@:3}" >&CALL_REQUEST_FD &&
            builtin read -r -N SHELL_REPLY_CHARS -u CALL_COMMAND_FD __driver_line && [[ $__driver_line == "$__driver_mark "* ]] || __driver_self=''
          if [[ $__driver_self ]]; then __driver_run_reply "${__driver_line#* }" "$@"; else __driver_command_by_ticket "$@"; fi
        fi
        ;;
      *) __driver_run_command "$@" ;;
    esac
    # Until the reply has been read to its end a trap takes a ticket.
    __driver_line=$?
    if [[ $__driver_is_lost ]]; then
      __driver_rare __driver_refuse_call 'its reply is lost'
      __driver_line=5 __driver_self=''
    fi
    __driver_caller=$__driver_self
  fi
  # The error document names this command. bash would name the last command of the function.
  __driver_refused=$1
  builtin return "$__driver_line"
}

# Runs a command for the shell itself.
__driver_run_command() { # <function> <name of the command> [its arguments...]
  __driver_list_exported "${@:2}"
  __driver_line=''
  case $2 in
    # They read nothing, and write to a variable.
    secret | parameter) __driver_exchange run "$2" '' '' '' "${#__driver_exported[@]}" "${__driver_exported[@]}" "${@:3}" ;;
    # bash puts its pipe at 1 while it writes the request, so the host copies OPENED_CALL_OUTPUT_FD. 0 and 2 stay what they are.
    *) if [[ -e /dev/fd/1 ]]; then __driver_exchange run "$2" 0 OPENED_CALL_OUTPUT_FD 2 "${#__driver_exported[@]}" "${__driver_exported[@]}" "${@:3}" 83>&1; fi ;;
  esac
  if [[ $__driver_line ]]; then __driver_run_reply "$__driver_line" "$@"; else __driver_command_by_ticket "$@"; fi
}

# Runs the command that is the reply. If that fails, a variable gets back what it had.
__driver_run_reply() { # <command> <function> <name of the command> [its arguments...]
  builtin local "__driver_line=$1"
  builtin shift
  builtin eval "$__driver_line" && builtin return 0
  __driver_line=$?
  if [[ $1 == __driver_put_back ]]; then __driver_rare "$@"; fi
  builtin return "$__driver_line"
}

# Sends a request of the shell itself, and reads the command that is the reply. If that fails the descriptors are no longer used:
# __driver_self is empty. As in __driver_call, a trap that runs meanwhile takes a ticket.
__driver_exchange() { # <field...>
  # Without it the reply cannot be read, and the command would run twice.
  if [[ ! -e /dev/fd/CALL_COMMAND_FD ]]; then builtin return; fi
  __driver_caller='' __driver_mark=$__driver_self.$((++__driver_call_count))
  if ! builtin printf '%s\0' "$#" "$__driver_mark" "${__driver_arguments[__driver_id_at]-}" 0 '' "$@" >&CALL_REQUEST_FD; then
    __driver_self=''
  elif builtin read -r -N SHELL_REPLY_CHARS -u CALL_COMMAND_FD __driver_line && [[ $__driver_line == "$__driver_mark "* ]]; then
    __driver_line=${__driver_line#* }
  else
    # It may have run.
    __driver_self='' __driver_is_lost=1 __driver_line='__driver_set_status 5'
  fi
}

# The same for any process: takes a ticket, which names a slot.
__driver_command_by_ticket() { # <function> <name of the command> [its arguments...]
  builtin local __driver_in='' __driver_out='' __driver_err='' __driver_reply __driver_slot='' __driver_line='' __driver_ended='' __driver_rest='' __driver_folder __driver_words
  __driver_reply=()
  if ((!${#__driver_exported[@]})); then __driver_list_exported "${@:2}"; fi
  # shellcheck disable=SC2154 # the host sets it
  __driver_folder=${__driver_calls[0]%/*}
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
  # Nothing here splits words: IFS is the handler's.
  if [[ ${BASHPID-} ]] && builtin read -r -N 1 __driver_slot <"${__driver_calls[0]}"; then
    __driver_slot=$((1 + 3 * __driver_slot))
    builtin printf '%s\0' "$((4 + ${#__driver_exported[@]} + $#))" "${__driver_caller:+-}$BASHPID" "${__driver_arguments[__driver_id_at]-}" 0 '' \
      run "$2" "$__driver_in" "$__driver_out" "$__driver_err" "${#__driver_exported[@]}" "${__driver_exported[@]}" "${@:3}" >"${__driver_calls[__driver_slot]}"
    builtin mapfile -t -n 1 __driver_words <"${__driver_calls[__driver_slot + 1]}"
    __driver_line=${__driver_words[0]-}
    if [[ $__driver_line == 'w '* ]]; then
      __driver_rest=${__driver_line##* }
      {
        builtin mapfile -t -n 1 __driver_words
        __driver_line=${__driver_words[0]-}
        if [[ $__driver_line == 'o '* ]]; then
          builtin mapfile -t -d '' __driver_reply <"$__driver_folder/${__driver_line##* }"
          builtin read -r -N 2 __driver_rest
        fi
      } <"$__driver_folder/$__driver_rest"
    fi
    __driver_rest=${__driver_line#* }
    __driver_ended=${__driver_rest%% *} __driver_rest=${__driver_rest#* }
  fi
  if [[ $__driver_in ]]; then { builtin :; } {__driver_in}<&-; fi
  if [[ $__driver_out ]]; then { builtin :; } {__driver_out}>&-; fi
  if [[ $__driver_err ]]; then { builtin :; } {__driver_err}>&-; fi
  case $__driver_line in
    'd '*) ;;
    'o '*)
      if [[ ${__driver_reply[2]-} ]]; then
        __driver_rare __driver_assign_text "${__driver_reply[2]}" "${__driver_reply[0]}" || __driver_ended=1
      elif ! builtin printf %s "${__driver_reply[0]-}"; then
        # As the programs end if they cannot write.
        case $2 in
          jq) __driver_ended=2 ;;
          fetch) __driver_ended=23 ;;
          *) __driver_ended=255 ;;
        esac
      fi
      builtin printf %s "${__driver_reply[1]-}" >&2
      ;;
    'e '*) __driver_rare __driver_refuse_call "$__driver_rest" ;;
    *)
      __driver_rare __driver_refuse_call 'the host does not answer'
      __driver_ended=5
      ;;
  esac
  builtin return "$__driver_ended"
}

# Lists the exported variables that the command may read. bash shows them to no function without a process. A name costs some
# microseconds, so those of Lambda that no command reads are left out.
__driver_list_exported() { # <name of the command> [its arguments...]
  builtin local __driver_letter __driver_name __driver_names
  __driver_names=()
  if [[ $1 != jq ]]; then
    # What AWS's SDKs and curl read.
    if [[ $1 != fetch ]]; then __driver_names=("${!AWS_@}" HOME TZ); fi
    if [[ ${SSL_CERT_FILE-}${AWS_CA_BUNDLE-}${http_proxy-}${https_proxy-}${HTTPS_PROXY-}${all_proxy-}${ALL_PROXY-}${PARAMETERS_SECRETS_EXTENSION_HTTP_PORT-} ]]; then
      __driver_names+=(SSL_CERT_FILE AWS_CA_BUNDLE http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY PARAMETERS_SECRETS_EXTENSION_HTTP_PORT)
    fi
  elif __driver_may_read_environment "${@:2}"; then
    for __driver_letter in {a..z} {A..Z} _; do
      builtin eval "__driver_names+=(\"\${!$__driver_letter@}\")"
    done
  fi
  for __driver_name in "${__driver_names[@]}"; do
    case $1:$__driver_name in
      jq:*) ;;
      *:AWS_LAMBDA_* | *:AWS_EXECUTION_ENV) builtin continue ;;
    esac
    if [[ ${!__driver_name@a} == *x* ]]; then __driver_exported+=("$__driver_name=${!__driver_name-}"); fi
  done
}

# True if a filter of jq names the environment, or local times, which TZ changes, or is in a file. One pattern for all of the arguments would take long for long ones.
__driver_may_read_environment() { # [arguments of jq...]
  builtin local __driver_argument
  for __driver_argument; do
    case $__driver_argument in *env* | *ENV* | *localtime* | -*f*) builtin return 0 ;; esac
  done
  builtin return 1
}

builtin readonly -f __driver_may_read_environment __driver_command __driver_run_command __driver_run_reply __driver_exchange __driver_command_by_ticket __driver_list_exported
