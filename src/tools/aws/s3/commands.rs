//! The commands of `aws s3`, and the options of each one.

use super::arguments::{Known, Paths, Takes};

/// A command of `aws s3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Ls,
    Cp,
    Mv,
    Rm,
    Sync,
    Mb,
    Rb,
    Presign,
}

/// The names, in the AWS CLI's order. It has `website`, too.
pub(super) const NAMES: [&str; 9] = [
    "ls", "website", "cp", "mv", "rm", "sync", "mb", "rb", "presign",
];

const fn flag(name: &'static str) -> Known {
    option(name, Takes::Nothing)
}

const fn value(name: &'static str) -> Known {
    option(name, Takes::One)
}

const fn option(name: &'static str, takes: Takes) -> Known {
    chosen(name, takes, &[])
}

const fn chosen(name: &'static str, takes: Takes, choices: &'static [&'static str]) -> Known {
    Known {
        name,
        takes,
        choices,
    }
}

const RECURSIVE: Known = flag("recursive");
const PAGE_SIZE: Known = value("page-size");
const REQUEST_PAYER: Known = chosen(
    "request-payer",
    Takes::Optional("requester"),
    &["requester"],
);
const LS: [&Known; 5] = [
    &RECURSIVE,
    &PAGE_SIZE,
    &flag("human-readable"),
    &flag("summarize"),
    &REQUEST_PAYER,
];
const RM: [&Known; 8] = [
    &DRYRUN,
    &QUIET,
    &RECURSIVE,
    &REQUEST_PAYER,
    &INCLUDE,
    &EXCLUDE,
    &ONLY_SHOW_ERRORS,
    &PAGE_SIZE,
];
const DRYRUN: Known = flag("dryrun");
const QUIET: Known = flag("quiet");
const INCLUDE: Known = value("include");
const EXCLUDE: Known = value("exclude");
const ONLY_SHOW_ERRORS: Known = flag("only-show-errors");
/// Of `cp`, `mv` and `sync`.
const TRANSFER: [&Known; 31] = [
    &DRYRUN,
    &QUIET,
    &INCLUDE,
    &EXCLUDE,
    &chosen(
        "acl",
        Takes::One,
        &[
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
            "log-delivery-write",
        ],
    ),
    &flag("follow-symlinks"),
    &flag("no-follow-symlinks"),
    &flag("no-guess-mime-type"),
    &chosen(
        "sse",
        Takes::Optional("AES256"),
        &["AES256", "aws:kms", "aws:kms:dsse"],
    ),
    &value("sse-kms-key-id"),
    &chosen(
        "storage-class",
        Takes::One,
        &[
            "STANDARD",
            "REDUCED_REDUNDANCY",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER",
            "DEEP_ARCHIVE",
            "GLACIER_IR",
        ],
    ),
    &option("grants", Takes::Many),
    &value("website-redirect"),
    &value("content-type"),
    &value("cache-control"),
    &value("content-disposition"),
    &value("content-encoding"),
    &value("content-language"),
    &value("expires"),
    &value("source-region"),
    &ONLY_SHOW_ERRORS,
    &flag("no-progress"),
    &PAGE_SIZE,
    &flag("ignore-glacier-warnings"),
    &flag("force-glacier-transfer"),
    &REQUEST_PAYER,
    &value("metadata"),
    &chosen("metadata-directive", Takes::One, &["COPY", "REPLACE"]),
    &chosen(
        "copy-props",
        Takes::One,
        &["none", "metadata-directive", "default"],
    ),
    // Of newer versions: the number of seconds between lines of progress, of which there are none here.
    &value("progress-frequency"),
    &flag("progress-multiline"),
];
const CP: [&Known; 2] = [&value("expected-size"), &RECURSIVE];
const SYNC: [&Known; 3] = [
    &flag("delete"),
    &flag("size-only"),
    &flag("exact-timestamps"),
];
const PRESIGN: [&Known; 1] = [&value("expires-in")];
const RB: [&Known; 1] = [&flag("force")];

impl Name {
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "ls" => Self::Ls,
            "cp" => Self::Cp,
            "mv" => Self::Mv,
            "rm" => Self::Rm,
            "sync" => Self::Sync,
            "mb" => Self::Mb,
            "rb" => Self::Rb,
            "presign" => Self::Presign,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ls => "ls",
            Self::Cp => "cp",
            Self::Mv => "mv",
            Self::Rm => "rm",
            Self::Sync => "sync",
            Self::Mb => "mb",
            Self::Rb => "rb",
            Self::Presign => "presign",
        }
    }

    pub(super) fn options(self) -> Vec<&'static Known> {
        match self {
            Self::Ls => LS.to_vec(),
            Self::Rm => RM.to_vec(),
            Self::Cp => [&TRANSFER[..], &CP].concat(),
            Self::Mv => [&TRANSFER[..], &[&RECURSIVE]].concat(),
            Self::Sync => [&TRANSFER[..], &SYNC].concat(),
            Self::Mb => Vec::new(),
            Self::Rb => RB.to_vec(),
            Self::Presign => PRESIGN.to_vec(),
        }
    }

    pub(super) fn paths(self) -> Paths {
        let (least, most, name) = match self {
            Self::Ls => (0, 1, "paths"),
            Self::Cp | Self::Mv | Self::Sync => (2, 2, "paths"),
            Self::Rm => (1, 1, "paths"),
            Self::Mb | Self::Rb | Self::Presign => (1, 1, "path"),
        };
        Paths { least, most, name }
    }

    /// What the AWS CLI says about its paths.
    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Cp | Self::Mv | Self::Sync => {
                "<LocalPath> <S3Uri> or <S3Uri> <LocalPath> or <S3Uri> <S3Uri>"
            }
            Self::Ls => "<S3Uri> or NONE",
            Self::Rm | Self::Mb | Self::Rb | Self::Presign => "<S3Uri>",
        }
    }
}
