//! The internal extension, which exists to be told of the end.
//!
//! Lambda kills a sandbox without a word, unless an extension has registered: then all its
//! processes get SIGTERM, and half a second. One that lives in the runtime asks for no events, and
//! keeps a request for the next one open all the same: the init does not end without it.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::sync::Arc;
use std::thread;

use ureq::Agent;
use ureq::http::StatusCode;

use super::connection::Progress;
use super::{agent, read_text, refusal, text_of, wire};
use crate::wait::Signals;

/// For a request and its answer.
const STACK_BYTES: usize = 256 * 1024;

/// Registers, and waits for an event in a thread of its own from then on.
///
/// # Errors
/// Why not, in words.
pub fn register(known: &Agent, api: &str, signals: &Arc<Signals>) -> Result<(), String> {
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
    // The other connection is where the runtime's own requests go.
    let own = agent(api, &Arc::new(Progress::default()), signals);
    let url = format!("http://{api}{}", wire::EXTENSION_EVENT_NEXT);
    thread::Builder::new()
        .name("extension".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // There are no events. If it breaks off the sandbox is about to end.
            let _ = own
                .get(url)
                .header(wire::EXTENSION_IDENTIFIER, identifier)
                .call();
        })
        .map(drop)
        .map_err(|error| error.to_string())
}
