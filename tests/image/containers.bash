# shellcheck shell=bash
# Images and containers under test, for the bats files beside this one. A container that a test
# starts is removed after it.

bats_require_minimum_version 1.5.0

# Docker's classic builder, which Debian's docker is by itself, has to be told.
DEBIAN='debian:bookworm-slim'
# shellcheck disable=SC2034 # for the tests
HELLO='Hello from Container Lambda!'
INVOCATIONS=/2015-03-31/functions/function/invocations

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  container=
  port=8080
}

teardown() {
  if [[ $container ]]; then docker rm -f "$container" >/dev/null; fi
}

# The image of a target of our Dockerfile.
image_of() { # <target>
  echo "coshell-test-$1"
}

build() { # <target>...
  local target
  cd "$BATS_TEST_DIRNAME/../.." || return
  for target; do
    docker build -q --build-arg DEBIAN="$DEBIAN" --target "$target" -t "$(image_of "$target")" . >&2
  done
}

# Builds an image from a Dockerfile on standard input and the files of the task root.
build_own() { # <name> <task root>
  docker build -q -t "$1" -f - "$2" >&2
}

# Starts a container of an image, on a free port of this machine.
start() { # <image> [docker's options...] [-- words...]
  local options=() image=$1
  shift
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  container=$(docker run -d -p "127.0.0.1::$port" "${options[@]}" "$image" "${@:2}")
  address=$(docker port "$container" "$port/tcp")
}

wait_until() { # <command...>
  local attempt
  for ((attempt = 0; attempt < 100; attempt++)); do
    if "$@"; then return; fi
    sleep 0.1
  done
  echo "not within 10 s: $*" >&2
  return 1
}

# Docker accepts connections before anything listens: so ask until there is an answer.
ask() { # <path> [curl's options...]
  # shellcheck disable=SC2034 # for the tests
  if wait_until fetch "$@"; then answer=$fetched; else
    logs >&2
    return 1
  fi
}

fetch() { # <path> [curl's options...]
  # A newline at the end counts.
  fetched=$(curl -sf -m 10 "${@:2}" "http://$address$1" && printf .) || return
  fetched=${fetched%.}
  [[ $fetched ]]
}

invoke() { # <event, or @file>
  ask "$INVOCATIONS" -XPOST --data-binary "$1"
}

assert_echoes() { # <event>
  invoke "$1"
  [ "$answer" = "Echoing request: '$1'" ]
}

logs() {
  docker logs "$container" 2>&1
}

# Its exit status, when it has been asked to end.
stop() {
  docker stop -t 30 "$container" >/dev/null
  docker inspect -f '{{.State.ExitCode}}' "$container"
}

size_of() { # <image>
  docker image inspect -f '{{.Size}}' "$1"
}
