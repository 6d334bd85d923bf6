//! One caller's requests to AWS: region, credentials, endpoint, signature, retries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::AwsError;
use super::credentials::{Cache, Sources};
use super::endpoint::{Endpoint, Target, Variant};
use super::error::refusal;
use super::payload;
use super::profile::Profile;
use super::retry::{Retries, Verdict};
use super::sign::{self, Scope, UNSIGNED, Unsigned};
use crate::call::Place;
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

/// Connections and what is known of AWS. They outlive a call.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub client: Client,
    credentials: Cache,
    /// The regions of buckets that are not where they were looked for.
    regions: Mutex<HashMap<String, String>>,
    /// How many seconds AWS's clock is ahead of this one.
    skew: AtomicI64,
}

/// What a caller chooses on its command line.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    /// Sends requests without a signature.
    pub is_unsigned: bool,
    pub skips_verification: bool,
    /// The path of a file with authorities.
    pub ca_bundle: Option<String>,
    pub read_timeout: Option<Duration>,
    pub connect_timeout: Option<Duration>,
}

/// What the requests of one call have in common.
pub(crate) struct Session<'a> {
    kept: &'a Kept,
    environment: HashMap<String, String>,
    profile: Profile,
    choices: Choices,
    authorities: OnceLock<Option<Arc<Vec<u8>>>>,
    place: Place,
}

/// Where one request goes.
struct Destination {
    endpoint: Endpoint,
    /// Encoded.
    path: String,
}

impl<'a> Session<'a> {
    /// # Errors
    /// The profile is not there, or a file of settings cannot be read.
    pub(crate) fn new(
        kept: &'a Kept,
        environment: &[(String, String)],
        choices: Choices,
        place: Place,
    ) -> Result<Self, AwsError> {
        let environment: HashMap<_, _> = environment.iter().cloned().collect();
        let profile = Profile::read(&environment, choices.profile.as_deref(), place)?;
        Ok(Self {
            kept,
            environment,
            profile,
            choices,
            authorities: OnceLock::new(),
            place,
        })
    }

    /// The authorities of servers, in PEM; `None` for those that are built in. They are read at the first request.
    ///
    /// # Errors
    /// The file cannot be read.
    fn authorities(&self) -> Result<Option<Arc<Vec<u8>>>, AwsError> {
        if let Some(known) = self.authorities.get() {
            return Ok(known.clone());
        }
        let chosen = self.choices.ca_bundle.as_deref();
        let bundle = chosen.or_else(|| self.either("AWS_CA_BUNDLE", "ca_bundle"));
        let path = bundle.or_else(|| self.variable("SSL_CERT_FILE"));
        let pem = path.map(|path| {
            let pem = self.place.read(Path::new(path));
            pem.map(Arc::new)
                .map_err(|error| AwsError::Other(format!("cannot read {path}: {error}")))
        });
        let pem = pem.transpose()?;
        Ok(self.authorities.get_or_init(|| pem).clone())
    }

    /// The region of requests.
    ///
    /// # Errors
    /// None is set.
    pub(crate) fn region(&self) -> Result<&str, AwsError> {
        let chosen = self.choices.region.as_deref();
        let region = chosen
            .or_else(|| self.variable("AWS_REGION"))
            .or_else(|| self.either("AWS_DEFAULT_REGION", "region"));
        let region = region.ok_or_else(|| {
            AwsError::Settings(
                "You must specify a region. You can also configure your region by running \"aws configure\"."
                    .to_owned(),
            )
        })?;
        let is_region = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if is_region(region) {
            Ok(region)
        } else {
            Err(AwsError::Other(format!(
                "Provided region_name '{region}' doesn't match a supported format."
            )))
        }
    }

