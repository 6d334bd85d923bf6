# shellcheck shell=bash
handler() { echo "lent: $1"; }
