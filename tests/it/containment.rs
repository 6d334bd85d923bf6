//! A handler may do anything to its shell. Its own invocation still gets the right answer, and the next one is unharmed.
//!
//! A [`Case`] is a handler that misbehaves. Before and after, a probe prints all shell state that a handler can change, and
//! everything that a handler gets. The two must be equal, byte for byte. The files named `containment_` have the cases;
//! this one has the tests for what lives on from one invocation to the next.

use serde_json::Value;

use support::{Event, LIMIT, Sandbox, wait_until, with_driver_names};

/// Prints what a handler gets and can change. The request id is `probe-<n>`.
const PROBE: &str = r#"
probe() {
  builtin local probe_fd probe_fds='' probe_stdin
  builtin printf 'begin %s\n' "$1" >&2
  for ((probe_fd = 0; probe_fd < 256; probe_fd++)); do
    if [[ -e /proc/self/fd/$probe_fd ]]; then probe_fds+=" $probe_fd"; fi
  done
  probe_stdin=$(builtin command cat && builtin printf x)
  builtin printf '%s\n' "argument: $*" "stdin: ${probe_stdin%x}" "id: $LAMBDA_RUNTIME_AWS_REQUEST_ID" \
    "exported: $(builtin command printenv LAMBDA_RUNTIME_AWS_REQUEST_ID _X_AMZN_TRACE_ID LAMBDA_RUNTIME_TRACE_ID)" \
    "descriptors: $probe_fds" "cwd: $PWD $(builtin command pwd -P)" "umask: $(builtin umask)" "options: $-" "zero: $0" \
    "functions: ${FUNCNAME[*]}" "inherited: $(builtin command ls /proc/self/fd | builtin command tr '\n' ' ')"
  builtin printf 'IFS: %q\n' "${IFS-unset}"
  builtin set +o
  builtin shopt -p || :
  builtin trap -p
  builtin alias -p
  builtin printf 'end of %s\n\n' "$LAMBDA_RUNTIME_AWS_REQUEST_ID"
  builtin printf 'end %s\n' "$1" >&2
}
"#;

/// A handler that misbehaves.
pub(crate) struct Case {
    top_level: String,
    body: String,
    environment: Vec<(String, String)>,
    may_log_later: bool,
}

/// The sandbox of a [`Case`] that was answered, and whose next invocations were unharmed.
pub(crate) struct Aftermath {
    pub sandbox: Sandbox,
    /// The error document; null after a response.
    pub document: Value,
    shell_pid_before: u32,
}

impl Case {
    /// A handler that sets the variable `kept` and then runs `body`.
    pub(crate) fn of(body: &str) -> Self {
        Self {
            top_level: String::new(),
            body: with_driver_names(body),
            environment: Vec::new(),
            may_log_later: false,
        }
    }

    /// Puts code before the handler in its file.
    pub(crate) fn with_top_level(mut self, top_level: &str) -> Self {
        self.top_level = format!("{top_level}\n");
        self
    }

    /// Sets these shell options instead of `-euo pipefail`.
    pub(crate) fn options(mut self, options: &str) -> Self {
        self.environment
            .push(("COSHELL_SHELL_OPTIONS".to_owned(), options.to_owned()));
        self
    }

    /// Allows log lines while the healthy invocations run, from leftover processes or from bash itself.
    pub(crate) fn logs_later(mut self) -> Self {
        self.may_log_later = true;
        self
    }

    /// Starts with the default isolation, or with another one.
    fn start(&self, isolation: Option<&str>) -> Sandbox {
        let script = format!(
            "{PROBE}{}handler() {{\n  case $1 in\n    probe-*) probe \"$@\"; builtin return ;;\n    kept) builtin printf %s \"${{kept-}}\"; builtin return ;;\n  esac\n  kept=yes\n{}\n}}\n",
            self.top_level, self.body
        );
        let builder = Sandbox::of(&script).file("lib.sh", "lib_exits() {\n  exit \"$@\"\n}\n");
        let environment = self.environment.iter();
        let builder = environment.fold(builder, |builder, (name, value)| builder.env(name, value));
        match isolation {
            Some(isolation) => builder.env("COSHELL_ISOLATION", isolation).start(),
            None => builder.start(),
        }
    }

