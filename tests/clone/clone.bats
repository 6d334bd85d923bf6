#!/usr/bin/env bats
# A clone is enough: what is committed is all that the tests, the scripts and CI need.
# shellcheck disable=SC2154 # the environment has COSHELL, TESTS and RIE

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  # Nothing is beside it, so what is looked for there is missed.
  git clone -q "$PWD" "$BATS_FILE_TMPDIR/alone/clone"
}

setup() {
  cd "$BATS_FILE_TMPDIR/alone/clone" || return
}

@test "clone passes the smoke tests" {
  # Programs that are compiled already, of these very sources: a clone has none yet.
  make -s smoke COSHELL="$COSHELL" TESTS="$TESTS" RIE="$RIE"
  [ "$(ls -A ..)" = clone ]
}

# Beside every program the compiler lists what it read: what include_str! names is in it too. A list of an older build may
# have files that are nowhere any more.
@test "clone has every file that the programs and their tests are compiled from" {
  local source file missing=() count=0
  source=$(git remote get-url origin)
  while read -r file; do
    if [[ $file == /* || ! -e $source/$file ]]; then continue; fi
    count=$((count + 1))
    if [[ ! -e $file ]]; then missing+=("$file"); fi
  done < <(sed -n 's/^[^ ]*: //p' "$TESTS"/{coshell,bootstrap,it}*-*.d | tr ' ' '\n' | sort -u)
  printf 'not in the clone: %s\n' "${missing[@]}"
  ((count > 200 && ${#missing[@]} == 0))
}

@test "clone has what every target of the Makefile is made from" {
  # Tools that are downloaded are there by then.
  make -n test nightly check dist RIE="$RIE" >/dev/null
}
