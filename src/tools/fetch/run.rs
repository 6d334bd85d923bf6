//! Sends the requests of one call, and gives out the answers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::body::Inputs;
use super::options::{Data, Options};
use super::redirect::redirect;
use super::write_out::Facts;
use crate::call::{Call, End, Output, Place};
use crate::http::{self, Body, Client, HttpError, Limits, Request, Response, Route};

const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));
const BUFFER_BYTES: usize = 128 * 1024;
/// curl's limit of redirects.
const MAX_REDIRECTS: u32 = 50;
/// curl waits so long at most before it tries again.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// Exit statuses of curl.
mod status {
    pub(super) const PROTOCOL: i32 = 1;
    pub(super) const USAGE: i32 = 2;
    pub(super) const URL: i32 = 3;
    pub(super) const HOST: i32 = 6;
    pub(super) const CONNECT: i32 = 7;
    pub(super) const PARTIAL: i32 = 18;
    pub(super) const REFUSED: i32 = 22;
    pub(super) const WRITE: i32 = 23;
    pub(super) const READ: i32 = 26;
    pub(super) const TIMEOUT: i32 = 28;
    pub(super) const REDIRECTS: i32 = 47;
    pub(super) const RECEIVE: i32 = 56;
    pub(super) const CERTIFICATE: i32 = 60;
    pub(super) const AUTHORITIES: i32 = 77;
}

/// Why a request has no result: curl's status, and the text.
struct Failure {
    status: i32,
    message: String,
}

fn failure(status: i32, message: impl Into<String>) -> Failure {
    Failure {
        status,
        message: message.into(),
    }
}

/// Where the answer goes.
enum Target<'a> {
    Output(&'a Output),
    File(File),
}

/// One call.
struct Fetch<'a> {
    options: &'a Options,
    environment: HashMap<String, String>,
    inputs: Inputs,
    output: &'a Output,
    client: &'a Client,
    started: Instant,
}

/// What is known of the last answer.
#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    url: String,
    bytes: u64,
    file_name: String,
}

/// Does what curl does with these arguments.
pub(crate) fn run(call: Call, client: &Client) -> End {
    let options = match Options::read(&call.arguments) {
        Ok(options) => options,
        Err(cause) => {
            let output = Output::new(call.output, call.errors);
            output.write_error(format!("lambda_fetch: {cause}\n").as_bytes());
            return output.end(status::USAGE);
        }
    };
    // What a variable takes stays here.
    let file = call.output.filter(|_| options.variable.is_none());
    let output = Output::new(file, call.errors);
    let mut fetch = Fetch {
        options: &options,
        environment: call.environment.into_iter().collect(),
        inputs: Inputs {
            place: call.place,
            input: call.input,
        },
        output: &output,
        client,
        started: Instant::now(),
    };
    let mut exit_status = 0;
    for url in &options.urls {
        if let Err(status) = fetch.one(url) {
            exit_status = status;
        }
    }
    output.flush();
    if let Some(error) = output.broken() {
        if error.kind() != io::ErrorKind::BrokenPipe {
            output.write_error(format!("lambda_fetch: cannot write: {error}\n").as_bytes());
        }
        exit_status = status::WRITE;
    }
    let mut end = output.end(exit_status);
    end.variable = options.variable.unwrap_or_default();
    end
}

