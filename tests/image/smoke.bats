#!/usr/bin/env bats
# The built image answers one invocation, as root and as nobody in particular.
# shellcheck disable=SC2030,SC2031 # each test has its own container

image=coshell-smoke
tutorial_image=coshell-smoke-tutorial

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  docker build -q -t "$image" . >&2
}

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  container=
}

teardown() {
  if [[ $container ]]; then docker rm -f "$container" >/dev/null; fi
}

# Starts a container of an image, on a free port of this machine.
start() { # <image> [docker's options...]
  container=$(docker run -d -p 127.0.0.1::8080 "${@:2}" "$1")
  address=$(docker port "$container" 8080/tcp)
}

# Docker accepts connections before the emulator listens: so ask until there is an answer.
invoke() { # <event>
  local attempt
  for ((attempt = 0; attempt < 100; attempt++)); do
    if answer=$(
      curl -sf -m 10 -XPOST "http://$address/2015-03-31/functions/function/invocations" -d "$1"
      printf .
    ); then
      answer=${answer%.}
      [[ $answer ]] && return
    fi
    sleep 0.1
  done
  docker logs "$container" >&2
  return 1
}

@test "function image answers the tutorial's curl line" {
  start "$image"
  invoke 'Hello from Container Lambda!'
  [ "$answer" = "Echoing request: 'Hello from Container Lambda!'" ]
  docker logs "$container" 2>&1 | grep -Fx 'Hello from Container Lambda!'
  docker logs "$container" 2>&1 | grep -F 'REPORT RequestId:'
}

@test "image works for a user without rights on a read-only file system" {
  start "$image" --read-only --tmpfs /tmp --user 993:990
  invoke 'Hello'
  [ "$answer" = "Echoing request: 'Hello'" ]
  invoke 'again'
  [ "$answer" = "Echoing request: 'again'" ]
}

@test "container stops on request" {
  start "$image"
  invoke 'Hello'
  docker stop -t 8 "$container"
  [ "$(docker inspect -f '{{.State.ExitCode}}' "$container")" -ne 137 ]
}

@test "tutorial's own image answers the same with only bootstrap exchanged" {
  tutorial=../shared/tutorial
  folder=$BATS_TEST_TMPDIR/tutorial
  mkdir "$folder"
  cp "$tutorial/Dockerfile" "$tutorial/function.sh" "$folder"
  id=$(docker create "$image")
  docker cp "$id:/var/runtime/bootstrap" "$folder/bootstrap"
  docker rm "$id" >/dev/null
  docker build -q -t "$tutorial_image" "$folder"
  start "$tutorial_image"
  invoke 'Hello from Container Lambda!'
  [ "$answer" = "Echoing request: 'Hello from Container Lambda!'" ]
}

# The image with coshell in the place of AWS's emulator.
start_with_coshell() { # [docker's options...]
  start "$image" -v "$PWD/target/image/coshell:/usr/local/bin/aws-lambda-rie:ro" "$@"
}

@test "coshell takes the place of AWS's emulator" {
  start_with_coshell
  invoke 'Hello from Container Lambda!'
  [ "$answer" = "Echoing request: 'Hello from Container Lambda!'" ]
  docker logs "$container" 2>&1 | grep -F 'Init Duration: '
  docker stop -t 8 "$container"
  [ "$(docker inspect -f '{{.State.ExitCode}}' "$container")" -eq 0 ]
}

@test "coshell serves a user without rights on a read-only file system" {
  start_with_coshell --read-only --user 993:990
  invoke 'Hello'
  [ "$answer" = "Echoing request: 'Hello'" ]
}

@test "coshell serve listens on all addresses in a container" {
  container=$(docker run -d -p 127.0.0.1::9000 --entrypoint coshell \
    -v "$PWD/target/image/coshell:/usr/local/bin/coshell:ro" "$image" serve function.handler)
  address=$(docker port "$container" 9000/tcp)
  invoke 'Hello'
  [ "$answer" = "Echoing request: 'Hello'" ]
}

# Orphans are children of the first process: whoever kills them has to take notice of their end.
@test "coshell leaves no dead process in its container" {
  folder=$BATS_TEST_TMPDIR/task
  mkdir "$folder"
  printf 'handler() { sleep 1000 & setsid sleep 1000 & kill -KILL "%s"; }' "\$PPID" >"$folder/function.sh"
  start_with_coshell -v "$folder:/var/task:ro"
  for _ in 1 2 3; do invoke '{}'; done
  [[ $answer == *Runtime.ExitError* ]]
  dead() { # reads /proc, as the image has no ps
    docker exec "$container" bash -c 'cat /proc/[0-9]*/stat 2>/dev/null' | grep -c ') Z ' || true
  }
  for ((attempt = 0; attempt < 50 && $(dead) > 0; attempt++)); do sleep 0.1; done
  [ "$(dead)" -eq 0 ]
}
