#!/usr/bin/env bats
# The tutorial's own image, with its bootstrap and with ours, which is compiled already: BOOTSTRAP.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash has the names

load containers.bash

TUTORIAL=bench/baseline/tutorial

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  local folder=$BATS_FILE_TMPDIR/swapped
  docker build -q -t coshell-test-tutorial-own "$TUTORIAL" >&2
  cp -r "$TUTORIAL" "$folder"
  install "$BOOTSTRAP" "$folder/bootstrap"
  docker build -q -t coshell-test-tutorial-swapped "$folder" >&2
}

@test "tutorial's image answers its curl line with our bootstrap in it" {
  local line
  start coshell-test-tutorial-swapped
  assert_echoes "$HELLO"
  logs | grep -Fx "$HELLO"
  for line in 'START RequestId: ' 'END RequestId: ' 'REPORT RequestId: '; do
    logs | grep -F "$line"
  done
}

@test "tutorial's image answers the same with either bootstrap" {
  local event events=("$HELLO" 'a   b' '* ?' '{"name": "Ada", "list": [1, 2]}' "it's") name answers
  for name in own swapped; do
    start "coshell-test-tutorial-$name"
    answers=$BATS_TEST_TMPDIR/$name
    for event in "${events[@]}"; do
      invoke "$event"
      printf '%s\n' "$answer" >>"$answers"
    done
    docker rm -f "$container" >/dev/null
    container=
  done
  cmp "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/swapped"
  [ "$(wc -l <"$answers")" -eq "${#events[@]}" ]
}

@test "tutorial's image with our bootstrap works for a user without rights on a read-only file system" {
  start coshell-test-tutorial-swapped --read-only --tmpfs /tmp --user 993:990
  assert_echoes 'Hello'
  assert_echoes 'again'
}

@test "tutorial's image with our bootstrap stops on request" {
  start coshell-test-tutorial-swapped
  assert_echoes 'Hello'
  local status
  status=$(stop)
  [ "$status" -ne 137 ] # killed, as it did not stop
}
