//! The requests of API Gateway, function URLs and load balancers.

use std::borrow::Cow;

use crate::document::{Document, Kind, Span};
use crate::encoding::Encoding;

use super::form::{Pairs, decoded, pairs};

/// Which of the forms an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// REST APIs, and HTTP APIs that are set to it: queries are decoded.
    Version1,
    /// HTTP APIs and function URLs.
    Version2,
    /// Load balancers: as version 1, and queries are as they came.
    LoadBalancer,
}

/// Where the answer to a request has its headers and cookies. Sources:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// `headers`, and `cookies` in a list of their own: HTTP APIs and function URLs, and what is no request.
    Cookies,
    /// `headers`, and the cookies in `multiValueHeaders`: version 1.
    CookieHeaders,
    /// All in `multiValueHeaders`: load balancers whose target group has multi-value headers switched on.
    Lists,
    /// All in `headers`, where each name has one value: other load balancers.
    Single,
}

impl AnswerForm {
    /// The form for the answer to `event`.
    pub fn of(event: &[u8]) -> Self {
        // Only these have it. What has another form, however large, is not read.
        if memchr::memmem::find(event, b"\"httpMethod\"").is_none() {
            return Self::Cookies;
        }
        let Ok(document) = Document::borrowed(event) else {
            return Self::Cookies;
        };
        let lists = || document.find(document.root(), &["multiValueHeaders"]);
        match Request::of(&document).map(|request| request.form) {
            Some(Form::Version1) => Self::CookieHeaders,
            Some(Form::LoadBalancer) if lists().is_some() => Self::Lists,
            Some(Form::LoadBalancer) => Self::Single,
            Some(Form::Version2) | None => Self::Cookies,
        }
    }
}

pub(super) struct Request<'d> {
    event: &'d Document<'d>,
    form: Form,
}

impl<'d> Request<'d> {
    /// `None` if the event is no request.
    pub(super) fn of(event: &'d Document<'d>) -> Option<Self> {
        let root = event.root();
        let has = |names: &[&str]| event.find(root, names).is_some();
        let form = if has(&["requestContext", "http", "method"]) {
            Form::Version2
        } else if !has(&["httpMethod"]) || !has(&["path"]) {
            return None;
        } else if has(&["requestContext", "elb"]) {
            Form::LoadBalancer
        } else if has(&["requestContext"]) {
            Form::Version1
        } else {
            return None;
        };
        Some(Self { event, form })
    }

    fn string(&self, names: &[&str]) -> Option<String> {
        let found = self.event.find_string(self.event.root(), names);
        found.map(Cow::into_owned)
    }

    pub(super) fn method(&self) -> String {
        let names: &[&str] = match self.form {
            Form::Version2 => &["requestContext", "http", "method"],
            _ => &["httpMethod"],
        };
        self.string(names).unwrap_or_default()
    }

    pub(super) fn path(&self) -> String {
        let name = match self.form {
            Form::Version2 => "rawPath",
            _ => "path",
        };
        self.string(&[name]).unwrap_or_default()
    }

    pub(super) fn source_ip(&self, headers: &Pairs) -> String {
        let names: &[&str] = match self.form {
            Form::Version1 => &["requestContext", "identity", "sourceIp"],
            Form::Version2 => &["requestContext", "http", "sourceIp"],
            Form::LoadBalancer => {
                let forwarded = headers.get(b"x-forwarded-for").unwrap_or_default();
                // The client may have sent some of them; the load balancer adds the last.
                let last = forwarded.rsplit(|byte| *byte == b',').next();
                let last = last.unwrap_or_default().trim_ascii();
                return String::from_utf8_lossy(last).into_owned();
            }
        };
        self.string(names).unwrap_or_default()
    }

    /// A load balancer has none, but for the trace.
    pub(super) fn request_id(&self, headers: &Pairs) -> String {
        if self.form != Form::LoadBalancer {
            return self
                .string(&["requestContext", "requestId"])
                .unwrap_or_default();
        }
        let trace = headers.get(b"x-amzn-trace-id").unwrap_or_default();
        String::from_utf8_lossy(trace).into_owned()
    }

