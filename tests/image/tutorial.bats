#!/usr/bin/env bats
# Tests of the image of the tutorial with the bootstrap of coshell. BOOTSTRAP is the path of the compiled bootstrap.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash sets the variables

load containers.bash

TUTORIAL=bench/baseline/tutorial

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  local folder=$BATS_FILE_TMPDIR/swapped
  docker build -q -t "$(image_of tutorial-own)" "$TUTORIAL" >&2
  cp -r "$TUTORIAL" "$folder"
  install "$BOOTSTRAP" "$folder/bootstrap"
  docker build -q -t "$(image_of tutorial-swapped)" "$folder" >&2
}

@test "the image of the tutorial answers its curl line with coshell's bootstrap" {
  local line
  start "$(image_of tutorial-swapped)"
  assert_echoes "$HELLO"
  logs | grep -Fx "$HELLO"
  for line in 'START RequestId: ' 'END RequestId: ' 'REPORT RequestId: '; do
    logs | grep -F "$line"
  done
}

@test "the image of the tutorial answers the same with either bootstrap" {
  local event events=("$HELLO" 'a   b' '* ?' '{"name": "Ada", "list": [1, 2]}' "it's") name answers
  for name in own swapped; do
    start "$(image_of "tutorial-$name")"
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

@test "the image of the tutorial with coshell's bootstrap works for an unprivileged user on a read-only file system" {
  start "$(image_of tutorial-swapped)" --read-only --tmpfs /tmp --user 993:990
  assert_echoes 'Hello'
  assert_echoes 'again'
}

@test "the image of the tutorial with coshell's bootstrap stops on SIGTERM" {
  start "$(image_of tutorial-swapped)"
  assert_echoes 'Hello'
  local status
  status=$(stop)
  [ "$status" -ne 137 ] # the status after SIGKILL
}
