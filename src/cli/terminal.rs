//! What subcommands share: standard output, the signals that end the program, and an event loop.

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;

/// Prints what people read, all at once. A reader that has seen enough, as in `| head -1`, is no
/// failure.
///
/// # Errors
/// When standard output takes no more, for another reason.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Completes with the number of the first signal that asks us to end.
pub(crate) fn stop_signal() -> Result<impl Future<Output = u8>, Error> {
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

/// What takes time are the functions, and those are processes.
pub(crate) fn tokio_of_one_thread() -> Result<Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().build();
    built.map_err(Error::io("cannot start tokio"))
}
