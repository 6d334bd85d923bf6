//! `lambda_request [--prefix PREFIX] [--join SEPARATOR] [--body-file] [--in NAME | ...]`: the HTTP request that the event
//! is, in variables.
//!
//! | Variable | What it holds |
//! |---|---|
//! | `method`, `path` | as the event has them |
//! | `raw_query` | what was behind the `?`, or what would have been |
//! | `query`, `form`, `cookies` | maps, decoded |
//! | `headers` | a map, names in lower case |
//! | `path_parameters` | a map |
//! | `body`, `body_file` | the body, base64 undone; or the name of a file that holds it |
//! | `source_ip`, `request_id` | the client's address; an identifier |

mod event;
mod form;

use crate::document::Document;
use crate::options::{Arguments, Input};
use crate::{Call, CallError, Caller, EventSource, Reply, Variable, check_name};

pub use event::AnswerForm;
use event::Request;
use form::{Pairs, pairs, without_nuls};

/// A longer body is slow in a variable.
const LONGEST_BODY: usize = 256 * 1024;

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Reply, CallError> {
    let mut arguments = Arguments::of(call);
    let mut input = Input::Event;
    let (mut prefix, mut separator, mut is_file) = ("", None, false);
    while let Some(option) = arguments.next() {
        match option {
            b"--prefix" => prefix = arguments.text("--prefix", "the prefix")?,
            b"--join" => separator = Some(arguments.value("--join", "the separator")?),
            b"--body-file" => is_file = true,
            _ => {
                let known = || format!("--prefix, --join, --body-file, {}", Input::OPTIONS);
                let named = Input::named(option, &mut arguments)?;
                input = named.ok_or_else(|| arguments.unknown(option, &known()))?;
            }
        }
    }
    let given = input.read(call, caller)?;
    let event: &Document<'_> = match &given {
        Some(document) => document,
        None => caller
            .event()
            .map_err(|cause| CallError::failure(format!("cannot read the event: {cause}")))?,
    };
    let request = Request::of(event).ok_or_else(|| no_request(event))?;
    let body = request.body().map_err(|cause| {
        CallError::failure(format!("cannot read the body of the request: {cause}"))
    })?;
    let headers = request.headers();
    let form = if is_form(&headers) {
        pairs(&body, true)
    } else {
        Pairs::default()
    };
    let is_in_file = is_file || body.len() > LONGEST_BODY || is_binary(&body);
    let (body, body_file) = if is_in_file {
        (Vec::new(), Variable::File(body))
    } else {
        (body, Variable::Text(Vec::new()))
    };
    let mut cookies = Request::cookies(&headers);
    if separator.is_none() {
        // Of a name that is there twice the first counts, which is the one of the narrower path; a map takes the last.
        cookies.0.reverse();
    }
    let text = |text: Vec<u8>| Variable::Text(without_nuls(text));
    let mut reply = Reply::default();
    let variables = [
        ("method", text(request.method().into())),
        ("path", text(request.path().into())),
        ("raw_query", text(request.raw_query())),
        ("query", request.query().into_map(separator)),
        ("cookies", cookies.into_map(separator)),
        ("form", form.into_map(separator)),
        ("path_parameters", request.path_parameters().into_map(None)),
        ("body", Variable::Text(body)),
        ("body_file", body_file),
        ("source_ip", text(request.source_ip(&headers).into())),
        ("request_id", text(request.request_id(&headers).into())),
        ("headers", headers.into_map(None)),
    ];
    for (name, value) in variables {
        let name = format!("{prefix}{name}");
        check_name(name.as_bytes())?;
        reply.assignments.push((name, value));
    }
    Ok(reply)
}

/// Whether bash and what it calls would take it for text.
fn is_binary(body: &[u8]) -> bool {
    memchr::memchr(0, body).is_some() || str::from_utf8(body).is_err()
}

fn is_form(headers: &Pairs) -> bool {
    let form = b"application/x-www-form-urlencoded";
    let content_type = headers.get(b"content-type").unwrap_or_default();
    let media_type = content_type.split(|byte| *byte == b';').next();
    media_type.is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(form))
}

fn no_request(event: &Document<'_>) -> CallError {
    let root = event.root();
    let cause = match EventSource::of(event) {
        EventSource::Other
            if event
                .find(root, &["requestContext", "connectionId"])
                .is_some() =>
        {
            "it is of a WebSocket API; read it with lambda_get".to_owned()
        }
        EventSource::Other if event.find(root, &["methodArn"]).is_some() => {
            "it is for an authorizer of API Gateway; read it with lambda_get".to_owned()
        }
        EventSource::Other => match event.listed_names(root).as_str() {
            "" => "it has no fields".to_owned(),
            has => format!("it has {has}"),
        },
        source => format!("it is of {}; read it with lambda_each", source.name()),
    };
    CallError::failure(format!("cannot read a request from the event: {cause}"))
}
