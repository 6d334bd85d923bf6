# The driver alone: what it says for what a handler does. The real host is in tests/it.
# shellcheck disable=SC2016 # handlers are in single quotes: it is the other shell that expands them

setup() {
  # shellcheck source=tests/driver/host.bash
  source "$BATS_TEST_DIRNAME/host.bash"
}

teardown() {
  host_stop
}

function_file() { # stdin: the file of the handler
  cat >"$BATS_TEST_TMPDIR/function.sh"
}

response() {
  cat response
}

responded() { # <text>: without the newlines at its end
  if [[ $(response) != "$1" ]]; then
    printf 'expected %q, got %q\n' "$1" "$(response)"
    return 1
  fi
}

has_word() { # <pattern>
  local word
  for word in "${host_words[@]}"; do
    # shellcheck disable=SC2053 # a pattern
    if [[ $word == $1 ]]; then return 0; fi
  done
  printf 'no %s in:\n' "$1"
  printf '  %q\n' "${host_words[@]}"
  return 1
}

reported() { # <kind> <status> [details...]: the report is just that, whatever precedes the mark
  local expected=("$@" "mark-$host_count") at
  for ((at = 0; at < ${#expected[@]}; at++)); do
    # shellcheck disable=SC2053
    if [[ ${host_words[at + 1]-} != ${expected[at]} ]]; then
      printf 'expected %q, got:\n' "${expected[at]}"
      printf '  %q\n' "${host_words[@]}"
      return 1
    fi
  done
  ((${#host_words[@]} == ${#expected[@]} + 1))
}

@test "started and ready are said when the function is there" {
  function_file <<<'handler() { :; }'
  host_start handler -euo pipefail
  host_loaded
  [[ ${host_words[0]} == started ]]
  has_word 'loaded ready 0 [45].[0-9]*'
}

@test "ready tells the status of a file that ends with a failure" {
  function_file <<<'handler() { :; }; (exit 7)'
  host_start handler
  host_loaded
  has_word 'loaded ready 7 *'
}

@test "undefined names the functions that are there and none of ours" {
  function_file <<<'greet() { :; }; wave() { :; }'
  host_start handler
  host_loaded
  has_word 'loaded undefined greet wave '
}

@test "stdout while sourcing is log" {
  function_file <<<'echo "while sourcing"; handler() { :; }'
  host_start handler
  host_loaded
  [[ $(cat log) == "while sourcing" && $(response) == "" ]]
}

@test "a handler gets the event as argument and on stdin, and its stdout is the response" {
  function_file <<<'handler() { printf "%s|%s|%s" "$#" "$1" "$(cat)"; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke $'an event\nof two lines, with $(id) and \\ "quotes"'
  reported return 0
  responded $'1|an event\nof two lines, with $(id) and \\ "quotes"|an event\nof two lines, with $(id) and \\ "quotes"'
  host_invoke second
  reported return 0
  responded '1|second|second'
}

@test "the report begins with the trap that bash ends with" {
  function_file <<<'handler() { :; }'
  host_start handler
  host_loaded
  host_invoke x
  [[ ${host_words[0]} == "trap -- '"*__driver_on_exit*"' EXIT"$'\nmark-1' ]]
}

@test "return is told with its status" {
  function_file <<<'handler() { return "$1"; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke 7
  reported return 7
  host_invoke 0
  reported return 0
}

@test "without errexit the last status is the handler's" {
  function_file <<<'handler() { false; (exit 5); }'
  host_start handler
  host_loaded
  host_invoke x
  reported return 5
}

@test "exit is told with its status and the frames" {
  function_file <<'END'
handler() {
  outer
}
outer() {
  for x in 1; do exit 300; done
}
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported exit 44 '' '' 'outer ./function.sh:5' 'handler ./function.sh:2'
  host_invoke x
  reported exit 44 '' '' 'outer ./function.sh:5' 'handler ./function.sh:2'
}

@test "exit in a subshell is the subshell's" {
  function_file <<<'handler() { (exit 3) || x=$(printf in; exit 4) || printf "%s %s" "$x" "$?"; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported return 0
  responded 'in 4'
}

@test "errexit is told with the command, its status and the frames" {
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
  host_loaded
  host_invoke x
  reported errexit 2 'ls --no-such-option 2> /dev/null' '2 ' 'inner ./function.sh:8' 'handler ./function.sh:2'
  responded ''
}

@test "a command that bash discards is reported all the same" {
  function_file <<<'handler() { printf a; echo $((1 / $1)); printf b; }'
  host_start handler
  host_loaded
  host_invoke 0
  reported return 1
  responded a
  host_invoke 1
  reported return 0
}

@test "an EXIT trap is told, and run when the host says so" {
  function_file <<'END'
handler() {
  trap 'printf "it'\''s %s" "$?"' EXIT
  return "$1"
}
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke 7
  [[ ${host_words[0]} == *"' EXIT"$'\nmark-1' && ${host_words[0]} != *__driver_on_exit* ]]
  reported return 7
  host_exit_trap 7
  reported return 7
  responded "it's 7"
  [[ ${host_words[0]} == "trap -- '"*__driver_on_exit*"' EXIT"$'\n'* ]]
}

@test "exit in an EXIT trap is the end" {
  function_file <<<'handler() { trap "printf trapped; exit 4; printf never" EXIT; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported return 0
  host_exit_trap 0
  reported exit 4 '' ''
  responded trapped
}

@test "a hook is told as a handler is, and as idle if the file has none" {
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
  host_loaded
  host_hook absent
  reported idle 0
  host_hook well
  reported return 0
  [[ $(cat log) == 'well 0 ' ]]
  host_state
  host_hook fails
  reported errexit 1 false '1 ' 'fails ./function.sh:4'
  host_state
  host_hook exits
  reported exit 5 '' '' 'exits ./function.sh:6'
  host_state
  host_hook returns
  reported return 6
  host_state
  host_invoke x
  reported return 0
}

@test "RANDOM starts anew, unless the file has made another variable of it" {
  function_file <<<'handler() { printf "%s" "$RANDOM $RANDOM"; }'
  host_start handler
  host_loaded
  host_say '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  first=$(response)
  host_state
  host_say '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  responded "$first"
  host_state
  host_say 'unset RANDOM' 'RANDOM=mine' '\__driver_rare __driver_reseed 4000000000'
  host_invoke x
  responded 'mine mine'
}

@test "errexit tells the statuses of a pipeline" {
  function_file <<<$'handler() {\n  (exit 3) | (exit 4) | :\n}'
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported errexit 4 : '3 4 0 ' 'handler ./function.sh:2'
}

@test "what failed while sourcing is told whatever EXIT trap the file sets" {
  function_file <<<$'trap : EXIT\ndeep() {\n  false\n}\ndeep'
  host_start handler -euo pipefail
  host_end
  ((host_status == 1))
  has_word load
  has_word './function.sh:3'
  has_word 'deep ./function.sh:3'
  has_word 'source ./function.sh:5'
}

@test "an exit while sourcing is told whatever EXIT trap the file sets" {
  function_file <<<$'trap : EXIT\ndeep() {\n  exit 5\n}\ndeep'
  host_start handler -euo pipefail
  host_end
  ((host_status == 5))
  has_word exited
  has_word 'deep ./function.sh:3'
}

@test "died tells where the shell was" {
  function_file <<<'handler() { deep; }; deep() { builtin exit 9; }'
  host_start handler -euo pipefail
  host_loaded
  host_send x
  host_end
  ((host_status == 9))
  [[ ${host_words[0]} == died && ${host_words[1]} == return && ${host_words[2]} == 9 && ${host_words[-1]} == died ]]
  has_word 'deep ./function.sh:*'
  has_word 'handler ./function.sh:*'
}

@test "died while sourcing tells the place and the command" {
  function_file <<<$'handler() { :; }\n\ngrep -q needle /no/such/file'
  host_start handler -euo pipefail
  host_end
  ((host_status == 2))
  [[ ${host_words[0]} == started ]]
  has_word died
  has_word load
  has_word './function.sh:3'
  has_word 'grep -q needle /no/such/file'
}

@test "an exit while sourcing is told as such" {
  function_file <<<$'exit 6'
  host_start handler -euo pipefail
  host_end
  ((host_status == 6))
  has_word died
  has_word exited
}

@test "options that set does not take are told" {
  function_file <<<'handler() { :; }'
  host_start handler -Q
  host_end
  ((host_status == 2))
  has_word options
}

@test "set options are given back after each invocation" {
  function_file <<<'handler() { printf "%s %s" "$-" "$SHELLOPTS"; set -f +eu -C; set -o posix; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke first
  reported return 0
  first=$(response)
  [[ $first == *e* && $first == *nounset* && $first == *pipefail* && $first != *noglob* ]]
  host_invoke second
  reported return 0
  responded "$first"
}

@test "the state shows what changed, and nothing if nothing did" {
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
  host_loaded
  host_state
  before=$(printf '%s\n' "${host_words[@]}")
  host_invoke nothing
  host_state
  # The first invocation brings the trace header.
  after=$(printf '%s\n' "${host_words[@]}")
  [[ ${after/set|set|/|set|} == "${before/|set|/|set|}" || ${after/set|set/} != "${after}" ]]
  settled=$after
  host_invoke nothing
  host_state
  [[ $(printf '%s\n' "${host_words[@]}") == "$settled" ]]
  host_invoke change
  host_state
  after=$(printf '%s\n' "${host_words[@]}")
  [[ $after == *"trap -- 'echo trapped' SIGINT"* ]]
  [[ $after == *"alias ll='ls -l'"* ]]
  [[ $after == *0077* ]]
  [[ $after == *$'\n,\n'* ]]
  [[ $after == *:nullglob:* ]]
}

@test "context variables are exported, and unset when they are empty" {
  function_file <<'END'
handler() { printf '%s,' "${LAMBDA_RUNTIME_CLIENT_CONTEXT-unset}" "${LAMBDA_RUNTIME_AWS_TENANT_ID-unset}" "$(printenv LAMBDA_RUNTIME_CLIENT_CONTEXT || echo none)"; }
END
  host_start handler -euo pipefail
  host_loaded
  context() { # <client context> <tenant>
    printf '%s\0' LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN arn LAMBDA_RUNTIME_CLIENT_CONTEXT "$1" \
      LAMBDA_RUNTIME_COGNITO_IDENTITY '' LAMBDA_RUNTIME_AWS_TENANT_ID "$2" \
      LAMBDA_RUNTIME_TRACE_ID trace _X_AMZN_TRACE_ID trace LAMBDA_RUNTIME_DEADLINE_MS 1 >>arguments
    host_say '\__driver_context'
  }
  context $'{"a": "it\'s $(id)"}' ''
  host_invoke x
  [[ $(response) == $'{"a": "it\'s $(id)"},unset,{"a": "it\'s $(id)"},' ]]
  context '' tenant
  host_invoke x
  responded 'unset,tenant,none,'
}

@test "the variables of each invocation are exported" {
  function_file <<'END'
handler() { printenv LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; }
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  responded $'request-1\n1542409706888\nRoot=1-5bef4de7\nRoot=1-5bef4de7'
  host_invoke x
  [[ $(response) == request-2* ]]
}

@test "no command inherits a descriptor of ours" {
  function_file <<<'handler() { ls /proc/self/fd; (ls /proc/self/fd) | cat; ls /proc/self/fd & wait; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  # 3 is the folder itself.
  responded $'0\n1\n2\n3\n0\n1\n2\n3\n0\n1\n2\n3'
}

@test "functions and variables live on, and ours cannot be redefined" {
  function_file <<'END'
handler() {
  count=$((${count-0} + 1))
  eval ',,() { echo forged; }; __driver_context() { echo forged; }' 2>/dev/null || :
  printf '%s' "$count"
}
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  host_invoke x
  reported return 0
  responded 2
}

@test "lambda_log says which lines belong together, where there is a mark" {
  function_file <<'END'
handler() {
  lambda_log ERROR $'a\n& \\n' "$1"
  __driver_log_nonce=mark-
  lambda_log ERROR $'a\n& \\n' "$1"
  lambda_log ERROR
}
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported return 0
  [[ $(<log) == $'a\n& \\n x\nmark-ERROR a\\n& \\\\n x\nmark-INFO ERROR' ]]
}

@test "functions with the names of builtins are passed by" {
  function_file <<'END'
for name in printf trap mapfile set local declare export unset return shift eval disown alias shopt umask; do
  builtin eval "$name() { builtin echo $name redefined >&2; builtin return 5; }"
done
handler() { builtin printf '%s' "$1"; }
END
  host_start handler -euo pipefail
  host_loaded
  for event in first second; do
    host_invoke "$event"
    reported return 0
    responded "$event"
    host_state
  done
  [[ $(cat log) == '' ]]
}

@test "words of the driver in the response and in the log are no report" {
  function_file <<<'handler() { printf "mark-1\\0return\\0000\\0mark-1\\0" | tee /dev/stderr; return 3; }'
  host_start handler -euo pipefail
  host_loaded
  host_invoke x
  reported return 3
}

@test "what a handler asks of its response is told with its place" {
  function_file <<'END'
handler() {
  lambda_http_response --cookie a=1 201 'X-A: b c' --stream
  (lambda_stream_response text/plain)
}
END
  host_start handler -euo pipefail
  host_loaded
  host_send '{}'
  host_take mark-1
  local expected=(respond 6 request-1 ./function.sh:2 http-stream 201 'X-A: b c' 'Set-Cookie: a=1')
  [ "${host_words[*]:0:8}" = "${expected[*]}" ]
  expected=(respond 4 request-1 ./function.sh:3 stream text/plain)
  [ "${host_words[*]:8:6}" = "${expected[*]}" ]
}

@test "argument that cannot be used is told in the log, and nothing to the host" {
  function_file <<'END'
handler() {
  lambda_http_response 99 || echo "status $?"
  lambda_http_response 200 nothing || echo "status $?"
}
END
  host_start handler -euo pipefail
  host_loaded
  host_invoke '{}'
  responded $'status 2\nstatus 2'
  grep -q '^./function.sh: line 2: lambda_http_response: cannot use status 99: expected 100 to 599$' log
  if has_word respond; then return 1; fi
}
