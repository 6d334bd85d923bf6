#!/usr/bin/env bats
# What `cargo install --path .` installs is enough to package a function: it compiles for minutes.
# shellcheck disable=SC2154 # the environment has BOOTSTRAP, which `make bootstrap` built

bats_require_minimum_version 1.5.0

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.." || return
  cargo install -q --locked --path . --root "$BATS_FILE_TMPDIR/root"
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  mkdir src
  cp "$BATS_TEST_DIRNAME/../../examples/echo/function.sh" src
}

# With no folder of coshell's around it.
package() { # <coshell> [options...]
  "$1" package src --handler function.handler -o function.zip "${@:2}" 2>messages
  unzip -q -o function.zip -d unpacked
}

@test "cargo install installs coshell alone, with a bootstrap that works on Lambda" {
  local root=$BATS_FILE_TMPDIR/root
  [ "$(ls "$root/bin")" = coshell ]
  package "$root/bin/coshell"
  [ "$(<messages)" = 'coshell: bootstrap is the one bundled with coshell' ]
  # Static: it names no interpreter.
  [ "$(readelf -l unpacked/bootstrap | grep -c INTERP)" -eq 0 ]
  [ "$("$root/bin/coshell" invoke function.handler --task-root unpacked --bootstrap unpacked/bootstrap --event hello 2>/dev/null)" = \
    "Echoing request: 'hello'" ]
}

@test "a bootstrap that is there already can be bundled" {
  (cd "$BATS_TEST_DIRNAME/../.." &&
    COSHELL_BUNDLED_BOOTSTRAP=$BOOTSTRAP cargo install -q --locked --path . --root "$BATS_TEST_TMPDIR/root")
  package root/bin/coshell
  cmp unpacked/bootstrap "$BOOTSTRAP"
}

@test "coshell is installed without a bootstrap if it cannot be built, and says what is missing" {
  # A linker that cannot make a static program stands for a machine without a static C library.
  cat >linker <<'END'
#!/bin/sh
for word; do
  case $word in
    -static-pie | -static)
      echo 'no static libraries' >&2
      exit 1
      ;;
  esac
done
exec cc "$@"
END
  chmod +x linker
  (cd "$BATS_TEST_DIRNAME/../.." && touch src/cli/build.rs &&
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$BATS_TEST_TMPDIR/linker \
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$BATS_TEST_TMPDIR/linker \
      cargo install --locked --path . --root "$BATS_TEST_TMPDIR/root") 2>log
  grep -F 'cannot build the static bootstrap, so that coshell package needs --bootstrap FILE: ' log
  run ! root/bin/coshell package src --handler function.handler -o function.zip
  [[ $output == *"in coshell's repository builds one"* ]]
  root/bin/coshell package src --handler function.handler -o function.zip --bootstrap "$BOOTSTRAP"
}
