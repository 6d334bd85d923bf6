#!/usr/bin/env bats
# AWS's image with our bootstrap: behind AWS's emulator, and behind coshell in its place.
# shellcheck disable=SC2030,SC2031,SC2154 # each test has its own container; containers.bash has the names

load containers.bash

setup_file() {
  build function runtime minimal
  # A static coshell, as it is published.
  local id
  id=$(docker create "$(image_of minimal)")
  docker cp "$id:/usr/local/bin/coshell" "$BATS_FILE_TMPDIR/coshell"
  docker rm "$id" >/dev/null
}

@test "function image answers the tutorial's curl line" {
  start "$(image_of function)"
  assert_echoes "$HELLO"
  logs | grep -Fx "$HELLO"
  logs | grep -F 'REPORT RequestId:'
}

@test "function is the target that is built if none is named" {
  docker build -q -t coshell-test-default . >&2
  [ "$(docker image inspect -f '{{.RootFS}}' coshell-test-default)" = \
    "$(docker image inspect -f '{{.RootFS}}' "$(image_of function)")" ]
}

@test "function image works for a user without rights on a read-only file system" {
  start "$(image_of function)" --read-only --tmpfs /tmp --user 993:990
  assert_echoes 'Hello'
  assert_echoes 'again'
}

@test "function image stops on request" {
  start "$(image_of function)"
  assert_echoes 'Hello'
  local status
  status=$(stop)
  [ "$status" -ne 137 ] # killed, as it did not stop
}

@test "bootstrap adds at most 2 MiB to AWS's image" {
  local added
  added=$(($(size_of "$(image_of runtime)") - $(size_of public.ecr.aws/lambda/provided:al2023)))
  echo "$added bytes"
  ((added > 0 && added <= 2 * 1024 * 1024))
}

@test "three lines make an image of one's own" {
  build_own coshell-test-own examples/echo <<END
FROM $(image_of runtime)
COPY function.sh /var/task/echo.sh
CMD ["echo.handler"]
END
  start coshell-test-own
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
  docker build -q -t coshell-test-readme "$folder" >&2
  start coshell-test-readme
  assert_echoes "$HELLO"
}

@test "runtime image lends its bootstrap to another" {
  build_own coshell-test-other tests/image/task <<END
FROM public.ecr.aws/lambda/provided:al2023
COPY --from=$(image_of runtime) /var/runtime/bootstrap /var/runtime/bootstrap
COPY lent.sh /var/task/
CMD ["lent.handler"]
END
  start coshell-test-other
  invoke '{}'
  [ "$answer" = 'lent: {}' ]
}

@test "tutorial's own image answers the same with only bootstrap exchanged" {
  local tutorial=bench/baseline/tutorial folder=$BATS_TEST_TMPDIR/tutorial id
  mkdir "$folder"
  cp "$tutorial/Dockerfile" "$tutorial/function.sh" "$folder"
  id=$(docker create "$(image_of runtime)" any)
  docker cp "$id:/var/runtime/bootstrap" "$folder/bootstrap"
  docker rm "$id" >/dev/null
  docker build -q -t coshell-test-tutorial "$folder" >&2
  start coshell-test-tutorial
  assert_echoes "$HELLO"
}

# AWS's emulator in its mode of Managed Instances, with a bash for each of four lanes.
@test "function image serves several events at once" {
  local number answers=$BATS_TEST_TMPDIR/answers callers=()
  build_own coshell-test-lanes tests/image/task <<END
FROM $(image_of runtime)
COPY lanes.sh /var/task/
CMD ["lanes.handler"]
END
  start coshell-test-lanes -e AWS_LAMBDA_MAX_CONCURRENCY=4
  wait_until curl -sf -o "$BATS_TEST_TMPDIR/first" -d first "http://$address$INVOCATIONS"
  for number in 1 2 3 4; do
    curl -s -d "event $number" "http://$address$INVOCATIONS" >"$answers.$number" &
    callers+=($!)
  done
  wait "${callers[@]}"
  for number in 1 2 3 4; do
    grep -ox "event $number in [0-3]" "$answers.$number"
  done | sort -u -k4 >"$answers"
  [ "$(wc -l <"$answers")" -eq 4 ]
}

@test "coshell compare starts an image as a runtime, and leaves no container" {
  local before
  before=$(docker ps -aq | sort)
  "${CARGO_TARGET_DIR:-target}/debug/coshell" compare --runtime "ours=image:$(image_of function)" --handler function.handler \
    --sizes 32 --repeats 2 --rounds 1 --invocations 5 -o "$BATS_TEST_TMPDIR/report"
  grep -F '"isComplete": true' "$BATS_TEST_TMPDIR/report/results.json"
  [ "$(docker ps -aq | sort)" = "$before" ]
}

@test "an edit of the source compiles no dependency again" {
  local folder=$BATS_TEST_TMPDIR/edited said
  mkdir "$folder"
  git ls-files -z --cached --others --exclude-standard -- Cargo.toml Cargo.lock bootstrap.toml Dockerfile .dockerignore src runtime-scripts examples |
    xargs -0 cp --parents -t "$folder"
  echo "// edited at $EPOCHREALTIME" >>"$folder/src/lib.rs"
  # The classic builder colours each piece of output that it gets, in the middle of a line too.
  said=$(docker build --target function "$folder" 2>&1 | sed $'s/\e\\[[0-9;]*m//g')
  grep -F 'Compiling coshell ' <<<"$said"
  [ "$(grep -c 'Compiling ' <<<"$said")" -eq 1 ]
}

@test "an architecture that Lambda has not is refused" {
  run docker build --build-arg TARGETARCH=riscv64 --target dependencies .
  ((status))
  [[ $output == *'cannot build coshell for riscv64: Lambda has amd64 and arm64'* ]]
}

# The image with coshell in the place of AWS's emulator.
start_with_coshell() { # [docker's options...]
  start "$(image_of function)" -v "$BATS_FILE_TMPDIR/coshell:/usr/local/bin/aws-lambda-rie:ro" "$@"
}

@test "coshell takes the place of AWS's emulator" {
  start_with_coshell
  assert_echoes "$HELLO"
  logs | grep -F 'Init Duration: '
  [ "$(stop)" -eq 0 ]
}

@test "coshell serves a user without rights on a read-only file system" {
  start_with_coshell --read-only --user 993:990
  assert_echoes 'Hello'
}

@test "coshell serve listens on all addresses in a container" {
  # shellcheck disable=SC2034 # for start
  port=9000
  start "$(image_of function)" -v "$BATS_FILE_TMPDIR/coshell:/usr/local/bin/coshell:ro" \
    --entrypoint coshell -- serve function.handler
  assert_echoes 'Hello'
}

has_no_dead_process() { # reads /proc, as the image has no ps
  local statuses
  statuses=$(docker exec "$container" bash -c 'cat /proc/[0-9]*/stat 2>/dev/null; :')
  [[ $statuses == *') S '* && $statuses != *') Z '* ]]
}

# Orphans are children of the first process: whoever kills them has to take notice of their end.
@test "coshell leaves no dead process in its container" {
  start_with_coshell -v "$PWD/tests/image/task:/var/task:ro" -- leaves.handler
  for _ in 1 2 3; do invoke '{}'; done
  [[ $answer == *Runtime.ExitError* ]]
  wait_until has_no_dead_process
}
