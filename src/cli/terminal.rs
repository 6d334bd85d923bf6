//! Standard output, the signals that stop the program, and the event loop, for all subcommands.

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, MISUSE};

/// Prints a text for people. Succeeds even if the reader has closed the pipe, as `head -1` does.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, Error> {
    let mut stdout = io::stdout().lock();
    check(stdout.write_all(text).and_then(|()| stdout.flush()))
}

/// Prints what clap found: the help or the version on standard output, or what is wrong with the command line on standard error.
pub(crate) fn show(message: &clap::Error) -> Result<ExitCode, Error> {
    let printed = message.print().and_then(|()| io::stdout().flush());
    if message.use_stderr() {
        return Ok(ExitCode::from(MISUSE));
    }
    check(printed)
}

fn check(printed: io::Result<()>) -> Result<ExitCode, Error> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Waits for SIGINT, SIGTERM or SIGHUP, and returns its number.
pub(crate) fn stop_signal() -> Result<impl Future<Output = u8>, Error> {
    let listen = |kind| signal(kind).map_err(Error::io("cannot listen for signals"));
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

/// One thread is enough: the work happens in the processes of the sandboxes.
pub(crate) fn single_threaded_runtime() -> Result<Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().build();
    built.map_err(Error::io("cannot start tokio"))
}
