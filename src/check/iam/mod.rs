//! The IAM actions that a handler's calls of AWS need: by `aws`, `lambda_aws`, `lambda_secret` and `lambda_parameter`.
//!
//! What a call is for shows in its words. A word that is expanded at run time may be anything, so the resource is `*` then.

mod names;
mod s3;

use crate::calls::called_by;
use crate::finding::Source;
use crate::policy::Policy;
use crate::reader::Word;
use names::{ACTIONS, PREFIXES};

/// Options of the AWS CLI that stand before the service, and take a value; and `-v`, which is ours.
const GLOBAL_VALUES: [&str; 11] = [
    "-v",
    "--region",
    "--profile",
    "--output",
    "--query",
    "--endpoint-url",
    "--ca-bundle",
    "--color",
    "--cli-read-timeout",
    "--cli-connect-timeout",
    "--cli-binary-format",
];

/// What the calls of all scripts need.
pub(crate) fn policy_for(sources: &[Source]) -> Policy {
    let mut policy = Policy::default();
    for source in sources {
        for command in &source.reading.commands {
            for called in called_by(&command.words) {
                let at = command
                    .words
                    .iter()
                    .position(|word| std::ptr::eq(word, called));
                let arguments = at.and_then(|at| command.words.get(at + 1..));
                let arguments = arguments.unwrap_or_default();
                let is_known = !called.is_literal || add(&mut policy, &called.text, arguments);
                if !is_known {
                    let name = source
                        .path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy();
                    let words: Vec<_> = arguments.iter().map(|word| word.text.as_str()).collect();
                    let (line, words) = (command.line, words.join(" "));
                    let call = format!("{name}:{line}: {} {words}", called.text);
                    policy.unknown.push(call);
                }
            }
        }
    }
    policy
}

/// Adds what one call needs. Returns false if that is not known.
fn add(policy: &mut Policy, name: &str, arguments: &[Word]) -> bool {
    match name {
        "aws" => add_cli(policy, arguments),
        "lambda_aws" => add_request(policy, arguments),
        "lambda_secret" => {
            let name = plain_words(arguments, &[]).get(1).copied();
            policy.allow("secretsmanager:GetSecretValue", secret(name));
            true
        }
        "lambda_parameter" => {
            let name = plain_words(arguments, &[]).get(1).copied();
            policy.allow("ssm:GetParameter", parameter(name));
            true
        }
        _ => true,
    }
}

/// The words that are no options. `flags` are the options without a value.
fn plain_words<'a>(words: &'a [Word], flags: &[&str]) -> Vec<&'a Word> {
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.text.starts_with('-') || word.text == "-" {
            plain.push(word);
        } else if !word.text.contains('=') && !flags.contains(&word.text.as_str()) {
            words.next();
        }
    }
    plain
}

/// The value of an option.
fn value<'a>(words: &'a [Word], option: &str) -> Option<&'a Word> {
    let at = words.iter().position(|word| word.text == option)?;
    words.get(at + 1)
}

fn add_cli(policy: &mut Policy, arguments: &[Word]) -> bool {
    let mut rest = arguments;
    while let Some((word, others)) = rest.split_first() {
        if !word.text.starts_with('-') {
            break;
        }
        let has_value = GLOBAL_VALUES.contains(&word.text.as_str());
        rest = if has_value {
            others.get(1..).unwrap_or_default()
        } else {
            others
        };
    }
    let [service, operation, rest @ ..] = rest else {
        // `aws --version`, for example.
        return true;
    };
    if !service.is_literal || !operation.is_literal {
        return false;
    }
    match (service.text.as_str(), operation.text.as_str()) {
        ("s3", command) => s3::add(policy, command, rest),
        (_, "help" | "wait") => true,
        (service, operation) => {
            add_operation(policy, service, &api_name(operation), rest);
            true
        }
    }
}

fn add_request(policy: &mut Policy, arguments: &[Word]) -> bool {
    match plain_words(arguments, &["--no-sign-request"])[..] {
        // The words of a REST request do not tell the operation.
        _ if value(arguments, "--path").is_some() => false,
        [service, operation, ..] if service.is_literal && operation.is_literal => {
            add_operation(policy, &service.text, &api_name(&operation.text), &[]);
            true
        }
        _ => false,
    }
}

/// `put-item` is the operation `PutItem`.
fn api_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect()
}

fn add_operation(policy: &mut Policy, service: &str, operation: &str, rest: &[Word]) {
    let prefix = PREFIXES.iter().find(|(name, _)| *name == service);
    let prefix = prefix.map_or(service, |(_, prefix)| prefix);
    let action = format!("{prefix}:{operation}");
    let others = ACTIONS.iter().find(|(name, _)| *name == action);
    let own = [action.as_str()];
    let resource = resource(prefix, rest);
    for action in others.map_or(&own[..], |(_, actions)| actions) {
        let is_of_bucket = action.contains("Bucket");
        let resource = match &resource {
            _ if *action == "s3:ListAllMyBuckets" => "*",
            resource if is_of_bucket => resource.split('/').next().unwrap_or("*"),
            resource => resource,
        };
        policy.allow(action, resource);
    }
}

