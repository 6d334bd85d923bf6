# shellcheck shell=bash
# Responds with the lane in which the event ran.
handler() {
  # Long enough for all four to run at the same time.
  [[ $1 == first ]] || sleep 1
  printf '%s in %s' "$1" "$COSHELL_LANE"
}
