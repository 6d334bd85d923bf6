# shellcheck shell=bash
# Functions of the bats files in this folder that build images and start containers. The container of
# a test is removed at its end.

bats_require_minimum_version 1.5.0

# The base of minimal.
# shellcheck disable=SC2034 # for the tests
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

# The name of the image of a target of the Dockerfile, or of a test. Its tag is a checksum of the path of this
# folder, so that clones of the repository on one machine have different images.
image_of() { # <target or name>
  echo "coshell-test-$1:$(cksum <<<"$BATS_TEST_DIRNAME" | cut -d ' ' -f 1)"
}

build() { # <target>...
  local target
  cd "$BATS_TEST_DIRNAME/../.." || return
  for target; do
    docker build -q --target "$target" -t "$(image_of "$target")" . >&2
  done
}

# Builds an image from a Dockerfile on standard input and the files of the task root.
build_from() { # <name> <task root>
  docker build -q -t "$1" -f - "$2" >&2
}

# Starts a container and publishes its port on a free port of this machine. Sets container and address.
start() { # <image> [options of docker run...] [-- arguments of the container...]
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
  for ((attempt = 0; attempt < 600; attempt++)); do
    if "$@"; then return; fi
    sleep 0.1
  done
  echo "failed $attempt times: $*" >&2
  return 1
}

# Docker accepts connections before the program in the container listens, so this retries until there is
# an answer, and sets it.
request() { # <path> [options of curl...]
  # shellcheck disable=SC2034 # for the tests
  if wait_until request_once "$@"; then answer=$body; else
    logs >&2
    return 1
  fi
}

request_once() { # <path> [options of curl...]
  # The final dot keeps a newline at the end of the answer.
  body=$(curl -sf -m 10 "${@:2}" "http://$address$1" && printf .) || return
  body=${body%.}
  [[ $body ]]
}

invoke() { # <event, or @file>
  request "$INVOCATIONS" -XPOST --data-binary "$1"
}

assert_echoes() { # <event>
  invoke "$1"
  [ "$answer" = "Echoing request: '$1'" ]
}

logs() {
  docker logs "$container" 2>&1
}

# Stops the container with SIGTERM and prints its exit status.
stop() {
  docker stop -t 30 "$container" >/dev/null
  docker inspect -f '{{.State.ExitCode}}' "$container"
}

size_of() { # <image>
  docker image inspect -f '{{.Size}}' "$1"
}
