//! `lambda_secret` and `lambda_parameter`: a value of Secrets Manager or of the Parameter Store, kept for some minutes.
//!
//! Where AWS's extension for parameters and secrets is in the function, values come from it, because its cache outlives this
//! process.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coshell_calls::check_name;
use serde_json::{Value, json};

use super::AwsError;
use super::protocols::Service;
use super::providers;
use super::session::{Asker, Kept, Operation, Session};
use super::settings::Choices;
use super::sign;
use crate::call::{Call, End, Output};
use crate::http::{Body, Limits, Request, Route};
use crate::options::Arguments;

/// How long a value is kept, if the call does not say: as long as in AWS's extension.
const KEPT_FOR: Duration = Duration::from_secs(300);
const USAGE: i32 = 252;
/// The extension's file, and its usual port.
const EXTENSION: &str = "/opt/extensions/AWSParametersAndSecretsLambdaExtension";
const PORT: &str = "2773";
/// The extension is on this machine, but asks AWS in turn.
const EXTENSION_LIMIT: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Secret,
    Parameter,
}

impl Kind {
    fn function(self) -> &'static str {
        match self {
            Self::Secret => "lambda_secret",
            Self::Parameter => "lambda_parameter",
        }
    }
}

/// What makes two calls ask for the same value.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    name: String,
    /// Version, stage, decryption.
    details: Vec<String>,
    asker: Asker,
}

/// The values that are kept, and when each came.
#[derive(Default)]
pub(crate) struct Cache(HashMap<Key, (String, Instant)>);

impl fmt::Debug for Cache {
    /// Without the values, which belong in no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Options {
    words: Vec<String>,
    kept_for: Option<Duration>,
    /// The field of a secret that is JSON.
    field: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
    stays_encrypted: bool,
    choices: Choices,
}

impl Options {
    fn read(kind: Kind, arguments: &[Vec<u8>]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = Arguments::new(arguments, &[]);
        while let Some(name) = words.next_option(&mut options.words)? {
            match (name.as_str(), kind) {
                ("ttl", _) => {
                    let value = words.value()?;
                    let seconds = value.parse().map_err(|_| {
                        format!("expected a number of seconds for --ttl, found {value}")
                    })?;
                    options.kept_for = Some(Duration::from_secs(seconds));
                }
                ("region", _) => options.choices.region = Some(words.value()?),
                ("profile", _) => options.choices.profile = Some(words.value()?),
                ("endpoint-url", _) => options.choices.endpoint_url = Some(words.value()?),
                ("field", Kind::Secret) => options.field = Some(words.value()?),
                ("version-id", Kind::Secret) => options.version_id = Some(words.value()?),
                ("version-stage", Kind::Secret) => options.version_stage = Some(words.value()?),
                ("no-decryption", Kind::Parameter) => options.stays_encrypted = true,
                _ => return Err(format!("there is no option --{name}")),
            }
        }
        if options.words.len() != 2 {
            let found = options.words.len();
            return Err(format!(
                "expected a variable and a name, found {found} words"
            ));
        }
        check_name(options.words[0].as_bytes()).map_err(|error| error.message)?;
        Ok(options)
    }
}

/// Finds a value, and puts it into the caller's variable.
pub(crate) fn run(kind: Kind, call: Call, kept: &Kept, cache: &mut Cache) -> End {
    let output = Output::new(None, call.errors);
    let found = Options::read(kind, &call.arguments)
        .map_err(|cause| (USAGE, cause))
        .and_then(|options| {
            let variable = options.words[0].clone();
            let found = find(kind, options, &call.environment, call.place, kept, cache)?;
            Ok((variable, found))
        });
    match found {
        Ok((variable, found)) => {
            output.write(|text| text.extend_from_slice(found.value.as_bytes()), false);
            let mut end = output.end(0);
            end.variable = variable;
            end.lifetime = found.lifetime;
            end
        }
        Err((status, cause)) => {
            let line = format!("{}: {cause}\n", kind.function());
            output.write_error(line.as_bytes());
            output.end(status)
        }
    }
}

type Failure = (i32, String);

struct Found {
    value: String,
    /// As in [`End`].
    lifetime: String,
}

