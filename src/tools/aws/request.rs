//! `lambda_aws`: any operation of AWS, signed.
//!
//! ```text
//! lambda_aws SERVICE OPERATION [JSON]                        services with JSON, or with a form
//! lambda_aws --method GET --path /... SERVICE [BODY]         services with paths (REST)
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::AwsError;
use super::protocols::{Protocol, Service};
use super::providers;
use super::session::{Kept, Operation};
use super::settings::Choices;
use super::sign;
use crate::call::{Call, End, Output, Place};
use crate::http::{Body, Response};
use crate::options::Arguments;

/// The status for a wrong command line, as that of the AWS CLI.
const USAGE: i32 = 252;
const SHORT: [(char, &str); 5] = [
    ('X', "method"),
    ('H', "header"),
    ('o', "output"),
    ('v', "variable"),
    ('q', "query"),
];
/// The form of a query.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

#[derive(Debug, Default)]
struct Options {
    words: Vec<String>,
    method: Option<String>,
    path: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    output: Option<String>,
    variable: Option<String>,
    choices: Choices,
}

impl Options {
    fn read(arguments: &[Vec<u8>]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = Arguments::new(arguments, &SHORT);
        while let Some(name) = words.next_option(&mut options.words)? {
            let mut pair = |mark: char, form: &str| {
                let value = words.value()?;
                let found = value.split_once(mark);
                let found =
                    found.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
                // It may be a secret.
                found.ok_or_else(|| {
                    format!("expected {form} for --{name}: there is no {mark} in it")
                })
            };
            match name.as_str() {
                "query" => options.query.push(pair('=', "NAME=VALUE")?),
                "header" => options.headers.push(pair(':', "NAME: VALUE")?),
                "method" => options.method = Some(words.value()?),
                "path" => options.path = Some(words.value()?),
                "output" => options.output = Some(words.value()?),
                "variable" => options.variable = Some(words.variable()?),
                "region" => options.choices.region = Some(words.value()?),
                "profile" => options.choices.profile = Some(words.value()?),
                "endpoint-url" => options.choices.endpoint_url = Some(words.value()?),
                "no-sign-request" => options.choices.is_unsigned = true,
                _ => return Err(format!("there is no option --{name}")),
            }
        }
        Ok(options)
    }
}

/// Why there is no answer: the status, and the text.
type Failure = (i32, String);

fn usage(text: impl Into<String>) -> Failure {
    (USAGE, text.into())
}

fn of_aws(error: &AwsError) -> Failure {
    (error.exit_status(), error.to_string())
}

/// Sends one request of a handler.
pub(crate) fn run(call: Call, kept: &Kept) -> End {
    let options = Options::read(&call.arguments);
    let has_variable = matches!(&options, Ok(options) if options.variable.is_some());
    let output = Output::new(call.output.filter(|_| !has_variable), call.errors);
    let mut variable = String::new();
    let result = options.map_err(usage).and_then(|options| {
        variable = options.variable.clone().unwrap_or_default();
        let inputs = Inputs {
            place: call.place,
            input: call.input,
        };
        request(options, &call.environment, inputs, kept, &output)
    });
    let status = match result {
        Ok(()) => 0,
        Err((status, cause)) => {
            output.write_error(format!("lambda_aws: {cause}\n").as_bytes());
            status
        }
    };
    let status = match output.finish("lambda_aws") {
        Some(_) if status == 0 => 255,
        _ => status,
    };
    let mut end = output.end(status);
    end.variable = variable;
    end
}

struct Inputs {
    place: Place,
    input: Option<File>,
}

impl Inputs {
    /// A text, `@FILE`, or `-` for standard input.
    fn body(self, text: &str) -> Result<Body, String> {
        let fails = |error: io::Error| format!("cannot read {text}: {error}");
        if text == "-" || text == "@-" {
            let mut bytes = Vec::new();
            if let Some(mut input) = self.input {
                input.read_to_end(&mut bytes).map_err(fails)?;
            }
            return Ok(Body::Bytes(Arc::new(bytes)));
        }
        let Some(name) = text.strip_prefix('@') else {
            return Ok(Body::Bytes(Arc::new(text.as_bytes().to_vec())));
        };
        let file = File::open(self.place.path(Path::new(name))).map_err(fails)?;
        let length = file.metadata().map_err(fails)?.len();
        Ok(Body::Part {
            file,
            start: 0,
            length,
        })
    }
}

fn request(
    options: Options,
    environment: &[(String, String)],
    inputs: Inputs,
    kept: &Kept,
    output: &Output,
) -> Result<(), Failure> {
    let place = inputs.place;
    let mut words = options.words.iter();
    let name = words
        .next()
        .ok_or_else(|| usage("expected a service and an operation"))?;
    let service = Service::find(name).ok_or_else(|| {
        usage(format!(
            "there is no service {name}; see `aws help` for the names"
        ))
    })?;
    let operation = if options.method.is_some() || options.path.is_some() {
        let body = words.next().map(|text| inputs.body(text)).transpose();
        Operation {
            name: options.path.clone().unwrap_or_default(),
            method: options.method.clone().unwrap_or_else(|| "GET".to_owned()),
            path: path_of(options.path.as_deref().unwrap_or("/"))?,
            query: options.query,
            headers: options.headers,
            body: body.map_err(usage)?.unwrap_or_default(),
        }
    } else {
        let Some(operation) = words.next() else {
            return Err(usage(format!("expected an operation of {name}")));
        };
        let parameters = words.next().map(|text| inputs.body(text)).transpose();
        let parameters = read_parameters(parameters.map_err(usage)?.unwrap_or_default())?;
        operation_of(name, &service, operation, &parameters)?
    };
    if words.next().is_some() {
        let cause = "there is one argument too many: expected one text of JSON at most";
        return Err(usage(cause.to_owned()));
    }
    let session = providers::session(kept, environment, options.choices, place);
    let session = session.map_err(|error| of_aws(&error))?;
    let response = session.send(&service.target, &operation);
    let response = response.map_err(|error| of_aws(&error))?;
    write(response, options.output.as_deref(), place, output)
}

