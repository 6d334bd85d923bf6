//! The request, by the options.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::Inputs;
use super::failure::{Failure, failure, status};
use super::options::{Data, Options};
use crate::http::Request;

const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));

/// The method that the options ask for, or imply.
pub(super) fn method(options: &Options) -> String {
    if let Some(method) = &options.method {
        return method.clone();
    }
    let has_data = !options.data.is_empty() || !options.form.is_empty();
    let method = if options.is_head {
        "HEAD"
    } else if options.upload.is_some() {
        "PUT"
    } else if has_data && !options.is_get {
        "POST"
    } else {
        "GET"
    };
    method.to_owned()
}

/// The request for one URL.
///
/// # Errors
/// The URL or a header cannot be used, or a file cannot be read.
pub(super) fn build(options: &Options, inputs: &mut Inputs, url: &str) -> Result<Request, Failure> {
    let mut url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let cause = format!("expected http:// or https://, found {url}");
        return Err(failure(status::PROTOCOL, cause));
    }
    let mut user = options.user.clone();
    if let Some((inside, bare)) = split_user(&url) {
        user.get_or_insert(inside);
        url = bare;
    }
    let (body, kind) = inputs
        .body(options)
        .map_err(|cause| failure(status::READ, cause))?;
    if options.is_get && !options.data.is_empty() {
        let data = inputs.data(&options.data);
        let data = data.map_err(|cause| failure(status::READ, cause))?;
        let mark = match url.find('?') {
            None => "?",
            Some(at) if at + 1 == url.len() => "",
            Some(_) => "&",
        };
        url = format!("{url}{mark}{}", String::from_utf8_lossy(&data));
    }
    if url.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        let cause = "the URL has a blank or a control character; -G --data-urlencode NAME=TEXT encodes a value";
        return Err(failure(status::URL, cause));
    }
    url = encode_rest(&url);
    let mut headers = vec![
        ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ("accept".to_owned(), "*/*".to_owned()),
    ];
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if let Some(kind) = kind {
        add("content-type", kind);
    }
    if options
        .data
        .iter()
        .any(|data| matches!(data, Data::Json(_)))
    {
        headers.retain(|(name, _)| name != "accept");
        headers.push(("accept".to_owned(), "application/json".to_owned()));
    }
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if options.is_compressed {
        add("accept-encoding", "gzip, deflate".to_owned());
    }
    if let Some(cookie) = &options.cookie {
        if !cookie.contains('=') {
            return Err(failure(
                status::USAGE,
                format!("expected NAME=VALUE for --cookie, found {cookie}"),
            ));
        }
        add("cookie", cookie.clone());
    }
    if let Some(user) = user {
        add("authorization", format!("Basic {}", STANDARD.encode(user)));
    }
    if let Some(token) = &options.bearer {
        add("authorization", format!("Bearer {token}"));
    }
    add_headers(options, inputs, &mut headers)?;
    Ok(Request {
        method: method(options),
        url,
        headers,
        body,
    })
}

/// `Name: value`, `Name;` for an empty value, `Name:` to drop one, `@FILE` with lines of these.
fn add_headers(
    options: &Options,
    inputs: &mut Inputs,
    headers: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for header in &options.headers {
        match header.strip_prefix('@') {
            Some(name) => {
                let text = inputs.data(&[Data::Binary(format!("@{name}"))]);
                let text = text.map_err(|cause| failure(status::READ, cause))?;
                let text = String::from_utf8_lossy(&text).into_owned();
                lines.extend(text.lines().map(ToOwned::to_owned));
            }
            None => lines.push(header.clone()),
        }
    }
    let mut replaced: Vec<String> = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let (name, value) = match (line.split_once(':'), line.trim_end().strip_suffix(';')) {
            (Some((name, value)), _) => {
                (name.trim(), Some(value.trim_start().trim_end_matches('\r')))
            }
            (None, Some(name)) => (name.trim(), None),
            (None, None) => {
                let cause = format!("expected NAME: VALUE for --header, found {line}");
                return Err(failure(status::USAGE, cause));
            }
        };
        let name = name.to_ascii_lowercase();
        if !replaced.contains(&name) {
            headers.retain(|(other, _)| *other != name);
            replaced.push(name.clone());
        }
        match value {
            Some("") => {}
            value => headers.push((name, value.unwrap_or_default().to_owned())),
        }
    }
    Ok(())
}

/// `http://user:password@host/`: the user, and the URL without it.
fn split_user(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (user, host) = rest[..end].rsplit_once('@')?;
    let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
    Some((
        user.into_owned(),
        format!("{scheme}://{host}{}", &rest[end..]),
    ))
}

/// Encodes what may not be in a URL as it is, such as blanks.
fn encode_rest(url: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const WRONG: &AsciiSet = &CONTROLS
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let url = url.split('#').next().unwrap_or_default();
    utf8_percent_encode(url, WRONG).to_string()
}
