# shellcheck shell=bash
# The same with functions of coshell.
handler() { lambda_each --unwrap work; }

work() {
  local order
  lambda_get order .order
  ((order != 3))
}
