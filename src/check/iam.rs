//! The IAM actions that a handler's calls of AWS need: by `aws`, `lambda_aws`, `lambda_secret` and `lambda_parameter`.
//!
//! What a call is for shows in its words. A word that is expanded at run time may be anything, so the resource is `*` then.

use std::collections::{BTreeMap, BTreeSet};

use crate::calls::called_by;
use crate::finding::Source;
use crate::reader::Word;

/// Actions, each with the resources that it is for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Policy {
    actions: BTreeMap<String, BTreeSet<String>>,
    /// Calls whose service or operation is not known before they run: the place of each, and its words.
    pub unknown: Vec<String>,
}

impl Policy {
    fn allow(&mut self, action: &str, resource: impl Into<String>) {
        let resources = self.actions.entry(action.to_owned()).or_default();
        resources.insert(resource.into());
    }

    /// Actions that are for the same resources, with these.
    pub fn statements(&self) -> Vec<(Vec<&str>, Vec<&str>)> {
        let mut statements: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for (action, resources) in &self.actions {
            // All resources are more than some.
            let resources = if resources.contains("*") {
                vec!["*"]
            } else {
                resources.iter().map(String::as_str).collect()
            };
            statements.entry(resources).or_default().push(action);
        }
        let turn = |(resources, actions)| (actions, resources);
        statements.into_iter().map(turn).collect()
    }
}

