//! SnapStart: the snapshot and the restore between the init and the first event.
//!
//! Lambda takes the snapshot while we wait for `restore/next`, and starts any number of sandboxes from it, at any time. In each
//! of them the clock has jumped, connections are dead, and random numbers are the same as in all the others. So the handler's
//! file gets a hook before and after, and we replace what we hold ourselves.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html>.

use crate::calls;
use crate::child::LaneContext;
use crate::config::Initialization;
use crate::error::{Error, Result};
use crate::runner::Runner;
use crate::runtime_api::Client;
use coshell_handler::Failure;

/// Waits for the snapshot and the restore, and runs the hooks around them. Does nothing without `SnapStart`.
///
/// # Errors
/// [`Error::BeforeSnapshotHook`] and [`Error::AfterRestoreHook`], which are not posted yet; [`Error::WaitForRestore`] if the
/// Runtime API does not confirm the restore; [`Error::Stopped`] if we have to shut down.
pub(crate) fn snapshot_and_restore(
    cx: LaneContext,
    client: &mut Client,
    runner: &mut dyn Runner,
) -> Result<()> {
    if cx.config.initialization != Initialization::SnapStart {
        return Ok(());
    }
    run_hook(runner, "lambda_before_snapshot", |failure| {
        Error::BeforeSnapshotHook(Failure {
            error_type: "Runtime.BeforeSnapshotError".into(),
            ..failure
        })
    })?;
    cx.logs.drain();
    if !client.wait_for_restore()? {
        return Err(Error::Stopped);
    }
    if let Err(error) = client.reconnect() {
        cx.config.log.warn(format_args!("{error}"));
    }
    calls::forget_before_restore();
    runner.make_unique()?;
    run_hook(runner, "lambda_after_restore", |failure| {
        Error::AfterRestoreHook(Failure {
            error_type: "Runtime.AfterRestoreError".into(),
            ..failure
        })
    })
}

/// Runs a hook. `to_error` makes an error of its failure, whose message begins with the hook's name.
fn run_hook(
    runner: &mut dyn Runner,
    function: &str,
    to_error: impl FnOnce(Failure) -> Error,
) -> Result<()> {
    match runner.run_hook(function)? {
        None => Ok(()),
        Some(failure) if failure.message.starts_with(function) => Err(to_error(failure)),
        Some(failure) => Err(to_error(Failure {
            message: format!("{function}: {}", failure.message),
            ..failure
        })),
    }
}
