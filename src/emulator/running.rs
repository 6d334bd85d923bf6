//! A running invocation: what its caller waits for, and when it is over.
//!
//! The caller gets the answer as soon as the bootstrap sends it. The invocation is over later: when the bootstrap
//! requests the next event and every extension waits for its next event too. At that moment Lambda freezes the sandbox.
//! The deadline applies until then.

use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, interval_at, sleep_until, timeout};

use super::Function;
use super::exchange::{Answer, Piece, Stream};
use super::failure::{Failure, exit_message, timeout_message};
use super::init::EXIT_LIMIT;
use super::memory::SAMPLE_PERIOD;
use super::report::{Report, StopReason};
use super::sandbox::Sandbox;

const EXIT_ERROR: &str = "Runtime.ExitError";

/// The result of an invocation for its caller.
#[derive(Debug)]
pub struct Reply {
    pub answer: Answer,
    /// Arrives when the invocation is over, which may be after the answer. The sender is dropped if the sandbox could
    /// not be started.
    pub report: oneshot::Receiver<Report>,
}

/// An invocation whose event the sandbox has.
pub(crate) struct RunningInvocation<'a> {
    pub function: &'a Function,
    pub sandbox: &'a Sandbox,
    /// When the time until the deadline began to run.
    pub begun_at: Instant,
    pub request_id: &'a str,
}

/// An invocation that is over.
pub(crate) struct Finished {
    /// From the delivery of the event until the sandbox was idle again.
    pub duration: Duration,
    /// Why the sandbox has ended or must be stopped. `None` if it can run another invocation.
    pub stop_reason: Option<StopReason>,
}

/// What happened first.
pub(crate) enum FirstEvent {
    /// An answer, or the beginning of a streamed one.
    Answer(Answer),
    /// The bootstrap exited.
    Exit(ExitStatus),
    Deadline,
}

impl RunningInvocation<'_> {
    fn deadline(&self) -> Instant {
        self.begun_at + self.function.timeout
    }

    pub(crate) async fn wait_for_first(
        &self,
        answer: &mut oneshot::Receiver<Answer>,
    ) -> FirstEvent {
        let mut samples = memory_samples();
        loop {
            tokio::select! {
                biased; // an answer counts, even if the bootstrap has exited or the deadline has passed by now
                Ok(answer) = &mut *answer => return FirstEvent::Answer(answer),
                status = self.sandbox.wait_for_exit() => return FirstEvent::Exit(status),
                _ = samples.tick() => self.sandbox.memory.sample(),
                () = sleep_until(self.deadline().into()) => {
                    self.sandbox.memory.sample();
                    return FirstEvent::Deadline;
                }
            }
        }
    }

    /// Sends the answer to the caller, a streamed one until its end. Returns the reason if the sandbox has ended or must be
    /// stopped.
    pub(crate) async fn answer_caller(
        &self,
        first: FirstEvent,
        caller: oneshot::Sender<Reply>,
        report: oneshot::Receiver<Report>,
    ) -> Option<StopReason> {
        let (request_id, log) = (self.request_id, &self.sandbox.log);
        let (answer, stop_reason) = match first {
            FirstEvent::Answer(Answer::Stream(stream)) => {
                let (to_caller, pieces) = mpsc::channel(1);
                let answer = Answer::Stream(Stream {
                    content_type: stream.content_type,
                    pieces,
                });
                let _ = caller.send(Reply { answer, report });
                return self.forward_stream(stream.pieces, to_caller).await;
            }
            FirstEvent::Answer(answer) => (answer, None),
            FirstEvent::Exit(status) => {
                log.drain();
                let message = exit_message(status);
                let lines = format!("RequestId: {request_id} Error: {message}\n{EXIT_ERROR}\n");
                log.write_platform_lines(&lines);
                let answer = Answer::Error(Failure::exited(request_id, status));
                (answer, Some(StopReason::Failure(EXIT_ERROR.to_owned())))
            }
            FirstEvent::Deadline => {
                let failure = Failure::timed_out(request_id, self.function.timeout);
                (Answer::Error(failure), Some(StopReason::Timeout))
            }
        };
        let _ = caller.send(Reply { answer, report });
        stop_reason
    }

    /// Waits until the sandbox is idle once more after `idle_count` times, or has ended, and measures the duration.
    pub(crate) async fn wait_until_frozen(
        &self,
        idle_count: u64,
        mut stop_reason: Option<StopReason>,
    ) -> Finished {
        let (request_id, log) = (self.request_id, &self.sandbox.log);
        if self.function.scale.capacity() == 1 && stop_reason.is_none() {
            stop_reason = self.wait_until_idle(idle_count).await;
        }
        let mut duration = self.begun_at.elapsed();
        if stop_reason == Some(StopReason::Timeout) {
            duration = duration.min(self.function.timeout);
            log.drain();
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            let message = timeout_message(self.function.timeout);
            log.write_platform_lines(&format!("{now} {request_id} {message}\n"));
            self.sandbox.api.expire(request_id);
            self.sandbox.memory.sample();
        }
        Finished {
            duration,
            stop_reason,
        }
    }

    /// Passes a stream on to the caller. If the caller has gone, reads it to its end all the same: the function goes on.
    async fn forward_stream(
        &self,
        mut from: mpsc::Receiver<Piece>,
        to_caller: mpsc::Sender<Piece>,
    ) -> Option<StopReason> {
        let mut samples = memory_samples();
        let mut is_whole = false;
        let mut waiting = None;
        loop {
            tokio::select! {
                biased;
                piece = from.recv(), if waiting.is_none() => match piece {
                    Some(piece) => {
                        is_whole = matches!(piece, Piece::End(_));
                        waiting = Some(piece);
                    }
                    None if is_whole => return None,
                    None => break,
                },
                slot = to_caller.reserve(), if waiting.is_some() => {
                    if let (Ok(slot), Some(piece)) = (slot, waiting.take()) {
                        slot.send(piece);
                    }
                    waiting = None;
                }
                _ = samples.tick() => self.sandbox.memory.sample(),
                () = sleep_until(self.deadline().into()) => {
                    self.sandbox.memory.sample();
                    return Some(StopReason::Timeout);
                }
            }
        }
        // The connection broke in the middle of the response, most likely because the bootstrap has exited.
        let _ = timeout(EXIT_LIMIT, self.sandbox.wait_for_exit()).await;
        self.sandbox
            .has_exited()
            .then(|| StopReason::Failure(EXIT_ERROR.to_owned()))
    }

    async fn wait_until_idle(&self, idle_count: u64) -> Option<StopReason> {
        let sandbox = self.sandbox;
        let failure = sandbox.api.failure();
        let limit = match failure {
            Some(_) => Instant::now() + EXIT_LIMIT,
            None => self.deadline(),
        };
        let mut samples = memory_samples();
        loop {
            tokio::select! {
                biased;
                _ = sandbox.api.wait_until(|status| status.idle_count > idle_count) => return None,
                _ = sandbox.wait_for_exit() => break,
                _ = samples.tick() => sandbox.memory.sample(),
                () = sleep_until(limit.into()) => {
                    sandbox.memory.sample();
                    break;
                }
            }
        }
        match failure {
            Some(failure) => Some(StopReason::Failure(failure.error_type)),
            None => (!sandbox.has_exited()).then_some(StopReason::Timeout),
        }
    }
}

/// Ticks whenever the memory of a running invocation has to be measured.
fn memory_samples() -> Interval {
    interval_at((Instant::now() + SAMPLE_PERIOD).into(), SAMPLE_PERIOD)
}