/// What services are called in policies, if not as in the AWS CLI.
const PREFIXES: [(&str, &str); 19] = [
    ("apigatewaymanagementapi", "execute-api"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("configservice", "config"),
    ("deploy", "codedeploy"),
    ("efs", "elasticfilesystem"),
    ("elb", "elasticloadbalancing"),
    ("elbv2", "elasticloadbalancing"),
    ("emr", "elasticmapreduce"),
    ("iot-data", "iot"),
    ("opensearch", "es"),
    ("rds-data", "rds-data"),
    ("resourcegroupstaggingapi", "tag"),
    ("s3api", "s3"),
    ("sesv2", "ses"),
    ("stepfunctions", "states"),
    ("timestream-query", "timestream"),
    ("timestream-write", "timestream"),
    ("wafv2", "wafv2"),
];

/// Operations that are allowed by actions with other names.
const ACTIONS: [(&str, &[&str]); 31] = [
    ("dynamodb:TransactGetItems", &["dynamodb:GetItem"]),
    (
        "dynamodb:TransactWriteItems",
        &[
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    ("ecs:RunTask", &["ecs:RunTask", "iam:PassRole"]),
    ("iot:Publish", &["iot:Publish"]),
    ("lambda:Invoke", &["lambda:InvokeFunction"]),
    ("s3:CopyObject", &["s3:GetObject", "s3:PutObject"]),
    ("s3:CompleteMultipartUpload", &["s3:PutObject"]),
    ("s3:CreateMultipartUpload", &["s3:PutObject"]),
    ("s3:DeleteObjects", &["s3:DeleteObject"]),
    ("s3:GetBucketEncryption", &["s3:GetEncryptionConfiguration"]),
    (
        "s3:GetObjectAttributes",
        &["s3:GetObject", "s3:GetObjectAttributes"],
    ),
    ("s3:HeadBucket", &["s3:ListBucket"]),
    ("s3:HeadObject", &["s3:GetObject"]),
    ("s3:ListBuckets", &["s3:ListAllMyBuckets"]),
    ("s3:ListObjectVersions", &["s3:ListBucketVersions"]),
    ("s3:ListObjects", &["s3:ListBucket"]),
    ("s3:ListObjectsV2", &["s3:ListBucket"]),
    ("s3:ListParts", &["s3:ListMultipartUploadParts"]),
    ("s3:SelectObjectContent", &["s3:GetObject"]),
    ("s3:UploadPart", &["s3:PutObject"]),
    ("s3:UploadPartCopy", &["s3:GetObject", "s3:PutObject"]),
    ("sns:PublishBatch", &["sns:Publish"]),
    (
        "sqs:ChangeMessageVisibilityBatch",
        &["sqs:ChangeMessageVisibility"],
    ),
    ("sqs:DeleteMessageBatch", &["sqs:DeleteMessage"]),
    ("sqs:SendMessageBatch", &["sqs:SendMessage"]),
    ("states:StartExecution", &["states:StartExecution"]),
    (
        "sts:DecodeAuthorizationMessage",
        &["sts:DecodeAuthorizationMessage"],
    ),
    // Everybody may ask this.
    ("sts:GetCallerIdentity", &[]),
    ("ecr:GetLoginPassword", &["ecr:GetAuthorizationToken"]),
    ("eks:UpdateKubeconfig", &["eks:DescribeCluster"]),
    ("logs:Tail", &["logs:FilterLogEvents"]),
];

/// Options of the AWS CLI that stand before the service, and take a value.
const GLOBAL_VALUES: [&str; 10] = [
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
        if !word.text.starts_with("--") {
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
        if !word.text.starts_with("--") {
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
        ("s3", command) => add_s3(policy, command, rest),
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

/// Options of `aws s3` without a value.
const S3_FLAGS: [&str; 16] = [
    "--recursive",
    "--dryrun",
    "--quiet",
    "--only-show-errors",
    "--no-progress",
    "--delete",
    "--size-only",
    "--exact-timestamps",
    "--human-readable",
    "--summarize",
    "--force",
    "--follow-symlinks",
    "--no-follow-symlinks",
    "--no-guess-mime-type",
    "--no-sign-request",
    "--no-verify-ssl",
];

fn add_s3(policy: &mut Policy, command: &str, rest: &[Word]) -> bool {
    let places: Vec<_> = plain_words(rest, &S3_FLAGS)
        .into_iter()
        .map(Place::of)
        .collect();
    let has = |flag: &str| rest.iter().any(|word| word.text == flag);
    let lists = has("--recursive") || command == "sync";
    match (command, &places[..]) {
        ("cp" | "mv" | "sync", [from, to, ..]) => {
            from.allow(policy, &["s3:GetObject"], true);
            to.allow(policy, &["s3:AbortMultipartUpload", "s3:PutObject"], true);
            if command == "mv" {
                from.allow(policy, &["s3:DeleteObject"], true);
            }
            if lists {
                from.allow(policy, &["s3:ListBucket"], false);
            }
            if command == "sync" {
                to.allow(policy, &["s3:ListBucket"], false);
            }
            if has("--delete") {
                to.allow(policy, &["s3:DeleteObject"], true);
            }
        }
        ("rm", [place, ..]) => {
            place.allow(policy, &["s3:DeleteObject"], true);
            if lists {
                place.allow(policy, &["s3:ListBucket"], false);
            }
        }
        ("presign", [place, ..]) => place.allow(policy, &["s3:GetObject"], true),
        ("ls", [place, ..]) => place.allow(policy, &["s3:ListBucket"], false),
        ("ls", []) => policy.allow("s3:ListAllMyBuckets", "*"),
        ("mb", [place, ..]) => place.allow(policy, &["s3:CreateBucket"], false),
        ("rb", [place, ..]) => place.allow(policy, &["s3:DeleteBucket"], false),
        _ => return false,
    }
    true
}

/// Where `aws s3` reads or writes.
enum Place {
    Local,
    /// A bucket, and the beginning of the keys that is known.
    Bucket(String, String),
    /// Expanded at run time: may be both.
    Unknown,
}

impl Place {
    fn of(word: &Word) -> Self {
        let Some(rest) = word.text.strip_prefix("s3://") else {
            let may_be_s3 = !word.is_literal && word.text.starts_with(['$', '`']);
            return if may_be_s3 {
                Self::Unknown
            } else {
                Self::Local
            };
        };
        // What comes behind an expansion is not known.
        let known = rest.split(['$', '`']).next().unwrap_or_default();
        let is_whole = word.is_literal || known.len() == rest.len();
        match known.split_once('/') {
            Some((bucket, key)) => {
                let end = if is_whole && !key.is_empty() && !key.ends_with('/') {
                    ""
                } else {
                    "*"
                };
                Self::Bucket(bucket.to_owned(), format!("{key}{end}"))
            }
            None if is_whole => Self::Bucket(known.to_owned(), "*".to_owned()),
            None => Self::Bucket("*".to_owned(), "*".to_owned()),
        }
    }

    fn allow(&self, policy: &mut Policy, actions: &[&str], is_of_object: bool) {
        let resource = match self {
            Self::Local => return,
            Self::Unknown => "*".to_owned(),
            Self::Bucket(bucket, key) if is_of_object => format!("arn:aws:s3:::{bucket}/{key}"),
            Self::Bucket(bucket, _) => format!("arn:aws:s3:::{bucket}"),
        };
        for action in actions {
            policy.allow(action, resource.clone());
        }
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
        let pairs = policy.actions.iter().flat_map(|(action, resources)| {
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

    #[test]
    fn actions_for_the_same_resources_are_one_statement() {
        let mut policy = Policy::default();
        policy.allow("b:X", "r");
        policy.allow("a:Y", "r");
        policy.allow("c:Z", "s");
        policy.allow("c:Z", "*");
        assert_eq!(
            policy.statements(),
            [(vec!["c:Z"], vec!["*"]), (vec!["a:Y", "b:X"], vec!["r"])]
        );
    }
}
