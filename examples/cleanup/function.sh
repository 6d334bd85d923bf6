# shellcheck shell=bash
# Run by a schedule: deletes the files of a directory (an EFS mount, say) that were not
# changed for more than some days. The event is not looked at; settings come from the environment:
#   CLEANUP_DIRECTORY   where to delete
#   CLEANUP_DAYS        how many days a file is kept [7]
# Any command that fails makes the invocation fail, with its line in the error.

set -euo pipefail

handler() {
  local directory=${CLEANUP_DIRECTORY:?is not set} days=${CLEANUP_DAYS:-7} deleted=()

  # Without this check a mount that is missing would look like a tidy one.
  if [[ ! -d $directory ]]; then
    echo "cleanup: $directory is not a directory: is the file system mounted?" >&2
    return 1
  fi

  mapfile -d '' -t deleted < <(find "$directory" -xdev -type f -mtime "+$days" -delete -print0)
  if ((${#deleted[@]} > 0)); then
    printf 'deleted %s\n' "${deleted[@]}" >&2
  fi
  wait "$!" # the status of find, which -e does not look at inside of <( )
  printf '{"deleted": %d}\n' "${#deleted[@]}"
}
