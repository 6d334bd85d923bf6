//! The internal extension, which exists to be told of the end.
//!
//! Lambda kills a sandbox without a word, unless an extension has registered: then all its
//! processes get SIGTERM, and half a second. One that lives in the runtime asks for no events, and
//! keeps a request for the next one open all the same: the init does not end without it.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use ureq::Agent;
use ureq::http::StatusCode;

use super::answer::{read_text, refusal, text_of};
use super::connection::{Progress, agent, connect};
use crate::wait::Signals;
use coshell_wire as wire;

/// For a request and its answer.
const STACK_BYTES: usize = 256 * 1024;

/// One that is registered, and waits for an event in a thread of its own.
#[derive(Debug)]
pub(crate) struct Extension {
    identifier: String,
    /// On which it waits: another one than that of the runtime's own requests.
    connection: TcpStream,
}

/// Registers, and waits for an event from then on.
///
/// # Errors
/// Why not, in words.
pub(crate) fn register(
    known: &Agent,
    api: &str,
    signals: &Arc<Signals>,
) -> Result<Extension, String> {
    let answer = known
        .post(format!("http://{api}{}", wire::EXTENSION_REGISTER))
        .header(wire::EXTENSION_NAME, "coshell")
        .content_type(wire::JSON)
        .send(r#"{"events":[]}"#)
        .map_err(|error| error.to_string())?;
    let (head, mut body) = answer.into_parts();
    let text = read_text(&mut body);
    if head.status != StatusCode::OK {
        return Err(refusal(head.status, &text));
    }
    let identifier = text_of(&head.headers, wire::EXTENSION_IDENTIFIER)
        .ok_or_else(|| format!("no {} header", wire::EXTENSION_IDENTIFIER))?;
    Extension::wait(identifier, api, signals).map_err(|error| error.to_string())
}

impl Extension {
    fn wait(identifier: String, api: &str, signals: &Arc<Signals>) -> io::Result<Self> {
        let connection = connect(api)?;
        let opened = Some(connection.try_clone()?);
        let own = agent(api, opened, &Arc::new(Progress::default()), signals);
        let url = format!("http://{api}{}", wire::EXTENSION_EVENT_NEXT);
        let header = identifier.clone();
        thread::Builder::new()
            .name("extension".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // There are no events. If it breaks off the sandbox is about to end, or waits anew.
                let _ = own
                    .get(url)
                    .header(wire::EXTENSION_IDENTIFIER, header)
                    .call();
            })?;
        Ok(Self {
            identifier,
            connection,
        })
    }

    /// Waits on another connection.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn reopen(self, api: &str, signals: &Arc<Signals>) -> Result<Self, String> {
        // Ends the thread that reads from it; one that is dead by now has ended it before.
        let _ = self.connection.shutdown(Shutdown::Both);
        Self::wait(self.identifier, api, signals).map_err(|error| error.to_string())
    }
}
