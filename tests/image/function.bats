#!/usr/bin/env bats
# Tests of the images on AWS's base image: with AWS's emulator, and with coshell instead of it.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash sets the variables

load containers.bash

setup_file() {
  build function runtime minimal
  # coshell is statically linked, as it is published.
  local id
  id=$(docker create "$(image_of minimal)")
  docker cp "$id:/usr/local/bin/coshell" "$BATS_FILE_TMPDIR/coshell"
  docker rm "$id" >/dev/null
  id=$(docker create "$(image_of runtime)" any)
  docker cp "$id:/var/runtime/bootstrap" "$BATS_FILE_TMPDIR/bootstrap"
  docker rm "$id" >/dev/null
}

@test "the function image answers the curl line of the tutorial" {
  start "$(image_of function)"
  assert_echoes "$HELLO"
  logs | grep -Fx "$HELLO"
  logs | grep -F 'REPORT RequestId:'
}

@test "function is the default target of the Dockerfile" {
  docker build -q -t "$(image_of default)" . >&2
  [ "$(docker image inspect -f '{{.RootFS}}' "$(image_of default)")" = \
    "$(docker image inspect -f '{{.RootFS}}' "$(image_of function)")" ]
}

@test "the function image works for an unprivileged user on a read-only file system" {
  start "$(image_of function)" --read-only --tmpfs /tmp --user 993:990
  assert_echoes 'Hello'
  assert_echoes 'again'
}

@test "the function image stops on SIGTERM" {
  start "$(image_of function)"
  assert_echoes 'Hello'
  local status
  status=$(stop)
  [ "$status" -ne 137 ] # the status after SIGKILL
}

@test "the runtime image adds at most 2.3 MiB to AWS's image" {
  local added
  added=$(($(size_of "$(image_of runtime)") - $(size_of public.ecr.aws/lambda/provided:al2023)))
  echo "$added bytes"
  ((added > 0 && added <= 23 * 1024 * 1024 / 10))
}

@test "a Dockerfile of three lines is enough for a function" {
  build_from "$(image_of own)" examples/echo <<END
FROM $(image_of runtime)
COPY function.sh /var/task/echo.sh
CMD ["echo.handler"]
END
  start "$(image_of own)"
  assert_echoes "$HELLO"
}

@test "README's Dockerfile makes an image that answers" {
  local folder=$BATS_TEST_TMPDIR/readme id
  mkdir "$folder"
  # shellcheck disable=SC2016 # the page's own backquotes
  sed -n '/^```dockerfile$/,/^```$/p' README.md | sed '/^```/d' >"$folder/Dockerfile"
  cp examples/echo/function.sh "$folder"
  id=$(docker create "$(image_of runtime)" any)
  docker cp "$id:/var/runtime/bootstrap" "$folder/bootstrap"
  docker rm "$id" >/dev/null
  docker build -q -t "$(image_of readme)" "$folder" >&2
  start "$(image_of readme)"
  assert_echoes "$HELLO"
}

@test "bootstrap of the runtime image works in AWS's image" {
  build_from "$(image_of copied)" tests/image/task <<END
FROM public.ecr.aws/lambda/provided:al2023
COPY --from=$(image_of runtime) /var/runtime/bootstrap /var/runtime/bootstrap
COPY copied.sh /var/task/
CMD ["copied.handler"]
END
  start "$(image_of copied)"
  invoke '{}'
  [ "$answer" = 'copied: {}' ]
}

@test "the image of the tutorial answers its curl line with bootstrap of the runtime image" {
  local tutorial=bench/baseline/tutorial folder=$BATS_TEST_TMPDIR/tutorial id
  mkdir "$folder"
  cp "$tutorial/Dockerfile" "$tutorial/function.sh" "$folder"
  id=$(docker create "$(image_of runtime)" any)
  docker cp "$id:/var/runtime/bootstrap" "$folder/bootstrap"
  docker rm "$id" >/dev/null
  docker build -q -t "$(image_of tutorial)" "$folder" >&2
  start "$(image_of tutorial)"
  assert_echoes "$HELLO"
}

