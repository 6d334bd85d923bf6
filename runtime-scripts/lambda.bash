# shellcheck shell=bash
# What lambda_http_response, lambda_stream_response, lambda_keep, lambda_error and lambda_remaining_ms do.
#
# bash reads this file together with rare.bash. Requests for the response go to the control pipe. Any process of the
# handler can write there, so the host checks each request again.

# Checks the arguments of lambda_http_response, and writes the request.
__driver_http_response() { # [--stream] [--cookie COOKIE]... STATUS [HEADER...]; STATUS may be absent if a body follows:
  # --file PATH | --redirect URL | --json TEXT | --json ARGUMENT-OF-LAMBDA_JSON...
  builtin local - __driver_mode=http __driver_operands __driver_lines __driver_line __driver_body='' __driver_value='' __driver_header
  builtin set +eux
  # It may be readonly, as in the functions below.
  if [[ ${LC_ALL-} ]]; then builtin local LC_ALL=C 2>/dev/null; else builtin local LC_ALL=C; fi
  __driver_operands=() __driver_lines=()
  while (($#)); do
    case $1 in
      --stream) __driver_mode=http-stream ;;
      --cookie)
        (($# > 1)) || __driver_refuse use '--cookie' 'a cookie is missing' || builtin return "$?"
        __driver_lines+=("Set-Cookie: $2")
        builtin shift
        ;;
      --json | --file | --redirect)
        if [[ $__driver_body ]]; then
          __driver_refuse use "$1" "there is --$__driver_body already" || builtin return "$?"
        elif (($# == 1)); then
          __driver_refuse use "$1" 'its value is missing' || builtin return "$?"
        fi
        __driver_body=${1#--} __driver_value=$2
        if [[ $__driver_body == json ]]; then builtin break; fi
        builtin shift
        ;;
      -*) __driver_refuse use "$1" 'expected --stream, --cookie, --json, --file or --redirect' || builtin return "$?" ;;
      *) __driver_operands+=("$1") ;;
    esac
    builtin shift
  done
  if [[ $__driver_body ]]; then
    if [[ ${__driver_operands[0]-:} == *:* ]]; then
      if [[ $__driver_body == redirect ]]; then __driver_line=302; else __driver_line=200; fi
      __driver_operands=("$__driver_line" "${__driver_operands[@]}")
    fi
    builtin local REPLY
    __driver_prepare_body "${@:2}" || builtin return "$?"
  fi
  # Not by `=~`, which would change the BASH_REMATCH of the handler.
  case ${__driver_operands[0]-} in
    [2-5][0-9][0-9]) ;;
    *) __driver_refuse use "status ${__driver_operands[0]-}" 'expected 200 to 599' || builtin return "$?" ;;
  esac
  __driver_lines=("${__driver_operands[@]:1}" "${__driver_lines[@]}")
  # The host does not accept more, and neither does Lambda.
  __driver_line="${__driver_lines[*]}"
  if ((${#__driver_lines[@]} > 4000 || ${#__driver_line} > 262144)); then
    __driver_refuse use "${#__driver_lines[@]} headers of ${#__driver_line} bytes" 'expected at most 4000 of 262144 bytes together' || builtin return "$?"
  fi
  for __driver_line in "${__driver_lines[@]}"; do
    __driver_header=${__driver_line%%:*}
    if [[ $__driver_line != ?*:* || ! $__driver_header || $__driver_header == *[!0-9A-Za-z\!\#\$%\&\'*+.^_\`\|~-]* ]]; then
      __driver_refuse use "header $__driver_line" 'expected Name: value' || builtin return "$?"
    elif [[ $__driver_line == *[!\ -~]* ]]; then
      __driver_refuse use "header ${__driver_line%%:*}" 'its value is not visible ASCII' || builtin return "$?"
    fi
  done
  __driver_request_response "$__driver_mode" "${__driver_operands[0]}" "${__driver_lines[@]}" || builtin return "$?"
  case $__driver_body in
    json) builtin printf %s "$REPLY" ;;
    file) __driver_print_file <"$__driver_value" ;;
  esac
}

# Checks the body that lambda_http_response sends itself, and adds its header. Of JSON, REPLY gets the text.
__driver_prepare_body() { # the arguments behind --json
  case $__driver_body in
    redirect)
      if [[ ${__driver_operands[0]} != 30[12378] ]]; then
        __driver_refuse redirect "with status ${__driver_operands[0]}" 'expected 301, 302, 303, 307 or 308' || builtin return "$?"
      elif [[ ! $__driver_value || $__driver_value == *[!\!-~]* ]]; then
        __driver_refuse use --redirect 'expected an address of visible ASCII without blanks' || builtin return "$?"
      fi
      __driver_lines+=("Location: $__driver_value")
      builtin return
      ;;
    file)
      if [[ ! -f $__driver_value || ! -r $__driver_value ]]; then
        __driver_refuse read "file $__driver_value" 'there is no such file, or it cannot be read' || builtin return 1
      fi
      if [[ $__driver_mode == http ]]; then __driver_mode=http-exact; fi
      __driver_find_content_type "$__driver_value"
      ;;
    *)
      __driver_line='application/json' __driver_header=${1#"${1%%[![:space:]]*}"}
      if [[ ! ${__driver_calls-} ]]; then
        # The host has not seen it.
        __driver_refuse use --json "the handler's file does not spell it out" || builtin return "$?"
      elif [[ $# == 1 && $1 != '[]'*=* && ($__driver_header == '{'* || $__driver_header == '['*) ]]; then
        __driver_call get --json "$1" REPLY . || builtin return "$?"
        REPLY=$1
      else
        __driver_call json -v REPLY "$@" || builtin return "$?"
      fi
      ;;
  esac
  for __driver_header in "${__driver_operands[@]:1}"; do
    case $__driver_header in [Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Tt][Yy][Pp][Ee]:*) builtin return 0 ;; esac
  done
  __driver_lines+=("Content-Type: $__driver_line")
}

# Sets __driver_line to the content type of a file, by its ending.
__driver_find_content_type() { # <path>
  builtin local "__driver_ending=${1##*/}"
  __driver_ending=${__driver_ending##*.}
  case ${__driver_ending,,} in
    html | htm) __driver_line='text/html; charset=utf-8' ;;
    css | csv | xml) __driver_line="text/${__driver_ending,,}; charset=utf-8" ;;
    js | mjs) __driver_line='text/javascript; charset=utf-8' ;;
    txt | log) __driver_line='text/plain; charset=utf-8' ;;
    md) __driver_line='text/markdown; charset=utf-8' ;;
    ics) __driver_line='text/calendar; charset=utf-8' ;;
    json | map) __driver_line='application/json' ;;
    svg) __driver_line='image/svg+xml' ;;
    jpg | jpeg) __driver_line='image/jpeg' ;;
    ico) __driver_line='image/vnd.microsoft.icon' ;;
    png | gif | webp | avif) __driver_line="image/${__driver_ending,,}" ;;
    mp3) __driver_line='audio/mpeg' ;;
    mp4 | webm) __driver_line="video/${__driver_ending,,}" ;;
    woff | woff2 | ttf | otf) __driver_line="font/${__driver_ending,,}" ;;
    gz) __driver_line='application/gzip' ;;
    pdf | zip | wasm) __driver_line="application/${__driver_ending,,}" ;;
    *) __driver_line='application/octet-stream' ;;
  esac
}