/// What a call is about, by the options that name it.
fn resource(prefix: &str, rest: &[Word]) -> String {
    let named = |option: &str| value(rest, option).filter(|word| word.is_literal);
    let arn = |text: &str, whole: String| {
        if text.starts_with("arn:") {
            text.to_owned()
        } else {
            whole
        }
    };
    let found = match prefix {
        "s3" => named("--bucket").map(|bucket| {
            let key = value(rest, "--key").map_or("*", |key| {
                if key.is_literal {
                    key.text.as_str()
                } else {
                    "*"
                }
            });
            format!("arn:aws:s3:::{}/{key}", bucket.text)
        }),
        "ssm" => value(rest, "--name").map(|name| parameter(Some(name))),
        "secretsmanager" => value(rest, "--secret-id").map(|name| secret(Some(name))),
        "lambda" => named("--function-name").map(|name| {
            arn(
                &name.text,
                format!("arn:aws:lambda:*:*:function:{}", name.text),
            )
        }),
        "dynamodb" => named("--table-name").map(|name| {
            arn(
                &name.text,
                format!("arn:aws:dynamodb:*:*:table/{}", name.text),
            )
        }),
        "sns" => named("--topic-arn").map(|name| name.text.clone()),
        "sqs" => named("--queue-url").map(|url| {
            let name = url.text.rsplit('/').next().unwrap_or("*");
            format!("arn:aws:sqs:*:*:{name}")
        }),
        "states" => named("--state-machine-arn").map(|name| name.text.clone()),
        _ => None,
    };
    found.unwrap_or_else(|| "*".to_owned())
}

fn secret(name: Option<&Word>) -> String {
    match name.filter(|name| name.is_literal) {
        Some(name) if name.text.starts_with("arn:") => name.text.clone(),
        // AWS puts six letters behind the name.
        Some(name) => format!("arn:aws:secretsmanager:*:*:secret:{}-??????", name.text),
        None => "*".to_owned(),
    }
}

fn parameter(name: Option<&Word>) -> String {
    match name.filter(|name| name.is_literal) {
        Some(name) if name.text.starts_with("arn:") => name.text.clone(),
        Some(name) => {
            let slash = if name.text.starts_with('/') { "" } else { "/" };
            format!("arn:aws:ssm:*:*:parameter{slash}{}", name.text)
        }
        None => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader;

    /// Lines `ACTION RESOURCE`, for the commands of a text.
    fn needs(text: &str) -> Vec<String> {
        let source = Source {
            path: "function.sh".into(),
            text: text.to_owned(),
            reading: reader::read(text),
        };
        let policy = policy_for(&[source]);
        let pairs = policy.actions().iter().flat_map(|(action, resources)| {
            resources
                .iter()
                .map(move |resource| format!("{action} {resource}"))
        });
        pairs
            .chain(policy.unknown.iter().map(|call| format!("? {call}")))
            .collect()
    }

    #[test]
    fn calls_need_their_actions() {
        for (text, expected) in [
            (
                "aws s3 cp s3://in/a.txt /tmp/x",
                &["s3:GetObject arn:aws:s3:::in/a.txt"][..],
            ),
            (
                "aws -v link s3 presign s3://in/a.txt; lambda_aws -v x sns Publish",
                &["s3:GetObject arn:aws:s3:::in/a.txt", "sns:Publish *"],
            ),
            (
                "aws --region eu-west-1 s3 cp - \"s3://out/day/$name\"",
                &[
                    "s3:AbortMultipartUpload arn:aws:s3:::out/day/*",
                    "s3:PutObject arn:aws:s3:::out/day/*",
                ],
            ),
            (
                "aws s3 mv --quiet \"s3://$b/k\" /tmp",
                &[
                    "s3:DeleteObject arn:aws:s3:::*/*",
                    "s3:GetObject arn:aws:s3:::*/*",
                ],
            ),
            ("aws s3 ls", &["s3:ListAllMyBuckets *"]),
            ("aws s3 ls s3://b/p/", &["s3:ListBucket arn:aws:s3:::b"]),
            (
                "timeout 5 aws s3api head-object --bucket b --key k",
                &["s3:GetObject arn:aws:s3:::b/k"],
            ),
            (
                "aws s3api list-objects-v2 --bucket b",
                &["s3:ListBucket arn:aws:s3:::b"],
            ),
            (
                "x=$(aws ssm get-parameter --name /a --with-decryption)",
                &["ssm:GetParameter arn:aws:ssm:*:*:parameter/a"],
            ),
            (
                "lambda_secret v name --ttl 5",
                &["secretsmanager:GetSecretValue arn:aws:secretsmanager:*:*:secret:name-??????"],
            ),
            ("lambda_parameter v \"$n\"", &["ssm:GetParameter *"]),
            ("lambda_aws dynamodb put-item '{}'", &["dynamodb:PutItem *"]),
            (
                "aws stepfunctions start-execution --input x",
                &["states:StartExecution *"],
            ),
            ("aws sts get-caller-identity", &[]),
            ("aws --version; aws ec2 wait instance-running", &[]),
            (
                "aws \"$service\" list",
                &["? function.sh:1: aws $service list"],
            ),
            (
                "lambda_aws --path /x s3",
                &["? function.sh:1: lambda_aws --path /x s3"],
            ),
            (
                "aws sqs send-message-batch --queue-url https://q/1/name",
                &["sqs:SendMessage arn:aws:sqs:*:*:name"],
            ),
        ] {
            assert_eq!(needs(text), expected, "{text}");
        }
    }
}