# AWS_LAMBDA_MAX_CONCURRENCY makes AWS's emulator behave as Lambda Managed Instances do. Each of the four lanes has
# its own bash.
@test "the function image serves four events at the same time" {
  local number answers=$BATS_TEST_TMPDIR/answers clients=()
  build_from "$(image_of lanes)" tests/image/task <<END
FROM $(image_of runtime)
COPY lanes.sh /var/task/
CMD ["lanes.handler"]
END
  start "$(image_of lanes)" -e AWS_LAMBDA_MAX_CONCURRENCY=4
  wait_until curl -sf -o "$BATS_TEST_TMPDIR/first" -d first "http://$address$INVOCATIONS"
  for number in 1 2 3 4; do
    curl -s -m 60 -d "event $number" "http://$address$INVOCATIONS" >"$answers.$number" &
    clients+=($!)
  done
  wait "${clients[@]}"
  for number in 1 2 3 4; do
    grep -ox "event $number in [0-3]" "$answers.$number"
  done | sort -u -k4 >"$answers"
  [ "$(wc -l <"$answers")" -eq 4 ]
}

@test "coshell compare starts an image as a runtime, and removes its containers" {
  "${CARGO_TARGET_DIR:-target}/debug/coshell" compare --runtime "ours=image:$(image_of function)" --handler function.handler \
    --sizes 32 --repeats 2 --rounds 1 --invocations 5 -o "$BATS_TEST_TMPDIR/report"
  grep -F '"isComplete": true' "$BATS_TEST_TMPDIR/report/results.json"
  [ "$(docker ps -a --format '{{.Image}}' | grep -cFx "$(image_of function)")" -eq 0 ]
}

@test "an edit of the source compiles no dependency again" {
  local folder=$BATS_TEST_TMPDIR/edited output
  mkdir "$folder"
  git ls-files -z --cached --others --exclude-standard -- Cargo.toml Cargo.lock Dockerfile .dockerignore src runtime-scripts examples tests |
    xargs -0 cp --parents -t "$folder"
  echo "// edited at $EPOCHREALTIME" >>"$folder/src/bootstrap/lib.rs"
  # The classic builder colours each piece of the output, also in the middle of a line.
  output=$(docker build --target function "$folder" 2>&1 | sed $'s/\e\\[[0-9;]*m//g')
  grep -F 'Compiling coshell-bootstrap ' <<<"$output"
  [ "$(grep 'Compiling ' <<<"$output" | grep -vc 'Compiling coshell-')" -eq 0 ]
}

# Also where the classic builder sets no TARGETARCH; there it once built an empty image.
@test "every target is built without an argument, and by either builder" {
  local builder target
  for builder in 0 1; do
    if ((builder)) && ! docker buildx version >/dev/null 2>&1 && [[ $(docker --version) != *' 20.'* ]]; then
      echo '# BuildKit needs buildx here'
      continue
    fi
    for target in function runtime minimal scratch-like; do
      DOCKER_BUILDKIT=$builder docker build -q --target "$target" -t "$(image_of "$target-$builder")" . >&2
    done
    start "$(image_of "minimal-$builder")"
    assert_echoes "$HELLO"
    docker rm -f "$container" >/dev/null
    container=
  done
}