fn path_of(path: &str) -> Result<String, Failure> {
    if path.starts_with('/') && !path.contains('?') {
        return Ok(path.to_owned());
    }
    Err(usage(format!(
        "expected a path that begins with a slash for --path, and --query for what is behind a question mark, found {path}"
    )))
}

fn read_parameters(body: Body) -> Result<Value, Failure> {
    let bytes = match body {
        Body::Bytes(bytes) => bytes,
        Body::Part {
            mut file, length, ..
        } => {
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            file.read_to_end(&mut bytes)
                .map_err(|error| usage(format!("cannot read the file: {error}")))?;
            Arc::new(bytes)
        }
        _ => return Ok(Value::Object(serde_json::Map::new())),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        Ok(_) => Err(usage("expected a JSON object with the parameters")),
        Err(error) => Err(usage(format!("the parameters are no JSON: {error}"))),
    }
}

/// The request of an operation with these parameters.
fn operation_of(
    name: &str,
    service: &Service,
    operation: &str,
    parameters: &Value,
) -> Result<Operation, Failure> {
    let operation = api_name(operation);
    let mut request = Operation {
        name: operation.clone(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        ..Operation::default()
    };
    let mut add = |name: &str, value: String| request.headers.push((name.to_owned(), value));
    let body = match service.protocol {
        Protocol::Json { version, prefix } => {
            add("content-type", format!("application/x-amz-json-{version}"));
            add("x-amz-target", format!("{prefix}.{operation}"));
            parameters.to_string()
        }
        Protocol::Query { version, is_ec2 } => {
            add("content-type", FORM.to_owned());
            let mut form = vec![
                ("Action".to_owned(), operation),
                ("Version".to_owned(), version.to_owned()),
            ];
            flatten(&mut form, "", parameters, is_ec2);
            sign::encode_query(&form)
        }
        Protocol::Rest => {
            return Err(usage(format!(
                "the operations of {name} have paths: lambda_aws --method METHOD --path PATH {name} [BODY]"
            )));
        }
        Protocol::Other(protocol) => {
            return Err(usage(format!(
                "cannot call {name}: it has the protocol {protocol}"
            )));
        }
    };
    request.body = Body::Bytes(Arc::new(body.into_bytes()));
    Ok(request)
}

/// `put-item` is the operation `PutItem`.
fn api_name(name: &str) -> String {
    if !name.contains('-') && name.starts_with(|letter: char| letter.is_ascii_uppercase()) {
        return name.to_owned();
    }
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect()
}

/// Adds the members of a value as the fields of a form.
fn flatten(form: &mut Vec<(String, String)>, path: &str, value: &Value, is_ec2: bool) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(form, &below(name), value, is_ec2);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let number = (index + 1).to_string();
                let number = if is_ec2 {
                    number
                } else {
                    format!("member.{number}")
                };
                flatten(form, &below(&number), value, is_ec2);
            }
        }
        Value::Null => {}
        Value::String(text) => form.push((path.to_owned(), text.clone())),
        other => form.push((path.to_owned(), other.to_string())),
    }
}

fn write(
    mut response: Response,
    file: Option<&str>,
    place: Place,
    output: &Output,
) -> Result<(), Failure> {
    let fails = |error: io::Error| (255, format!("cannot read the answer: {error}"));
    if let Some(name) = file.filter(|name| *name != "-") {
        let written = File::create(place.path(Path::new(name)))
            .and_then(|mut file| io::copy(&mut response.body, &mut file));
        return written
            .map(drop)
            .map_err(|error| (255, format!("cannot write {name}: {error}")));
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = response.body.read(&mut buffer).map_err(fails)?;
        if count == 0 || !output.write(|text| text.extend_from_slice(&buffer[..count]), false) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_become_fields_of_a_form() {
        let parameters = json!({"A": {"B": [1, {"C": "x y"}]}, "D": true, "E": null});
        let mut form = Vec::new();
        flatten(&mut form, "", &parameters, false);
        let fields: Vec<_> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(fields, ["A.B.member.1=1", "A.B.member.2.C=x y", "D=true"]);
        form.clear();
        flatten(&mut form, "", &parameters, true);
        assert_eq!(form[0].0, "A.B.1");
    }

    #[test]
    fn names_of_operations_may_be_those_of_the_cli() {
        assert_eq!(api_name("put-item"), "PutItem");
        assert_eq!(api_name("PutItem"), "PutItem");
        assert_eq!(api_name("publish"), "Publish");
    }
}
