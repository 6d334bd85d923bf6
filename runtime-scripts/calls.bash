# shellcheck shell=bash
# The functions that the host answers: lambda_get, lambda_json and their kin.
#
# bash reads this file together with rare.bash. A call takes a ticket, which names a slot, writes its request to the
# slot's pipe and reads the reply: no process, and any number of callers at once. src/bootstrap/calls is the other side,
# and describes requests and replies. __driver_calls has the paths: the tickets, and three for each slot.

# Does a call whose reply the event may have brought, because the event before it began with the same call: prepared.rs in
# src/bootstrap/calls. That holds for the shell itself alone. With nocasematch, bash would take A for a.
#
# HOT: small, because bash copies the body. `#` in place of `==` would take longer than all the rest.
__driver_call_about_event() { # <function without lambda_> [its arguments...]
  builtin local - __driver_line
  builtin set +euv +o posix
  # shellcheck disable=SC2050 # a constant, but not with nocasematch
  if [[ ${__driver_arguments[PREPARED_CALL]-} && ! ${__driver_record+x} && a != A && ${BASHPID-} == "$$" ]]; then
    builtin printf -v __driver_line '%s\037' "$#" "$@"
    if [[ $__driver_line == "${__driver_arguments[PREPARED_CALL]}" ]]; then
      # The host learns by the number that the reply was used.
      __driver_call_count=$((__driver_call_count + 1))
      builtin eval "${__driver_arguments[PREPARED_REPLY]}" && builtin return 0
      __driver_undo "$?" "$@"
      # In a trap, `return` alone would give the status from before the trap.
      builtin return "$?"
    fi
  fi
  __driver_call "$@"
}

# Sends a call to the host, and does what the reply says.
#
# The shell itself has descriptors for that, once it has made a call (shell_slot.rs in src/bootstrap/calls). While it uses
# them __driver_caller is empty, so a trap that runs meanwhile, and anything after a call that was not finished, takes a
# ticket. So do other processes.
#
# HOT
__driver_call() { # <function without lambda_> [its arguments...]
  builtin local - "__driver_self=${__driver_caller-}" __driver_mark __driver_line __driver_is_lost='' "__driver_has_input=${__driver_record+2}" "__driver_input=${__driver_record-}"
  # In POSIX mode a signal would interrupt `read`, and a readonly variable would end the shell.
  builtin set +euv +o posix
  # With it, `read` would give up. It may be readonly.
  if [[ ${TMOUT-} ]]; then builtin local TMOUT='' 2>/dev/null; fi
  if [[ $1 == @(get|request) && $* == *--in* ]]; then __driver_find_input "$@"; fi
  if [[ ! $__driver_self || $__driver_self != "${BASHPID-}" ]]; then
    __driver_call_by_ticket "$@"
    builtin return "$?"
  fi
  __driver_caller='' __driver_mark=$__driver_self.$((++__driver_call_count))
  if ! builtin printf '%s\0' "$#" "$__driver_mark" "${__driver_arguments[__driver_id_at]-}" "$__driver_has_input" "$__driver_input" "$@" >&CALL_REQUEST_FD ||
    ! builtin read -r -N SHELL_REPLY_CHARS -u CALL_COMMAND_FD __driver_line || [[ $__driver_line != "$__driver_mark "* ]]; then
    __driver_call_by_ticket "$@"
    builtin return "$?"
  fi
  # It may read more. Until that is done a trap takes a ticket.
  if builtin eval "${__driver_line#* }"; then
    __driver_caller=$__driver_self
  else
    __driver_line=$?
    if [[ $__driver_is_lost ]]; then
      # The descriptors are no longer used, and the shell gets others.
      __driver_call_by_ticket "$@"
      builtin return "$?"
    fi
    __driver_undo "$__driver_line" "$@"
    __driver_caller=$__driver_self
    builtin return "$__driver_line"
  fi
}

# A reply has failed: gives its variables what they had, if the reply has left that in the arguments, and notes the function.
__driver_undo() { # <status> [__driver_put_back and its arguments, or others]
  if [[ ${2-} == __driver_put_back ]]; then "${@:2}"; fi
  __driver_name_failed
  builtin return "$1"
}