    /// The misbehaving invocation must succeed with this response.
    #[track_caller]
    pub(crate) fn responds(self, response: &str) -> Aftermath {
        self.run(|sandbox| {
            let actual = sandbox.respond("bad");
            assert_eq!(String::from_utf8_lossy(&actual), response);
            Value::Null
        })
    }

    /// The misbehaving invocation must fail with this errorType, and with a message that contains all of `parts`.
    #[track_caller]
    pub(crate) fn fails(self, error_type: &str, parts: &[&str]) -> Aftermath {
        self.run(|sandbox| {
            let document = sandbox.fail("bad");
            // Where each event runs in a fork, only that ends, and the shell reports its status.
            if support::always_forks() && error_type.starts_with("Function.Shell") {
                return document;
            }
            assert_eq!(document["errorType"], error_type, "{document}");
            let message = document["errorMessage"].as_str().unwrap_or_default();
            for part in parts {
                assert!(message.contains(part), "no {part:?} in {message:?}");
            }
            document
        })
    }

    /// Runs the case with the default isolation, and then without isolation, where variables show whether the shell lives
    /// on.
    #[track_caller]
    pub(crate) fn run(self, misbehave: impl Fn(&Sandbox) -> Value) -> Aftermath {
        let aftermath = self.run_isolated(None, &misbehave);
        assert_eq!(aftermath.sandbox.respond("kept"), b"");
        self.run_isolated(Some("none"), &misbehave)
    }

    #[track_caller]
    fn run_isolated(
        &self,
        isolation: Option<&str>,
        misbehave: &impl Fn(&Sandbox) -> Value,
    ) -> Aftermath {
        println!("case: {}, {isolation:?}", self.body);
        let sandbox = self.start(isolation);
        let before = probe(&sandbox, 1);
        let shell_pid_before = sandbox.bootstrap.shell_pid();
        let document = misbehave(&sandbox);
        for number in 2..4 {
            let expected = before.replace("probe-1", &format!("probe-{number}"));
            let after = probe(&sandbox, number);
            assert_eq!(
                after,
                expected,
                "probe {number}\n{}",
                sandbox.api.transcript()
            );
        }
        sandbox.bootstrap.wait_log("end probe-3\n");
        let log = sandbox.bootstrap.log();
        assert!(
            log.starts_with("begin probe-1\nend probe-1\n"),
            "a healthy invocation logs nothing: {log}"
        );
        // The log must not show internals of coshell, unless the handler meddles with them.
        let meddling = [
            "set -x",
            "__driver_",
            "for fd in",
            "exec 6",
            "trap '",
            "readonly",
            "builtin",
        ];
        let is_shown = |text: &&str| log.contains(text) && !self.body.contains(text);
        let internal = ["__driver_", "`builtin", "/dev/fd/"]
            .into_iter()
            .find(is_shown);
        let is_allowed = self.may_log_later || meddling.iter().any(|text| self.body.contains(text));
        assert!(
            is_allowed || internal.is_none(),
            "{internal:?} in the log: {log}"
        );
        let after = "begin probe-2\nend probe-2\nbegin probe-3\nend probe-3\n";
        assert!(
            self.may_log_later || log.contains(after),
            "a healthy invocation logs nothing: {log}"
        );
        Aftermath {
            sandbox,
            document,
            shell_pid_before,
        }
    }
}

#[track_caller]
fn probe(sandbox: &Sandbox, number: usize) -> String {
    let name = format!("probe-{number}");
    let response = sandbox.respond_to(Event::new(&name, &name));
    let text = String::from_utf8(response).expect("a probe is UTF-8");
    assert!(
        text.ends_with(&format!("end of {name}")),
        "the probe was cut off, or ends in newlines: {text}"
    );
    text
}

impl Aftermath {
    /// Asserts that the shell is still the same, with the handler's variables.
    #[track_caller]
    pub(crate) fn lives_on(self) -> Self {
        assert_eq!(
            self.sandbox.bootstrap.shell_pid(),
            self.shell_pid_before,
            "{}",
            self.sandbox.api.transcript()
        );
        // Where each event runs in a fork, no variable lives on.
        let kept: &[u8] = if support::always_forks() { b"" } else { b"yes" };
        assert_eq!(self.sandbox.respond("kept"), kept);
        self
    }

