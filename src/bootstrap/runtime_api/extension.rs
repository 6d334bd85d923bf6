//! An internal extension, whose only purpose is that Lambda sends SIGTERM before it kills the sandbox.
//!
//! Without a registered extension Lambda kills a sandbox without notice. With one, all processes get SIGTERM and half a second.
//! An internal extension gets no events, but it has to keep a request for the next event open: otherwise the init does not end.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::fmt::Display;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use ureq::Agent;
use ureq::http::StatusCode;

use super::connection::{Progress, agent, connect};
use super::reply::{describe_rejection, header_text, read_text};
use crate::wait::Signals;
use coshell_wire as wire;

/// Room for a request and its reply.
const STACK_BYTES: usize = 256 * 1024;

/// A registered extension, whose thread waits for an event.
#[derive(Debug)]
pub(crate) struct Extension {
    identifier: String,
    /// The connection of the thread. The runtime's requests use another one.
    connection: TcpStream,
}

/// Registers the extension, and starts its thread.
///
/// # Errors
/// A message for the log.
pub(crate) fn register(
    runtime_agent: &Agent,
    api: &str,
    signals: &Arc<Signals>,
) -> Result<Extension, String> {
    let reply = runtime_agent
        .post(format!("http://{api}{}", wire::EXTENSION_REGISTER))
        .header(wire::EXTENSION_NAME, "coshell")
        .content_type(wire::JSON)
        .send(r#"{"events":[]}"#)
        .map_err(failed)?;
    let (head, mut body) = reply.into_parts();
    let text = read_text(&mut body);
    if head.status != StatusCode::OK {
        return Err(failed(describe_rejection(head.status, &text)));
    }
    let header = wire::EXTENSION_IDENTIFIER;
    let identifier = header_text(&head.headers, header)
        .ok_or_else(|| failed(format!("the reply has no {header} header")))?;
    Extension::start_waiting(identifier, api, signals).map_err(failed)
}

fn failed(cause: impl Display) -> String {
    format!("cannot register for SIGTERM, so Lambda will not run lambda_shutdown: {cause}")
}

impl Extension {
    fn start_waiting(identifier: String, api: &str, signals: &Arc<Signals>) -> io::Result<Self> {
        let connection = connect(api)?;
        // It waits for as long as there is a sandbox.
        connection.set_read_timeout(None)?;
        let opened = Some(connection.try_clone()?);
        let agent = agent(api, opened, &Arc::new(Progress::default()), signals);
        let url = format!("http://{api}{}", wire::EXTENSION_EVENT_NEXT);
        let header = identifier.clone();
        thread::Builder::new()
            .name("extension".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // No event will come. The request ends when the sandbox does, or when `reopen` closes the connection.
                let _ = agent
                    .get(url)
                    .header(wire::EXTENSION_IDENTIFIER, header)
                    .call();
            })?;
        Ok(Self {
            identifier,
            connection,
        })
    }

    /// Waits on a new connection.
    ///
    /// # Errors
    /// A message for the log.
    pub(crate) fn reopen(self, api: &str, signals: &Arc<Signals>) -> Result<Self, String> {
        // This ends the old thread, if the connection has not broken before.
        let _ = self.connection.shutdown(Shutdown::Both);
        Self::start_waiting(self.identifier, api, signals).map_err(failed)
    }
}
