# shellcheck shell=bash
# Writes the exit trace of a script that fails, or that the host stops. The traps of script.bash source this file.
#
# The fields: the command, or the name of a function of coshell that has failed; the line, if bash knows it; the statuses
# of the parts of the pipeline; an empty field; then names, files and lines of the frames, with an empty field behind each
# list. The first frame is that of this file. A fork that has inherited one of the traps writes nothing.
#
# In bash 4, `[[` in a trap replaces BASH_COMMAND; `case` does not.
case ${BASHPID-} in "$$") # <file to append to> <line, or 0> <status...> <any word>
  case $BASH_COMMAND in
    'builtin return' | 'builtin return "$?"') __driver_line=${__driver_refused-$BASH_COMMAND} ;;
    *) __driver_line=$BASH_COMMAND ;;
  esac
  builtin printf '%s\0' "$__driver_line" "${@:2:$#-2}" '' ${FUNCNAME+"${FUNCNAME[@]}"} '' "${BASH_SOURCE[@]}" '' "${BASH_LINENO[@]}" '' >>"$1"
  ;;
esac
