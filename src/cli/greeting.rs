//! What `coshell serve` says when it has started: where the function is called, and whether it can be.
//!
//! After the init, so that nothing is served in one line and fails in the next.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Where a function stands when its address is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its init takes long.
    Loading,
    /// Its init is over.
    Served,
    /// Its init has failed; the log says why.
    Failed,
}

/// One line, and another where anyone can connect.
pub(crate) fn greeting(
    handler: &str,
    address: SocketAddr,
    has_function_url: bool,
    state: State,
) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let at = format!("http://{host}:{}", address.port());
    let mut text = match state {
        State::Loading => return format!("{handler} is loading, at {at}"),
        State::Failed => format!("{handler} cannot be loaded: each call tries again, at {at}"),
        State::Served if has_function_url => format!("{handler} is served at {at}"),
        State::Served => format!(
            "{handler} is served: curl -d '{{}}' {at}/2015-03-31/functions/function/invocations"
        ),
    };
    if address.ip().is_unspecified() {
        let port = address.port();
        let _ = write!(
            text,
            "\ncoshell: anyone who reaches port {port} of this machine can invoke it, with your credentials"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_can_be_pasted() {
        let any = SocketAddr::from(([0, 0, 0, 0], 9000));
        assert_eq!(
            greeting("a.b", any, false, State::Served),
            "a.b is served: curl -d '{}' http://localhost:9000/2015-03-31/functions/function/invocations\n\
             coshell: anyone who reaches port 9000 of this machine can invoke it, with your credentials"
        );
        let own = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(
            greeting("a.b", own, true, State::Served),
            "a.b is served at http://127.0.0.1:9000"
        );
        let failed = greeting("a.b", own, false, State::Failed);
        assert_eq!(
            failed,
            "a.b cannot be loaded: each call tries again, at http://127.0.0.1:9000"
        );
    }
}
