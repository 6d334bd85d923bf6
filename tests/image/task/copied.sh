# shellcheck shell=bash
handler() { echo "copied: $1"; }
