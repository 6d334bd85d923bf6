//! `coshell invoke`: sends a handler one event and prints the response, without Lambda or Docker.
//!
//! Invokes the handler in a sandbox of [`coshell_emulator`], or calls a running `coshell serve`. The response goes to
//! standard output, and the handler's log to standard error.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueHint};

use crate::error::Error;
use crate::function::{FunctionArguments, handler_variable};
use crate::outcome::{Call, Outcome, explain_error, has_colour, latency_summary, to_json};
use crate::samples::Sample;
use crate::terminal::{single_threaded_runtime, stop_signal};
use coshell_emulator::exchange::Event;
use coshell_emulator::failure::Failure;
use coshell_emulator::faults::Faults;
use coshell_emulator::invocation::invoke_once;
use coshell_emulator::invoke_api::MAX_EVENT_BYTES;
use coshell_emulator::logs::Output;
use coshell_emulator::pool::Pool;
use coshell_emulator::report::Report;

/// The path at a `coshell serve`, which accepts any name of the function.
const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell invoke examples/echo/function.sh.handler --event 'Hello'\n  \
        coshell invoke function.handler --event-file event.json --timeout 3\n  \
        jq -n '{name: \"Ada\"}' | coshell invoke function.handler\n  \
        coshell invoke function.handler --sample s3\n  \
        coshell invoke function.handler --event '{}' --repeat 1000\n  \
        coshell invoke --endpoint http://localhost:9000 --event '{}' --json\n\n\
        Exit status:\n  \
        0  the handler returned a response\n  \
        1  it failed: the error document is on standard output, an explanation on standard error\n  \
        2  nothing was invoked: wrong use, or the bootstrap cannot be started; or the answer cannot be written\n  \
        128 + n  ended by signal n")]
pub struct InvokeArguments {
    /// The handler, as on Lambda: [dir/]file[.sh].function, or a script or an executable with its arguments; relative to the
    /// task root [default: $_HANDLER]
    #[arg(conflicts_with = "endpoint")]
    pub handler: Option<OsString>,

    /// The event
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub event: Option<OsString>,

    /// A file with the event; - is standard input. Without --event, --event-file and --sample, the event comes from standard
    /// input; if that is a terminal, the event is empty
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "event")]
    pub event_file: Option<PathBuf>,

    /// Send a sample event of this service
    #[arg(long, value_name = "NAME", conflicts_with_all = ["event", "event_file"])]
    pub sample: Option<Sample>,

    /// Invoke N times, one after another in one sandbox, and print how long it took. Shows the first failure or, if there is
    /// none, the last response
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,

    /// Print a JSON object: the response or the error, the durations, and the end of the log
    #[arg(long)]
    pub json: bool,

    /// Call a running `coshell serve` at this URL instead of starting a sandbox
    #[arg(long, value_name = "URL", conflicts_with_all = ["task_root", "timeout", "memory", "variables", "variable_files", "dotenv_files", "bootstrap"])]
    pub endpoint: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub function: FunctionArguments,
}

enum Completion {
    Done(Box<Outcome>),
    /// The user stopped the invocations with this signal.
    Interrupted(u8),
}

pub(crate) fn run(arguments: &InvokeArguments) -> Result<ExitCode, Error> {
    // Read the event before installing signal handlers, so that Ctrl-C ends a read from the terminal as usual.
    let event = read_event(arguments)?;
    let completion = match (&arguments.endpoint, &arguments.handler) {
        (Some(endpoint), _) => invoke_at_endpoint(endpoint, &event, arguments)?,
        (None, handler) => {
            let handler = handler.clone().or_else(handler_variable);
            let handler = handler.ok_or_else(|| Error::Misuse {
                what: "cannot invoke a function".to_owned(),
                cause: "neither an argument nor _HANDLER names a handler; for example: coshell invoke function.sh.handler"
                    .to_owned(),
            })?;
            invoke_in_sandbox(&handler, &event, arguments)?
        }
    };
    match completion {
        Completion::Done(outcome) => show(&outcome, arguments),
        Completion::Interrupted(signal) => Ok(ExitCode::from(128 + signal)),
    }
}

fn invoke_in_sandbox(
    handler: &OsString,
    event: &Bytes,
    arguments: &InvokeArguments,
) -> Result<Completion, Error> {
    let function = arguments.function.function(handler.clone())?;
    let output = Output::standard_error().map_err(Error::io("cannot use standard error"))?;
    single_threaded_runtime()?.block_on(async {
        let stop = stop_signal()?;
        let pool = Pool::new(function, 0, output, Faults::default());
        let completion = tokio::select! {
            biased; // an outcome counts, even if a signal has come by now
            outcome = invoke_repeatedly(&pool, event, arguments.repeat) => {
                Ok(Completion::Done(Box::new(outcome?)))
            }
            signal = stop => Ok(Completion::Interrupted(signal)),
        };
        pool.close().await;
        completion
    })
}