# Gives the variables of a call that has failed the values that they had, and says which of them takes no text.
__driver_put_back() { # <how many get texts> <name...> <value...>
  builtin local __driver_number "__driver_count=$((($# - 1) / 2))" __driver_variable __driver_value
  for ((__driver_number = 1; __driver_number <= __driver_count; __driver_number++)); do
    __driver_value=$((__driver_number + 1))
    __driver_variable=${!__driver_value}
    __driver_value=$((__driver_value + __driver_count))
    __driver_value=${!__driver_value}
    # A readonly variable has its value still.
    if ! builtin printf -v "$__driver_variable" 1+1 2>/dev/null; then builtin continue; fi
    if [[ ${!__driver_variable} != 1+1 ]]; then
      if ((__driver_number <= $1)); then __driver_refuse_text "$__driver_variable"; fi
      __driver_is_number "$__driver_value" || __driver_value=0
    fi
    builtin printf -v "$__driver_variable" %s "$__driver_value"
  done
}

# The error document names the function that the handler has called, and not the last command of ours.
__driver_name_failed() {
  builtin local __driver_frame=1
  while [[ ${FUNCNAME[__driver_frame]-} == __driver_* ]]; do __driver_frame=$((__driver_frame + 1)); done
  __driver_refused=${FUNCNAME[__driver_frame]-}
}

# Finds the value of the variable that --in names, which is known here alone.
__driver_find_input() { # <function without lambda_> [its arguments...]
  builtin local __driver_i __driver_count __driver_name
  for ((__driver_i = 2; __driver_i < $#; __driver_i++)); do
    if [[ ${!__driver_i} == --in ]]; then
      __driver_count=$((__driver_i + 1)) __driver_name=${!__driver_count}
      case $__driver_name in
        '' | [0-9]* | *[!A-Za-z0-9_]*) ;;
        *) if [[ -v $__driver_name ]]; then __driver_has_input=1 __driver_input=${!__driver_name}; fi ;;
      esac
    fi
  done
}

# Reads a command for the shell itself that is longer than others.
__driver_read_longer() { # <length>
  builtin read -r -N "$1" -u CALL_COMMAND_FD __driver_line
  builtin eval "$__driver_line" && builtin return 0
  if [[ $1 == __driver_put_back ]]; then "$@"; fi
  builtin return 1
}

