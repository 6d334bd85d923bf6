#!/usr/bin/env bats
# What a registry has of coshell can be installed without the repository: it compiles for minutes.

bats_require_minimum_version 1.5.0

@test "the crates as published install without a network, from vendored crates" {
  local sources=$BATS_TEST_TMPDIR/sources home=$BATS_TEST_TMPDIR/home root=$BATS_TEST_TMPDIR/root crate name
  cd "$BATS_TEST_DIRNAME/../.."
  cargo package -q --workspace --exclude coshell-tests --exclude rust-runtime --no-verify --allow-dirty --target-dir "$BATS_TEST_TMPDIR/packages"
  cargo vendor -q --locked "$sources" >/dev/null
  # What a registry would answer: the crates' own files, and a checksum of each archive.
  for crate in "$BATS_TEST_TMPDIR"/packages/package/*.crate; do
    name=$(basename "$crate" .crate)
    tar -xzf "$crate" -C "$sources"
    printf '{"files":{},"package":"%s"}' "$(sha256sum <"$crate" | cut -d ' ' -f 1)" >"$sources/$name/.cargo-checksum.json"
  done
  mkdir "$home"
  cat >"$home/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$sources"
[net]
offline = true
END
  cd "$BATS_TEST_TMPDIR"
  # rustup finds its toolchain beside the former home.
  RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup} CARGO_HOME=$home cargo install -q --locked coshell --root "$root"
  "$root/bin/coshell" package "$BATS_TEST_DIRNAME/../../examples/echo" --handler function.handler -o function.zip 2>messages
  [ "$(<messages)" = 'coshell: bootstrap is the one bundled with coshell' ]
  unzip -q function.zip -d unpacked
  [ "$("$root/bin/coshell" invoke function.handler --task-root unpacked --bootstrap unpacked/bootstrap --event hello 2>/dev/null)" = \
    "Echoing request: 'hello'" ]
}
