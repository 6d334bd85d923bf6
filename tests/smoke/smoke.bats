#!/usr/bin/env bats
# Smoke tests of the repository: the first command of README.md, some tests, and the paths that files refer to.
# COSHELL is the program and TESTS the folder of the test programs. Both may come from another clone: see tests/clone.
# shellcheck disable=SC2154 # COSHELL, TESTS and RIE come from the environment

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

# The first line of README.md that contains the text.
line_of_readme() { # <text>
  grep -m 1 -F -- "$1" README.md
}

is_serving() {
  grep -q 'http://' "$BATS_TEST_TMPDIR/greeting"
}

wait_until() { # <command...>
  local attempt
  for ((attempt = 0; attempt < 3000; attempt++)); do
    if "$@"; then return; fi
    sleep 0.02
  done
  echo "failed for a minute: $*" >&2
  return 1
}

@test "the first command of README.md serves, and its curl line prints the answer shown there" {
  local command curl answer args greeting=$BATS_TEST_TMPDIR/greeting
  command=$(line_of_readme 'cargo run -- serve')
  curl=$(line_of_readme 'curl "http://localhost:9000/')
  read -ra args <<<"${command#*-- }"
  : >"$greeting"
  "$COSHELL" "${args[@]}" --listen 127.0.0.1:0 >"$BATS_TEST_TMPDIR/log" 2>"$greeting" 3>&- &
  server=$!
  wait_until is_serving
  curl=${curl/localhost:9000/$(grep -oE -m 1 '127\.0\.0\.1:[0-9]+' "$greeting")}
  # curl shows its progress on standard error.
  answer=$(bash -c "$curl" 2>/dev/null)
  [ "$answer" = "$(line_of_readme "Echoing request: 'Hello")" ]
  grep -Fx 'Hello from Container Lambda!' "$BATS_TEST_TMPDIR/log"
}

# The test program that was compiled last.
newest_program() { # <name>
  local file newest=
  for file in "$TESTS/$1"-*; do
    if [[ $file != *.d && (! $newest || $file -nt $newest) ]]; then newest=$file; fi
  done
  printf '%s' "$newest"
}

run_tests() { # <expected number of tests, at least> <name of the program> [part of a test's name...]
  local output
  output=$(COSHELL_TEST_REPOSITORY=$PWD COSHELL_TEST_RIE=$RIE "$(newest_program "$2")" "${@:3}") || {
    echo "$output"
    return 1
  }
  [[ $output =~ test\ result:\ ok\.\ ([0-9]+)\ passed ]]
  ((BASH_REMATCH[1] >= $1))
}

@test "tests that read files of the repository pass" {
  run_tests 25 it tidy:: pages:: references:: words:: differential::the_known streaming_served::
  run_tests 8 compare emulator_rie::the_tutorials compare::zip_file compare_logs::
}

# The files with code and commands. Pages are not included, because their commands may follow a change of folder.
code_files() {
  git ls-files -- Makefile Dockerfile .ci .github tests bench src examples '*.toml' ':!bench/results' ':!*.md' ':!tests/smoke' ':!src/driver/runtime-scripts'
}

# Succeeds if the path leads to a file of the repository, from the folder of the file or from the root. Paths in target
# count as existing because they may not be built yet.
is_inside() { # <file> <path>
  local from target
  for from in "$(dirname "$1")" .; do
    target=$(realpath -ms --relative-to=. "$from/$2")
    if [[ $target == target/* || ($target != ..* && -e $target) ]]; then return; fi
  done
  return 1
}

@test "no code refers to a file outside of the repository" {
  local file name outside=()
  while IFS=: read -r file name; do
    case $file:$name in
      # The compiler checks these.
      src/*) continue ;;
      # Paths below folders that the tests create, and below the folder of a step of the workflow.
      tests/aws/s3*:* | tests/it/package*.rs:* | tests/it/programs.rs:../bin/tool | tests/it/settings.rs:../function.handler) continue ;;
      .github/workflows/release.yml:../release-notes.md) continue ;;
      # Paths of URLs.
      tests/fetch/answers.py:*) continue ;;
    esac
    if ! is_inside "$file" "$name"; then outside+=("$file refers to $name"); fi
  done < <(code_files | xargs grep -HoE '(\.\./)+[[:alnum:]_./-]+')
  printf '%s\n' "${outside[@]}"
  ((${#outside[@]} == 0))
}

@test "every file that code refers to exists" {
  local file name missing=()
  while IFS=: read -r file name; do
    name=${name#[^[:alnum:].]}
    # Without the full stop of a sentence.
    name=${name%.}
    case $file:$name in
      # Paths that a test invents.
      tests/it/package.rs:tests/a.sh | tests/deploy/workflows.py:.ci/place) continue ;;
    esac
    if [[ ! -e $name && ! -e ${name%.handler} && ! -e ${name%.handler}.sh ]] && ! compgen -G "$name*" >/dev/null; then
      missing+=("$file refers to $name")
    fi
  done < <(code_files | xargs grep -HoE \
    '(^|[^[:alnum:]_./$}>-])(tests|bench|examples|docs|runtime-scripts|\.ci|\.github)/[[:alnum:]_./-]+')
  printf '%s\n' "${missing[@]}"
  ((${#missing[@]} == 0))
}