    /// The setting of the profile with this name, such as `output`.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.profile.get(name)
    }

    /// A variable of the caller that is set, and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    pub(crate) fn choices(&self) -> &Choices {
        &self.choices
    }

    fn either(&self, variable: &str, setting: &str) -> Option<&str> {
        self.variable(variable).or_else(|| self.setting(setting))
    }

    fn is_on(&self, variable: &str, setting: &str) -> bool {
        self.either(variable, setting)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Who asks whom, as far as that is known without a request: region, endpoint, and the id of the access key.
    pub(crate) fn asker(&self, target: &Target) -> [Option<String>; 3] {
        let region = self.region().ok();
        let server = region.and_then(|region| {
            let destination = self.destination(target, &Operation::default(), region);
            Some(destination.ok()?.endpoint.url("/", ""))
        });
        let id = self.credentials().ok().map(|credentials| credentials.id);
        [region.map(ToOwned::to_owned), server, id]
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
        let bucket = bucket_of(target, operation);
        let mut region = self.region_for(bucket)?;
        let mut retries = Retries::new(self.either("AWS_MAX_ATTEMPTS", "max_attempts"));
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
                {
                    let mut regions = lock(&self.kept.regions);
                    regions.insert(bucket.to_owned(), actual.clone());
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
                Verdict::ClockIsWrong if can_repeat && self.correct_clock(date.as_deref()) => {
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
        let region = self.region_for(bucket_of(target, operation))?;
        let destination = self.destination(target, operation, &region)?;
        let credentials = self.credentials()?;
        let path = format!("{}{}", destination.endpoint.prefix, destination.path);
        let request = unsigned(operation, &destination.endpoint, &path, UNSIGNED);
        let scope = self.scope(target, &destination);
        let query = sign::query(&request, &scope, &credentials, seconds);
        Ok(destination.endpoint.url(&destination.path, &query))
    }

    fn scope<'b>(&self, target: &Target<'b>, destination: &'b Destination) -> Scope<'b> {
        let skew = self.kept.skew.load(Ordering::Relaxed);
        Scope {
            region: &destination.endpoint.region,
            service: target.signing_name,
            time: OffsetDateTime::now_utc() + time::Duration::seconds(skew),
        }
    }

    fn credentials(&self) -> Result<super::credentials::Credentials, AwsError> {
        let sources = Sources {
            environment: &self.environment,
            profile: &self.profile,
            is_profile_chosen: self.choices.profile.is_some(),
            place: self.place,
            client: &self.kept.client,
            cache: &self.kept.credentials,
        };
        sources.find()
    }

    /// The region of a request, which is that of its bucket, once that is known.
    fn region_for(&self, bucket: Option<&str>) -> Result<String, AwsError> {
        if let Some(bucket) = bucket
            && let Some(region) = lock(&self.kept.regions).get(bucket)
        {
            return Ok(region.clone());
        }
        match self.region() {
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
        let custom = self.custom_endpoint(target);
        let endpoint = if let Some(url) = custom {
            Endpoint::from_url(url, region)
                .ok_or_else(|| AwsError::Other(format!("Invalid endpoint: {url}")))?
        } else {
            let is_dual_stack = self.is_on("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
                || target.signing_name == "s3"
                    && self.setting("s3.use_dualstack_endpoint") == Some("true");
            let variant = Variant {
                is_dual_stack,
                is_fips: self.is_on("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
            };
            Endpoint::of(target, region, variant)
        };
        let Some(bucket) = bucket_of(target, operation) else {
            let path = operation.path.clone();
            return Ok(Destination { endpoint, path });
        };
        // Local servers rarely have a name for each bucket.
        let style = self.setting("s3.addressing_style").unwrap_or("auto");
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

    fn custom_endpoint(&self, target: &Target) -> Option<&str> {
        if let Some(url) = &self.choices.endpoint_url {
            return Some(url);
        }
        if self.is_on(
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "ignore_configured_endpoint_urls",
        ) {
            return None;
        }
        let name = format!("AWS_ENDPOINT_URL_{}", target.endpoint_variable);
        self.variable(&name)
            .or_else(|| self.either("AWS_ENDPOINT_URL", "endpoint_url"))
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
        if !self.choices.is_unsigned {
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
            headers.extend(sign::headers(&request, &scope, &self.credentials()?));
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
            proxy: http::proxy_for(url, |name| self.variable(name)),
            authorities: self.authorities()?,
            is_insecure: self.choices.skips_verification,
        })
    }

    fn limits(&self) -> Limits {
        // The AWS CLI waits without end for 0.
        let limit = |chosen: Option<Duration>, usual| {
            let limit = chosen.unwrap_or(usual);
            (!limit.is_zero()).then_some(limit)
        };
        Limits {
            connect: limit(self.choices.connect_timeout, CONNECT_LIMIT),
            read: limit(self.choices.read_timeout, READ_LIMIT),
            total: None,
        }
    }

    /// Takes over the server's time. Returns false if that is not the reason.
    fn correct_clock(&self, date: Option<&str>) -> bool {
        let Some(date) = date
            .and_then(|text| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok())
        else {
            return false;
        };
        let skew = (date - OffsetDateTime::now_utc()).whole_seconds();
        let previous = self.kept.skew.swap(skew, Ordering::Relaxed);
        (skew - previous).abs() > MIN_SKEW_SECONDS
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
