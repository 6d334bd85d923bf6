//! Init once, then next, invoke, answer; the only file that knows both API and shell.
//!
//! The order within an invocation is what makes it safe: the response and the log are drained,
//! then the answer is posted, then the shell is put in order, and only then the next invocation is
//! asked for, because the sandbox may be frozen from there on.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::invocation::{Failure, Invocation, Outcome};
use crate::log::{Level, Origin};
use crate::runtime_api::{Client, Posted, wire};
use crate::shell::{Shell, Starting};

/// Loads the handler and serves invocations until the platform ends us, or cannot go on.
///
/// # Errors
/// What ended it. An error of the init has been posted to the Runtime API by then.
pub fn run(config: &Config) -> Result<()> {
    for text in config.misread() {
        config.log.write(Level::Warn, Origin::default(), &text);
    }
    let handler = match Handler::find(config.handler.as_deref(), &config.task_root) {
        Ok(handler) => handler,
        Err(error) => {
            return Err(tell_init_error(
                config,
                &mut Client::open(&config.runtime_api),
                error,
            ));
        }
    };
    // bash starts while we connect.
    let starting = Shell::start(config, &handler);
    let mut client = Client::open(&config.runtime_api);
    match starting.and_then(Starting::finish) {
        Ok(shell) => serve(config, &mut client, shell),
        Err(error) => Err(tell_init_error(config, &mut client, error)),
    }
}

fn tell_init_error(config: &Config, client: &mut Client, error: Error) -> Error {
    // Whether it arrives or not: the error itself is what ends us.
    let text = match client.post_init_error(&error.to_failure()) {
        Ok(Posted::Accepted) => return error,
        Ok(Posted::Refused(reason)) => format!("init error not taken: {reason}"),
        Ok(Posted::Unknown(cause)) => {
            format!("cannot tell whether the init error arrived: {cause}")
        }
        Err(posting) => posting.to_string(),
    };
    config.log.write(Level::Error, Origin::default(), &text);
    error
}

fn serve(config: &Config, client: &mut Client, mut shell: Shell) -> Result<()> {
    // An answer of which nobody knows whether it arrived.
    let mut unconfirmed: Option<(Attempt, Outcome)> = None;
    loop {
        let invocation = client.next_invocation()?;
        let outcome = match unconfirmed.take() {
            // The platform still waits for it: the handler has run, and must not run again.
            Some((answered, outcome)) if answered == attempt(&invocation) => outcome,
            _ => fitting(shell.invoke(&invocation)?),
        };
        if let Outcome::Failure(failure) = &outcome {
            log_failure(config, &invocation, failure);
        }
        match client.post_outcome(&invocation, &outcome)? {
            Posted::Accepted => {}
            Posted::Refused(reason) => {
                let text = format!("answer not taken: {reason}");
                config.log.write(Level::Error, invocation.origin(), &text);
            }
            Posted::Unknown(cause) => {
                let text = format!("cannot tell whether the answer arrived: {cause}");
                config.log.write(Level::Error, invocation.origin(), &text);
                unconfirmed = Some((attempt(&invocation), outcome));
            }
        }
        shell.settle(&invocation)?;
    }
}

/// A retry of an asynchronous invocation has the same request id, but another invocation id.
type Attempt = (String, Option<String>);

fn attempt(invocation: &Invocation) -> Attempt {
    (
        invocation.request_id.clone(),
        invocation.invocation_id.clone(),
    )
}

/// A response that Lambda would not take becomes an error that says so.
fn fitting(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Response(bytes) if bytes.len() > wire::MAX_RESPONSE_BYTES => {
            Outcome::Failure(Failure {
                error_type: "Function.ResponseSizeTooLarge",
                message: format!(
                    "response of {} bytes is larger than the {} bytes that Lambda takes",
                    bytes.len(),
                    wire::MAX_RESPONSE_BYTES
                ),
                stack: Vec::new(),
            })
        }
        outcome => outcome,
    }
}

/// One line: the rest of the message is the end of the log, which is there already.
fn log_failure(config: &Config, invocation: &Invocation, failure: &Failure) {
    let first = failure.message.lines().next().unwrap_or_default();
    let text = format!("{}: {first}", failure.error_type);
    config.log.write(Level::Error, invocation.origin(), &text);
}
