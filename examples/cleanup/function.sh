# shellcheck shell=bash
# Runs on a schedule: deletes the files of a directory (an EFS mount, say) that have not changed for some days. It ignores
# the event; its settings come from the environment:
#   CLEANUP_DIRECTORY   the directory
#   CLEANUP_DAYS        how many days a file is kept [7]
# Any command that fails makes the invocation fail, and the error names its line.

set -euo pipefail

handler() {
  local directory=${CLEANUP_DIRECTORY:?is not set} days=${CLEANUP_DAYS:-7} deleted=()

  # A missing mount must not look like an empty directory.
  if [[ ! -d $directory ]]; then
    echo "cleanup: $directory is not a directory: is the file system mounted?" >&2
    return 1
  fi

  mapfile -d '' -t deleted < <(find "$directory" -xdev -type f -mtime "+$days" -delete -print0)
  if ((${#deleted[@]} > 0)); then
    printf 'deleted %s\n' "${deleted[@]}" >&2
  fi
  wait "$!" # the status of find, which -e does not see inside of <( )
  printf '{"deleted": %d}\n' "${#deleted[@]}"
}
