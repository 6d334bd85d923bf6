//! What the commands of `aws s3` need.

use super::plain_words;
use crate::policy::Policy;
use crate::reader::Word;

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

/// Adds what one command needs. Returns false if that is not known.
pub(super) fn add(policy: &mut Policy, command: &str, rest: &[Word]) -> bool {
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
