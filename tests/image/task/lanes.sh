# shellcheck shell=bash
# In which lane an event was served.
handler() {
  # So long that all four are under way at once.
  [[ $1 == first ]] || sleep 1
  printf '%s in %s' "$1" "$COSHELL_LANE"
}
