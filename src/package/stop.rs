//! The signals that end packing before its time: what is temporary is removed then, as after a failure.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use super::error::{Error, Result};

/// Knows whether such a signal has come; it does nothing else from now on.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// 0 for none.
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// # Errors
    /// [`Error::Io`] when the system does not take the handlers.
    pub(crate) fn listen() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&stop.signal), number)
                .map_err(Error::io("cannot listen to signals"))?;
        }
        // A file above the limit is then a failure to write.
        flag::register(SIGXFSZ, Arc::default()).map_err(Error::io("cannot listen to signals"))?;
        Ok(stop)
    }

    /// # Errors
    /// [`Error::Stopped`] when one has come.
    pub(crate) fn check(&self) -> Result<()> {
        match u8::try_from(self.signal.load(Ordering::Relaxed)) {
            Ok(0) => Ok(()),
            signal => Err(Error::Stopped {
                signal: signal.unwrap_or_default(),
            }),
        }
    }

    /// The same bytes, until a signal comes; then a failure, for [`check`](Self::check) to explain.
    pub(crate) fn watch<'a>(&'a self, reader: impl Read + 'a) -> impl Read + 'a {
        Watched { stop: self, reader }
    }
}

struct Watched<'a, R> {
    stop: &'a Stop,
    reader: R,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        self.reader.read(buffer)
    }
}
