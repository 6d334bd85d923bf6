//! One invocation under way in a sandbox: what comes first, and when it is over.
//!
//! An invocation is over when the bootstrap asks for the next one and the extensions wait too, as
//! on Lambda, which then freezes the sandbox; the caller has its answer before that. Its deadline
//! runs on until then. Used by [`pool`](super::pool).

use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, interval_at, sleep_until, timeout};

use super::Function;
use super::exchange::{Answer, Failure, Piece, Stream, exited_text, timed_out_text};
use super::init::END_LIMIT;
use super::memory::SAMPLE_PERIOD;
use super::report::{End, Report};
use super::sandbox::Sandbox;

/// What becomes of an invocation.
#[derive(Debug)]
pub struct Reply {
    /// What the caller gets.
    pub answer: Answer,
    /// What it took, once it is over.
    pub report: oneshot::Receiver<Report>,
}

/// One invocation under way.
pub struct Run<'a> {
    /// What is invoked.
    pub function: &'a Function,
    /// When its time began to run.
    pub begun_at: Instant,
    /// Names it.
    pub request_id: &'a str,
}

/// How an invocation was over.
pub(crate) struct Over {
    /// From its event until the next was asked for.
    pub duration: Duration,
    /// What ended the sandbox, or is to end it.
    pub end: Option<End>,
}

/// What came first.
pub(crate) enum First {
    /// The answer, or the first of it.
    Answer(Answer),
    /// The end of the bootstrap.
    Ended(ExitStatus),
    /// The deadline.
    Deadline,
}

impl Run<'_> {
    fn deadline(&self) -> Instant {
        self.begun_at + self.function.timeout
    }

    /// Waits for what comes first.
    pub(crate) async fn first(
        &self,
        sandbox: &Sandbox,
        answer: &mut oneshot::Receiver<Answer>,
    ) -> First {
        let mut samples = memory_samples();
        loop {
            tokio::select! {
                biased; // an answer counts, whatever else has happened by now
                Ok(answer) = &mut *answer => return First::Answer(answer),
                status = sandbox.ended() => return First::Ended(status),
                _ = samples.tick() => sandbox.memory.look(),
                () = sleep_until(self.deadline().into()) => {
                    sandbox.memory.look();
                    return First::Deadline;
                }
            }
        }
    }

    /// Gives the caller what there is; what ended the sandbox, or is to end it.
    pub(crate) async fn reply(
        &self,
        sandbox: &Sandbox,
        first: First,
        reply: oneshot::Sender<Reply>,
        report: oneshot::Receiver<Report>,
    ) -> Option<End> {
        let request_id = self.request_id;
        let (answer, end) = match first {
            First::Answer(Answer::Stream(stream)) => {
                let (pieces, passed_on) = mpsc::channel(1);
                let answer = Answer::Stream(Stream {
                    content_type: stream.content_type,
                    pieces: passed_on,
                });
                let _ = reply.send(Reply { answer, report });
                return self.pass_on(sandbox, stream.pieces, pieces).await;
            }
            First::Answer(answer) => (answer, None),
            First::Ended(status) => {
                sandbox.log.drain();
                let text = exited_text(status);
                let lines = format!("RequestId: {request_id} Error: {text}\nRuntime.ExitError\n");
                sandbox.log.write_platform_lines(&lines);
                let answer = Answer::Error(Failure::exited(request_id, status));
                (answer, Some(End::Failure("Runtime.ExitError".to_owned())))
            }
            First::Deadline => {
                let failure = Failure::timed_out(request_id, self.function.timeout);
                (Answer::Error(failure), Some(End::Timeout))
            }
        };
        let _ = reply.send(Reply { answer, report });
        end
    }

    /// Waits until the sandbox, which has been idle `idle_count` times, is so once more, and takes
    /// the time.
    pub(crate) async fn over(
        &self,
        sandbox: &Sandbox,
        idle_count: u64,
        mut end: Option<End>,
    ) -> Over {
        let request_id = self.request_id;
        if self.function.scale.capacity() == 1 && end.is_none() {
            end = self.settle(sandbox, idle_count).await;
        }
        let mut duration = self.begun_at.elapsed();
        if end == Some(End::Timeout) {
            duration = duration.min(self.function.timeout);
            sandbox.log.drain();
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            let text = timed_out_text(self.function.timeout);
            let line = format!("{now} {request_id} {text}\n");
            sandbox.log.write_platform_lines(&line);
            sandbox.api.expire(request_id);
            sandbox.memory.look();
        }
        Over { duration, end }
    }

    /// Passes a stream on to the caller. One who has gone is not waited for, the end is.
    async fn pass_on(
        &self,
        sandbox: &Sandbox,
        mut from: mpsc::Receiver<Piece>,
        to: mpsc::Sender<Piece>,
    ) -> Option<End> {
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
                permit = to.reserve(), if waiting.is_some() => {
                    if let (Ok(permit), Some(piece)) = (permit, waiting.take()) {
                        permit.send(piece);
                    }
                    waiting = None;
                }
                _ = samples.tick() => sandbox.memory.look(),
                () = sleep_until(self.deadline().into()) => {
                    sandbox.memory.look();
                    return Some(End::Timeout);
                }
            }
        }
        // The connection broke in the middle: most likely the bootstrap has ended.
        let _ = timeout(END_LIMIT, sandbox.ended()).await;
        sandbox
            .has_ended()
            .then(|| End::Failure("Runtime.ExitError".to_owned()))
    }

    /// Waits until an answered bootstrap would be frozen, or has ended.
    async fn settle(&self, sandbox: &Sandbox, idle_count: u64) -> Option<End> {
        let failure = sandbox.api.failure();
        let limit = match failure {
            Some(_) => Instant::now() + END_LIMIT,
            None => self.deadline(),
        };
        let mut samples = memory_samples();
        loop {
            tokio::select! {
                biased;
                _ = sandbox.api.until(|now| now.idle_count > idle_count) => return None,
                _ = sandbox.ended() => break,
                _ = samples.tick() => sandbox.memory.look(),
                () = sleep_until(limit.into()) => {
                    sandbox.memory.look();
                    break;
                }
            }
        }
        match failure {
            Some(failure) => Some(End::Failure(failure.error_type)),
            None => (!sandbox.has_ended()).then_some(End::Timeout),
        }
    }
}

/// Ticks when the memory of an invocation that is under way is to be looked at.
fn memory_samples() -> Interval {
    interval_at((Instant::now() + SAMPLE_PERIOD).into(), SAMPLE_PERIOD)
}