impl Fetch<'_> {
    /// Fetches one URL. The error is the exit status.
    fn one(&mut self, url: &str) -> Result<(), i32> {
        self.started = Instant::now();
        let mut answer = Answer::default();
        let result = self.with_retries(url, &mut answer);
        let (status, message) = match &result {
            Ok(()) => (0, ""),
            Err(failure) => (failure.status, failure.message.as_str()),
        };
        if let Some(format) = &self.options.write_out {
            let facts = Facts {
                status: answer.status,
                headers: &answer.headers,
                url: if answer.url.is_empty() {
                    url
                } else {
                    &answer.url
                },
                method: &self.method(),
                bytes: answer.bytes,
                seconds: self.started.elapsed().as_secs_f64(),
                exit_status: status,
                error: message,
                file_name: &answer.file_name,
            };
            let (text, unknown) = facts.text(format);
            self.output
                .write(|output| output.extend_from_slice(text.as_bytes()), false);
            for name in unknown {
                self.complain(&format!("there is no value %{{{name}}} for --write-out"));
            }
        }
        if status != 0 {
            if !self.options.is_silent || self.options.shows_errors {
                self.complain(&format!("({status}) {message}"));
            }
            return Err(status);
        }
        Ok(())
    }

    fn complain(&self, message: &str) {
        self.output
            .write_error(format!("lambda_fetch: {message}\n").as_bytes());
    }

    fn with_retries(&mut self, url: &str, answer: &mut Answer) -> Result<(), Failure> {
        let options = self.options;
        let request = self.request(url)?;
        let can_repeat = !matches!(request.body, Body::Stream(_));
        let mut delay = Duration::from_secs(1);
        let mut left = if can_repeat { options.retries } else { 0 };
        loop {
            *answer = Answer::default();
            let sent = self.send_along(&request, &mut answer.url);
            let (is_transient, wait) = match &sent {
                Ok(response) => (
                    matches!(response.status, 408 | 429 | 500 | 502 | 503 | 504),
                    response
                        .header("retry-after")
                        .and_then(|text| text.parse().ok()),
                ),
                Err(failure) => (
                    failure.status == status::TIMEOUT
                        || options.retries_refused && failure.status == status::CONNECT
                        || options.retries_all,
                    None,
                ),
            };
            let wait = options
                .retry_delay
                .or(wait.map(Duration::from_secs))
                .unwrap_or(delay);
            let is_over = |limit: Duration| self.started.elapsed() + wait > limit;
            if left > 0 && is_transient && !options.retry_max_time.is_some_and(is_over) {
                thread::sleep(wait);
                delay = (delay * 2).min(MAX_DELAY);
                left -= 1;
                continue;
            }
            return self.take(sent?, answer);
        }
    }

    fn method(&self) -> String {
        let options = self.options;
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

    fn request(&mut self, url: &str) -> Result<Request, Failure> {
        let options = self.options;
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
        let (body, kind) = self
            .inputs
            .body(options)
            .map_err(|cause| failure(status::READ, cause))?;
        if options.is_get && !options.data.is_empty() {
            let data = self.inputs.data(&options.data);
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
        self.add_headers(&mut headers)?;
        Ok(Request {
            method: self.method(),
            url,
            headers,
            body,
        })
    }

    /// `Name: value`, `Name;` for an empty value, `Name:` to drop one, `@FILE` with lines of these.
    fn add_headers(&mut self, headers: &mut Vec<(String, String)>) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for header in &self.options.headers {
            match header.strip_prefix('@') {
                Some(name) => {
                    let text = self.inputs.data(&[Data::Binary(format!("@{name}"))]);
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

    /// Sends a request, and follows redirects if the options say so. `url` becomes where the answer came from.
    fn send_along(&self, first: &Request, url: &mut String) -> Result<Response, Failure> {
        let options = self.options;
        url.clone_from(&first.url);
        let response = self.send(first)?;
        if !options.follows {
            return Ok(response);
        }
        let unusable = |error: io::Error| failure(status::READ, error.to_string());
        let mut response = response;
        let mut request = Request {
            method: first.method.clone(),
            url: first.url.clone(),
            headers: first.headers.clone(),
            body: first.body.try_clone().map_err(unusable)?,
        };
        let mut left = options.max_redirects.unwrap_or(MAX_REDIRECTS);
        while let (301 | 302 | 303 | 307 | 308, Some(location)) =
            (response.status, response.header("location"))
        {
            if left == 0 {
                let most = options.max_redirects.unwrap_or(MAX_REDIRECTS);
                let message = format!("Maximum ({most}) redirects followed");
                return Err(failure(status::REDIRECTS, message));
            }
            left -= 1;
            redirect(
                &mut request,
                response.status,
                location,
                options.method.is_some(),
            );
            if matches!(request.body, Body::Stream(_)) {
                let cause = "cannot send standard input again to where the redirect leads";
                return Err(failure(status::READ, cause));
            }
            url.clone_from(&request.url);
            response = self.send(&request)?;
        }
        Ok(response)
    }

    fn send(&self, request: &Request) -> Result<Response, Failure> {
        let options = self.options;
        let variable = |name: &str| {
            let value = self.environment.get(name)?;
            (!value.is_empty()).then_some(value.as_str())
        };
        let exceptions = options.no_proxy.as_deref();
        let proxy = http::proxy_for(&request.url, |name| {
            match (name, &options.proxy, exceptions) {
                ("no_proxy", _, Some(list)) => Some(list),
                ("http_proxy" | "https_proxy", Some(proxy), _) => Some(proxy),
                _ => variable(name),
            }
        });
        let bundle = options
            .authorities
            .as_deref()
            .or_else(|| variable("SSL_CERT_FILE"))
            .or_else(|| variable("AWS_CA_BUNDLE"));
        let authorities = bundle.map(|name| {
            let pem = self.inputs.place.read(Path::new(name));
            let pem = pem.map_err(|error| {
                failure(status::AUTHORITIES, format!("cannot read {name}: {error}"))
            });
            pem.map(Arc::new)
        });
        let route = Route {
            proxy: proxy.filter(|proxy| !proxy.is_empty()),
            authorities: authorities.transpose()?,
            is_insecure: options.is_insecure,
        };
        let left = |limit: Duration| limit.saturating_sub(self.started.elapsed());
        let limits = Limits {
            connect: options.connect_timeout,
            read: None,
            total: options.max_time.map(left),
        };
        let sent = self.client.send(request, &route, limits);
        sent.map_err(|error| describe(&error, &request.url))
    }

    /// Gives out an answer.
    fn take(&self, response: Response, answer: &mut Answer) -> Result<(), Failure> {
        let options = self.options;
        answer.status = response.status;
        answer.headers.clone_from(&response.headers);
        let is_refused = response.status >= 400 && (options.fails || options.fails_with_body);
        let refused = || {
            let message = format!("The requested URL returned error: {}", answer.status);
            failure(status::REFUSED, message)
        };
        if let Some(name) = &options.dump_headers {
            self.dump(name, &response)?;
        }
        if is_refused && !options.fails_with_body {
            return Err(refused());
        }
        let encoding = response
            .header("content-encoding")
            .unwrap_or_default()
            .to_owned();
        let head = (options.includes_headers || options.is_head).then(|| head_of(&response));
        let mut target = self.target(&answer.url.clone(), &mut answer.file_name)?;
        if let Some(head) = head {
            target.write(head.as_bytes())?;
        }
        let body: Box<dyn Read> = match encoding.as_str() {
            "gzip" | "x-gzip" if options.is_compressed => {
                Box::new(MultiGzDecoder::new(response.body))
            }
            "deflate" if options.is_compressed => Box::new(ZlibDecoder::new(response.body)),
            _ => response.body,
        };
        copy(body, &mut target, &mut answer.bytes)?;
        if is_refused { Err(refused()) } else { Ok(()) }
    }

    fn target(&self, url: &str, file_name: &mut String) -> Result<Target<'_>, Failure> {
        let options = self.options;
        let name = match &options.output {
            Some(name) if name == "-" => return Ok(Target::Output(self.output)),
            Some(name) => name.clone(),
            None if options.has_remote_name => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                let path = path.splitn(4, '/').nth(3).unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or_default();
                if name.is_empty() || name == "." || name == ".." {
                    let cause = "the URL has no name of a file for --remote-name";
                    return Err(failure(status::WRITE, cause));
                }
                name.to_owned()
            }
            None => return Ok(Target::Output(self.output)),
        };
        file_name.clone_from(&name);
        let file = create(self.inputs.place, &name, options.creates_folders)?;
        Ok(Target::File(file))
    }

    fn dump(&self, name: &str, response: &Response) -> Result<(), Failure> {
        let head = head_of(response);
        let mut target = if name == "-" {
            Target::Output(self.output)
        } else {
            Target::File(create(self.inputs.place, name, false)?)
        };
        target.write(head.as_bytes())
    }
}

fn create(place: Place, name: &str, creates_folders: bool) -> Result<File, Failure> {
    let path = place.path(Path::new(name));
    if let Some(folder) = path.parent().filter(|_| creates_folders) {
        // What is wrong shows when the file is made.
        let _ = fs::create_dir_all(folder);
    }
    File::create(path)
        .map_err(|error| failure(status::WRITE, format!("cannot write {name}: {error}")))
}

fn head_of(response: &Response) -> String {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Output(output) => {
                if output.write(|text| text.extend_from_slice(bytes), false) {
                    return Ok(());
                }
                // Whoever calls says why.
                Err(failure(status::WRITE, "cannot write the output"))
            }
            Self::File(file) => file
                .write_all(bytes)
                .map_err(|error| failure(status::WRITE, format!("cannot write the file: {error}"))),
        }
    }
}

fn copy(mut body: Box<dyn Read>, target: &mut Target, count: &mut u64) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                target.write(&buffer[..length])?;
                *count += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if http::is_timeout(&error) => {
                let message = format!("the time was up after {count} bytes");
                return Err(failure(status::TIMEOUT, message));
            }
            Err(error) => {
                let message = format!("the answer ended after {count} bytes: {error}");
                return Err(failure(status::PARTIAL, message));
            }
        }
    }
}

fn describe(error: &HttpError, url: &str) -> Failure {
    let host = host_of(url);
    if error.is_host_unknown() {
        failure(status::HOST, format!("Could not resolve host: {host}"))
    } else if error.is_timeout() {
        failure(status::TIMEOUT, "the time is up")
    } else if error.is_tls() {
        failure(status::CERTIFICATE, format!("no TLS with {host}: {error}"))
    } else if error.is_connection() {
        failure(
            status::CONNECT,
            format!("Failed to connect to {host}: {error}"),
        )
    } else if error.is_bad_url() {
        failure(
            status::URL,
            format!("the URL or a header is wrong: {error}"),
        )
    } else {
        failure(status::RECEIVE, error.to_string())
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
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
