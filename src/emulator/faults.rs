//! Faults that the Runtime API can have on purpose, for `coshell serve --fault`.
//!
//! Each fault happens once, at the first call that it fits. The next invocation then shows how the bootstrap has coped.
//! A fault that is given twice happens twice.

use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;

use super::refusal::Refusal;

/// A fault of the Runtime API. `--help` shows these texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// GET next: the connection breaks in the middle of the event
    NextClosed,
    /// GET next: 403, as after an init error
    Next403,
    /// GET next: 500, a platform error
    Next500,
    /// POST response or error: 400, unknown request id; GET next delivers the same event again
    AnswerUnknown,
    /// POST response or error: accepted, but with 403 as for a second answer
    AnswerTwice,
    /// POST response or error: 410, too late; the caller gets the timeout
    AnswerLate,
    /// POST response or error: 413, too large; the caller gets that error
    AnswerTooLarge,
    /// POST response or error: 400, unknown response mode; the caller gets that error
    AnswerMode,
    /// POST response or error: 500, a platform error
    Answer500,
}

impl Fault {
    /// The faults of POST response and POST error.
    pub(crate) const ANSWER_FAULTS: [Self; 6] = [
        Self::AnswerUnknown,
        Self::AnswerTwice,
        Self::AnswerLate,
        Self::AnswerTooLarge,
        Self::AnswerMode,
        Self::Answer500,
    ];

    /// What the Runtime API sends back.
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

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// The faults in the order in which they are to happen.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    /// Removes the first fault that is in `fitting`, and returns it.
    pub fn take(&self, fitting: &[Fault]) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().position(|fault| fitting.contains(fault))?;
        Some(faults.remove(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of GET next.
    const NEXT_FAULTS: [Fault; 3] = [Fault::NextClosed, Fault::Next403, Fault::Next500];

    #[test]
    fn faults_happen_once_and_in_order() {
        let faults = Faults::new(vec![Fault::Answer500, Fault::Next500, Fault::AnswerLate]);
        assert_eq!(faults.take(&NEXT_FAULTS), Some(Fault::Next500));
        assert_eq!(faults.take(&NEXT_FAULTS), None);
        assert_eq!(faults.take(&Fault::ANSWER_FAULTS), Some(Fault::Answer500));
        assert_eq!(faults.take(&Fault::ANSWER_FAULTS), Some(Fault::AnswerLate));
    }

    #[test]
    fn every_fault_fits_one_kind_of_call() {
        for fault in Fault::value_variants() {
            let fits = [NEXT_FAULTS.as_slice(), &Fault::ANSWER_FAULTS];
            let count = fits.iter().filter(|kind| kind.contains(fault)).count();
            assert_eq!(count, 1, "{fault:?}");
        }
    }
}