# Prints standard input. Text comes in one piece without a process; what has NULs comes by cat, if there is one. Before 5.2
# bash reads up to a NUL a byte at a time.
__driver_print_file() {
  # Without a name `read` leaves the text as it is, whatever IFS is.
  builtin local REPLY
  if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] > 501)); then
    builtin read -r -d '' || {
      builtin printf %s "$REPLY"
      builtin return
    }
    builtin printf '%s\0' "$REPLY"
  fi
  if builtin type -P cat >/dev/null; then
    builtin command cat
    builtin return
  fi
  while builtin read -r -d ''; do builtin printf '%s\0' "$REPLY"; done
  builtin printf %s "$REPLY"
}

# Checks the argument of lambda_stream_response, and writes the request.
__driver_stream_response() { # [CONTENT-TYPE]
  builtin local -
  builtin set +eux
  builtin local LC_ALL=C 2>/dev/null
  if (($# > 1)); then
    __driver_refuse use "$2" 'expected one content type' || builtin return "$?"
  elif [[ ${1-x} != [!-]* || ${1-x} == *[!\ -~]* ]]; then
    __driver_refuse use "content type $1" 'expected one such as text/plain' || builtin return "$?"
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
      '' | [0-9]* | *[!A-Za-z0-9_]*) __driver_refuse keep "$__driver_name" 'expected the name of a variable' || builtin return "$?" ;;
      LAMBDA_RUNTIME_* | _X_AMZN_TRACE_ID | __driver_* | BASHPID | IFS | OPTIND | RANDOM | _)
        __driver_refuse keep "$__driver_name" 'coshell sets this variable for each event' || builtin return "$?"
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
  # What a subshell of it changes is nobody else's.
  if ((__driver_depth && BASH_SUBSHELL == __driver_depth)); then __driver_show_kept 0; fi
}

