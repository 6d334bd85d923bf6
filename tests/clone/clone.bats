#!/usr/bin/env bats
# A fresh clone must contain every file that the tests, the scripts and CI need.
# shellcheck disable=SC2154 # COSHELL, TESTS and RIE come from the environment

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  # The clone is alone in its folder, so a path to a sibling of the repository fails.
  git clone -q "$PWD" "$BATS_FILE_TMPDIR/alone/clone"
}

setup() {
  cd "$BATS_FILE_TMPDIR/alone/clone" || return
}

@test "a clone passes the smoke tests" {
  # A clone has no programs yet, so it uses those that are already compiled from the same sources.
  make -s smoke COSHELL="$COSHELL" TESTS="$TESTS" RIE="$RIE"
  [ "$(ls -A ..)" = clone ]
}

# The compiler writes the files that it read into a .d file beside each program, including those of include_str!. The .d
# file of an older build may list files that no longer exist in the source either.
@test "a clone has every file that the programs and their tests are compiled from" {
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

@test "a clone has the prerequisites of the targets of the Makefile" {
  # RIE is downloaded by then.
  make -n test clients aws fetch driver soak failing clone nightly check dist RIE="$RIE" >/dev/null
}
