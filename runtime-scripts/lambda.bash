# shellcheck shell=bash
# What lambda_http_response, lambda_stream_response, lambda_keep, lambda_error and lambda_remaining_ms do.
#
# bash reads this file together with rare.bash. Requests for the response go to the control pipe. Any process of the
# handler can write there, so the host checks each request again.

# Checks the arguments of lambda_http_response, and writes the request.
__driver_http_response() { # [--stream] [--cookie COOKIE]... STATUS [HEADER...]
  builtin local - LC_ALL=C __driver_mode=http __driver_operands __driver_lines __driver_line
  builtin set +eux
  __driver_operands=() __driver_lines=()
  while (($#)); do
    case $1 in
      --stream) __driver_mode=http-stream ;;
      --cookie)
        (($# > 1)) || __driver_refuse use '--cookie' 'a cookie is missing' || builtin return
        __driver_lines+=("Set-Cookie: $2")
        builtin shift
        ;;
      -*) __driver_refuse use "$1" 'expected --stream or --cookie' || builtin return ;;
      *) __driver_operands+=("$1") ;;
    esac
    builtin shift
  done
  if [[ ! ${__driver_operands[0]-} =~ ^[1-5][0-9][0-9]$ ]]; then
    __driver_refuse use "status ${__driver_operands[0]-}" 'expected 100 to 599' || builtin return
  fi
  __driver_lines=("${__driver_operands[@]:1}" "${__driver_lines[@]}")
  # The host does not accept more, and neither does Lambda.
  __driver_line="${__driver_lines[*]}"
  if ((${#__driver_lines[@]} > 4000 || ${#__driver_line} > 262144)); then
    __driver_refuse use "${#__driver_lines[@]} headers of ${#__driver_line} bytes" 'expected at most 4000 of 262144 bytes together' || builtin return
  fi
  for __driver_line in "${__driver_lines[@]}"; do
    if [[ ! $__driver_line =~ ^[0-9A-Za-z\!\#\$%\&\'*+.^_\`\|~-]+: ]]; then
      __driver_refuse use "header $__driver_line" 'expected Name: value' || builtin return
    elif [[ $__driver_line == *[!\ -~]* ]]; then
      __driver_refuse use "header ${__driver_line%%:*}" 'its value is not visible ASCII' || builtin return
    fi
  done
  __driver_request_response "$__driver_mode" "${__driver_operands[0]}" "${__driver_lines[@]}"
}

# Checks the argument of lambda_stream_response, and writes the request.
__driver_stream_response() { # [CONTENT-TYPE]
  builtin local - LC_ALL=C
  builtin set +eux
  if (($# > 1)); then
    __driver_refuse use "$2" 'expected one content type' || builtin return
  elif [[ ${1-x} != [!-]* || ${1-x} == *[!\ -~]* ]]; then
    __driver_refuse use "content type $1" 'expected one such as text/plain' || builtin return
  fi
  __driver_request_response stream "$@"
}

# Adds the arguments of lambda_keep to the kept variables. `fd:NAME` also keeps the descriptors whose numbers NAME
# holds.
__driver_keep() { # NAME...
  builtin local - __driver_name __driver_known
  builtin set +eux
  for __driver_name; do
    case ${__driver_name#fd:} in
      '' | [0-9]* | *[!A-Za-z0-9_]*) __driver_refuse keep "$__driver_name" 'expected the name of a variable' || builtin return ;;
      LAMBDA_RUNTIME_* | _X_AMZN_TRACE_ID | __driver_* | IFS | _)
        __driver_refuse keep "$__driver_name" 'coshell sets this variable for each event' || builtin return
        ;;
    esac
  done
  for __driver_name; do
    for __driver_known in "${__driver_kept[@]}"; do
      if [[ $__driver_known == "$__driver_name" ]]; then builtin continue 2; fi
    done
    __driver_kept+=("$__driver_name")
  done
  # A fork shows its kept variables now, in case it is killed.
  # shellcheck disable=SC2154 # the driver sets it
  if ((__driver_depth)); then __driver_show_kept 0; fi
}

# Writes the request to end the invocation with an error of the handler's own. The host takes it if the handler then
# fails with status 1. The caller ends the handler, or its subshell, also if the request is not written.
__driver_error() { # TYPE MESSAGE...
  builtin local - IFS=' ' LC_ALL=C __driver_id __driver_details __driver_parts=''
  builtin set +eu
  if (($# < 2)); then
    __driver_refuse use "$*" 'expected a type and a message' || builtin return
  elif [[ ! $1 =~ ^[A-Za-z][0-9A-Za-z._:-]{0,127}$ ]]; then
    __driver_refuse use "type $1" 'expected a letter, and then at most 127 letters, digits and . _ : -' || builtin return
  fi
  case $1 in
    Runtime.* | Sandbox.* | Extension.* | States.*)
      __driver_refuse use "type $1" 'AWS uses types that begin so; choose another one' || builtin return
      ;;
  esac
  __driver_id=${__driver_arguments[__driver_depth]-}
  if [[ ! $__driver_id ]]; then
    __driver_refuse_call 4 'there is no invocation'
    builtin return 2
  fi
  # A subshell may be all that fails, so that only this line is left of the error.
  if ((BASH_SUBSHELL > __driver_depth)); then __driver_refuse_call 4 "$1: ${*:2}"; fi
  __driver_record_place 4 ''
  __driver_parts=${*:2}
  __driver_details=("$1" "${__driver_parts:0:262144}" "${__driver_details[@]:2}")
  builtin printf '%s\0' respond "$((${#__driver_details[@]} + 3))" "$__driver_id" "${BASH_SOURCE[3]}:${BASH_LINENO[2]}" error "${__driver_details[@]}" >&63
}

# Sets a variable to the milliseconds that are left until the deadline, or prints them. 0 if it has passed.
__driver_remaining_ms() { # [VAR]
  builtin local - __driver_now=${EPOCHREALTIME-}
  builtin set +eu
  __driver_now=${__driver_now//[!0-9]/}
  if [[ $__driver_now ]]; then
    __driver_now=$((10#$__driver_now / 1000))
  else
    # Before bash 5 there are only seconds, which have passed almost to their end.
    builtin printf -v __driver_now '%(%s)T' -1
    __driver_now=$((__driver_now * 1000 + 999))
  fi
  if (($# > 1)); then
    __driver_refuse use "$2" 'expected one variable' || builtin return
  elif [[ ! ${LAMBDA_RUNTIME_DEADLINE_MS-} =~ ^[0-9]{1,18}$ ]]; then
    __driver_refuse_call 4 'the invocation has no deadline'
    builtin return 1
  fi
  __driver_now=$((10#$LAMBDA_RUNTIME_DEADLINE_MS - __driver_now))
  if ((__driver_now < 0)); then __driver_now=0; fi
  case ${1-none} in
    [0-9]* | *[!A-Za-z0-9_]* | '' | __driver_* | BASH* | IFS | _ | PATH)
      __driver_refuse set "variable $1" 'expected the name of a variable of yours' || builtin return
      ;;
  esac
  if (($#)); then builtin printf -v "$1" %s "$__driver_now"; else builtin printf '%s\n' "$__driver_now"; fi
}

# Logs where and why a call of a function that coshell offers has failed.
__driver_refuse_call() { # <frames of ours, this one among them> <cause>
  builtin printf '%s: line %s: %s: %s\n' "${BASH_SOURCE[$1]}" "${BASH_LINENO[$1 - 1]}" "${FUNCNAME[$1 - 1]}" "$2" >&2
  # The error document names this command. bash would name the last command of the function.
  __driver_refused=${FUNCNAME[$1 - 1]}
}

# Prints why an argument cannot be used, and where. The frames are: this function, its caller, __driver_rare, the
# function that the handler called, and the handler.
__driver_refuse() { # <verb> <what> <cause>
  __driver_refuse_call 5 "cannot $1 $2: $3"
  builtin return 2
}

# Writes a request for the response to the control pipe. The frames are those of __driver_refuse.
__driver_request_response() { # <kind> [field...]
  # The request id is the first argument of an invocation, but the second in a fork (depth 1), where the event comes
  # first.
  # shellcheck disable=SC2154 # the driver has it
  builtin local "__driver_id=${__driver_arguments[__driver_depth]-}"
  if [[ ! $__driver_id ]]; then
    __driver_refuse_call 5 'there is no invocation'
    builtin return 2
  fi
  builtin printf '%s\0' respond "$(($# + 2))" "$__driver_id" "${BASH_SOURCE[4]}:${BASH_LINENO[3]}" "$@" >&63
}

builtin readonly -f __driver_http_response __driver_stream_response __driver_keep __driver_error __driver_remaining_ms __driver_refuse_call __driver_refuse __driver_request_response
