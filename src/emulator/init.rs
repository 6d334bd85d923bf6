//! Waits for the init of a sandbox, and for its restore with SnapStart, and reports both.
//!
//! The init is over when the bootstrap requests its first event and every extension waits for its next event too. With
//! SnapStart it is over when the bootstrap waits for the restore.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::time::{sleep, timeout};

use super::failure::{Failure, exit_message};
use super::report::{StopReason, init_record, init_report_line, restore_report_line};
use super::sandbox::Sandbox;
use super::{Function, Scale};

/// Lambda's limit for an init that runs before the first invocation. An init that takes longer is repeated within that
/// invocation.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The limit for SnapStart and Managed Instances, unless the function's timeout is longer.
const LONG_INIT_LIMIT: Duration = Duration::from_secs(130);
/// Lambda's limit for the restore and the runtime hooks after it.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// How long a bootstrap that has reported a fatal error may take to exit.
pub(crate) const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// Waits for the end of the init. True if it succeeded.
pub(crate) async fn wait_for_init(function: &Function, sandbox: &Sandbox) -> bool {
    let limit = match function.scale {
        Scale::OnDemand(_) => INIT_LIMIT,
        Scale::SnapStart(_) | Scale::ManagedInstance(_) => LONG_INIT_LIMIT.max(function.timeout),
    };
    let reason = tokio::select! {
        biased; // an init error comes before the exit that follows it
        status = sandbox.api.wait_until(|status| status.ready_at.is_some() || status.failure.is_some()) => {
            if let (Some(ready_at), None) = (status.ready_at, &status.failure) {
                let duration = sandbox.record_init(ready_at);
                let telemetry = sandbox.api.telemetry();
                let kind = function.scale.initialization_type();
                telemetry.send_platform_event("platform.initReport", || init_record(duration, kind));
                sandbox.memory.sample();
                sandbox.log.drain();
                return true;
            }
            let _ = timeout(EXIT_LIMIT, sandbox.wait_for_exit()).await;
            StopReason::Failure(status.failure.unwrap_or_else(unknown_failure).error_type)
        }
        status = sandbox.wait_for_exit() => {
            sandbox.log.drain();
            sandbox.log.write_platform_lines(&format!("{}\n", exit_message(status)));
            StopReason::Failure("Runtime.ExitError".to_owned())
        }
        () = sleep(limit) => StopReason::Timeout,
    };
    sandbox.log.drain();
    let line = init_report_line(sandbox.age(), "init", &reason);
    sandbox.log.write_platform_lines(&line);
    false
}

/// If the bootstrap waits for its restore, lets it go on, and waits until it requests an event.
pub(crate) async fn restore(sandbox: &Sandbox) {
    if !sandbox.api.awaits_restore() {
        return;
    }
    let restored_at = Instant::now();
    sandbox.api.restore();
    tokio::select! {
        _ = sandbox.api.wait_until(|status| status.is_idle || status.failure.is_some()) => {}
        _ = sandbox.wait_for_exit() => {}
        () = sleep(RESTORE_LIMIT) => {}
    }
    let duration = restored_at.elapsed();
    sandbox
        .log
        .write_platform_lines(&restore_report_line(duration));
    sandbox.record_restore(duration);
}

fn unknown_failure() -> Failure {
    Failure::from_runtime(Some("Runtime.Unknown"), Bytes::new())
}
