//! One bootstrap with its own Runtime API and task root.

use std::path::Path;
use std::process::Command;

use crate::{Call, Event, Process, RuntimeApi, TaskRoot, excerpt, program, repository_file};

/// A running bootstrap. Fields are dropped in this order: the process ends before the API checks its rules.
#[derive(Debug)]
pub struct Sandbox {
    pub bootstrap: Process,
    pub api: RuntimeApi,
    pub task_root: TaskRoot,
}

/// Configures a sandbox before it starts.
#[derive(Debug)]
pub struct SandboxBuilder {
    api: RuntimeApi,
    task_root: TaskRoot,
    program: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, Option<String>)>,
}

impl Sandbox {
    /// A sandbox whose `function.sh` is `script`, with the handler `function.handler`.
    pub fn of(script: &str) -> SandboxBuilder {
        let builder = Self::empty();
        builder.task_root.write("function.sh", script);
        builder
    }

    /// A sandbox with an empty task root. The handler is `function.handler` here too.
    pub fn empty() -> SandboxBuilder {
        SandboxBuilder {
            api: RuntimeApi::start(),
            task_root: TaskRoot::new(),
            program: vec![bootstrap_path()],
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Runs one invocation. Returns the POST that answered it.
    #[track_caller]
    pub fn invoke(&self, event: Event) -> Call {
        let request_id = event.request_id.clone();
        self.api.push(event);
        self.api.wait_answer(&request_id)
    }

    /// Runs one invocation that must succeed. Returns the response.
    #[track_caller]
    pub fn respond(&self, event: impl AsRef<[u8]>) -> Vec<u8> {
        self.respond_to(Event::fresh(event))
    }

    /// As [`respond`](Self::respond), for an event whose headers and framing the test chooses.
    #[track_caller]
    pub fn respond_to(&self, event: Event) -> Vec<u8> {
        let answer = self.invoke(event);
        let body = excerpt(&answer.body);
        assert!(
            answer.is_response(),
            "not a response: {}: {body}\n{}",
            answer.path,
            self.api.transcript()
        );
        answer.body
    }

    /// Runs one invocation that must fail. Returns the error document.
    #[track_caller]
    pub fn fail(&self, event: impl AsRef<[u8]>) -> serde_json::Value {
        let answer = self.invoke(Event::fresh(event));
        let body = excerpt(&answer.body);
        assert!(
            answer.is_error(),
            "not an error: {}: {body}\n{}",
            answer.path,
            self.api.transcript()
        );
        answer.error_document()
    }
}

impl SandboxBuilder {
    pub fn handler(self, handler: &str) -> Self {
        self.env("_HANDLER", handler)
    }

    /// Adds a command line argument for bootstrap.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes a file to the task root.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.task_root.write(name, content);
        self
    }

    /// Writes an executable file to the task root.
    pub fn executable(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.task_root.write_program(name, content);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.environment
            .push((name.to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Allows several invocations at a time, as on Managed Instances.
    pub fn lanes(self, count: usize) -> Self {
        self.env("AWS_LAMBDA_MAX_CONCURRENCY", count.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
    }

    /// Passes the event to scripts and executables as the last argument too. By default they get it on standard input only.
    pub fn event_as_argument(self) -> Self {
        self.env("COSHELL_EVENT", "both")
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    /// Starts another program in place of bootstrap.
    pub fn program(mut self, argv: &[&str]) -> Self {
        self.program = argv.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// Starts the tutorial's bootstrap in place of ours, in POSIX mode, like `/bin/sh` on Amazon Linux.
    pub fn tutorial(self) -> Self {
        let bootstrap = repository_file("bench/baseline/tutorial/bootstrap");
        let (bash, bootstrap) = (crate::bash(), bootstrap.to_string_lossy());
        // Before 5.1 that mode has no process substitution, which many handlers of the tests use.
        if crate::bash_version() < (5, 1) {
            return self.program(&[&bash, &bootstrap]);
        }
        self.program(&[&bash, "--posix", &bootstrap])
    }

    pub fn api(&self) -> &RuntimeApi {
        &self.api
    }

    pub fn task_root(&self) -> &TaskRoot {
        &self.task_root
    }

    /// Starts the program; does not wait for it to load the handler.
    pub fn start(self) -> Sandbox {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).args(&self.arguments);
        set_lambda_environment(&mut command, self.task_root.path());
        command.env("AWS_LAMBDA_RUNTIME_API", self.api.address());
        for (name, value) in &self.environment {
            if name == "AWS_LAMBDA_MAX_CONCURRENCY" {
                let count = value.as_deref().and_then(|value| value.parse().ok());
                self.api.allow_concurrent(count.unwrap_or(1));
            }
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let bootstrap = Process::start(command);
        self.api.attach_process(bootstrap.record());
        Sandbox {
            bootstrap,
            api: self.api,
            task_root: self.task_root,
        }
    }
}

/// The path of the bootstrap under test: the one that cargo built, or `COSHELL_TEST_BOOTSTRAP`.
pub fn bootstrap_path() -> String {
    std::env::var("COSHELL_TEST_BOOTSTRAP").unwrap_or_else(|_| program("bootstrap"))
}

/// Gives `command` exactly the environment that Lambda sets for an OS-only runtime, without `AWS_LAMBDA_RUNTIME_API`.
pub fn set_lambda_environment(command: &mut Command, task_root: &Path) {
    command
        .env_clear()
        .current_dir(task_root)
        .env("LAMBDA_TASK_ROOT", task_root);
    command.envs([
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        (
            "LD_LIBRARY_PATH",
            "/lib64:/usr/lib64:/var/task/lib:/opt/lib",
        ),
        ("LANG", "C.UTF-8"),
        ("TZ", ":UTC"),
        ("_HANDLER", "function.handler"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "2026/11/01/[$LATEST]0123456789abcdef",
        ),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_ACCESS_KEY_ID", "an-access-key-id"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-access-key"),
        ("AWS_SESSION_TOKEN", "a-session-token"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000"),
    ]);
    if let Ok(bash) = std::env::var("COSHELL_TEST_BASH") {
        command.env("COSHELL_BASH", bash);
    }
}
