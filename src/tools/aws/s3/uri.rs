//! Names of objects and buckets: `s3://BUCKET/KEY`.

use crate::aws::sign;

/// What a name of something in S3 begins with.
const SCHEME: &str = "s3://";

/// What follows `s3://`, or `None` if the word is the name of a file.
pub(super) fn without_scheme(word: &str) -> Option<&str> {
    word.strip_prefix(SCHEME)
}

/// The bucket, and the key behind the first slash. Either may be empty.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, ""))
}

/// Refuses names that are no bucket's, and those of access points.
///
/// # Errors
/// What to write to standard error.
pub(super) fn check_bucket(bucket: &str) -> Result<(), String> {
    if bucket.starts_with("arn:") {
        return Err(format!(
            "cannot use {bucket}: coshell does not know the names of access points. Use the alias of the access point, \
             which ends in -s3alias, in place of the bucket"
        ));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=255).contains(&bucket.len()) && bucket.bytes().all(is_part) {
        Ok(())
    } else {
        Err(format!(
            "Parameter validation failed:\nInvalid bucket name \"{bucket}\": Bucket name must match the regex \
             \"^[a-zA-Z0-9.\\-_]{{1,255}}$\" or be an ARN matching the regex \"^arn:(aws).*:(s3|s3-object-lambda):\
             [a-z\\-0-9]*:[0-9]{{12}}:accesspoint[/:][a-zA-Z0-9\\-.]{{1,63}}$|^arn:(aws).*:s3-outposts:[a-z\\-0-9]+:\
             [0-9]{{12}}:outpost[/:][a-zA-Z0-9\\-]{{1,63}}[/:]accesspoint[/:][a-zA-Z0-9\\-]{{1,63}}$\""
        ))
    }
}

/// The path of a request about an object, encoded: `/BUCKET/KEY`.
pub(super) fn request_path(bucket: &str, key: &str) -> String {
    if key.is_empty() {
        format!("/{bucket}")
    } else {
        format!("/{bucket}/{}", sign::encode_path(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_first_slash() {
        assert_eq!(split("b/a//c"), ("b", "a//c"));
        assert_eq!(split("b//c"), ("b", "/c"));
        assert_eq!(split("b"), ("b", ""));
        assert_eq!(without_scheme("s3://b/k"), Some("b/k"));
        assert_eq!(without_scheme("./s3://b"), None);
    }

    #[test]
    fn keys_are_encoded_but_for_slashes() {
        assert_eq!(request_path("b", "a b+c%/é"), "/b/a%20b%2Bc%25/%C3%A9");
        assert_eq!(request_path("b", ""), "/b");
    }

    #[test]
    fn buckets_that_cannot_be_are_refused() {
        assert!(check_bucket("my-bucket.x").is_ok());
        for wrong in [
            "",
            "a b",
            "é",
            "arn:aws:s3:us-east-1:123456789012:accesspoint",
        ] {
            assert!(check_bucket(wrong).is_err(), "{wrong}");
        }
    }
}
