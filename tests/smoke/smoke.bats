#!/usr/bin/env bats
# What a stranger finds first: README's first command, some tests, and no file that names one that is not here.
# COSHELL is the program and TESTS the folder of the tests, which may have been compiled elsewhere: see tests/clone.
# shellcheck disable=SC2154 # the environment has COSHELL, TESTS and RIE

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  server=
}

teardown() {
  if [[ $server ]]; then
    kill "$server" 2>/dev/null || :
    wait "$server" || :
  fi
}

# A line of a block in README.md that begins with these words.
line_of_readme() { # <words>
  grep -m 1 -F -- "$1" README.md
}

serves() {
  grep -q 'http://' "$BATS_TEST_TMPDIR/greeting"
}

wait_until() { # <command...>
  local attempt
  for ((attempt = 0; attempt < 3000; attempt++)); do
    if "$@"; then return; fi
    sleep 0.02
  done
  echo "not within a minute: $*" >&2
  return 1
}

@test "first command of the README serves, and its curl line gets its answer" {
  local command curl answer words greeting=$BATS_TEST_TMPDIR/greeting
  command=$(line_of_readme 'cargo run -- serve')
  curl=$(line_of_readme 'curl "http://localhost:9000/')
  read -ra words <<<"${command#*-- }"
  : >"$greeting"
  "$COSHELL" "${words[@]}" --listen 127.0.0.1:0 >"$BATS_TEST_TMPDIR/log" 2>"$greeting" 3>&- &
  server=$!
  wait_until serves
  curl=${curl/localhost:9000/$(grep -oE -m 1 '127\.0\.0\.1:[0-9]+' "$greeting")}
  # It shows its progress on standard error.
  answer=$(bash -c "$curl" 2>/dev/null)
  [ "$answer" = "$(line_of_readme "Echoing request: 'Hello")" ]
  grep -Fx 'Hello from Container Lambda!' "$BATS_TEST_TMPDIR/log"
}

# The tests that were compiled last.
newest() { # <name>
  local file newest=
  for file in "$TESTS/$1"-*; do
    if [[ $file != *.d && (! $newest || $file -nt $newest) ]]; then newest=$file; fi
  done
  printf '%s' "$newest"
}

passes() { # <fewest tests> <name> [part of a test's name...]
  local said
  said=$(COSHELL_TEST_REPOSITORY=$PWD COSHELL_TEST_RIE=$RIE "$(newest "$2")" "${@:3}") || {
    echo "$said"
    return 1
  }
  [[ $said =~ test\ result:\ ok\.\ ([0-9]+)\ passed ]]
  ((BASH_REMATCH[1] >= $1))
}

@test "tests that read files of the repository pass" {
  passes 15 it tidy:: differential::known streaming_served::
  passes 8 compare emulator_rie::the_tutorials compare::zip_file compare_logs::
}

# What is run: not pages, which may have a reader change into a folder first.
what_is_run() {
  git ls-files -- Makefile Dockerfile .ci .github tests bench src examples '*.toml' ':!bench/results' ':!*.md' ':!tests/smoke'
}

# Whether a file names one of this folder, as seen from the file or from here; what is built is not there yet.
is_inside() { # <file> <name>
  local from there
  for from in "$(dirname "$1")" .; do
    there=$(realpath -ms --relative-to=. "$from/$2")
    if [[ $there == target/* || ($there != ..* && -e $there) ]]; then return; fi
  done
  return 1
}

@test "no file that is run names one outside of the repository" {
  local file name outside=()
  while IFS=: read -r file name; do
    case $file:$name in
      # The compiler looks after these.
      src/*) continue ;;
      # In folders that the tests make, and in one that a step of the workflow is in.
      tests/it/package.rs:* | tests/it/programs.rs:../bin/tool | tests/it/settings.rs:../function.handler) continue ;;
      .github/workflows/release.yml:../release-notes.md) continue ;;
    esac
    if ! is_inside "$file" "$name"; then outside+=("$file names $name"); fi
  done < <(what_is_run | xargs grep -HoE '(\.\./)+[[:alnum:]_./-]+')
  printf '%s\n' "${outside[@]}"
  ((${#outside[@]} == 0))
}

@test "files that are named where something is run are there" {
  local file name missing=()
  while IFS=: read -r file name; do
    name=${name#[^[:alnum:].]}
    # A sentence's full stop; a function in a file.
    name=${name%.}
    case $file:$name in
      # Made up by a test.
      tests/it/package.rs:tests/a.sh | tests/deploy/workflows.py:.ci/place) continue ;;
    esac
    if [[ ! -e $name && ! -e ${name%.handler} && ! -e ${name%.handler}.sh ]] && ! compgen -G "$name*" >/dev/null; then
      missing+=("$file names $name")
    fi
  done < <(what_is_run | xargs grep -HoE \
    '(^|[^[:alnum:]_./$}>-])(tests|bench|examples|docs|runtime-scripts|\.ci|\.github)/[[:alnum:]_./-]+')
  printf '%s\n' "${missing[@]}"
  ((${#missing[@]} == 0))
}
