# shellcheck shell=bash
# The function that is deployed here in two ways. It answers with its event.
handler() {
  printf 'event of %s characters\n' "${#1}" >&2
  printf '{"event":%s}\n' "${1:-null}"
}
