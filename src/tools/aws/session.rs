//! One caller's requests to AWS: region, credentials, endpoint, signature, retries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::AwsError;
use super::credentials::{Cache, Credentials};
use super::endpoint::{Endpoint, Target, Variant};
use super::error::refusal;
use super::payload;
use super::retry::{Retries, Verdict};
use super::settings::{Settings, is_region};
use super::sign::{self, Scope, UNSIGNED, Unsigned};
use crate::http::{self, Body, Client, Limits, Request, Response, Route};

/// The limits of the AWS CLI.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
const READ_LIMIT: Duration = Duration::from_secs(60);
/// Larger bodies for S3 are not hashed where their way is protected.
const MAX_HASHED_BYTES: usize = 64 * 1024;
/// A clock that is wrong by less is no reason to be refused.
const MIN_SKEW_SECONDS: i64 = 240;
const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));

/// One operation, not signed yet.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    /// As the API spells it, such as `GetParameter`; errors name it.
    pub name: String,
    pub method: String,
    /// Encoded, from the first slash on. That of S3 begins with the bucket, if there is one.
    pub path: String,
    /// Not encoded.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// Who asks whom: one of other credentials may get another answer.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Asker {
    region: Option<String>,
    server: Option<String>,
    credentials: Option<Credentials>,
}

/// Connections and what is known of AWS. They outlive a call.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub client: Client,
    pub(super) credentials: Cache,
    /// The regions of buckets that are not where they were looked for, by what [`Session::server`] and the bucket are.
    regions: Mutex<HashMap<(Option<String>, String), String>>,
    /// How many seconds the clock of a host is ahead of this one.
    skew: Mutex<HashMap<String, i64>>,
}

/// How a session finds credentials.
pub(super) type Finder = fn(&Session<'_>) -> Result<Credentials, AwsError>;

/// What the requests of one call have in common.
pub(crate) struct Session<'a> {
    kept: &'a Kept,
    pub settings: Settings,
    signer: Signer,
    authorities: OnceLock<Option<Arc<Vec<u8>>>>,
}

enum Signer {
    Found(Credentials),
    ToBeFound(Finder),
    Nobody,
}

/// Where one request goes.
struct Destination {
    endpoint: Endpoint,
    /// Encoded.
    path: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(kept: &'a Kept, settings: Settings, find: Finder) -> Self {
        let signer = if settings.choices().is_unsigned {
            Signer::Nobody
        } else {
            Signer::ToBeFound(find)
        };
        Self {
            kept,
            settings,
            signer,
            authorities: OnceLock::new(),
        }
    }

    /// The same caller, who now asks for credentials: signed with these, or with none.
    pub(super) fn for_credentials(&self, credentials: Option<Credentials>, region: &str) -> Self {
        Self {
            kept: self.kept,
            settings: self.settings.for_credentials(region),
            signer: credentials.map_or(Signer::Nobody, Signer::Found),
            authorities: OnceLock::new(),
        }
    }

    /// The authorities of servers, in PEM; `None` for those that are built in. They are read at the first request.
    ///
    /// # Errors
    /// The file cannot be read.
    fn authorities(&self) -> Result<Option<Arc<Vec<u8>>>, AwsError> {
        if let Some(known) = self.authorities.get() {
            return Ok(known.clone());
        }
        let chosen = self.settings.choices().ca_bundle.as_deref();
        let bundle = chosen.or_else(|| self.settings.either("AWS_CA_BUNDLE", "ca_bundle"));
        let path = bundle.or_else(|| self.settings.variable("SSL_CERT_FILE"));
        let pem = path.map(|path| {
            let pem = self.settings.place().read(Path::new(path));
            pem.map(Arc::new)
                .map_err(|error| AwsError::Other(format!("cannot read {path}: {error}")))
        });
        let pem = pem.transpose()?;
        Ok(self.authorities.get_or_init(|| pem).clone())
    }

