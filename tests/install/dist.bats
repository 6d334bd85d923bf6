#!/usr/bin/env bats
# The files of a release, which `make dist` has made.
# shellcheck disable=SC2154 # the environment has RELEASE, the name of the archive

bats_require_minimum_version 1.5.0

setup_file() {
  export DIST=$BATS_TEST_DIRNAME/../../target/dist FOLDER=$BATS_FILE_TMPDIR/$RELEASE
  tar -xzf "$DIST/$RELEASE.tar.gz" -C "$BATS_FILE_TMPDIR"
}

@test "the checksums are those of the files, and name all of them" {
  cd "$DIST"
  sha256sum --quiet -c "$RELEASE.sha256"
  [ "$(wc -l <"$RELEASE.sha256")" -eq 3 ]
  [ "$(ls)" = "$(printf '%s\n' "$RELEASE.sha256" "$(cut -c 67- "$RELEASE.sha256")" | sort)" ]
}

@test "the programs run, and the manual pages and completions are there" {
  local subcommand
  [[ $("$FOLDER/coshell" --version) == coshell\ * ]]
  [ "$("$FOLDER/coshell-tools" run jq -n '1 + 1')" = 2 ]
  for subcommand in $("$FOLDER/coshell" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    [[ $subcommand == help ]] || man -l "$FOLDER/man/man1/coshell-$subcommand.1" >/dev/null
  done
  man -l "$FOLDER/man/man1/coshell.1" >/dev/null
  bash -n "$FOLDER/completions/coshell.bash"
}

# The crates that are linked into a program, as cargo lists them.
crates() { # <package>
  cargo tree --locked -p "$1" -e normal --prefix none --no-dedupe -f '{p}' | sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/p' | sort -u
}

@test "the bill of materials of each program has every crate that is linked into it, and each has its licence" {
  local program package
  cd "$BATS_TEST_DIRNAME/../.."
  for program in coshell bootstrap coshell-tools; do
    package=${program/bootstrap/coshell-bootstrap}
    # Macros run while the compiler does: cargo lists them, and they are not linked.
    jq -r '.components[] | "\(.name) \(.version)"' "$FOLDER/sbom/$program.cdx.json" | sort -u >"$BATS_TEST_TMPDIR/listed"
    crates "$package" | grep -v "^$package " >"$BATS_TEST_TMPDIR/linked"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/linked")" -gt 20 ]
    run comm -23 "$BATS_TEST_TMPDIR/linked" "$BATS_TEST_TMPDIR/listed"
    [ "$output" = '' ]
    while read -r name version; do
      [[ $name == coshell-* ]] || grep -qF -- "- $name $version" "$FOLDER/THIRD-PARTY-LICENCES.txt" || {
        echo "no licence of $name $version"
        false
      }
    done <"$BATS_TEST_TMPDIR/linked"
  done
}

@test "the Debian package has the programs, pages and completions, and its coshell packages a function" {
  cd "$BATS_TEST_TMPDIR"
  dpkg-deb -x "$DIST"/coshell_*.deb root
  [ "$(dpkg-deb -f "$DIST"/coshell_*.deb Package)" = coshell ]
  (cd root/usr && ls bin/coshell bin/coshell-tools share/bash-completion/completions/coshell share/man/man1/coshell.1.gz \
    share/doc/coshell/copyright)
  mkdir src
  cat >src/function.sh <<'END'
handler() { jq -c .a <<<"$1"; }
END
  root/usr/bin/coshell package src --handler function.handler -o function.zip
  unzip -q function.zip -d unpacked
  [ "$(root/usr/bin/coshell invoke function.handler --task-root unpacked --bootstrap unpacked/bootstrap --event '{"a":[1]}' 2>/dev/null)" = '[1]' ]
}
