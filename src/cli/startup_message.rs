//! The message of `coshell serve` when it has started: where the function can be called, and whether it can.
//!
//! It is printed after the init, so that it never announces a function that then fails to load.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The state of the first init when the message is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitState {
    /// It is still running.
    Running,
    Succeeded,
    /// It failed. The log has the reason.
    Failed,
}

/// The message, without the `coshell: ` before its first line. Adds a warning if other machines can connect.
pub(crate) fn startup_message(
    handler: &str,
    address: SocketAddr,
    has_function_url: bool,
    state: InitState,
) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let url = format!("http://{host}:{}", address.port());
    let mut text = match state {
        InitState::Running => {
            return format!("{handler} is still loading; it will be served at {url}");
        }
        InitState::Failed => {
            format!("cannot load {handler}: see the log; each call to {url} tries again")
        }
        InitState::Succeeded if has_function_url => format!("serving {handler} at {url}"),
        InitState::Succeeded => format!(
            "serving {handler}; to invoke it: curl -d '{{}}' {url}/2015-03-31/functions/function/invocations"
        ),
    };
    if address.ip().is_unspecified() {
        let port = address.port();
        let _ = write!(
            text,
            "\ncoshell: anyone who can reach port {port} of this machine can invoke it with your credentials"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_a_command_to_paste() {
        let all = SocketAddr::from(([0, 0, 0, 0], 9000));
        assert_eq!(
            startup_message("a.b", all, false, InitState::Succeeded),
            "serving a.b; to invoke it: curl -d '{}' http://localhost:9000/2015-03-31/functions/function/invocations\n\
             coshell: anyone who can reach port 9000 of this machine can invoke it with your credentials"
        );
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(
            startup_message("a.b", loopback, true, InitState::Succeeded),
            "serving a.b at http://127.0.0.1:9000"
        );
        assert_eq!(
            startup_message("a.b", loopback, false, InitState::Failed),
            "cannot load a.b: see the log; each call to http://127.0.0.1:9000 tries again"
        );
    }
}