    pub(super) fn kept(&self) -> &'a Kept {
        self.kept
    }

    /// Who asks whom, as far as that is known.
    pub(crate) fn asker(&self, target: &Target) -> Asker {
        Asker {
            region: self.settings.region().ok().map(ToOwned::to_owned),
            server: self.server(target),
            credentials: self.credentials().ok().flatten(),
        }
    }

    /// The URL of a service.
    pub(super) fn server(&self, target: &Target) -> Option<String> {
        let region = self.settings.region().ok()?;
        let destination = self.destination(target, &Operation::default(), region);
        Some(destination.ok()?.endpoint.url("/", ""))
    }

    /// Signs the request, sends it, and tries again as the SDKs do. The answer's body is still to be read.
    ///
    /// # Errors
    /// No credentials, no answer, or the service refuses.
    pub(crate) fn send(
        &self,
        target: &Target,
        operation: &Operation,
    ) -> Result<Response, AwsError> {
        check_headers(operation)?;
        let bucket = bucket_of(target, operation);
        let mut region = self.region_for(target, bucket)?;
        let setting = self.settings.either("AWS_MAX_ATTEMPTS", "max_attempts");
        let mut retries = Retries::new(setting).map_err(AwsError::Other)?;
        let can_repeat = !matches!(operation.body, Body::Stream(_));
        let mut redirected = false;
        let mut moved_to: Option<Endpoint> = None;
        loop {
            let mut destination = self.destination(target, operation, &region)?;
            if let Some(endpoint) = &moved_to {
                destination.endpoint = endpoint.clone();
            }
            let request = self.signed(target, operation, &destination)?;
            let sent = self
                .kept
                .client
                .send(&request, &self.route(&request.url)?, self.limits());
            let response = match sent {
                Ok(response) => response,
                Err(error) => {
                    if can_repeat
                        && !error.is_tls()
                        && let Some(delay) = retries.next()
                    {
                        thread::sleep(delay);
                        continue;
                    }
                    return Err(AwsError::of_connection(&error, &request.url));
                }
            };
            // 304 is an error to the AWS CLI, too.
            if response.status < 300 {
                return Ok(response);
            }
            let bucket_region = response
                .header("x-amz-bucket-region")
                .map(ToOwned::to_owned);
            let location = response.header("location").map(ToOwned::to_owned);
            let date = response.header("date").map(ToOwned::to_owned);
            let (status, code, message) = refusal(response);
            if can_repeat && !redirected && matches!(status, 301 | 307 | 400 | 403) {
                if let (Some(bucket), Some(actual)) = (bucket, bucket_region)
                    && actual != region
                    && is_region(&actual)
                {
                    let mut regions = lock(&self.kept.regions);
                    let key = (self.server(target), bucket.to_owned());
                    regions.insert(key, actual.clone());
                    (region, redirected) = (actual, true);
                    continue;
                }
                if status == 307
                    && let Some(endpoint) =
                        location.and_then(|url| Endpoint::from_url(&url, &region))
                {
                    let endpoint = Endpoint {
                        prefix: String::new(),
                        ..endpoint
                    };
                    (moved_to, redirected) = (Some(endpoint), true);
                    continue;
                }
            }
            let delay = match super::retry::verdict(status, &code) {
                Verdict::Again | Verdict::Later if can_repeat => retries.next(),
                Verdict::ClockIsWrong
                    if can_repeat
                        && self.correct_clock(&destination.endpoint.host, date.as_deref()) =>
                {
                    retries.next().map(|_| Duration::ZERO)
                }
                _ => None,
            };
            if let Some(delay) = delay {
                thread::sleep(delay);
                continue;
            }
            return Err(AwsError::Service {
                operation: operation.name.clone(),
                status,
                code,
                message,
                retries: retries.exhausted(),
            });
        }
    }

    /// The URL of the request, signed for `seconds`.
    ///
    /// # Errors
    /// No credentials, or no region.
    pub(crate) fn presign(
        &self,
        target: &Target,
        operation: &Operation,
        seconds: u32,
    ) -> Result<String, AwsError> {
        let region = self.region_for(target, bucket_of(target, operation))?;
        let destination = self.destination(target, operation, &region)?;
        let credentials = self
            .credentials()?
            .ok_or_else(|| AwsError::Settings("a presigned URL needs credentials".to_owned()))?;
        let path = format!("{}{}", destination.endpoint.prefix, destination.path);
        let request = unsigned(operation, &destination.endpoint, &path, UNSIGNED);
        let scope = self.scope(target, &destination);
        let query = sign::query(&request, &scope, &credentials, seconds);
        Ok(destination.endpoint.url(&destination.path, &query))
    }

    fn scope<'b>(&self, target: &Target<'b>, destination: &'b Destination) -> Scope<'b> {
        let skews = lock(&self.kept.skew);
        let skew = skews.get(&destination.endpoint.host).copied();
        Scope {
            region: &destination.endpoint.region,
            service: target.signing_name,
            time: OffsetDateTime::now_utc() + time::Duration::seconds(skew.unwrap_or_default()),
        }
    }

    /// Those that sign; `None` if nobody does.
    fn credentials(&self) -> Result<Option<Credentials>, AwsError> {
        match &self.signer {
            Signer::Found(known) => Ok(Some(known.clone())),
            Signer::ToBeFound(find) => find(self).map(Some),
            Signer::Nobody => Ok(None),
        }
    }

    /// The region of a request, which is that of its bucket, once that is known.
    fn region_for(&self, target: &Target, bucket: Option<&str>) -> Result<String, AwsError> {
        if let Some(bucket) = bucket
            && let key = (self.server(target), bucket.to_owned())
            && let Some(region) = lock(&self.kept.regions).get(&key)
        {
            return Ok(region.clone());
        }
        match self.settings.region() {
            Ok(region) => Ok(region.to_owned()),
            // Every region knows where a bucket is.
            Err(AwsError::Settings(_)) if bucket.is_some() => Ok("us-east-1".to_owned()),
            Err(error) => Err(error),
        }
    }

    fn destination(
        &self,
        target: &Target,
        operation: &Operation,
        region: &str,
    ) -> Result<Destination, AwsError> {
        let custom = self.settings.endpoint_url(target);
        let endpoint = if let Some(url) = custom {
            Endpoint::from_url(url, region).ok_or_else(|| {
                AwsError::Other(format!("Invalid endpoint: {}", http::without_user(url)))
            })?
        } else {
            let is_dual_stack = self
                .settings
                .is_on("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
                || target.signing_name == "s3"
                    && self.settings.setting("s3.use_dualstack_endpoint") == Some("true");
            let variant = Variant {
                is_dual_stack,
                is_fips: self
                    .settings
                    .is_on("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
            };
            Endpoint::of(target, region, variant)
        };
        let Some(bucket) = bucket_of(target, operation) else {
            let path = operation.path.clone();
            return Ok(Destination { endpoint, path });
        };
        // Local servers rarely have a name for each bucket.
        let style = self
            .settings
            .setting("s3.addressing_style")
            .unwrap_or("auto");
        let is_in_host = style == "virtual" || (style != "path" && custom.is_none());
        let with_bucket = is_in_host.then(|| endpoint.with_bucket(bucket)).flatten();
        Ok(match with_bucket {
            Some(endpoint) => {
                let rest = &operation.path[1 + bucket.len()..];
                let path = if rest.is_empty() { "/" } else { rest };
                Destination {
                    endpoint,
                    path: path.to_owned(),
                }
            }
            None => Destination {
                endpoint,
                path: operation.path.clone(),
            },
        })
    }

    fn signed(
        &self,
        target: &Target,
        operation: &Operation,
        destination: &Destination,
    ) -> Result<Request, AwsError> {
        let mut headers = operation.headers.clone();
        let url = destination
            .endpoint
            .url(&destination.path, &sign::encode_query(&operation.query));
        if let Some(credentials) = self.credentials()? {
            // Nobody can change it on its way, and S3 takes it so. For small bodies the hash costs nothing.
            let may_be_unsigned =
                target.signing_name == "s3" && destination.endpoint.is_protected();
            let payload_hash = match &operation.body {
                Body::Part { .. } if may_be_unsigned => UNSIGNED.to_owned(),
                Body::Bytes(bytes) if may_be_unsigned && bytes.len() > MAX_HASHED_BYTES => {
                    UNSIGNED.to_owned()
                }
                Body::Stream(_) | Body::Pieces(_) => UNSIGNED.to_owned(),
                body => payload::hash(body).map_err(|error| {
                    AwsError::Other(format!("cannot read what is to be sent: {error}"))
                })?,
            };
            let path = format!("{}{}", destination.endpoint.prefix, destination.path);
            let request = unsigned(operation, &destination.endpoint, &path, &payload_hash);
            let scope = self.scope(target, destination);
            headers.extend(sign::headers(&request, &scope, &credentials));
        }
        headers.push(("user-agent".to_owned(), USER_AGENT.to_owned()));
        Ok(Request {
            method: operation.method.clone(),
            url,
            headers,
            body: operation
                .body
                .try_clone()
                .map_err(|error| AwsError::Other(format!("cannot use the file: {error}")))?,
        })
    }

    fn route(&self, url: &str) -> Result<Route, AwsError> {
        Ok(Route {
            proxy: http::proxy_for(url, |name| self.settings.variable(name)),
            authorities: self.authorities()?,
            is_insecure: self.settings.choices().skips_verification,
        })
    }

    fn limits(&self) -> Limits {
        // The AWS CLI waits without end for 0.
        let limit = |chosen: Option<Duration>, usual| {
            let limit = chosen.unwrap_or(usual);
            (!limit.is_zero()).then_some(limit)
        };
        Limits {
            connect: limit(self.settings.choices().connect_timeout, CONNECT_LIMIT),
            read: limit(self.settings.choices().read_timeout, READ_LIMIT),
            total: None,
        }
    }

    /// Takes over the server's time. Returns false if that is not the reason.
    fn correct_clock(&self, host: &str, date: Option<&str>) -> bool {
        let Some(date) = date
            .and_then(|text| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok())
        else {
            return false;
        };
        let skew = (date - OffsetDateTime::now_utc()).whole_seconds();
        let previous = lock(&self.kept.skew).insert(host.to_owned(), skew);
        (skew - previous.unwrap_or_default()).abs() > MIN_SKEW_SECONDS
    }
}

fn unsigned<'b>(
    operation: &'b Operation,
    endpoint: &'b Endpoint,
    path: &'b str,
    payload_hash: &'b str,
) -> Unsigned<'b> {
    Unsigned {
        method: &operation.method,
        host: &endpoint.host,
        path,
        query: &operation.query,
        headers: &operation.headers,
        payload_hash,
    }
}

/// Refuses headers that nobody would take, before anything is sent.
fn check_headers(operation: &Operation) -> Result<(), AwsError> {
    for (name, value) in &operation.headers {
        if let Some(key) = name.strip_prefix("x-amz-meta-")
            && !value.is_ascii()
        {
            return Err(AwsError::Parameter(format!(
                "Non ascii characters found in S3 metadata for key \"{key}\", value: \"{value}\".  \nS3 metadata can only contain \
                 ASCII characters. "
            )));
        }
        if value
            .chars()
            .any(|letter| letter.is_ascii_control() && letter != '\t')
        {
            return Err(AwsError::Other(format!(
                "cannot send header {name}: its value has a line break or another control character"
            )));
        }
    }
    Ok(())
}

/// The bucket that a path of S3 begins with.
fn bucket_of<'b>(target: &Target, operation: &'b Operation) -> Option<&'b str> {
    let rest = operation.path.strip_prefix('/')?;
    let bucket = rest.split('/').next()?;
    (target.signing_name == "s3" && target.endpoint_prefix == "s3" && !bucket.is_empty())
        .then_some(bucket)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
