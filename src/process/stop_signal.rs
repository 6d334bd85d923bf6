//! The signals that ask a tool to end early.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Remembers SIGHUP, SIGINT and SIGTERM, which do nothing else from [`StopSignal::listen`] on.
#[derive(Debug, Default)]
pub struct StopSignal {
    /// The signal that came last; 0 for none.
    number: Arc<AtomicUsize>,
}

impl StopSignal {
    pub fn listen() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&stop.number), number)?;
        }
        Ok(stop)
    }

    /// The signal that has come.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.number.load(Ordering::Relaxed))
            .ok()
            .filter(|&signal| signal > 0)
    }
}
