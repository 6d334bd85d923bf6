//! The signals that end packing before its time: what is temporary is removed then, as after a failure.

use std::io::{self, Read};
use std::sync::Arc;

use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

use super::error::{Error, Result};
use coshell_process::StopSignal;

/// Knows whether such a signal has come.
#[derive(Debug)]
pub(crate) struct Stop(StopSignal);

impl Stop {
    /// # Errors
    /// [`Error::Io`] when the system does not take the handlers.
    pub(crate) fn listen() -> Result<Self> {
        let listen = || {
            // A file above the limit is then a failure to write.
            flag::register(SIGXFSZ, Arc::default())?;
            StopSignal::listen().map(Self)
        };
        listen().map_err(Error::io("cannot listen to signals"))
    }

    /// # Errors
    /// [`Error::Stopped`] when one has come.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.signal() {
            None => Ok(()),
            Some(signal) => Err(Error::Stopped { signal }),
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
