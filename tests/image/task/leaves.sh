# shellcheck shell=bash
# Leaves processes, and dies.
handler() {
  sleep 1000 &
  setsid sleep 1000 &
  kill -KILL "$PPID"
}
