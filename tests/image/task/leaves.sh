# shellcheck shell=bash
# Leaves processes running, and kills bootstrap.
handler() {
  sleep 1000 &
  setsid sleep 1000 &
  kill -KILL "$PPID"
}
