#!/usr/bin/env bats
# Tests of the images that do not build on AWS's image: minimal and scratch-like.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash sets the variables

load containers.bash

RIE=target/test-tools/aws-lambda-rie

setup_file() {
  build minimal scratch-like
}

for_each_image() { # <function>: called with the name of the image
  local target
  for target in minimal scratch-like; do
    echo "the image: $target"
    "$1" "$(image_of "$target")"
    docker rm -f "$container" >/dev/null
    container=
  done
}

# Starts the image with the functions in the folder task.
start_task() { # <image> <handler> [options of docker run...]
  start "$1" -v "$PWD/tests/image/task:/var/task:ro" "${@:3}" -- "$2"
}

expect_answers_and_stop() { # <image> [options of docker run...]
  start "$@"
  assert_echoes "$HELLO"
  assert_echoes 'again'
  logs | grep -Fx "$HELLO"
  logs | grep -F 'REPORT RequestId:'
  [ "$(stop)" -eq 0 ]
}

@test "small images answer the curl line of the tutorial, and stop on SIGTERM" {
  for_each_image expect_answers_and_stop
}

expect_work_unprivileged() { # <image>
  expect_answers_and_stop "$1" --read-only --tmpfs /tmp --user 993:990
}

@test "small images work for an unprivileged user on a read-only file system" {
  for_each_image expect_work_unprivileged
}

# A MiB with every byte but NUL, which an argument of a handler cannot contain.
expect_every_byte() { # <image>
  local event=$BATS_TEST_TMPDIR/event
  perl -e 'print map { chr } (1 .. 255) x 4112' >"$event"
  start_task "$1" bytes.handler
  invoke '{}'
  curl -sf -m 30 -XPOST --data-binary "@$event" -o "$event.answer" "http://$address$INVOCATIONS"
  cmp "$event" "$event.answer"
}

@test "small images respond with every byte of the event" {
  for_each_image expect_every_byte
}

# AWS's emulator sets AWS_LAMBDA_RUNTIME_API, as Lambda does.
expect_bootstrap_on_lambda() { # <image>
  start "$1" -v "$PWD/$RIE:/rie:ro" --entrypoint /rie -- \
    /usr/local/bin/coshell entrypoint function.sh.handler
  assert_echoes "$HELLO"
  [ "$(logs | grep -c 'serving ')" -eq 0 ]
}

@test "the entry point of small images starts bootstrap on Lambda" {
  for_each_image expect_bootstrap_on_lambda
}

expect_only_function_url() { # <image>
  start_task "$1" path.handler -e PORT=8080
  request /a/path -w ' %{http_code}'
  [ "$answer" = '/a/path 201' ]
  invoke '{"forged":true}'
  [ "$answer" = "$INVOCATIONS" ]
}

@test "small images serve only the function URL if PORT is set" {
  for_each_image expect_only_function_url
}

run_inside() { # <script of bash>
  docker exec "$container" bash -c "$1"
}

has_begun() {
  logs | grep -qFx begun
}

refuses_connections() {
  ! run_inside 'exec 3<>/dev/tcp/127.0.0.1/8080' 2>/dev/null
}

expect_end_of_invocation() { # <image>
  local status=$BATS_TEST_TMPDIR/status stopping
  start_task "$1" gate.handler --tmpfs /tmp
  curl -s --retry 100 --retry-all-errors --retry-delay 0 -o "$BATS_TEST_TMPDIR/answer" \
    -d '{}' "http://$address$INVOCATIONS" &
  local client=$!
  wait_until has_begun
  stop >"$status" &
  stopping=$!
  wait_until refuses_connections
  run_inside '>/tmp/gate'
  wait "$client" "$stopping"
  [ "$(<"$BATS_TEST_TMPDIR/answer")" = 'done' ]
  [ "$(<"$status")" -eq 0 ]
}

@test "small images finish the running invocation when they are stopped" {
  for_each_image expect_end_of_invocation
}

@test "small images add at most 9 MiB" {
  local minimal scratch
  minimal=$(($(size_of "$(image_of minimal)") - $(size_of "$DEBIAN")))
  scratch=$(size_of "$(image_of scratch-like)")
  echo "minimal adds $minimal bytes, scratch-like has $scratch bytes"
  ((minimal > 0 && minimal <= 9 * 1024 * 1024))
  ((scratch > 0 && scratch <= 9 * 1024 * 1024))
}

@test "the minimal image has certificates, and apt-get can install packages in it" {
  container=$(docker create "$(image_of minimal)")
  docker cp "$container:/etc/ssl/certs/ca-certificates.crt" - | tar -xO | grep -c 'BEGIN CERTIFICATE'
  docker rm "$container" >/dev/null
  container=
  build_from "$(image_of tools)" tests/image/task <<END
FROM $(image_of minimal)
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends jq
COPY name.sh /var/task/
CMD ["name.handler"]
END
  start "$(image_of tools)"
  invoke '{"name":"Ada"}'
  [ "$answer" = Ada ]
}
