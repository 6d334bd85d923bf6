//! Sends the requests of one call, and gives out the answers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::body::Inputs;
use super::failure::{Failure, describe, failure, status};
use super::options::Options;
use super::redirect::redirect;
use super::request;
use super::url::{Url, without_user};
use super::write_out::Facts;
use crate::call::{Call, End, Output, Place};
use crate::http::{self, Body, Client, Limits, Request, Response, Route};

const BUFFER_BYTES: usize = 128 * 1024;
/// curl's limit of redirects.
const MAX_REDIRECTS: u32 = 50;
/// curl waits so long at most before it tries again.
const MAX_DELAY: Duration = Duration::from_secs(600);

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
    method: String,
    /// Where a redirect would lead.
    redirect_url: String,
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
        let mut answer = Answer {
            url: without_user(url),
            method: request::method(self.options),
            ..Answer::default()
        };
        let result = self.with_retries(url, &mut answer);
        let (status, message) = match &result {
            Ok(()) => (0, ""),
            Err(failure) => (failure.status, failure.message.as_str()),
        };
        if let Some(format) = &self.options.write_out {
            let facts = Facts {
                status: answer.status,
                headers: &answer.headers,
                url: &answer.url,
                method: &answer.method,
                redirect_url: &answer.redirect_url,
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
        let (url, request) = request::build(options, &mut self.inputs, url)?;
        let can_repeat = !matches!(request.body, Body::Stream(_));
        let mut delay = Duration::from_secs(1);
        let mut left = if can_repeat { options.retries } else { 0 };
        loop {
            *answer = Answer::default();
            let sent = self.send_along(&url, &request, answer);
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

    /// Sends a request, and follows redirects if the options say so. `answer` gets where the response came from.
    fn send_along(
        &self,
        first_url: &Url,
        first: &Request,
        answer: &mut Answer,
    ) -> Result<Response, Failure> {
        let options = self.options;
        let unusable = |error: io::Error| failure(status::READ, error.to_string());
        let mut url = first_url.clone();
        let mut request = Request {
            method: first.method.clone(),
            url: first.url.clone(),
            headers: first.headers.clone(),
            body: first.body.try_clone().map_err(unusable)?,
        };
        let mut posts = request::posts(options);
        let mut left = options.max_redirects.unwrap_or(MAX_REDIRECTS);
        loop {
            answer.url = url.with_fragment();
            answer.method.clone_from(&request.method);
            let response = self.send(&request)?;
            let location = response.header("location");
            let Some(location) = location.filter(|_| (300..400).contains(&response.status)) else {
                return Ok(response);
            };
            let target = url.join(location, false);
            if !options.follows {
                answer.redirect_url = match target {
                    Ok(Some(url)) => url.with_user(),
                    Ok(None) => String::new(),
                    Err(_) => location.to_owned(),
                };
                return Ok(response);
            }
            let Some(target) = target? else {
                return Ok(response);
            };
            if left == 0 {
                let most = options.max_redirects.unwrap_or(MAX_REDIRECTS);
                let message = format!("Maximum ({most}) redirects followed");
                return Err(failure(status::REDIRECTS, message));
            }
            left -= 1;
            // Browsers began it, and everybody does it.
            let becomes_get = match response.status {
                301 | 302 => posts,
                303 => !options.is_head,
                _ => false,
            };
            redirect(&mut request, &url, &target, becomes_get);
            if becomes_get {
                posts = false;
                if options.method.is_none() {
                    "GET".clone_into(&mut request.method);
                }
            }
            let may_authorize = options.user.is_none() && target.has_same_origin(first_url);
            if let Some(user) = target.user.as_ref().filter(|_| may_authorize) {
                let header = ("authorization".to_owned(), request::basic(user));
                request.headers.retain(|(name, _)| name != "authorization");
                request.headers.push(header);
            }
            if matches!(request.body, Body::Stream(_)) {
                let cause = "cannot send standard input again to where the redirect leads";
                return Err(failure(status::READ, cause));
            }
            url = target;
        }
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
        sent.map_err(|error| describe(&error, &request.url, route.proxy.as_deref()))
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
        // Writing to a string does not fail.
        let _ = write!(head, "{name}: {value}\r\n");
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
                // The caller says why.
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
