# shellcheck shell=bash
# Tells where a script was that ends with a status other than 0, or is stopped by the host:
# the command, then names, files and lines of the frames, an empty field between them. The
# first frame is this file's. Read in the EXIT trap of script.bash, with the name of the file
# for the words.
builtin printf '%s\0' "$BASH_COMMAND" "${FUNCNAME[@]}" '' "${BASH_SOURCE[@]}" '' "${BASH_LINENO[@]}" >>"$1"
