# shellcheck shell=bash
# Waits for an event in a bash that was started early, and then lets it run a whole script.
#
# bash reads this file as BASH_ENV, before it opens the script. Here it waits for the event. Then it does what
# `bash script event <file` does, with the script's own $0, BASH_SOURCE and line numbers. Only traps of ours stay
# behind: they write the exit trace, and a script that sets its own replaces them. src/bootstrap/program/script.rs is
# the other side.
#
# Our descriptors: the arguments, which are the event and the variables; this text; and the line that lets the script start.
# Those of the script are in place already: 0 the event, 1 the response, 2 the log.

# COSHELL_BASH may be a bash script that runs the real bash. This file is not for that script. Before 5.2 bash does not
# know its own script here, but the command line does: the script is the first word that is not an option.
# shellcheck disable=SC2154 # from the environment
if [[ $0 != "$__driver_script" ]]; then
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 502)) || builtin return 0
  __driver_last=first
  while IFS= builtin read -r -d '' __driver_word; do
    case $__driver_last:$__driver_word in
      first:* | takes_next:*) __driver_last=none ;;
      none:--*) ;;
      none:[-+]*[oO]) __driver_last=takes_next ;;
      none:[-+]*) ;;
      *) builtin break ;;
    esac
  done <"/proc/$$/cmdline"
  [[ $__driver_word == "$__driver_script" ]] || builtin return 0
  builtin unset -v __driver_last __driver_word
fi
# The first bash shows with an empty file that it reads this one.
if [[ $__driver_script == /dev/null ]]; then
  builtin printf 'RECORD_READY %s.%s\0' "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"
  builtin exit 0
fi
CLOSE_FDS INHERITED_SCRIPT_TEXT_FD
# The exit trace, which three traps write into a pipe of the host: the command, or the function of coshell that has failed;
# the line, or 0; the statuses of the parts of the pipeline; an empty field; names, files and lines of the frames, with an
# empty field behind each list; and the value of `$_`, so that the script finds it unchanged. The commands with which this
# file ends, `builtin eval` and `builtin return`, are not commands of the script.
#
# A trap that has nothing to write opens what cannot be opened. So no command of ours runs: a DEBUG trap would run for it,
# and `set -x` would show it. Standard error is closed first: it would get the error. `!` is for `set -e`. Nothing is written
# in a fork that has inherited the trap, nor if `set -x` would show our command in a file of BASH_XTRACEFD.
#
# __driver_exit_trace is the path of our descriptors in the host, and two numbers: the pipe, and a socket, in the place of
# which the host puts the pipe before it stops the script.
# shellcheck disable=SC2154,SC2206 # from the environment, three words
__driver_fields=($__driver_exit_trace)
__driver_word="! { \\builtin printf '%.4096s\\0' \"\${BASH_COMMAND/#builtin [er][ev][at][lu]*/\${__driver_refused-\${BASH_COMMAND##*__driver_*}}}\" \"\$LINENO\" \"\${PIPESTATUS[@]}\" '' \${FUNCNAME+\"\${FUNCNAME[@]:0:99}\"} '' \"\${BASH_SOURCE[@]:0:99}\" '' \"\${BASH_LINENO[@]:0:99}\" '' \"\$_\"; } 2>&- >>\"${__driver_fields[0]}\${BASHPID#\$\$}\${BASH_XTRACEFD+\${-//[!x]/}}"
# The ERR trap writes where `set -e` is about to end the script, since bash knows the line there, and most scripts set an
# EXIT trap of their own. The EXIT trap writes if the status is not 0, or if the host stops the script: the status is 0 then.
# shellcheck disable=SC2064 # to be expanded here
builtin trap "$__driver_word\${-##*e*}/${__driver_fields[1]}\"" ERR
__driver_word="${__driver_word/\$LINENO/0}/"
# shellcheck disable=SC2064
builtin trap "$__driver_word\$((\$??${__driver_fields[1]}:${__driver_fields[2]}))\"" EXIT
# The RTMAX trap, by which the host stops the script. Traps of the script for EXIT and SIGTERM run after it. Before 4.4
# such a trap does not know the command, so the host sends SIGTERM, and the EXIT trap does it.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
  # shellcheck disable=SC2064
  builtin trap "$__driver_word${__driver_fields[1]}\"; { \\builtin trap - RTMAX; \\builtin kill -s TERM \$\$; } 2>&-" RTMAX
