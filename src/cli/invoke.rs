//! `coshell invoke`: one event in, one response out, with no Lambda and no Docker.
//!
//! Reads the event, has [`emulator`](crate::emulator) invoke the handler, and shows the answer:
//! the response alone on standard output, what the handler logs on standard error.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::iter;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Bytes;
use clap::Args;
use nix::errno::Errno;
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::emulator::exchange::Answer;
use crate::emulator::{Ending, Function, invoke};
use crate::runtime_api::wire::ErrorDocument;

/// 6 MiB: the largest event that Lambda takes, in a synchronous invocation.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// As in AWS's emulator.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// What `coshell invoke` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell invoke examples/echo/function.sh.handler --event 'Hello'\n  \
        coshell invoke function.handler --event-file event.json --timeout 3\n  \
        jq -n '{name: \"Ada\"}' | coshell invoke function.handler\n\n\
        Exit status:\n  \
        0  the handler gave a response\n  \
        1  it failed: the error document is on standard output, and explained on standard error\n  \
        2  nothing was invoked: wrong use, or the bootstrap cannot be started")]
pub struct InvokeArguments {
    /// The handler, as Lambda has it: [dir/]file[.sh].function, or the name of a script or an executable; relative to
    /// the task root
    pub handler: OsString,

    /// The event itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub event: Option<OsString>,

    /// A file that holds the event; - is standard input. With neither this nor --event, standard
    /// input is the event, unless it is a terminal: then the event is empty
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    pub event_file: Option<PathBuf>,

    /// Where the code lies.
    #[arg(
        long,
        value_name = "DIR",
        help = "Where the code lies [default: $LAMBDA_TASK_ROOT if set, else the current directory]"
    )]
    pub task_root: Option<PathBuf>,

    /// For init and invocation together.
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_seconds,
        help = "For init and invocation together [default: $AWS_LAMBDA_FUNCTION_TIMEOUT if set, else 300]"
    )]
    pub timeout: Option<Duration>,

    /// Another bootstrap to start, which finds the handler in $_HANDLER [default: coshell's own]
    #[arg(long, value_name = "PATH")]
    pub bootstrap: Option<PathBuf>,
}

/// Invokes the handler once. Blocks as long as that takes, the timeout and 2 s at most.
///
/// # Errors
/// When nothing could be invoked, or the answer cannot be written.
pub fn run(arguments: &InvokeArguments) -> Result<ExitCode, Error> {
    let function = function(arguments)?;
    // Before there are signal handlers: Ctrl-C ends a read from the terminal as everywhere.
    let event = read_event(arguments)?;
    let ending = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("cannot start tokio"))?
        .block_on(async {
            invoke(&function, event, stop_signal()?)
                .await
                .map_err(Error::Emulator)
        })?;
    match ending {
        Ending::Answered(Answer::Response(response)) => {
            write_answer(&response, b"")?;
            Ok(ExitCode::SUCCESS)
        }
        Ending::Answered(Answer::Error(document)) => {
            write_answer(&document, b"\n")?;
            eprint!("{}", explain(&document, has_colour()));
            Ok(ExitCode::FAILURE)
        }
        Ending::Stopped(signal) => Ok(ExitCode::from(128 + signal)),
    }
}

/// What to invoke, from the arguments and the environment.
fn function(arguments: &InvokeArguments) -> Result<Function, Error> {
    let name = text_variable("AWS_LAMBDA_FUNCTION_NAME");
    let region = text_variable("AWS_REGION").or_else(|| text_variable("AWS_DEFAULT_REGION"));
    Ok(Function {
        handler: arguments.handler.clone(),
        task_root: task_root(arguments.task_root.as_deref())?,
        bootstrap: arguments.bootstrap.as_deref().map(absolute).transpose()?,
        timeout: arguments.timeout.map_or_else(default_timeout, Ok)?,
        name: name.unwrap_or_else(|| "test_function".to_owned()),
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
    })
}

/// A variable that is set, not empty, and text.
fn text_variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn task_root(given: Option<&Path>) -> Result<PathBuf, Error> {
    let set = env::var_os("LAMBDA_TASK_ROOT").filter(|value| !value.is_empty());
    let path = given.map(Path::to_owned).or_else(|| set.map(PathBuf::from));
    let path = absolute(&path.unwrap_or_else(|| ".".into()))?;
    let what = || format!("cannot use task root {}", path.display());
    if fs::metadata(&path).map_err(Error::io(what()))?.is_dir() {
        return Ok(path);
    }
    Err(Error::io(what())(Errno::ENOTDIR.into()))
}

