//! Why there is no answer.

use std::error::Error as _;
use std::fmt;
use std::io;

use super::proxy::UnknownProxy;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    cause: ureq::Error,
    is_empty: bool,
}

impl HttpError {
    pub(super) fn new(cause: ureq::Error, is_empty: bool) -> Self {
        Self { cause, is_empty }
    }

    /// The server closed the connection, and sent nothing.
    pub(crate) fn is_empty(&self) -> bool {
        let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        self.is_empty && matches!(&self.cause, ureq::Error::Io(error) if is_end(error))
    }

    /// The URL of the proxy is none.
    pub(crate) fn is_bad_proxy(&self) -> bool {
        matches!(self.cause, ureq::Error::InvalidProxyUrl)
    }

    /// The time was up.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self.cause, ureq::Error::Timeout(_))
    }

    /// The server cannot be found or reached.
    pub(crate) fn is_connection(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        match &self.cause {
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            ureq::Error::Other(error) => error.is::<UnknownProxy>(),
            ureq::Error::Timeout(timeout) => matches!(
                timeout,
                ureq::Timeout::Connect | ureq::Timeout::Resolve | ureq::Timeout::Global
            ),
            ureq::Error::Io(error) => matches!(
                error.kind(),
                ConnectionRefused | HostUnreachable | NetworkUnreachable
            ),
            _ => false,
        }
    }

    pub(crate) fn is_host_unknown(&self) -> bool {
        match &self.cause {
            ureq::Error::HostNotFound => true,
            // The resolver's errors have no kind of their own.
            ureq::Error::Io(error) => error.to_string().starts_with("failed to lookup address"),
            _ => false,
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        match &self.cause {
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => true,
            // rustls reports what is wrong with a certificate as an error of reading.
            ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    pub(crate) fn is_bad_url(&self) -> bool {
        matches!(self.cause, ureq::Error::BadUri(_) | ureq::Error::Http(_))
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ureq::Error::HostNotFound => f.write_str("the host is not known"),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the server closed the connection before it answered")
            }
            ureq::Error::Io(error) => write!(f, "{error}"),
            ureq::Error::Timeout(_) => f.write_str("the time is up"),
            ureq::Error::Other(error) => write!(f, "{error}"),
            error => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}
