# shellcheck shell=bash
# Tells where a script was that ends with a status other than 0, or is stopped by the host:
# the command, the line if bash knows it and the statuses of the parts of the pipeline, then names,
# files and lines of the frames, an empty field after each. The first frame is this file's. Read in the
# traps of script.bash; a fork that has inherited one of them says nothing.
if [[ ${BASHPID-} == "$$" ]]; then # <the file for the words> <line, or 0> <statuses...> <any word>
  builtin printf '%s\0' "$BASH_COMMAND" "${@:2:$#-2}" '' "${FUNCNAME[@]}" '' "${BASH_SOURCE[@]}" '' "${BASH_LINENO[@]}" '' >>"$1"
fi