/// Against our current directory: the bootstrap's is the task root.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io(format!("cannot use path {}", path.display())))
}

fn default_timeout() -> Result<Duration, Error> {
    let Some(text) = text_variable("AWS_LAMBDA_FUNCTION_TIMEOUT") else {
        return Ok(DEFAULT_TIMEOUT);
    };
    parse_seconds(&text).map_err(|cause| Error::Misuse {
        what: format!("cannot use AWS_LAMBDA_FUNCTION_TIMEOUT {text}"),
        cause,
    })
}

/// Seconds, more than 0; decimals are allowed, as a test may not want to wait for a whole one.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

fn read_event(arguments: &InvokeArguments) -> Result<Bytes, Error> {
    let (source, event) = match (&arguments.event, &arguments.event_file) {
        (Some(text), _) => ("--event".to_owned(), Ok(text.clone().into_vec())),
        (None, Some(path)) if path.as_os_str() != "-" => (
            path.display().to_string(),
            File::open(path).and_then(read_limited),
        ),
        (None, None) if io::stdin().is_terminal() => return Ok(Bytes::new()),
        _ => ("standard input".to_owned(), read_limited(io::stdin())),
    };
    let what = format!("cannot read event from {source}");
    let event = event.map_err(Error::io(&what))?;
    if event.len() > MAX_EVENT_BYTES {
        let cause =
            format!("more than {MAX_EVENT_BYTES} bytes (6 MiB), the most that Lambda takes");
        return Err(Error::Misuse { what, cause });
    }
    Ok(event.into())
}

/// Reads to the end, but only one byte more than an event may have.
fn read_limited(source: impl Read) -> io::Result<Vec<u8>> {
    let mut event = Vec::new();
    source
        .take(MAX_EVENT_BYTES as u64 + 1)
        .read_to_end(&mut event)?;
    Ok(event)
}

/// Completes with the number of the first signal that asks us to end.
fn stop_signal() -> Result<impl Future<Output = u8>, Error> {
    let listen = |kind| signal(kind).map_err(Error::io("cannot listen to signals"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    })
}

fn write_answer(answer: &[u8], end: &[u8]) -> Result<(), Error> {
    // Not `io::stdout`, which looks for newlines through all of it.
    let write = || {
        let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        stdout.write_all(answer)?;
        stdout.write_all(end)
    };
    write().map_err(Error::io("cannot write answer to standard output"))
}

fn has_colour() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

/// An error document for people: the type and the message, and below them a frame a line.
fn explain(document: &[u8], has_colour: bool) -> String {
    let Some(document) = ErrorDocument::from_json(document) else {
        return "coshell: the error document is not a JSON object\n".to_owned();
    };
    let (bold_red, dim, reset) = if has_colour {
        ("\x1b[1;31m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let error_type = match document.error_type.as_str() {
        "" => "Unhandled",
        error_type => error_type,
    };
    let headline = format!(
        "{bold_red}{error_type}{reset}: {}",
        document.message.trim_end()
    );
    let frames = document
        .stack_trace
        .iter()
        .map(|frame| format!("    {dim}{frame}{reset}"));
    iter::once(headline)
        .chain(frames)
        .map(|line| line + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_a_positive_number_of_seconds() {
        assert_eq!(parse_seconds("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "3s", ""] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn error_is_explained_with_its_stack_indented() {
        let document = br#"{"errorType":"Function.HandlerFailed","errorMessage":"status 3\nlast words\n","stackTrace":["greet (hello.sh:4)","main (hello.sh:9)"]}"#;
        assert_eq!(
            explain(document, false),
            "Function.HandlerFailed: status 3\nlast words\n    greet (hello.sh:4)\n    main (hello.sh:9)\n"
        );
        assert!(explain(document, true).starts_with("\x1b[1;31mFunction.HandlerFailed\x1b[0m: "));
    }

    #[test]
    fn error_document_of_another_kind_is_no_failure_of_ours() {
        assert_eq!(
            explain(b"oops", false),
            "coshell: the error document is not a JSON object\n"
        );
        assert_eq!(
            explain(br#"{"errorMessage":"no type"}"#, false),
            "Unhandled: no type\n"
        );
    }

    #[test]
    fn reading_stops_one_byte_after_the_largest_event() -> io::Result<()> {
        assert_eq!(read_limited(io::repeat(b'x'))?.len(), MAX_EVENT_BYTES + 1);
        assert_eq!(read_limited(&b"event"[..])?, b"event");
        Ok(())
    }
}
