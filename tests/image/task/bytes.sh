# shellcheck shell=bash
# Responds with the unchanged event.
handler() {
  local line
  while IFS= read -r line; do printf '%s\n' "$line"; done
  printf '%s' "$line"
}