    /// Names and values of `many`, where each value is an array, or else of `one`.
    fn members(&self, many: &str, one: &str) -> Pairs {
        let root = self.event.root();
        let members = self.event.find_members(root, &[many]);
        let members = members.or_else(|| self.event.find_members(root, &[one]));
        let mut pairs = Vec::new();
        for (name, value) in members.unwrap_or_default() {
            let mut add = |value: Span| {
                if self.event.kind(value) == Kind::String {
                    let value = self.event.string(value).into_owned();
                    pairs.push((name.to_string().into_bytes(), value.into_bytes()));
                }
            };
            match self.event.find_elements(value, &[]) {
                Some(values) => values.into_iter().for_each(add),
                None => add(value),
            }
        }
        Pairs(pairs)
    }

    fn query_members(&self) -> Pairs {
        self.members("multiValueQueryStringParameters", "queryStringParameters")
    }

    pub(super) fn raw_query(&self) -> Vec<u8> {
        if self.form == Form::Version2 {
            return self
                .string(&["rawQueryString"])
                .unwrap_or_default()
                .into_bytes();
        }
        let encoded = |text: Vec<u8>| match self.form {
            Form::LoadBalancer => text,
            _ => Encoding::Uri.encode(&text),
        };
        let mut query = Vec::new();
        for (name, value) in self.query_members().0 {
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend(encoded(name));
            query.push(b'=');
            query.extend(encoded(value));
        }
        query
    }

    pub(super) fn query(&self) -> Pairs {
        if self.form == Form::Version2 {
            return pairs(&self.raw_query(), true);
        }
        let is_encoded = self.form == Form::LoadBalancer;
        let members = self.query_members().0.into_iter();
        let decoded = |text: Vec<u8>| decoded(&text, is_encoded);
        Pairs(
            members
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    /// Names in lower case. The values of one name are one, with a comma between them.
    pub(super) fn headers(&self) -> Pairs {
        let mut pairs = self.members("multiValueHeaders", "headers");
        for (name, _) in &mut pairs.0 {
            name.make_ascii_lowercase();
        }
        let separator = |name: &[u8]| Some(if name == b"cookie" { &b"; "[..] } else { b", " });
        let mut headers = pairs.merged(&separator);
        let cookies = self.cookie_list();
        if headers.get(b"cookie").is_none() && !cookies.is_empty() {
            let cookies = cookies.join("; ").into_bytes();
            headers.0.push((b"cookie".to_vec(), cookies));
        }
        headers
    }

    /// Version 2 takes the cookies out of the headers.
    fn cookie_list(&self) -> Vec<String> {
        let list = self.event.find_elements(self.event.root(), &["cookies"]);
        let cookies = list.unwrap_or_default().into_iter();
        let strings = cookies.filter(|cookie| self.event.kind(*cookie) == Kind::String);
        strings
            .map(|cookie| self.event.string(cookie).into_owned())
            .collect()
    }

    /// As the client sent them.
    pub(super) fn cookies(headers: &Pairs) -> Pairs {
        let header = headers.get(b"cookie").unwrap_or_default();
        let mut cookies = Vec::new();
        for cookie in header.split(|byte| *byte == b';') {
            if let Some(at) = memchr::memchr(b'=', cookie) {
                let (name, value) = cookie.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                cookies.push((name.trim_ascii().to_vec(), value.trim_ascii().to_vec()));
            }
        }
        Pairs(cookies)
    }

    pub(super) fn path_parameters(&self) -> Pairs {
        self.members("", "pathParameters")
    }

    /// The bytes of the body.
    pub(super) fn body(&self) -> Result<Vec<u8>, String> {
        let body = self.string(&["body"]).unwrap_or_default().into_bytes();
        let flag = self.event.find(self.event.root(), &["isBase64Encoded"]);
        if flag.is_some_and(|flag| self.event.raw(flag) == "true") {
            let decoded = Encoding::Base64.decode(&body);
            return decoded.map_err(|error| format!("it is no base64: {error}"));
        }
        Ok(body)
    }
}
