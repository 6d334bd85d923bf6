# shellcheck shell=bash
# What handlers may ask for: lambda_http_response, lambda_stream_response and lambda_keep.
#
# Read with seldom.bash, at the first call. What they ask of a response is written to descriptor 63, from wherever in the handler it is
# called: the host says no more than that, for it has to look at everything that comes from there.

__driver_http_response() { # [--stream] [--cookie COOKIE]... STATUS [HEADER...]
  builtin local - LC_ALL=C __driver_mode=http __driver_words __driver_lines __driver_line
  builtin set +eux
  __driver_words=() __driver_lines=()
  while (($#)); do
    case $1 in
      --stream) __driver_mode=http-stream ;;
      --cookie)
        (($# > 1)) || __driver_refuse use '--cookie' 'a cookie is missing' || builtin return
        __driver_lines+=("Set-Cookie: $2")
        builtin shift
        ;;
      -*) __driver_refuse use "$1" 'expected --stream or --cookie' || builtin return ;;
      *) __driver_words+=("$1") ;;
    esac
    builtin shift
  done
  if [[ ! ${__driver_words[0]-} =~ ^[1-5][0-9][0-9]$ ]]; then
    __driver_refuse use "status ${__driver_words[0]-}" 'expected 100 to 599' || builtin return
  fi
  __driver_lines=("${__driver_words[@]:1}" "${__driver_lines[@]}")
  # More than this the host does not take, nor would Lambda.
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
  __driver_ask "$__driver_mode" "${__driver_words[0]}" "${__driver_lines[@]}"
}

__driver_stream_response() { # [CONTENT-TYPE]
  builtin local - LC_ALL=C
  builtin set +eux
  if (($# > 1)); then
    __driver_refuse use "$2" 'expected a content type alone' || builtin return
  elif [[ ${1-x} != [!-]* || ${1-x} == *[!\ -~]* ]]; then
    __driver_refuse use "content type $1" 'expected one such as text/plain' || builtin return
  fi
  __driver_ask stream "$@"
}

# Lets variables live on. `fd:NAME` keeps the open descriptors that the variable NAME holds, too.
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
  # A fork tells the host which they are, even if it ends without another word.
  # shellcheck disable=SC2154 # the driver sets it
  if ((__driver_depth)); then __driver_show_kept 0; fi
}

# All have three frames of ours around them: their own, __driver_seldom's, and that of the function
# which the handler calls.
__driver_refuse() { # <verb> <what> <cause>
  builtin printf '%s: line %s: %s: cannot %s %s: %s\n' "${BASH_SOURCE[4]}" "${BASH_LINENO[3]}" "${FUNCNAME[3]}" "$1" "$2" "$3" >&2
  # What an error document names: bash has the last command of the function instead.
  __driver_refused=${FUNCNAME[3]}
  builtin return 2
}

__driver_ask() { # <kind> [its words...]
  # shellcheck disable=SC2154 # the driver has it
  builtin local "__driver_id=${__driver_arguments[__driver_depth]-}"
  if [[ ! $__driver_id ]]; then
    builtin printf '%s: line %s: %s: there is no invocation\n' "${BASH_SOURCE[4]}" "${BASH_LINENO[3]}" "${FUNCNAME[3]}" >&2
    builtin return 2
  fi
  builtin printf '%s\0' respond "$(($# + 2))" "$__driver_id" "${BASH_SOURCE[4]}:${BASH_LINENO[3]}" "$@" >&63
}

builtin readonly -f __driver_http_response __driver_stream_response __driver_keep __driver_refuse __driver_ask
