#!/usr/bin/env bats
# What a newcomer sees first: the README's first command, some tests, and files that name only files of the repository.
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

# The first line of README.md that has these words.
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
  # curl shows its progress on standard error.
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
  local output
  output=$(COSHELL_TEST_REPOSITORY=$PWD COSHELL_TEST_RIE=$RIE "$(newest "$2")" "${@:3}") || {
    echo "$output"
    return 1
  }
  [[ $output =~ test\ result:\ ok\.\ ([0-9]+)\ passed ]]
  ((BASH_REMATCH[1] >= $1))
}

@test "tests that read files of the repository pass" {
  passes 20 it tidy:: words:: differential::known streaming_served::
  passes 8 compare emulator_rie::the_tutorials compare::zip_file compare_logs::
}

# Files that are run. A page is not: its reader may have to change into a folder first.
what_is_run() {
  git ls-files -- Makefile Dockerfile .ci .github tests bench src examples '*.toml' ':!bench/results' ':!*.md' ':!tests/smoke'
}

# True if a file names a file of the repository, relative to itself or to the top. What cargo builds need not exist yet.
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
      # The compiler checks these.
      src/*) continue ;;
      # Folders that the tests make, and a folder that a step of the workflow changes into.
      tests/it/package*.rs:* | tests/it/programs.rs:../bin/tool | tests/it/settings.rs:../function.handler) continue ;;
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
    # Without the full stop of a sentence. A handler names a function in a file.
    name=${name%.}
    case $file:$name in
      # Tests make these.
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
