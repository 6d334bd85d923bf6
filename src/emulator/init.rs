//! The init of a sandbox, and its restore: waited for, and told of.
//!
//! The init is over when the bootstrap asks for its first event and the extensions wait too; with
//! SnapStart when it waits for the restore. Used by [`pool`](super::pool).

use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::time::{sleep, timeout};

use super::exchange::{Failure, exited_text};
use super::report::{End, init_line, init_record, restore_line};
use super::sandbox::Sandbox;
use super::{Function, Scale};

/// What Lambda gives the init before the first invocation; after that it is repeated within that.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The same for SnapStart and Managed Instances, if the function's timeout is not longer.
const LONG_INIT_LIMIT: Duration = Duration::from_secs(130);
/// What Lambda gives the restore, with what the runtime does after it.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// How long a bootstrap that has said why it cannot go on may take to end.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(1);

/// Waits for the end of the init, whether it succeeds.
pub(crate) async fn init(function: &Function, sandbox: &Sandbox) -> bool {
    let limit = match function.scale {
        Scale::OnDemand(_) => INIT_LIMIT,
        Scale::SnapStart(_) | Scale::ManagedInstance(_) => LONG_INIT_LIMIT.max(function.timeout),
    };
    let end = tokio::select! {
        biased; // an init error comes before the end that follows it
        standing = sandbox.api.until(|now| now.ready_at.is_some() || now.failure.is_some()) => {
            if let (Some(ready_at), None) = (standing.ready_at, &standing.failure) {
                let duration = sandbox.end_init(ready_at);
                let telemetry = sandbox.api.telemetry();
                let kind = function.scale.initialization_type();
                telemetry.tell("platform.initReport", || init_record(duration, kind));
                sandbox.memory.look();
                sandbox.log.drain();
                return true;
            }
            let _ = timeout(END_LIMIT, sandbox.ended()).await;
            End::Failure(standing.failure.unwrap_or_else(unknown).error_type)
        }
        status = sandbox.ended() => {
            sandbox.log.drain();
            sandbox.log.write_platform_lines(&format!("{}\n", exited_text(status)));
            End::Failure("Runtime.ExitError".to_owned())
        }
        () = sleep(limit) => End::Timeout,
    };
    sandbox.log.drain();
    let line = init_line(sandbox.age(), "init", &end);
    sandbox.log.write_platform_lines(&line);
    false
}

/// Lets a bootstrap that waits for its restore go on, and waits until it asks for an event.
pub(crate) async fn restore(sandbox: &Sandbox) {
    if !sandbox.api.awaits_restore() {
        return;
    }
    let restored_at = Instant::now();
    sandbox.api.restore();
    tokio::select! {
        _ = sandbox.api.until(|now| now.is_idle || now.failure.is_some()) => {}
        _ = sandbox.ended() => {}
        () = sleep(RESTORE_LIMIT) => {}
    }
    let duration = restored_at.elapsed();
    sandbox.log.write_platform_lines(&restore_line(duration));
    sandbox.end_restore(duration);
}

fn unknown() -> Failure {
    Failure::of_runtime(Some("Runtime.Unknown"), Bytes::new())
}
