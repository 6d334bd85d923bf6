//! What the Runtime API can be told to do wrong, for `coshell serve --fault`.
//!
//! Each fault that is asked for is played once, at the first call that it fits: what a bootstrap
//! makes of it shows in the next invocation. A fault that is asked for twice is played twice.

use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;

use super::refusal::Refusal;

/// A fault of the Runtime API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// GET next: the connection closes in the middle of the event
    NextClosed,
    /// GET next: 403, as after an init error
    Next403,
    /// GET next: 500, the platform is broken
    Next500,
    /// Answer: 400, the platform does not know the invocation; next gives it again
    AnswerUnknown,
    /// Answer: taken, and then 403 as if it were the second one
    AnswerTwice,
    /// Answer: 410, it comes after the timeout, which the caller is told
    AnswerLate,
    /// Answer: 413, it is too large, which the caller is told
    AnswerTooLarge,
    /// Answer: 400, there is no such response mode, which the caller is told
    AnswerMode,
    /// Answer: 500, the platform is broken
    Answer500,
}

impl Fault {
    /// Those that a response or an error can have.
    pub(crate) const OF_ANSWER: [Self; 6] = [
        Self::AnswerUnknown,
        Self::AnswerTwice,
        Self::AnswerLate,
        Self::AnswerTooLarge,
        Self::AnswerMode,
        Self::Answer500,
    ];

    /// What the call is told.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Next403 | Self::AnswerTwice => Refusal::STATE,
            Self::NextClosed | Self::Next500 | Self::Answer500 => Refusal::CONTAINER,
            Self::AnswerUnknown => Refusal::REQUEST_ID,
            Self::AnswerLate => Refusal::LATE,
            Self::AnswerTooLarge => Refusal::TOO_LARGE,
            Self::AnswerMode => Refusal::RESPONSE_MODE,
        }
    }
}

/// The faults that are still to be played.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// To be played in this order.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    /// The first that fits, which is not played again.
    pub fn take(&self, fitting: &[Fault]) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().position(|fault| fitting.contains(fault))?;
        Some(faults.remove(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that *next* can have.
    const OF_NEXT: [Fault; 3] = [Fault::NextClosed, Fault::Next403, Fault::Next500];

    #[test]
    fn each_is_played_once_and_in_order() {
        let faults = Faults::new(vec![Fault::Answer500, Fault::Next500, Fault::AnswerLate]);
        assert_eq!(faults.take(&OF_NEXT), Some(Fault::Next500));
        assert_eq!(faults.take(&OF_NEXT), None);
        assert_eq!(faults.take(&Fault::OF_ANSWER), Some(Fault::Answer500));
        assert_eq!(faults.take(&Fault::OF_ANSWER), Some(Fault::AnswerLate));
    }

    #[test]
    fn each_fits_one_kind_of_call() {
        for fault in Fault::value_variants() {
            let fits = [OF_NEXT.as_slice(), &Fault::OF_ANSWER];
            let count = fits.iter().filter(|kind| kind.contains(fault)).count();
            assert_eq!(count, 1, "{fault:?}");
        }
    }
}