# Takes a reply to the shell itself that is in the file.
__driver_take_shell_reply() { # <l or n, for fields that end in line feeds or NULs>
  builtin local __driver_count __driver_i __driver_name __driver_reply
  if [[ $1 == l ]]; then
    builtin mapfile -t -u CALL_REPLY_FD __driver_reply
  else
    builtin mapfile -t -d '' __driver_reply <&CALL_REPLY_FD
  fi
  # What a process has left unread that was killed is before ours. Without ours, the file is no longer that of the shell.
  if ((!${#__driver_reply[@]})) || [[ ${__driver_reply[-1]} != "$__driver_mark" ]]; then
    __driver_is_lost=1
    builtin return 1
  fi
  __driver_count=${__driver_reply[-2]}
  __driver_reply=("${__driver_reply[@]: -__driver_count-3}")
  __driver_i=${__driver_reply[0]}
  __driver_take_reply 1 "$__driver_count"
  builtin return "$__driver_i"
}

# Takes lists of the driver's own that are in the file, all of one length. This is many times faster than __driver_take_reply.
__driver_take_lists() { # <length> <name...>
  builtin local __driver_name
  # shellcheck disable=SC2034 # a number, and no array
  for __driver_name in "${@:2}"; do builtin mapfile -t -n "$1" -u CALL_REPLY_FD "$__driver_name"; done
  # The mark follows, unless a process that was killed has left something unread, or the file is no longer that of the shell.
  builtin mapfile -t -u CALL_REPLY_FD __driver_line
  if [[ ${#__driver_line[@]} != 1 || ${__driver_line[0]} != "$__driver_mark" ]]; then
    __driver_is_lost=1
    builtin return 1
  fi
}

# The same for any process: takes a ticket, which names a slot.
__driver_call_by_ticket() { # <function without lambda_> [its arguments...]
  builtin local __driver_slot __driver_i __driver_count __driver_name __driver_reply
  __driver_reply=()
  if [[ ! ${BASHPID-} ]]; then
    __driver_refuse_call 'BASHPID is not set'
    builtin return 1
  fi
  # shellcheck disable=SC2154 # the host sets it
  builtin read -r -N 1 __driver_slot <"${__driver_calls[0]}" || builtin return 1
  __driver_slot=$((1 + 3 * __driver_slot))
  builtin printf '%s\0' "$#" "${__driver_caller:+-}$BASHPID" "${__driver_arguments[__driver_id_at]-}" "$__driver_has_input" "$__driver_input" "$@" >"${__driver_calls[__driver_slot]}" || builtin return 1
  # Standard input stays as it is, because the host may read that.
  __driver_take_ticket_reply "${__driver_calls[__driver_slot + 2]}" 68<"${__driver_calls[__driver_slot + 1]}"
  if ((${#__driver_reply[@]})); then __driver_take_reply 0 "${#__driver_reply[@]}"; fi
  if [[ $__driver_i != 0 ]]; then __driver_name_failed; fi
  builtin return "$__driver_i"
}

# Reads a reply from 68. Neither splits words: IFS is the handler's.
__driver_take_ticket_reply() { # <the file of a long reply>
  builtin local __driver_words __driver_line __driver_names __driver_values
  builtin mapfile -t -n 1 -u 68 __driver_words
  __driver_line=${__driver_words[0]-}
  __driver_count=${__driver_line#* }
  __driver_i=${__driver_count%% *} __driver_count=${__driver_count#* }
  case $__driver_line in
    's '*)
      # Names and values, and a dot, between unit separators.
      __driver_names=() __driver_values=()
      while [[ $__driver_count == *$'\037'*$'\037'* ]]; do
        __driver_names+=("${__driver_count%%$'\037'*}") __driver_count=${__driver_count#*$'\037'}
        __driver_values+=("${__driver_count%%$'\037'*}") __driver_count=${__driver_count#*$'\037'}
      done
      __driver_assign_texts "${__driver_names[@]}" "${__driver_values[@]}" || __driver_i=1
      ;;
    'f '*)
      # An empty line stays in the pipe until the file has been read. So the host gives the slot to no other call before.
      builtin mapfile -t -d '' __driver_reply <"$1"
      builtin read -r -N 1 -u 68 __driver_line
      ;;
    'w '*)
      # This call may take long, and has a pipe and a file of its own.
      __driver_slot=${__driver_calls[0]%/*}
      __driver_take_ticket_reply "$__driver_slot/$__driver_count" 68<"$__driver_slot/$__driver_i"
      ;;
    *)
      if [[ $__driver_line != 'e '* ]]; then __driver_i=1 __driver_count='the host does not answer'; fi
      __driver_refuse_call "$__driver_count"
      ;;
  esac
}

# Assigns and prints what a long reply has.
__driver_take_reply() { # <first field> <number of fields>
  builtin local "__driver_at=$1" __driver_end __driver_count __driver_line __driver_names __driver_values
  __driver_names=() __driver_values=()
  while ((__driver_at < $1 + $2)); do
    __driver_name=${__driver_reply[__driver_at + 1]}
    # Texts come first: if one cannot be assigned, no list or map is.
    if [[ ${__driver_reply[__driver_at]} != t && ${__driver_names+x} ]]; then
      __driver_assign_texts "${__driver_names[@]}" "${__driver_values[@]}" || __driver_i=1
      __driver_names=() __driver_values=()
    fi
    case ${__driver_reply[__driver_at]} in
      t)
        __driver_names+=("$__driver_name") __driver_values+=("${__driver_reply[__driver_at + 2]}")
        __driver_at=$((__driver_at + 3))
        ;;
      l | n)
        __driver_count=${__driver_reply[__driver_at + 2]}
        ((!__driver_i)) && __driver_can_assign "${__driver_reply[__driver_at]}" && builtin eval "$__driver_name=(\"\${__driver_reply[@]:__driver_at + 3:__driver_count}\")" || __driver_i=1
        __driver_at=$((__driver_at + 3 + __driver_count))
        ;;
      m)
        __driver_end=$((__driver_at + 3 + 2 * __driver_reply[__driver_at + 2]))
        if ((!__driver_i)) && __driver_can_assign m; then
          for ((__driver_at += 3; __driver_at < __driver_end; __driver_at += 2)); do
            builtin eval "${__driver_name}[\${__driver_reply[__driver_at]}]=\${__driver_reply[__driver_at + 1]}" || __driver_i=1
          done
        else
          __driver_i=1 __driver_at=$__driver_end
        fi
        ;;
      e)
        __driver_refuse_call "$__driver_name"
        __driver_at=$((__driver_at + 2))
        ;;
      w)
        builtin printf %s "$__driver_name" >&2
        __driver_at=$((__driver_at + 2))
        ;;
      *)
        builtin printf %s "$__driver_name" || __driver_i=1
        __driver_at=$((__driver_at + 2))
        ;;
    esac
  done
  __driver_assign_texts "${__driver_names[@]}" "${__driver_values[@]}" || __driver_i=1
}

# Assigns a text. It fails if the variable is readonly.
__driver_assign_text() { # <name> <value>
  # bash sets the locale to what LC_ALL and its kin get. With nocasematch, only `#` sees that `lang` is none of them. The host has the
  # same rules for what it sends as a command.
  if [[ ${1#LC_} == "$1" && ${1#LANG} ]] && ! __driver_is_number "$2"; then __driver_takes_texts "$1" || builtin return 1; fi
  builtin printf -v "$1" %s "$2"
}

# True if any variable takes the value as it is.
__driver_is_number() { # <value>
  # Not by `#`, for which bash takes long where the text is long.
  case $1 in
    ????????????????????* | [!-]?????????????????? | '' | - | *[!-0123456789]* | ?*-* | 0?* | -0?*) builtin return 1 ;;
  esac
}

# True if the variable takes a text as it is. An integer variable takes it as arithmetic, which can run commands in it.
__driver_takes_texts() { # <name>
  builtin printf -v "$1" 1+1 || builtin return 1
  if [[ ${!1} != 1+1 ]]; then
    builtin printf -v "$1" 0
    __driver_refuse_text "${1%\[0]}"
    builtin return 1
  fi
}

__driver_refuse_text() { # <name>
  __driver_refuse_call "cannot assign a text to $1: it is an integer variable"
}

# Assigns texts, or none of them if one cannot be.
__driver_assign_texts() { # <name...> <value...>
  builtin local __driver_number __driver_variable __driver_value "__driver_count=$(($# / 2))" __driver_before
  __driver_before=()
  for __driver_variable in "${@:1:__driver_count}"; do __driver_before+=("${!__driver_variable-}"); done
  for ((__driver_number = 1; __driver_number <= __driver_count; __driver_number++)); do
    __driver_value=$((__driver_number + __driver_count))
    if ! __driver_assign_text "${!__driver_number}" "${!__driver_value}"; then
      __driver_put_back 0 "${@:1:__driver_count}" "${__driver_before[@]}"
      builtin return 1
    fi
  done
}

# Assigns a list or a map that is in a command.
__driver_assign() { # <l, n or m> <name> <compound assignment>
  builtin local "__driver_name=$2"
  __driver_can_assign "$1" && builtin eval "$2=$3"
}

# Makes __driver_name an empty list or an empty map, or says why it cannot.
#
# What is assigned to a map has keys of the event. Anywhere else they would run as arithmetic. So no pattern decides here: with
# nocasematch, the attributes of a list look like those of a map.
__driver_can_assign() { # <l, n or m: for texts, for numbers, for a map>
  if [[ $1 == m ]]; then
    if ! __driver_is_empty_map; then
      builtin unset -v "$__driver_name"
      builtin declare -gA "$__driver_name"
      if ! __driver_is_empty_map; then
        __driver_refuse_call "cannot make $__driver_name an associative array: a variable of a calling function has this name"
        builtin return 1
      fi
    fi
  elif __driver_may_be_map && { builtin eval "[[ \${${__driver_name}[*]+x} ]]" || __driver_is_empty_map; }; then
    __driver_refuse_call "cannot assign a list to $__driver_name: it is an associative array"
    builtin return 1
  else
    __driver_empty || builtin return 1
  fi
  [[ $1 == n ]] || { __driver_takes_texts "${__driver_name}[0]" && __driver_empty; }
}

# Empties __driver_name, and finds out whether it is a map.
__driver_is_empty_map() {
  __driver_may_be_map && __driver_empty && __driver_may_be_map
}

# Empties __driver_name. An assignment to a readonly variable would end the handler; `printf` only fails.
__driver_empty() {
  builtin printf -v "$__driver_name" '' && builtin eval "$__driver_name=()"
}

# True if a subscript of __driver_name is a text: in an associative array, and in a variable that has no value. Anywhere else it is
# arithmetic, which assigns.
__driver_may_be_map() {
  builtin local __driver_is_other=''
  builtin eval ": \"\${${__driver_name}[__driver_is_other=1]-}\""
  [[ ! $__driver_is_other ]]
}

# Calls a function for each record of the event, and prints which have failed.
#
# The records run in one subshell, one after the other. A record that ends it, by `exit` or `set -e`, fails alone: the next ones
# run in another subshell. The statuses go to a file, a line for each record, so that a subshell that is gone tells how far it
# came. The file is in a folder of the invocation, which nothing can find when that is over.
__driver_each() { # [--unwrap] [--decode] <function>
  builtin local - __driver_each_options __driver_records __driver_faults __driver_identifiers __driver_flags='' __driver_failed __driver_statuses __driver_status_of_record __driver_number __driver_target='' __driver_progress='' __driver_shares __driver_has_stopped __driver_has_ended "__driver_flags_of_records=${__driver_each_flags-${__driver_letters-}}"
  # As in __driver_call.
  builtin set +euv +o posix
  # -E is the driver's, unless the file has set it. With nocasematch, no pattern tells it from -e.
  __driver_flags_of_records=${__driver_flags_of_records//[!euxkvT]/}
  # shellcheck disable=SC2154 # the driver sets it
  if [[ ${__driver_options#*E} != "$__driver_options" ]]; then __driver_flags_of_records+=E; fi
  __driver_flags_of_records=${__driver_flags_of_records:+-$__driver_flags_of_records}
  __driver_flags_of_records=${__driver_flags_of_records:-+e}
  __driver_each_options=() __driver_records=() __driver_faults=() __driver_identifiers=() __driver_failed=()
  while (($#)); do
    case $1 in
      -*) __driver_each_options+=("$1") ;;
      *)
        if [[ $__driver_target ]] || ! builtin declare -F -- "$1" >/dev/null; then
          __driver_refuse_call "cannot call $1: expected the name of one function"
          builtin return 2
        fi
        __driver_target=$1
        ;;
    esac
    builtin shift
  done
  if [[ ! $__driver_target ]]; then
    __driver_refuse_call 'expected the name of a function'
    builtin return 2
  fi
  __driver_call records "${__driver_each_options[@]}" || builtin return "$?"
  __driver_statuses=()
  while ((${#__driver_statuses[@]} < ${#__driver_records[@]})); do
    # If this process may use the shell's descriptors for calls, its subshell may, since this process waits for it.
    __driver_shares=''
    if [[ ${__driver_caller-} == "$BASHPID" ]]; then __driver_shares=1; fi
    __driver_number=${#__driver_statuses[@]}
    # bash logs the command of a subshell that was killed, and this one is ours. 85 is RECORDS_LOG of the table.
    { (__driver_call_for_records "$__driver_number") >&85 2>&85 85>&- </dev/null; } 85>&2 2>/dev/null
    __driver_status_of_record=$?
    builtin mapfile -t __driver_statuses <"$__driver_progress" || builtin return 1
    __driver_statuses=("${__driver_statuses[@]#end }")
    # __driver_end_record has begun a line.
    __driver_has_ended=''
    if ((${#__driver_statuses[@]} > __driver_number)) && [[ ! ${__driver_statuses[-1]} ]]; then
      __driver_has_ended=1
      __driver_statuses=("${__driver_statuses[@]::${#__driver_statuses[@]}-1}")
    fi
    __driver_find_failure
    # If a record has left a call unfinished, a reply may come that nobody reads. So the descriptors are no longer used.
    if [[ $__driver_shares && ! $__driver_has_ended ]] && ((__driver_status_of_record || !__driver_has_stopped && ${#__driver_statuses[@]} < ${#__driver_records[@]})); then __driver_caller=''; fi
    if [[ ! $__driver_has_stopped ]] && ((${#__driver_statuses[@]} < ${#__driver_records[@]})); then
      # This record has ended the subshell.
      __driver_number=${#__driver_statuses[@]}
      __driver_statuses+=("$__driver_status_of_record")
      builtin printf '%s\n' "$__driver_status_of_record" >>"$__driver_progress" || builtin return 1
      if ((__driver_status_of_record)); then __driver_report_record; fi
      __driver_find_failure
    fi
    if [[ $__driver_has_stopped ]]; then builtin break; fi
  done
  for __driver_number in "${!__driver_records[@]}"; do
    # Those behind the end have not run, and have failed, too.
    if [[ ${__driver_statuses[__driver_number]-1} != 0 ]]; then __driver_failed+=("${__driver_identifiers[__driver_number]}"); fi
  done
  # Within a record, the record fails.
  if [[ $__driver_flags == *partial* && ! ${__driver_record+set} ]]; then
    # Most batches have none, and the host need not write that.
    if ((!${#__driver_failed[@]})); then builtin printf %s '{"batchItemFailures":[]}'; else __driver_call failures "${__driver_failed[@]}"; fi
  elif ((${#__driver_failed[@]})); then
    builtin return 1
  fi
}

# Finds out whether a record has failed for which those behind it have to wait.
__driver_find_failure() {
  builtin printf -v __driver_has_stopped %s "${__driver_statuses[@]}"
  case $__driver_flags:$__driver_has_stopped in
    *ordered*:*[1-9]*) __driver_has_stopped=1 ;;
    *) __driver_has_stopped='' ;;
  esac
}

# Calls the function for the records from this number on, in a subshell that a record may end.
__driver_call_for_records() { # <number>
  __driver_caller=${__driver_shares:+$BASHPID}
  builtin printf -v __driver_unwritten %q "$__driver_progress"
  # shellcheck disable=SC2064 # to be expanded here
  builtin trap "\\__driver_rare __driver_end_record $__driver_unwritten" EXIT
  __driver_unwritten=''
  for ((__driver_number = $1; __driver_number < ${#__driver_records[@]}; __driver_number++)); do
    # With BASH_COMPAT=4.3, `continue` in the function is one of our loop, and has ended its record.
    if [[ $__driver_unwritten ]]; then builtin printf '0\n' >>"$__driver_progress" || builtin exit; fi
    __driver_unwritten=1
    if [[ ${__driver_faults[__driver_number]} ]]; then
      __driver_refuse_call "cannot read record $((__driver_number + 1)): ${__driver_faults[__driver_number]}"
      __driver_status_of_record=1
    else
      __driver_call_for_record
      __driver_status_of_record=$?
    fi
    builtin printf '%s\n' "$__driver_status_of_record" >>"$__driver_progress" || builtin exit
    __driver_unwritten=''
    if ((__driver_status_of_record)); then
      __driver_report_record
      if [[ $__driver_flags == *ordered* ]]; then builtin break; fi
    fi
  done
  if [[ $__driver_unwritten ]]; then builtin printf '0\n' >>"$__driver_progress" || builtin exit; fi
  [[ $__driver_caller ]]
}

# The EXIT trap of the subshell, unless a record sets one of its own: if a record ends it between calls, begins the line of its status.
# The status follows when the subshell has ended: where a signal ends it, `$?` is still that of the last command here.
__driver_end_record() { # <file>
  if [[ $__driver_unwritten && $__driver_caller ]]; then builtin printf 'end ' >>"$1"; fi
}

# Calls the function for one record, with the options of the handler. `local -` switches them off again, and `set -x` does not show
# that.
__driver_call_for_record() {
  builtin local -
  __driver_record=${__driver_records[__driver_number]}
  builtin set "$__driver_flags_of_records"
  "$__driver_target" "$__driver_record"
}

# Logs that a record has failed.
__driver_report_record() {
  __driver_refuse_call "record $((__driver_number + 1)) of ${#__driver_records[@]} failed with status $__driver_status_of_record"
}

builtin readonly -f __driver_call_about_event __driver_call __driver_undo __driver_name_failed __driver_find_input __driver_call_by_ticket __driver_take_ticket_reply __driver_read_longer __driver_take_shell_reply __driver_take_lists __driver_take_reply __driver_put_back __driver_refuse_text __driver_assign_texts __driver_assign_text __driver_is_number __driver_takes_texts __driver_assign __driver_can_assign __driver_is_empty_map __driver_empty __driver_may_be_map __driver_each __driver_find_failure __driver_call_for_records __driver_end_record __driver_call_for_record __driver_report_record
