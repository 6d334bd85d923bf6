# shellcheck shell=bash
# Responds when the file /tmp/gate exists.
handler() {
  echo begun >&2
  until [[ -e /tmp/gate ]]; do :; done
  echo 'done'
}
