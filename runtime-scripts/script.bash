# shellcheck shell=bash
# Makes a bash that was started ahead of time into one that runs a whole script for an event.
#
# bash reads this as BASH_ENV, before it opens the script that its argument names: so it waits
# here for the event, and what it does then is what `bash script event <file` does, with the
# script's own $0, BASH_SOURCE and line numbers. Nothing of ours may be left when it goes on but
# the EXIT and ERR traps, which tell the host in which command the script ended; a script that sets its
# own takes their place. Twin of src/bootstrap/program/script.rs.
#
# Our descriptors: 70 the event and the variables, 76 this text, 77 the word to go on. The
# script's are in place: 0 the event, 1 the response, 2 the log.

# COSHELL_BASH may be a script that becomes bash: what follows is not for the bash that runs that script. Before 5.2 bash does
# not know its own script here, but the command line does: the script is the first word that is no option.
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
\exec 76<&-
# Two files of the host's: __driver_words is empty, unless the host stops the script, for the
# status is 0 here then; __driver_end is script_end.bash. Where `set -e` is about to end the script bash knows more, and most
# scripts set an EXIT trap, so that a failure is reported by either. The name of a builtin is `.` there, and none if -e is off: a test would
# change PIPESTATUS. The last word of each command is `$_`, which the script goes on with.
# shellcheck disable=SC2064,SC2154 # from the environment, and to be expanded here
builtin trap "{ __driver_ended=(\"\$?\" \"\${PIPESTATUS[@]}\"); [[ \${__driver_ended[0]} = 0 && ! -s $__driver_words ]] || \\builtin . $__driver_end $__driver_words 0 \"\${__driver_ended[@]:1}\" ''; } 2>/dev/null" EXIT
# shellcheck disable=SC2064,SC2154
builtin trap "{ \\builtin \"\${-/#*e*/.}\" $__driver_end $__driver_words \"\$LINENO\" \"\${PIPESTATUS[@]}\" \"\$_\" || \\builtin : \"\$_\"; } 2>/dev/null" ERR
# The host stops the script: whatever it has for EXIT and SIGTERM comes after this.
# shellcheck disable=SC2064,SC2154
builtin trap "{ \\builtin . $__driver_end $__driver_words 0 ''; } 2>/dev/null; \\builtin trap - RTMAX; \\builtin kill -s TERM \$\$" RTMAX
builtin unset -v BASH_ENV __driver_script __driver_words __driver_end
if [[ -v __driver_posix ]]; then
  builtin unset -v __driver_posix
  builtin set -o posix
  # It is on by now; this makes BASHOPTS say so.
  { builtin shopt -s inherit_errexit; } 2>/dev/null
fi
# To assign to an exported name costs less than to export it with its value.
builtin export LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID
builtin printf 'ready %s.%s\0' "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"

# One command from here to the end, so that bash has parsed it by the time somebody waits.
{
  # An empty line, or a word where the fields are separated by newlines.
  builtin read -r -u 77 __driver_word || builtin exit
  if [[ $__driver_word ]]; then builtin mapfile -t -u 70 __driver_fields; else builtin mapfile -t -d '' -u 70 __driver_fields; fi
  \exec 70<&- 77<&-
  # After the arguments that the handler's name gives, if the event is one.
  builtin set -- "$@" ${__driver_event+"${__driver_fields[0]}"}
  # shellcheck disable=SC2034 # they are exported
  LAMBDA_RUNTIME_AWS_REQUEST_ID=${__driver_fields[1]} LAMBDA_RUNTIME_DEADLINE_MS=${__driver_fields[2]} LAMBDA_RUNTIME_TRACE_ID=${__driver_fields[3]} _X_AMZN_TRACE_ID=${__driver_fields[3]} SECONDS=0
  if [[ ! ${__driver_fields[3]} ]]; then builtin unset -v LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; fi
  if [[ ! ${__driver_fields[2]} ]]; then builtin unset -v LAMBDA_RUNTIME_DEADLINE_MS; fi
  # Those that seldom change, as name=value.
  if [[ ${__driver_fields[4]-} ]]; then builtin export "${__driver_fields[@]:4}"; fi
  if [[ ${__driver_options-}${__driver_bash_env+set} ]]; then
    if [[ -v __driver_bash_env ]]; then
      # As bash does: the file that the value expands to, if it is there; not in POSIX mode.
      builtin export "BASH_ENV=$__driver_bash_env"
      builtin eval "__driver_word=\"$BASH_ENV\""
      if [[ -r $__driver_word && ! -o posix ]]; then builtin printf -v __driver_last '. %q' "$__driver_word"; fi
    fi
    # The options of the script's first line come last: `set -x` shows nothing of ours.
    builtin eval "builtin unset -v __driver_word __driver_fields __driver_event __driver_bash_env __driver_options __driver_last; ${__driver_options:+builtin set $__driver_options;} ${__driver_last-}"
  else
    builtin unset -v __driver_word __driver_fields __driver_event
  fi
}
