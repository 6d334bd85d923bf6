# shellcheck shell=bash
# Gives back the event as it is.
handler() {
  local line
  while IFS= read -r line; do printf '%s\n' "$line"; done
  printf '%s' "$line"
}
