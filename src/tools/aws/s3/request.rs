//! Sends requests to S3 whose answers are read whole.

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::aws::AwsError;
use crate::aws::endpoint::S3;
use crate::aws::session::{Operation, Session};
use crate::aws::xml_text::{self, Element};
use crate::http::Response;

/// The answer with 1,000 long keys has less.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// How often to send a request whose answer breaks off, or has status 200 and is an error.
const ATTEMPTS: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Sends a request. The body of the answer is still to be read.
///
/// # Errors
/// Those of [`Session::send`].
pub(super) fn send(session: &Session, operation: &Operation) -> Result<Response, AwsError> {
    session.send(&S3, operation)
}

/// Sends a request, and reads the answer's body to its end, so that the connection lives on.
///
/// # Errors
/// Those of [`Session::send`].
pub(super) fn finish(session: &Session, operation: &Operation) -> Result<Response, AwsError> {
    let mut response = send(session, operation)?;
    // By its status, the request is done.
    let _ = response
        .body
        .by_ref()
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut Vec::new());
    Ok(response)
}

/// Sends a request whose answer is XML. S3 answers a copy with status 200 before it is done, so that the body may be an error.
///
/// # Errors
/// Those of [`Session::send`], or the answer cannot be read.
pub(super) fn read(session: &Session, operation: &Operation) -> Result<Element, AwsError> {
    let mut attempt = 1;
    loop {
        let mut text = Vec::new();
        let response = send(session, operation)?;
        let status = response.status;
        let body = response.body.take(MAX_ANSWER_BYTES).read_to_end(&mut text);
        let cause = match (body, xml_text::read(&String::from_utf8_lossy(&text))) {
            (Ok(_), Some(root)) if root.name() == "Error" => {
                let field = |name| root.text_of(name).unwrap_or_default().to_owned();
                AwsError::Service {
                    operation: operation.name.clone(),
                    status,
                    code: field("Code"),
                    message: field("Message"),
                    retries: None,
                }
            }
            (Ok(_), Some(root)) => return Ok(root),
            (Ok(_), None) => AwsError::Connection(format!(
                "Unable to parse response of {}, invalid XML received",
                operation.name
            )),
            (Err(error), _) => AwsError::Connection(format!(
                "Connection was closed before we received a valid response to {}: {error}",
                operation.name
            )),
        };
        if attempt == ATTEMPTS {
            return Err(cause);
        }
        thread::sleep(FIRST_DELAY * 2_u32.pow(attempt));
        attempt += 1;
    }
}