fi
builtin unset -v BASH_ENV __driver_script __driver_exit_trace
if [[ -v __driver_posix ]]; then
  builtin unset -v __driver_posix
  builtin set -o posix
  # POSIX mode has switched it on, but only this adds it to BASHOPTS. Bash 4.2 and 4.3 do not have it.
  { builtin shopt -s inherit_errexit; } 2>/dev/null
fi
# Exported here, because assigning to an exported name takes less time than exporting a name with its value.
builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
builtin printf 'RECORD_READY %s.%s\0' "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"

# One compound command from here to the end, so that bash has parsed all of it before an event arrives.
{
  # The line is empty, or has a word before 5.2: then the event comes last, as lines, which bash reads in blocks. The number
  # of the other variables comes first.
  builtin read -r -u INHERITED_SCRIPT_TURN_FD __driver_word || builtin exit
  if [[ $__driver_word ]]; then
    builtin mapfile -t -u INHERITED_ARGUMENTS_FD __driver_fields
    IFS=$'\n'
    __driver_fields=("${__driver_fields[*]:__driver_fields[0]+4}" "${__driver_fields[@]:1:__driver_fields[0]+3}")
    IFS=$' \t\n'
  else
    builtin mapfile -t -d '' -u INHERITED_ARGUMENTS_FD __driver_fields
  fi
  CLOSE_FDS INHERITED_ARGUMENTS_FD INHERITED_SCRIPT_TURN_FD
  # The arguments are those of the handler's name, and then the event, if it is an argument. Before 5.0 bash sets them later.
  if ((BASH_VERSINFO[0] >= 5)); then builtin set -- "$@" ${__driver_event+"${__driver_fields[0]}"}; fi
  # shellcheck disable=SC2034 # they are exported
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_fields[1]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_fields[2]} LAMBDA_RUNTIME_TRACE_ID=${__driver_fields[3]} _X_AMZN_TRACE_ID=${__driver_fields[3]} SECONDS=0
  if [[ ! ${__driver_fields[3]} ]]; then builtin unset -v LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; fi
  if [[ ! ${__driver_fields[2]} ]]; then builtin unset -v LAMBDA_RUNTIME_DEADLINE_MS; fi
  # The context, as name=value.
  if [[ ${__driver_fields[4]-} ]]; then builtin export "${__driver_fields[@]:4}"; fi
  if [[ ${__driver_options-}${__driver_bash_env+set} ]]; then
    if [[ -v __driver_bash_env ]]; then
      # Like bash: source the file that the value expands to, if it is readable, but not in POSIX mode.
      builtin export "BASH_ENV=$__driver_bash_env"
      builtin eval "__driver_word=\"$BASH_ENV\""
      if [[ -r $__driver_word && ! -o posix ]]; then builtin printf -v __driver_last '\n. %q' "$__driver_word"; fi
    fi
    # The options of the script come last, so that `set -x` shows nothing of ours.
    builtin eval "builtin unset -v __driver_word __driver_fields __driver_event __driver_bash_env __driver_options __driver_last; ${__driver_options-}${__driver_last-}"
  else
    builtin unset -v __driver_word __driver_fields __driver_event
    # The value of `$_` in a script that has just started.
    builtin : "$BASH"
    builtin return "${__driver_word-0}"
  fi
  {
    builtin : "$BASH"
    builtin return "${__driver_word-0}"
  } 2>&-
}