@test "the folder of coshell package is built by either builder" {
  local builder folder=$BATS_TEST_TMPDIR/context
  "${CARGO_TARGET_DIR:-target}/debug/coshell" package examples/echo --handler function.handler --image-context "$folder" \
    --bootstrap "$BATS_FILE_TMPDIR/bootstrap"
  for builder in 0 1; do
    if ((builder)) && ! docker buildx version >/dev/null 2>&1 && [[ $(docker --version) != *' 20.'* ]]; then continue; fi
    DOCKER_BUILDKIT=$builder docker build -q -t "$(image_of context)" "$folder" >&2
    start "$(image_of context)"
    assert_echoes "$HELLO"
    docker rm -f "$container" >/dev/null
    container=
    # The command in its first line works with this Docker.
    (cd "$folder" && bash -ec "DOCKER_BUILDKIT=$builder; export DOCKER_BUILDKIT; $(sed -n '1s/# Built by: //p' Dockerfile)") >&2
  done
}

@test "the build of minimal fails on a base image in which no function could run" {
  docker build -q -t "$(image_of bashless)" - <<<"FROM $DEBIAN
RUN rm /bin/bash" >&2
  docker build -q -t "$(image_of old-bash)" - <<<"FROM $DEBIAN
RUN rm /bin/bash && printf '%s\\n' '#!/bin/sh' 'echo 4.1' >/bin/bash && chmod +x /bin/bash" >&2
  local base
  for base in "$(image_of bashless)" "$(image_of old-bash)"; do
    run docker build --build-arg DEBIAN="$base" --target minimal .
    ((status))
    [[ $output == *"cannot build minimal on $base: it needs bash 4.2 or later"* ]]
  done
  docker build -q -t "$(image_of aptless)" - <<<"FROM $DEBIAN
RUN rm /usr/bin/apt-get" >&2
  run docker build --build-arg DEBIAN="$(image_of aptless)" --target scratch-like .
  ((status))
  [[ $output == *'cannot build scratch-like: the image that DEBIAN names has no apt-get'* ]]
}

@test "a handler that needs what the image lacks ends the build of its image" {
  cat >"$BATS_TEST_TMPDIR/Dockerfile" <<END
FROM $(image_of minimal)
COPY name.sh /var/task/
RUN ["coshell", "check", "name.handler", "--strict", "--image", "here"]
END
  run docker build -f "$BATS_TEST_TMPDIR/Dockerfile" tests/image/task
  ((status))
  [[ $output == *'jq is not in this image'* ]]
}

@test "the build fails for an architecture that Lambda does not have" {
  run docker build --build-arg TARGETARCH=riscv64 --target sources .
  ((status))
  [[ $output == *'cannot build coshell for riscv64: Lambda has amd64 and arm64'* ]]
}

# Starts the function image with coshell instead of AWS's emulator.
start_with_coshell() { # [options of docker run...]
  start "$(image_of function)" -v "$BATS_FILE_TMPDIR/coshell:/usr/local/bin/aws-lambda-rie:ro" "$@"
}

@test "coshell works instead of AWS's emulator" {
  start_with_coshell
  assert_echoes "$HELLO"
  logs | grep -F 'Init Duration: '
  [ "$(stop)" -eq 0 ]
}

@test "coshell works for an unprivileged user on a read-only file system" {
  start_with_coshell --read-only --user 993:990
  assert_echoes 'Hello'
}

@test "coshell serve listens on all addresses in a container" {
  # shellcheck disable=SC2034 # start reads it
  port=9000
  start "$(image_of function)" -v "$BATS_FILE_TMPDIR/coshell:/usr/local/bin/coshell:ro" \
    --entrypoint coshell -- serve function.handler
  assert_echoes 'Hello'
}

has_no_zombie() { # reads /proc because the image has no ps
  local statuses
  statuses=$(docker exec "$container" bash -c 'cat /proc/[0-9]*/stat 2>/dev/null; :')
  [[ $statuses == *') S '* && $statuses != *') Z '* ]]
}

# Orphans become children of the first process, which is coshell, so it must collect their status.
@test "coshell leaves no zombie in its container" {
  start_with_coshell -v "$PWD/tests/image/task:/var/task:ro" -- leaves.handler
  for _ in 1 2 3; do invoke '{}'; done
  [[ $answer == *Runtime.ExitError* ]]
  wait_until has_no_zombie
}