    /// Asserts that the shell was replaced by a new one, which sourced the file again.
    #[track_caller]
    pub(crate) fn replaces_the_shell(self) -> Self {
        // Where each event runs in a fork, only that ends.
        if !support::always_forks() {
            assert_ne!(self.sandbox.bootstrap.shell_pid(), self.shell_pid_before);
        }
        assert_eq!(self.sandbox.respond("kept"), b"");
        self
    }

    #[track_caller]
    pub(crate) fn logs(self, text: &str) -> Self {
        self.sandbox.bootstrap.wait_log(text);
        self
    }

    #[track_caller]
    pub(crate) fn does_not_log(self, text: &str) -> Self {
        let log = self.sandbox.bootstrap.final_log();
        assert!(!log.contains(text), "{text:?} in the log:\n{log}");
        self
    }
}

/// Runs an invocation that must fail, with a message that contains all of `parts`. Returns the error document.
#[track_caller]
pub(crate) fn fails_with(sandbox: &Sandbox, parts: &[&str]) -> Value {
    let document = sandbox.fail("bad");
    let message = document["errorMessage"].as_str().unwrap_or_default();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    document
}

#[test]
fn a_new_shell_is_ready_before_the_next_invocation_is_requested() {
    let sandbox = Sandbox::of(
        "printf 'sourced %s\\n' $$ >>\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { case $1 in die) kill -9 $$ ;; *) printf %s $$ ;; esac; }",
    )
    .file("sourced", "")
    .start();
    let first = sandbox.respond("pid");
    let next_count = sandbox.api.next_count();
    let answer = sandbox.invoke(Event::new("dies", "die"));
    assert!(answer.is_error());
    wait_until(|| sandbox.api.next_count() > next_count, LIMIT);
    sandbox.api.wait_parked();
    // The file was sourced again before the next `GET next`, and the answer was posted before that.
    assert_eq!(sandbox.task_root.read("sourced").lines().count(), 2);
    let calls = sandbox.api.calls();
    let answer = calls
        .iter()
        .position(|call| call.request_id() == Some("dies"));
    let answer = answer.expect("an answer");
    assert!(calls[answer + 1].is_next() && calls.len() == answer + 2);
    let second = sandbox.respond("pid");
    assert_ne!(first, second);
    assert_eq!(
        sandbox.task_root.read("sourced"),
        format!(
            "sourced {}\nsourced {}\n",
            String::from_utf8_lossy(&first),
            String::from_utf8_lossy(&second)
        )
    );
}

#[test]
fn the_answer_is_posted_before_the_file_is_sourced_again() {
    let sandbox = Sandbox::of(
        "if [[ -e $LAMBDA_TASK_ROOT/again ]]; then read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; fi\nhandler() { case $1 in die) : >\"$LAMBDA_TASK_ROOT/again\"; kill -9 $$ ;; *) printf on ;; esac; }",
    )
    .start();
    sandbox.task_root.fifo("gate");
    assert_eq!(sandbox.respond("x"), b"on");
    sandbox.api.wait_parked();
    let next_count = sandbox.api.next_count();
    // While sourcing waits at the gate, the answer has been posted and no next invocation is requested.
    assert_eq!(sandbox.fail("die")["errorType"], "Function.ShellKilled");
    assert_eq!(sandbox.api.next_count(), next_count);
    sandbox.task_root.release("gate");
    assert_eq!(sandbox.respond("x"), b"on");
}

#[test]
fn variables_and_functions_live_on_without_isolation() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let sandbox = Sandbox::of(
        "count=0\nhandler() {\n  count=$((count + 1))\n  if ((count == 1)); then later() { printf '%s by a function of the first, exported %s' \"$count\" \"$(printenv KEPT)\"; }; declare -gA map=([a]=1); export KEPT=k; fi\n  if ((count == 3)); then exit 9; fi\n  later; printf ' %s' \"${map[a]}\"\n}",
    )
    .env("COSHELL_ISOLATION", "none")
    .start();
    assert_eq!(
        sandbox.respond(""),
        b"1 by a function of the first, exported k 1"
    );
    assert_eq!(
        sandbox.respond(""),
        b"2 by a function of the first, exported k 1"
    );
    sandbox.fail("");
    assert_eq!(
        sandbox.respond(""),
        b"4 by a function of the first, exported k 1"
    );
}