fn find(
    kind: Kind,
    mut options: Options,
    environment: &[(String, String)],
    place: crate::call::Place,
    kept: &Kept,
    cache: &mut Cache,
) -> Result<Found, Failure> {
    let name = std::mem::take(&mut options.words[1]);
    let of_aws = |error: &AwsError| (error.exit_status(), error.to_string());
    let session = providers::session(
        kept,
        environment,
        std::mem::take(&mut options.choices),
        place,
    )
    .map_err(|error| of_aws(&error))?;
    let key = Key {
        kind,
        name: name.clone(),
        details: vec![
            options.version_id.clone().unwrap_or_default(),
            options.version_stage.clone().unwrap_or_default(),
            options.stays_encrypted.to_string(),
        ],
        asker: service(kind).map_or_else(Asker::default, |service| session.asker(&service.target)),
    };
    let kept_for = options.kept_for.unwrap_or(KEPT_FOR);
    let known = cache.0.get(&key);
    let fresh = known.filter(|(_, since)| since.elapsed() < kept_for);
    let is_new = fresh.is_none();
    let (value, since) = if let Some(fresh) = fresh {
        fresh.clone()
    } else {
        let answer = match of_extension(kind, &name, &options, &session, kept) {
            Some(answer) => answer,
            None => of_service(kind, &name, &options, &session),
        };
        let value = value_of(kind, &answer.map_err(|error| of_aws(&error))?)
            .ok_or_else(|| (255, format!("the answer has no value of {name}")))?;
        let found = (value, Instant::now());
        cache.0.insert(key, found.clone());
        found
    };
    let left = kept_for.saturating_sub(since.elapsed()).as_millis();
    let word = if is_new { "new" } else { "kept" };
    let lifetime = format!("{word} {left} {name}");
    let found = |value| Ok(Found { value, lifetime });
    let Some(field) = options.field else {
        return found(value);
    };
    let no_field = |cause: &str| (255, format!("cannot find {field} in {name}: {cause}"));
    let document: Value = serde_json::from_str(&value).map_err(|_| no_field("it is no JSON"))?;
    match &document[&field] {
        Value::String(text) => found(text.clone()),
        Value::Null => Err(no_field("it has no such field")),
        other => found(other.to_string()),
    }
}

fn value_of(kind: Kind, answer: &Value) -> Option<String> {
    let value = match kind {
        // A binary secret stays in base64, because a variable holds no NUL.
        Kind::Secret => answer["SecretString"]
            .as_str()
            .or_else(|| answer["SecretBinary"].as_str()),
        Kind::Parameter => answer["Parameter"]["Value"].as_str(),
    };
    value.map(ToOwned::to_owned)
}

fn service(kind: Kind) -> Option<Service> {
    Service::find(match kind {
        Kind::Secret => "secretsmanager",
        Kind::Parameter => "ssm",
    })
}

fn of_service(
    kind: Kind,
    name: &str,
    options: &Options,
    session: &Session,
) -> Result<Value, AwsError> {
    let (target, mut parameters) = match kind {
        Kind::Secret => ("GetSecretValue", json!({ "SecretId": name })),
        Kind::Parameter => (
            "GetParameter",
            json!({ "Name": name, "WithDecryption": !options.stays_encrypted }),
        ),
    };
    if let Some(id) = &options.version_id {
        parameters["VersionId"] = json!(id);
    }
    if let Some(stage) = &options.version_stage {
        parameters["VersionStage"] = json!(stage);
    }
    let prefix = match kind {
        Kind::Secret => "secretsmanager",
        Kind::Parameter => "AmazonSSM",
    };
    let Some(service) = service(kind) else {
        return Err(AwsError::Other("there is no such service".to_owned()));
    };
    let headers = [
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amz-target", format!("{prefix}.{target}")),
    ];
    let operation = Operation {
        name: target.to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        body: Body::Bytes(Arc::new(parameters.to_string().into_bytes())),
        ..Operation::default()
    };
    let response = session.send(&service.target, &operation)?;
    read_json(response.body)
}

fn read_json(body: impl Read) -> Result<Value, AwsError> {
    let mut text = Vec::new();
    let read = body.take(MAX_ANSWER_BYTES).read_to_end(&mut text);
    read.map_err(|error| AwsError::Connection(format!("cannot read the answer: {error}")))?;
    serde_json::from_slice(&text)
        .map_err(|_| AwsError::Connection("the answer is no JSON".to_owned()))
}

/// The answer of AWS's extension; `None` if there is none, or it does not answer.
fn of_extension(
    kind: Kind,
    name: &str,
    options: &Options,
    session: &Session,
    kept: &Kept,
) -> Option<Result<Value, AwsError>> {
    let port = session
        .settings
        .variable("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT");
    let asks_elsewhere = session.settings.choices().profile.is_some()
        || session.settings.choices().region.is_some()
        || session.settings.choices().endpoint_url.is_some();
    if asks_elsewhere || (port.is_none() && !Path::new(EXTENSION).exists()) {
        return None;
    }
    let (path, mut query) = match kind {
        Kind::Secret => ("secretsmanager/get", vec![("secretId", name.to_owned())]),
        Kind::Parameter => (
            "systemsmanager/parameters/get",
            vec![
                ("name", name.to_owned()),
                ("withDecryption", (!options.stays_encrypted).to_string()),
            ],
        ),
    };
    query.extend(options.version_id.clone().map(|id| ("versionId", id)));
    query.extend(
        options
            .version_stage
            .clone()
            .map(|stage| ("versionStage", stage)),
    );
    let query: Vec<_> = query
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let port = port.unwrap_or(PORT);
    let token = session
        .settings
        .variable("AWS_SESSION_TOKEN")
        .unwrap_or_default();
    let request = Request {
        method: "GET".to_owned(),
        url: format!(
            "http://localhost:{port}/{path}?{}",
            sign::encode_query(&query)
        ),
        headers: vec![(
            "x-aws-parameters-secrets-token".to_owned(),
            token.to_owned(),
        )],
        body: Body::None,
    };
    let limits = Limits {
        total: Some(EXTENSION_LIMIT),
        ..Limits::default()
    };
    let response = kept.client.send(&request, &Route::default(), limits).ok()?;
    // A refusal says little. AWS's own says why.
    (response.status == 200).then(|| read_json(response.body))
}
