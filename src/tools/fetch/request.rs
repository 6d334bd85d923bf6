//! The request, by the options.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::Inputs;
use super::failure::{Failure, failure, status};
use super::options::{Data, Destination, Options};
use super::url::{Rules, Url};
use crate::http::Request;

const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));

/// What the options say of one URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub url: &'a str,
    pub upload: Option<&'a str>,
    /// Where the answer goes; to standard output if nothing says so.
    pub destination: Option<&'a Destination>,
}

impl<'a> Transfer<'a> {
    /// One for each URL.
    pub(super) fn all(options: &'a Options) -> impl Iterator<Item = Self> {
        options.urls.iter().enumerate().map(|(index, url)| Self {
            url,
            upload: options.uploads.get(index).map(String::as_str),
            destination: options.outputs.get(index),
        })
    }
}

/// The method that the options ask for, or imply.
pub(super) fn method(options: &Options, transfer: Transfer) -> String {
    if let Some(method) = &options.method {
        return method.clone();
    }
    let method = if options.is_head {
        "HEAD"
    } else if transfer.upload.is_some() {
        "PUT"
    } else if posts(options, transfer) {
        "POST"
    } else {
        "GET"
    };
    method.to_owned()
}

/// Whether the options have data for a `POST`, whatever the method is called.
pub(super) fn posts(options: &Options, transfer: Transfer) -> bool {
    let has_data = !options.data.is_empty() && !options.is_get || !options.form.is_empty();
    has_data && transfer.upload.is_none() && !options.is_head
}

/// The request for one URL.
///
/// # Errors
/// The URL or a header cannot be used, or a file cannot be read.
pub(super) fn build(
    options: &Options,
    inputs: &mut Inputs,
    transfer: Transfer,
) -> Result<(Url, Request), Failure> {
    let rules = Rules {
        keeps_dots: options.keeps_dots,
        ..Rules::default()
    };
    let mut url = Url::read(transfer.url, rules)?;
    if let Some(name) = transfer.upload.filter(|name| !matches!(*name, "-" | ".")) {
        url.add_file_name(name.rsplit('/').next().unwrap_or_default());
    }
    if let Some(Destination::RemoteName) = transfer.destination {
        url.remote_name()?;
    }
    let user = options.user.clone().or_else(|| url.user.take());
    let lines = header_lines(options, inputs)?;
    let own_kind = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':').or_else(|| line.split_once(';'))?;
        (name.trim().eq_ignore_ascii_case("content-type")).then(|| value.trim())
    });
    let (body, kind) = inputs
        .body(options, transfer.upload, own_kind)
        .map_err(|cause| failure(status::READ, cause))?;
    if options.is_get && !options.data.is_empty() {
        let data = inputs.data(&options.data);
        let data = data.map_err(|cause| failure(status::READ, cause))?;
        url.add_query(&String::from_utf8_lossy(&data))?;
    }
    let mut headers = vec![
        ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ("accept".to_owned(), "*/*".to_owned()),
    ];
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if let Some(kind) = kind {
        add("content-type", kind);
    }
    if options.has_json() {
        headers.retain(|(name, _)| name != "accept");
        headers.push(("accept".to_owned(), "application/json".to_owned()));
    }
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if options.is_compressed {
        add("accept-encoding", "gzip, deflate".to_owned());
    }
    // In errors a cookie or a header without its name may be a secret.
    let cookies: Vec<_> = (options.cookies.iter().map(String::as_str))
        .filter(|text| !text.is_empty())
        .collect();
    if cookies.iter().any(|text| !text.contains('=')) {
        let cause = "expected NAME=VALUE for --cookie: there is no = in it";
        return Err(failure(status::USAGE, cause));
    }
    if !cookies.is_empty() {
        add("cookie", cookies.join(";"));
    }
    match (&options.bearer, user) {
        (Some(token), _) => add("authorization", format!("Bearer {token}")),
        (None, Some(user)) => add("authorization", basic(&user)),
        (None, None) => {}
    }
    // That of a form has the caller's type already.
    let has_form = !options.form.is_empty();
    add_headers(&lines, has_form, &mut headers)?;
    let request = Request {
        method: method(options, transfer),
        url: url.to_string(),
        headers,
        body,
    };
    Ok((url, request))
}

/// The header for `name:password`.
pub(super) fn basic(user: &str) -> String {
    let colon = if user.contains(':') { "" } else { ":" };
    format!("Basic {}", STANDARD.encode(format!("{user}{colon}")))
}

/// The lines of the options, and of the files that they name by `@FILE`.
fn header_lines(options: &Options, inputs: &mut Inputs) -> Result<Vec<String>, Failure> {
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
    Ok(lines)
}

/// `Name: value`, `Name;` for an empty value, `Name:` to drop one. With `has_form`, leaves out the type of the content.
fn add_headers(
    lines: &[String],
    has_form: bool,
    headers: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    let mut replaced: Vec<String> = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let (name, value) = match (line.split_once(':'), line.trim_end().strip_suffix(';')) {
            (Some((name, value)), _) => {
                (name.trim(), Some(value.trim_start().trim_end_matches('\r')))
            }
            (None, Some(name)) => (name.trim(), None),
            (None, None) => {
                let cause = "expected NAME: VALUE for --header: there is no colon in it";
                return Err(failure(status::USAGE, cause));
            }
        };
        let name = name.to_ascii_lowercase();
        if has_form && name == "content-type" {
            continue;
        }
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
