# shellcheck shell=bash
# Answers when there is a file /tmp/gate.
handler() {
  echo begun >&2
  until [[ -e /tmp/gate ]]; do :; done
  echo 'done'
}
