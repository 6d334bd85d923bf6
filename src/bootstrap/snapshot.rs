//! SnapStart: what happens between the init and the first event, where a snapshot lies between them.
//!
//! Lambda takes the snapshot while we wait at `restore/next`, and starts as many sandboxes from it as it
//! likes, at any time. In each of them the clock has jumped, the connections are dead, and what was random is
//! the same as in all others. So the file is told before and after, and what we hold ourselves is made anew.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html>.
//! Neighbour: `runtime.rs`, which calls this once.

use crate::child::LaneContext;
use crate::config::Initialization;
use crate::error::{Error, Result};
use crate::runtime_api::Client;
use coshell_handler::Failure;

/// What a snapshot is taken of.
pub(crate) trait Kept {
    /// Runs `function` of the handler's file, if it is there. Why it failed, if it did.
    ///
    /// # Errors
    /// [`Error::Stopped`], or that there is nothing to run it in.
    fn run_hook(&mut self, function: &str) -> Result<Option<Failure>>;

    /// Makes anew what must not be the same in every copy of a snapshot.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn renew(&mut self) -> Result<()>;
}

/// Lets the snapshot be taken, and goes on where it is restored. Does nothing for other kinds of function.
///
/// # Errors
/// [`Error::BeforeSnapshot`] and [`Error::AfterRestore`], which nobody has told the Runtime API;
/// [`Error::Restore`] if the Runtime API does not say that the sandbox is restored; [`Error::Stopped`] if we
/// are asked to end.
pub(crate) fn pass(cx: LaneContext, client: &mut Client, kept: &mut impl Kept) -> Result<()> {
    if cx.config.initialization != Initialization::SnapStart {
        return Ok(());
    }
    run_hook(kept, "lambda_before_snapshot", |failure| {
        Error::BeforeSnapshot(Failure {
            error_type: "Runtime.BeforeSnapshotError",
            ..failure
        })
    })?;
    cx.logs.drain();
    if !client.wait_for_restore()? {
        return Err(Error::Stopped);
    }
    if let Err(error) = client.reopen() {
        let text = format!("lambda_shutdown will not be called by Lambda: {error}");
        cx.config.log.warn(format_args!("{text}"));
    }
    kept.renew()?;
    run_hook(kept, "lambda_after_restore", |failure| {
        Error::AfterRestore(Failure {
            error_type: "Runtime.AfterRestoreError",
            ..failure
        })
    })
}

fn run_hook(
    kept: &mut impl Kept,
    function: &str,
    error: impl FnOnce(Failure) -> Error,
) -> Result<()> {
    match kept.run_hook(function)? {
        None => Ok(()),
        Some(failure) if failure.message.starts_with(function) => Err(error(failure)),
        Some(failure) => Err(error(Failure {
            message: format!("{function}: {}", failure.message),
            ..failure
        })),
    }
}