# Writes the request to end the invocation with an error of the handler's own. The host takes it if the handler then
# fails with status 1. The caller ends the handler, or its subshell, also if the request is not written.
__driver_error() { # TYPE MESSAGE...
  builtin local - __driver_id __driver_details __driver_text __driver_parts=''
  builtin set +eu
  builtin local LC_ALL=C 2>/dev/null
  if (($# < 2)); then
    __driver_refuse use "${1-}" 'expected a type and a message' || builtin return "$?"
  elif [[ $1 != [A-Za-z]* || $1 == *[!0-9A-Za-z._:-]* || ${#1} -gt 128 ]]; then
    __driver_refuse use "type $1" 'expected a letter, and then at most 127 letters, digits and . _ : -' || builtin return "$?"
  fi
  case $1 in
    Runtime.* | Sandbox.* | Extension.* | States.*)
      __driver_refuse use "type $1" 'AWS uses types that begin so; choose another one' || builtin return "$?"
      ;;
  esac
  __driver_id=${__driver_arguments[__driver_id_at]-}
  if [[ ! $__driver_id ]]; then
    __driver_refuse_call 'there is no invocation'
    builtin return 2
  fi
  __driver_join "${@:2}"
  # A subshell may be all that fails, so that only this line is left of the error.
  if ((BASH_SUBSHELL > __driver_depth)); then __driver_refuse_call "$1: $__driver_text"; fi
  __driver_record_place 4 ''
  __driver_details=("$1" "${__driver_text:0:262144}" "${__driver_details[@]:2}")
  if [[ ${__driver_in_script-} ]]; then
    __driver_call error "${__driver_details[@]}"
    builtin return
  fi
  builtin printf '%s\0' RECORD_RESPOND "$((${#__driver_details[@]} + 3))" "$__driver_id" "${BASH_SOURCE[3]}:${BASH_LINENO[2]}" error "${__driver_details[@]}" >&CONTROL_FD
}

# Sets a variable to the milliseconds that are left until the deadline, or prints them. 0 if it has passed.
__driver_remaining_ms() { # [VAR]
  builtin local - "__driver_now=${EPOCHREALTIME-}"
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
    __driver_refuse use "$2" 'expected one variable' || builtin return "$?"
  elif [[ ! ${LAMBDA_RUNTIME_DEADLINE_MS-} || $LAMBDA_RUNTIME_DEADLINE_MS == *[!0-9]* || ${#LAMBDA_RUNTIME_DEADLINE_MS} -gt 18 ]]; then
    __driver_refuse_call 'the invocation has no deadline'
    builtin return 1
  fi
  __driver_now=$((10#$LAMBDA_RUNTIME_DEADLINE_MS - __driver_now))
  if ((__driver_now < 0)); then __driver_now=0; fi
  case ${1-none} in
    [0-9]* | *[!A-Za-z0-9_]* | '' | __driver_* | BASH* | IFS | _ | PATH)
      __driver_refuse set "variable $1" 'expected the name of a variable of yours' || builtin return "$?"
      ;;
  esac
  if (($#)); then builtin printf -v "$1" %s "$__driver_now"; else builtin printf '%s\n' "$__driver_now"; fi
}

# Logs where and why a call of a function that coshell offers has failed.
__driver_refuse_call() { # <cause>
  builtin local __driver_frame=1
  while [[ ${FUNCNAME[__driver_frame]-} == __driver_* ]]; do __driver_frame=$((__driver_frame + 1)); done
  builtin printf '%s: line %s: %s: %s\n' "${BASH_SOURCE[__driver_frame + 1]}" "${BASH_LINENO[__driver_frame]}" "${FUNCNAME[__driver_frame]}" "$1" >&2
  # The error document names this command. bash would name the last command of the function.
  __driver_refused=${FUNCNAME[__driver_frame]}
}

# Prints why an argument cannot be used, and where.
__driver_refuse() { # <verb> <what> <cause>
  __driver_refuse_call "cannot $1 $2: $3"
  builtin return 2
}

# Writes a request for the response to the control pipe. The frames are: this function, its caller, __driver_rare, the function
# that the handler called, and the handler.
__driver_request_response() { # <kind> [field...]
  # shellcheck disable=SC2154 # the driver has it
  builtin local "__driver_id=${__driver_arguments[__driver_id_at]-}"
  if [[ ! $__driver_id ]]; then
    __driver_refuse_call 'there is no invocation'
    builtin return 2
  fi
  builtin printf '%s\0' RECORD_RESPOND "$(($# + 2))" "$__driver_id" "${BASH_SOURCE[4]}:${BASH_LINENO[3]}" "$@" >&CONTROL_FD
}

builtin readonly -f __driver_http_response __driver_prepare_body __driver_find_content_type __driver_print_file __driver_stream_response __driver_keep __driver_error __driver_remaining_ms __driver_refuse_call __driver_refuse __driver_request_response
