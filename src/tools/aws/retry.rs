//! When to try again, and how long to wait: the standard mode of AWS's SDKs.

use std::time::{Duration, SystemTime};

/// How often to try, the first time included, if no setting says otherwise.
const MAX_ATTEMPTS: u32 = 3;
const MAX_DELAY: Duration = Duration::from_secs(20);

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server failed.
    Again,
    /// There were too many requests.
    Later,
    /// The signature is too old or too new.
    ClockIsWrong,
    Final,
}

const THROTTLED: [&str; 13] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "EC2ThrottledException",
];
const TRANSIENT: [&str; 5] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
    "PriorRequestNotComplete",
    "IDPCommunicationError",
];
const SKEWED: [&str; 7] = [
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestInTheFuture",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "ExpiredRequest",
];

pub(crate) fn verdict(status: u16, code: &str) -> Verdict {
    if THROTTLED.contains(&code) || status == 429 {
        Verdict::Later
    } else if TRANSIENT.contains(&code) || matches!(status, 500 | 502 | 503 | 504) {
        Verdict::Again
    } else if SKEWED.contains(&code) {
        Verdict::ClockIsWrong
    } else {
        Verdict::Final
    }
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Retries {
    attempts: u32,
    made: u32,
}

impl Retries {
    /// `setting` is `AWS_MAX_ATTEMPTS`.
    ///
    /// # Errors
    /// It is no number above 0.
    pub(crate) fn new(setting: Option<&str>) -> Result<Self, String> {
        let attempts = match setting.map(|text| (text, text.trim().parse())) {
            None => MAX_ATTEMPTS,
            Some((_, Ok(attempts))) if attempts > 0 => attempts,
            Some((text, _)) => {
                return Err(format!(
                    "Value provided to \"max_attempts\": {text} must be a whole number above 0"
                ));
            }
        };
        Ok(Self { attempts, made: 1 })
    }

    /// How often the request was tried again, if it may be tried no more.
    pub(crate) fn exhausted(&self) -> Option<u32> {
        (self.made >= self.attempts).then(|| self.made - 1)
    }

    /// How long to wait before the next try: at random between nothing and 1, 2, 4... seconds. `None` if there is none left.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if self.made >= self.attempts {
            return None;
        }
        let most = Duration::from_secs(1 << (self.made - 1).min(5)).min(MAX_DELAY);
        self.made += 1;
        let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // The low digits of the clock are as good as random here.
        let digits = nanoseconds.map_or(0, |since| since.subsec_nanos() % 1000);
        Some(most * digits / 1000)
    }
}