async fn invoke_repeatedly(pool: &Arc<Pool>, event: &Bytes, repeat: u32) -> Result<Outcome, Error> {
    let mut outcome: Option<Outcome> = None;
    for _ in 0..repeat {
        let event = Event {
            body: event.clone(),
            ..Event::default()
        };
        let begun_at = Instant::now();
        let reply = invoke_once(pool, event).await.map_err(Error::Emulator)?;
        let answer = reply.answer.whole().await;
        let elapsed = begun_at.elapsed();
        let report = reply.report.await.ok();
        let request_id = report.as_ref().map(|report| report.request_id.clone());
        let call = Call {
            answer,
            elapsed,
            request_id: request_id.unwrap_or_default(),
            report,
        };
        outcome = Some(Outcome::add(outcome, call));
    }
    // clap allows no `--repeat 0`.
    outcome.ok_or_else(|| Error::Misuse {
        what: "cannot invoke the handler".to_owned(),
        cause: "zero times".to_owned(),
    })
}

fn invoke_at_endpoint(
    endpoint: &str,
    event: &Bytes,
    arguments: &InvokeArguments,
) -> Result<Completion, Error> {
    let what = format!("cannot invoke the function at {endpoint}");
    let misuse = |cause: String| Error::Misuse {
        what: what.clone(),
        cause,
    };
    if !endpoint.starts_with("http://") {
        let cause = "expected a URL like http://localhost:9000".to_owned();
        return Err(misuse(cause));
    }
    let url = format!("{}{INVOCATIONS}", endpoint.trim_end_matches('/'));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let mut outcome = None;
    for _ in 0..arguments.repeat {
        let begun_at = Instant::now();
        let post = agent.post(&url).header("content-type", "application/json");
        let post = if arguments.json {
            post.header("x-amz-log-type", "Tail")
        } else {
            post
        };
        let response = post.send(event.as_ref());
        let mut response = response.map_err(|error| misuse(error.to_string()))?;
        let body = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec();
        let body = Bytes::from(body.map_err(|error| misuse(error.to_string()))?);
        let elapsed = begun_at.elapsed();
        let header = |name| {
            let value = response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.map(ToOwned::to_owned)
        };
        if response.status() != 200 {
            let text = String::from_utf8_lossy(&body);
            return Err(misuse(format!(
                "the server answered {}: {}",
                response.status(),
                text.trim_end()
            )));
        }
        let answer = match header("x-amz-function-error") {
            Some(_) => Err(Failure::from_runtime(None, body)),
            None => Ok(body),
        };
        let log = header("x-amz-log-result").and_then(|log| BASE64_STANDARD.decode(log).ok());
        let call = Call {
            answer,
            elapsed,
            request_id: header("x-amzn-requestid").unwrap_or_default(),
            report: log.map(|log_tail| Report {
                log_tail,
                ..Report::default()
            }),
        };
        outcome = Some(Outcome::add(outcome, call));
    }
    let outcome = outcome.ok_or_else(|| misuse("zero times".to_owned()))?;
    Ok(Completion::Done(Box::new(outcome)))
}

fn show(outcome: &Outcome, arguments: &InvokeArguments) -> Result<ExitCode, Error> {
    let shown = &outcome.shown;
    if arguments.json {
        write_answer(to_json(outcome).to_string().as_bytes(), b"\n")?;
    } else {
        match &shown.answer {
            Ok(response) => write_answer(response, b"")?,
            Err(failure) => {
                // At a terminal the explanation below is enough.
                if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
                    write_answer(&failure.document, b"\n")?;
                }
                let log = shown.report.as_ref().map(|report| &*report.log_tail);
                let log = log.unwrap_or_default();
                eprint!("{}", explain_error(&failure.document, log, has_colour()));
            }
        }
        if arguments.repeat > 1 {
            eprint!("{}", latency_summary(outcome));
        }
    }
    Ok(match outcome.failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn read_event(arguments: &InvokeArguments) -> Result<Bytes, Error> {
    if let Some(sample) = arguments.sample {
        return Ok(sample.event().into());
    }
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
            format!("it has more than {MAX_EVENT_BYTES} bytes (6 MiB), which is Lambda's limit");
        return Err(Error::Misuse { what, cause });
    }
    Ok(event.into())
}

/// Reads to the end, but at most one byte more than an event may have.
fn read_limited(source: impl Read) -> io::Result<Vec<u8>> {
    let mut event = Vec::new();
    source
        .take(MAX_EVENT_BYTES as u64 + 1)
        .read_to_end(&mut event)?;
    Ok(event)
}

fn write_answer(answer: &[u8], end: &[u8]) -> Result<(), Error> {
    // `io::stdout` would search the whole answer for newlines.
    let write = || {
        let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        stdout.write_all(answer)?;
        stdout.write_all(end)
    };
    write().map_err(Error::io("cannot write answer to standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_one_byte_after_the_largest_event() -> io::Result<()> {
        assert_eq!(read_limited(io::repeat(b'x'))?.len(), MAX_EVENT_BYTES + 1);
        assert_eq!(read_limited(&b"event"[..])?, b"event");
        Ok(())
    }
}
