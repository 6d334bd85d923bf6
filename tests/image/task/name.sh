# shellcheck shell=bash
handler() { jq -r .name <<<"$1"; }
