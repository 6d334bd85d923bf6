//! Events whose callers do not wait: queued, and tried three times as Lambda does.
//!
//! Lambda waits a minute before the second attempt and two before the third. The request id stays
//! the same: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::exchange::{Answer, Event, Piece};
use super::logs::say;
use super::pool::Pool;

/// How often an event is tried.
const ATTEMPTS: u32 = 3;

/// Invokes the function in a task of its own, and again after `retry_delay` and twice that if it
/// fails.
pub fn queue(pool: &Arc<Pool>, request_id: String, event: Event, retry_delay: Duration) {
    let pool = Arc::clone(pool);
    tokio::spawn(async move {
        for attempt in 1..=ATTEMPTS {
            let Ok(turn) = pool.turns.wait().await else {
                return; // we are ending
            };
            let reply = pool.invoke(turn, request_id.clone(), event.clone()).await;
            let is_done = match reply.map(|reply| reply.answer) {
                Ok(Answer::Response(_)) => true,
                Ok(Answer::Stream(mut stream)) => {
                    let mut last = None;
                    while let Some(piece) = stream.pieces.recv().await {
                        last = Some(piece);
                    }
                    last == Some(Piece::End(None))
                }
                Ok(Answer::Error(_)) | Err(_) => false,
            };
            if is_done {
                return;
            }
            if attempt == ATTEMPTS {
                say(format_args!(
                    "event {request_id} has failed {ATTEMPTS} times, and is dropped"
                ));
            } else {
                let delay = retry_delay * attempt;
                let next = attempt + 1;
                say(format_args!(
                    "event {request_id} has failed, attempt {next} of {ATTEMPTS} comes in {delay:?}"
                ));
                sleep(delay).await;
            }
        }
    });
}
