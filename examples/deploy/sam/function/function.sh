# shellcheck shell=bash
# What is deployed here in two ways: answers with its event.
handler() {
  printf 'event of %s characters\n' "${#1}" >&2
  printf '{"event":%s}\n' "${1:-null}"
}
