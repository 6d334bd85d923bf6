# shellcheck shell=bash
# Responds with the lane in which the event ran. All events but the first wait until four lanes have one.
handler() {
  local begun=()
  if [[ $1 != first ]]; then
    : >"/tmp/begun.$COSHELL_LANE"
    until begun=(/tmp/begun.*) && ((${#begun[@]} == 4)); do sleep 0.05; done
  fi
  printf '%s in %s' "$1" "$COSHELL_LANE"
}
