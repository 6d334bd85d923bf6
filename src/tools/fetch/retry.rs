//! When a transfer is tried again.

use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::failure::{Failure, status};
use super::options::Options;
use super::request::{self, Transfer};
use super::run::{Answer, Fetch};
use crate::http::{Body, Response};

/// The longest time between two tries. No call lasts much longer.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// The tries of one transfer.
struct Retries {
    left: u32,
    delay: Duration,
    started: Instant,
}

impl Retries {
    fn new(count: u32) -> Self {
        Self {
            left: count,
            delay: Duration::from_secs(1),
            started: Instant::now(),
        }
    }

    /// Waits for the next try. Returns false if there is none.
    fn wait(&mut self, options: &Options, retry_after: Option<Duration>) -> bool {
        let elapsed = self.started.elapsed();
        let is_over = |time: Duration| options.retry_max_time.is_some_and(|limit| time >= limit);
        if self.left == 0 || is_over(elapsed) {
            return false;
        }
        let wait = match (retry_after, options.retry_delay) {
            (Some(wait), _) if wait > MAX_DELAY || is_over(elapsed + wait) => return false,
            (Some(wait), _) | (None, Some(wait)) => wait,
            (None, None) => self.delay,
        };
        self.delay = (self.delay * 2).min(MAX_DELAY);
        self.left -= 1;
        thread::sleep(wait);
        true
    }
}

impl Fetch<'_> {
    pub(super) fn with_retries(
        &mut self,
        transfer: Transfer,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let options = self.options;
        let (url, request) = request::build(options, &mut self.inputs, transfer)?;
        let can_repeat = !matches!(request.body, Body::Stream(_));
        let mut retries = Retries::new(if can_repeat { options.retries } else { 0 });
        let length = self.output.length();
        loop {
            self.started = Instant::now();
            *answer = Answer::default();
            let sent = self.send_along(transfer, &url, &request, answer);
            if let Ok(response) = &sent
                && is_transient(response.status)
                && retries.wait(options, retry_after(response))
            {
                continue;
            }
            let taken = self.take(transfer, &url, sent, answer);
            match &taken {
                // What is printed already cannot be taken back.
                Err(failure)
                    if may_pass(failure, options)
                        && retries.left > 0
                        && self.output.truncate(length)
                        && retries.wait(options, None) => {}
                _ => return taken,
            }
        }
    }
}

fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether another try may succeed, as curl sees it.
fn may_pass(failure: &Failure, options: &Options) -> bool {
    matches!(
        failure.status,
        status::TIMEOUT | status::HOST | status::PROXY
    ) || options.retries_refused && failure.status == status::CONNECT
        || options.retries_all
}

/// The time that the server wants, in seconds or as a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(u64::MAX)
    } else {
        let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
        let seconds = (date - OffsetDateTime::now_utc()).whole_seconds();
        u64::try_from(seconds).ok()?
    };
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
