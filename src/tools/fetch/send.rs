//! Sends a request, and follows redirects.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memchr::memmem;

use super::failure::{Failure, describe, failure, status};
use super::redirect::redirect;
use super::request::{self, Transfer};
use super::run::{Answer, Fetch};
use super::url::Url;
use crate::http::{self, Body, Limits, Request, Response, Route};

/// curl's limit of redirects.
const MAX_REDIRECTS: i64 = 50;

impl Fetch<'_> {
    /// Sends a request, and follows redirects if the options say so. `answer` gets where the response came from, and
    /// every head.
    pub(super) fn send_along(
        &self,
        transfer: Transfer,
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
        let mut posts = request::posts(options, transfer);
        let most = options.max_redirects.unwrap_or(MAX_REDIRECTS);
        let mut followed = 0;
        loop {
            answer.url = url.with_fragment();
            answer.method.clone_from(&request.method);
            let response = self.send(&request)?;
            answer.status = response.status;
            answer.headers.clone_from(&response.headers);
            if options.shows_heads() || options.dump_headers.is_some() {
                answer.heads.push_str(&head_of(&response));
            }
            let location = response.header("location");
            let Some(location) = location.filter(|_| (300..400).contains(&response.status)) else {
                return Ok(response);
            };
            let target = url.join(location, options.keeps_dots);
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
            if followed == most {
                let message = format!("Maximum ({most}) redirects followed");
                return Err(failure(status::REDIRECTS, message));
            }
            followed += 1;
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
            let pem = pem?;
            if memmem::find(&pem, b"-----BEGIN CERTIFICATE").is_none() {
                let cause = format!("cannot read {name}: there is no certificate in it");
                return Err(failure(status::AUTHORITIES, cause));
            }
            Ok(Arc::new(pem))
        });
        let route = Route {
            proxy: proxy.filter(|proxy| !proxy.is_empty()),
            authorities: authorities.transpose()?,
            is_insecure: options.is_insecure,
        };
        let left = |limit: std::time::Duration| limit.saturating_sub(self.started.elapsed());
        let limits = Limits {
            connect: options.connect_timeout,
            read: None,
            total: options.max_time.map(left),
        };
        let sent = self.client.send(request, &route, limits);
        sent.map_err(|error| describe(&error, &request.url, route.proxy.as_deref()))
    }
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
