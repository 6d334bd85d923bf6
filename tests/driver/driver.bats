# Tests of the driver alone: what it reports to the host for each action of a handler. The tests with
# the real host are in tests/it.
# shellcheck disable=SC2016 # handlers are in single quotes because the other shell expands them

setup() {
  # shellcheck source=tests/driver/host.bash
  source "$BATS_TEST_DIRNAME/host.bash"
}

teardown() {
  host_stop
}

function_file() { # stdin: the function file
  cat >"$BATS_TEST_TMPDIR/function.sh"
}

read_response() {
  cat response
}

expect_response() { # <text>: compared without the newlines at the end
  if [[ $(read_response) != "$1" ]]; then
    printf 'expected %q, got %q\n' "$1" "$(read_response)"
    return 1
  fi
}

has_field() { # <pattern>
  local field
  for field in "${host_fields[@]}"; do
    # shellcheck disable=SC2053 # a pattern
    if [[ $field == $1 ]]; then return 0; fi
  done
  printf 'no field %s in:\n' "$1"
  printf '  %q\n' "${host_fields[@]}"
  return 1
}

expect_report() { # <kind> <status> [details...]: the report is exactly that after its first field
  local expected=("$@" "mark-$host_count") i
  for ((i = 0; i < ${#expected[@]}; i++)); do
    # shellcheck disable=SC2053
    if [[ ${host_fields[i + 1]-} != ${expected[i]} ]]; then
      printf 'expected %q, got:\n' "${expected[i]}"
      printf '  %q\n' "${host_fields[@]}"
      return 1
    fi
  done
  ((${#host_fields[@]} == ${#expected[@]} + 1))
}

@test "the driver reports started and ready when the function is defined" {
  function_file <<<'handler() { :; }'
  host_start handler -euo pipefail
  host_wait_loaded
  [[ ${host_fields[0]} == started ]]
  has_field 'loaded ready 0 [45].[0-9]*'
}

@test "ready carries the status of a function file that ends with a failure" {
  function_file <<<'handler() { :; }; (exit 7)'
  host_start handler
  host_wait_loaded
  has_field 'loaded ready 7 *'
}

@test "undefined lists the functions of the file, for the host to take out those of the driver" {
  function_file <<<'greet() { :; }; wave() { :; }'
  host_start handler
  host_wait_loaded
  has_field $'loaded undefined *\ngreet\n*\nwave'
}

@test "stdout while sourcing goes to the log" {
  function_file <<<'echo "while sourcing"; handler() { :; }'
  host_start handler
  host_wait_loaded
  [[ $(cat log) == "while sourcing" && $(read_response) == "" ]]
}

@test "a handler receives the event as argument and on stdin, and its stdout is the response" {
  function_file <<<'handler() { printf "%s|%s|%s" "$#" "$1" "$(cat)"; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke $'an event\nof two lines, with $(id) and \\ "quotes"'
  expect_report return 0
  expect_response $'1|an event\nof two lines, with $(id) and \\ "quotes"|an event\nof two lines, with $(id) and \\ "quotes"'
  host_invoke second
  expect_report return 0
  expect_response '1|second|second'
}

@test "the report begins with the EXIT trap of bash" {
  function_file <<<'handler() { :; }'
  host_start handler
  host_wait_loaded
  host_invoke x
  [[ ${host_fields[0]} == "trap -- '"*__driver_on_exit*"' EXIT"$'\nmark-1' ]]
}

@test "return is reported with its status" {
  function_file <<<'handler() { return "$1"; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke 7
  expect_report return 7
  host_invoke 0
  expect_report return 0
}

@test "without errexit the handler returns its last status" {
  function_file <<<'handler() { false; (exit 5); }'
  host_start handler
  host_wait_loaded
  host_invoke x
  expect_report return 5
}

@test "exit is reported with its status and the frames" {
  function_file <<'END'
handler() {
  outer
}
outer() {
  for x in 1; do exit 300; done
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report exit 44 '' '' 'outer ./function.sh:5' 'handler ./function.sh:2'
  host_invoke x
  expect_report exit 44 '' '' 'outer ./function.sh:5' 'handler ./function.sh:2'
}

@test "exit in a subshell ends only the subshell" {
  function_file <<<'handler() { (exit 3) || x=$(printf in; exit 4) || printf "%s %s" "$x" "$?"; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report return 0
  expect_response 'in 4'
}

@test "errexit is reported with the command, its status and the frames" {
  function_file <<'END'
handler() {
  inner
  echo never
}
inner() {
  : fine

  ls --no-such-option 2>/dev/null
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report errexit 2 'ls --no-such-option 2> /dev/null' '2 ' 'inner ./function.sh:8' 'handler ./function.sh:2'
  expect_response ''
}

@test "a command that bash discards is reported as a return" {
  function_file <<<'handler() { printf a; echo $((1 / $1)); printf b; }'
  host_start handler
  host_wait_loaded
  host_invoke 0
  expect_report return 1
  expect_response a
  host_invoke 1
  expect_report return 0
}

@test "an EXIT trap is reported, and runs when the host requests it" {
  function_file <<'END'
handler() {
  trap 'printf "it'\''s %s" "$?"' EXIT
  return "$1"
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke 7
  [[ ${host_fields[0]} == *"' EXIT"$'\nmark-1' && ${host_fields[0]} != *__driver_on_exit* ]]
  expect_report return 7
  host_exit_trap 7
  expect_report return 7
  expect_response "it's 7"
  [[ ${host_fields[0]} == "trap -- '"*__driver_on_exit*"' EXIT"$'\n'* ]]
}

@test "exit in an EXIT trap ends the trap" {
  function_file <<<'handler() { trap "printf trapped; exit 4; printf never" EXIT; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report return 0
  host_exit_trap 0
  expect_report exit 4 '' ''
  expect_response trapped
}

@test "a hook is reported as a handler is, and as idle if the file does not define it" {
  function_file <<'END'
handler() { :; }
well() { echo "well $# $(cat)"; }
fails() {
  false
}
exits() { exit 5; }
returns() { return 6; }
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_hook absent
  expect_report idle 0
  host_hook well
  expect_report return 0
  [[ $(cat log) == 'well 0 ' ]]
  host_read_state
  host_hook fails
  expect_report errexit 1 false '1 ' 'fails ./function.sh:4'
  host_read_state
  host_hook exits
  expect_report exit 5 '' '' 'exits ./function.sh:6'
  host_read_state
  host_hook returns
  expect_report return 6
  host_read_state
  host_invoke x
  expect_report return 0
}

@test "RANDOM gets a new seed, unless the file has unset it" {
  function_file <<<'handler() { printf "%s" "$RANDOM $RANDOM"; }'
  host_start handler
  host_wait_loaded
  host_send_lines '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  first=$(read_response)
  host_read_state
  host_send_lines '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  expect_response "$first"
  host_read_state
  host_send_lines 'unset RANDOM' 'RANDOM=mine' '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  expect_response 'mine mine'
}

@test "errexit reports the statuses of a pipeline" {
  function_file <<<$'handler() {\n  (exit 3) | (exit 4) | :\n}'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report errexit 4 : '3 4 0 ' 'handler ./function.sh:2'
}

@test "a failure while sourcing is reported although the file sets an EXIT trap" {
  function_file <<<$'trap : EXIT\ndeep() {\n  false\n}\ndeep'
  host_start handler -euo pipefail
  host_wait_end
  ((host_status == 1))
  has_field load
  has_field './function.sh:3'
  has_field 'deep ./function.sh:3'
  has_field 'source ./function.sh:5'
}

@test "an exit while sourcing is reported although the file sets an EXIT trap" {
  function_file <<<$'trap : EXIT\ndeep() {\n  exit 5\n}\ndeep'
  host_start handler -euo pipefail
  host_wait_end
  ((host_status == 5))
  has_field exited
  has_field 'deep ./function.sh:3'
}

@test "died reports the frames of the shell" {
  function_file <<<'handler() { deep; }; deep() { builtin exit 9; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_send_event x
  host_wait_end
  ((host_status == 9))
  [[ ${host_fields[0]} == died && ${host_fields[1]} == return && ${host_fields[2]} == 9 && ${host_fields[-1]} == died ]]
  has_field 'deep ./function.sh:*'
  has_field 'handler ./function.sh:*'
}

# SIGTERM may come before the RTMAX trap has ended, which it then interrupts in the middle.
@test "the EXIT trap keeps what the RTMAX trap has found" {
  function_file <<<'handler() { __driver_details=("sleep 600") __driver_has_stopped=1; kill -s TERM "$$"; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_send_event x
  host_wait_end
  [[ ${host_fields[0]} == died ]]
  has_field "sleep 600"
}

@test "died while sourcing reports the place and the command" {
  function_file <<<$'handler() { :; }\n\ngrep -q needle /no/such/file'
  host_start handler -euo pipefail
  host_wait_end
  ((host_status == 2))
  [[ ${host_fields[0]} == started ]]
  has_field died
  has_field load
  has_field './function.sh:3'
  has_field 'grep -q needle /no/such/file'
}

@test "an exit while sourcing is reported as exited" {
  function_file <<<$'exit 6'
  host_start handler -euo pipefail
  host_wait_end
  ((host_status == 6))
  has_field died
  has_field exited
}

@test "options that set does not accept are reported" {
  function_file <<<'handler() { :; }'
  host_start handler -Q
  host_wait_end
  ((host_status == 2))
  has_field options
}

@test "set options are restored after each invocation" {
  function_file <<<'handler() { printf "%s %s" "$-" "$SHELLOPTS"; set -f +eu -C; set -o posix; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke first
  expect_report return 0
  first=$(read_response)
  [[ $first == *e* && $first == *nounset* && $first == *pipefail* && $first != *noglob* ]]
  host_invoke second
  expect_report return 0
  expect_response "$first"
}

@test "the state differs after an invocation that changes it, and only then" {
  function_file <<'END'
handler() {
  case $1 in
    change)
      umask 077
      IFS=,
      trap 'echo trapped' INT
      shopt -s nullglob expand_aliases
      alias ll='ls -l'
      ;;
  esac
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_read_state
  before=$(printf '%s\n' "${host_fields[@]}")
  host_invoke nothing
  host_read_state
  # The first invocation sets the variables of the trace header.
  after=$(printf '%s\n' "${host_fields[@]}")
  [[ ${after/set|set|/|set|} == "${before/|set|/|set|}" || ${after/set|set/} != "${after}" ]]
  unchanged=$after
  host_invoke nothing
  host_read_state
  [[ $(printf '%s\n' "${host_fields[@]}") == "$unchanged" ]]
  host_invoke change
  host_read_state
  after=$(printf '%s\n' "${host_fields[@]}")
  [[ $after == *"trap -- 'echo trapped' SIGINT"* ]]
  [[ $after == *"alias ll='ls -l'"* ]]
  [[ $after == *0077* ]]
  [[ $after == *'declare -- IFS=","'* ]]
  [[ $after == *:nullglob:* ]]
}

@test "context variables are exported, and unset if the invocation has no value" {
  function_file <<'END'
handler() { printf '%s,' "${LAMBDA_RUNTIME_CLIENT_CONTEXT-unset}" "${LAMBDA_RUNTIME_AWS_TENANT_ID-unset}" "$(printenv LAMBDA_RUNTIME_CLIENT_CONTEXT || echo none)"; }
END
  host_start handler -euo pipefail
  host_wait_loaded
  context() { # <client context> <tenant>
    printf '%s\0' LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN arn LAMBDA_RUNTIME_CLIENT_CONTEXT "$1" \
      LAMBDA_RUNTIME_COGNITO_IDENTITY '' LAMBDA_RUNTIME_AWS_TENANT_ID "$2" \
      LAMBDA_RUNTIME_TRACE_ID trace _X_AMZN_TRACE_ID trace LAMBDA_RUNTIME_DEADLINE_MS 1 >>arguments
    host_send_lines '\__driver_context'
  }
  context $'{"a": "it\'s $(id)"}' ''
  host_invoke x
  [[ $(read_response) == $'{"a": "it\'s $(id)"},unset,{"a": "it\'s $(id)"},' ]]
  context '' tenant
  host_invoke x
  expect_response 'unset,tenant,none,'
}

@test "the variables of each invocation are exported" {
  function_file <<'END'
handler() { printenv LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; }
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_response $'request-1\n1542409706888\nRoot=1-5bef4de7\nRoot=1-5bef4de7'
  host_invoke x
  [[ $(read_response) == request-2* ]]
}

@test "no command inherits a descriptor of the driver" {
  function_file <<<'handler() { ls /proc/self/fd; (ls /proc/self/fd) | cat; ls /proc/self/fd & wait; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  # 3 is the folder that ls has open.
  expect_response $'0\n1\n2\n3\n0\n1\n2\n3\n0\n1\n2\n3'
}

@test "functions and variables persist, and those of the driver cannot be redefined" {
  function_file <<'END'
handler() {
  count=$((${count-0} + 1))
  eval ',,() { echo forged; }; __driver_context() { echo forged; }' 2>/dev/null || :
  printf '%s' "$count"
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  host_invoke x
  expect_report return 0
  expect_response 2
}

@test "lambda_log writes the lines of a message as one if there is a mark" {
  function_file <<'END'
handler() {
  lambda_log ERROR $'a\n& \\n' "$1"
  __driver_log_nonce=mark-
  lambda_log ERROR $'a\n& \\n' "$1"
  lambda_log ERROR
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report return 0
  [[ $(<log) == $'a\n& \\n x\nmark-ERROR a\\n& \\\\n x\nmark-INFO ERROR' ]]
}

@test "the driver ignores functions with the names of builtins" {
  function_file <<'END'
for name in printf trap mapfile set local declare export unset return shift eval disown alias shopt umask; do
  builtin eval "$name() { builtin echo $name redefined >&2; builtin return 5; }"
done
handler() { builtin printf '%s' "$1"; }
END
  host_start handler -euo pipefail
  host_wait_loaded
  for event in first second; do
    host_invoke "$event"
    expect_report return 0
    expect_response "$event"
    host_read_state
  done
  [[ $(cat log) == '' ]]
}

@test "fields of a report in the response and in the log are no report" {
  function_file <<<'handler() { printf "mark-1\\0return\\0000\\0mark-1\\0" | tee /dev/stderr; return 3; }'
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke x
  expect_report return 3
}

@test "the kind of response that a handler requests is reported with its place" {
  function_file <<'END'
handler() {
  lambda_http_response --cookie a=1 201 'X-A: b c' --stream
  (lambda_stream_response text/plain)
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_send_event '{}'
  host_read_fields mark-1
  local expected=(respond 6 request-1 ./function.sh:2 http-stream 201 'X-A: b c' 'Set-Cookie: a=1')
  [ "${host_fields[*]:0:8}" = "${expected[*]}" ]
  expected=(respond 4 request-1 ./function.sh:3 stream text/plain)
  [ "${host_fields[*]:8:6}" = "${expected[*]}" ]
}

@test "an argument that cannot be used is reported in the log and not to the host" {
  function_file <<'END'
handler() {
  lambda_http_response 99 || echo "status $?"
  lambda_http_response 200 nothing || echo "status $?"
}
END
  host_start handler -euo pipefail
  host_wait_loaded
  host_invoke '{}'
  expect_response $'status 2\nstatus 2'
  grep -q '^./function.sh: line 2: lambda_http_response: cannot use status 99: expected 200 to 599$' log
  if has_field respond; then return 1; fi
}

@test "a reply that came with the event is for the same call of the shell itself" {
  function_file <<'END'
handler() {
  local A=none a=none
  case $1 in
    same) lambda_get a .a ;;
    twice) lambda_get a .a; a=none; lambda_get a .a ;;
    letter) shopt -s nocasematch; lambda_get A .a ;;
    fewer) lambda_get a ;;
    joined) lambda_get $'a\037.a' ;;
    subshell) (lambda_get a .a) ;;
  esac
  echo "$1 $a $A"
}
END
  host_prepared_call=$'3\037get\037a\037.a\037' host_prepared_reply="a='it'"
  host_start handler
  host_wait_loaded
  local event
  for event in same twice; do
    host_invoke "$event"
    expect_response "$event it none"
  done
  # There is no host that could answer.
  for event in letter fewer joined subshell; do
    host_invoke "$event"
    expect_response "$event none none"
  done
  host_prepared_call='' host_prepared_reply=''
  host_invoke same
  expect_response 'same none none'
}

@test "a reply that came with an event is gone after it" {
  function_file <<'END'
found=none
on_usr1() { lambda_get found .a || found=refused; }
handler() {
  trap on_usr1 USR1
  echo "$found"
}
END
  host_prepared_call=$'3\037get\037found\037.a\037' host_prepared_reply="found='it'"
  host_start handler
  host_wait_loaded
  host_invoke first
  host_read_state
  kill -USR1 "$host_pid"
  host_prepared_call='' host_prepared_reply=''
  host_invoke second
  expect_response refused
}
