#!/usr/bin/env bats
# Our own images, without anything of AWS's: minimal and scratch-like.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash has the names

load containers.bash

RIE=target/test-tools/aws-lambda-rie

setup_file() {
  build minimal scratch-like
}

for_each_image() { # <function>
  local target
  for target in minimal scratch-like; do
    echo "the image: $target"
    "$1" "$(image_of "$target")"
    docker rm -f "$container" >/dev/null
    container=
  done
}

# With the functions beside this file.
start_task() { # <image> <handler> [docker's options...]
  start "$1" -v "$PWD/tests/image/task:/var/task:ro" "${@:3}" -- "$2"
}

answers_and_stops() { # <image> [docker's options...]
  start "$@"
  assert_echoes "$HELLO"
  assert_echoes 'again'
  logs | grep -Fx "$HELLO"
  logs | grep -F 'REPORT RequestId:'
  [ "$(stop)" -eq 0 ]
}

@test "small images answer the tutorial's curl line, and stop on request" {
  for_each_image answers_and_stops
}

as_nobody() { # <image>
  answers_and_stops "$1" --read-only --tmpfs /tmp --user 993:990
}

@test "small images work for a user without rights on a read-only file system" {
  for_each_image as_nobody
}

# A MiB of every byte but NUL, which no argument of a handler can have.
every_byte() { # <image>
  local event=$BATS_TEST_TMPDIR/event
  perl -e 'print map { chr } (1 .. 255) x 4112' >"$event"
  start_task "$1" bytes.handler
  invoke '{}'
  curl -sf -m 30 -XPOST --data-binary "@$event" -o "$event.answer" "http://$address$INVOCATIONS"
  cmp "$event" "$event.answer"
}

@test "small images give back every byte" {
  for_each_image every_byte
}

# AWS's own emulator stands for Lambda: it sets AWS_LAMBDA_RUNTIME_API.
on_lambda() { # <image>
  start "$1" -v "$PWD/$RIE:/rie:ro" --entrypoint /rie -- \
    /usr/local/bin/coshell entrypoint function.sh.handler
  assert_echoes "$HELLO"
  [ "$(logs | grep -c 'serving ')" -eq 0 ]
}

@test "entry point of small images is bootstrap on Lambda" {
  for_each_image on_lambda
}

url_alone() { # <image>
  start_task "$1" path.handler -e PORT=8080
  ask /a/path -w ' %{http_code}'
  [ "$answer" = '/a/path 201' ]
  invoke '{"forged":true}'
  [ "$answer" = "$INVOCATIONS" ]
}

@test "small images serve the function URL alone where PORT is set" {
  for_each_image url_alone
}

inside() { # <line for bash>
  docker exec "$container" bash -c "$1"
}

has_begun() {
  logs | grep -qFx begun
}

refuses() {
  ! inside 'exec 3<>/dev/tcp/127.0.0.1/8080' 2>/dev/null
}

ends_what_it_began() { # <image>
  local status=$BATS_TEST_TMPDIR/status stopping
  start_task "$1" gate.handler --tmpfs /tmp
  curl -s --retry 100 --retry-all-errors --retry-delay 0 -o "$BATS_TEST_TMPDIR/answer" \
    -d '{}' "http://$address$INVOCATIONS" &
  local asking=$!
  wait_until has_begun
  stop >"$status" &
  stopping=$!
  wait_until refuses
  inside '>/tmp/gate'
  wait "$asking" "$stopping"
  [ "$(<"$BATS_TEST_TMPDIR/answer")" = 'done' ]
  [ "$(<"$status")" -eq 0 ]
}

@test "small images let an invocation end that is under way when they are stopped" {
  for_each_image ends_what_it_began
}

@test "small images add at most 8 MiB" {
  local minimal scratch
  minimal=$(($(size_of "$(image_of minimal)") - $(size_of "$DEBIAN")))
  scratch=$(size_of "$(image_of scratch-like)")
  echo "minimal adds $minimal bytes, scratch-like has $scratch"
  ((minimal > 0 && minimal <= 8 * 1024 * 1024))
  ((scratch > 0 && scratch <= 8 * 1024 * 1024))
}

@test "minimal image has certificates, and takes packages" {
  container=$(docker create "$(image_of minimal)")
  docker cp "$container:/etc/ssl/certs/ca-certificates.crt" - | tar -xO | grep -c 'BEGIN CERTIFICATE'
  docker rm "$container" >/dev/null
  container=
  build_own coshell-test-tools tests/image/task <<END
FROM $(image_of minimal)
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends jq
COPY name.sh /var/task/
CMD ["name.handler"]
END
  start coshell-test-tools
  invoke '{"name":"Ada"}'
  [ "$answer" = Ada ]
}
