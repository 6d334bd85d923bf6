//! How to call each service: a line of `protocols.txt`, which `make-protocols` writes.

use super::endpoint::Target;

const TEXT: &str = include_str!("protocols.txt");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol<'a> {
    /// JSON, with the version and the prefix of `X-Amz-Target`.
    Json { version: &'a str, prefix: &'a str },
    /// A form, with the version of the API. EC2 writes lists in its own way.
    Query { version: &'a str, is_ec2: bool },
    /// A method and a path for each operation.
    Rest,
    /// What no request of ours can be.
    Other(&'a str),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub target: Target<'static>,
    pub protocol: Protocol<'static>,
}

impl Service {
    /// The service that the AWS CLI calls `name`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let mut lines = TEXT.lines().filter(|line| !line.starts_with('#'));
        lines.find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(' ')?;
            Self::read(rest)
        })
    }

    fn read(columns: &'static str) -> Option<Self> {
        let mut columns = columns.split(' ');
        let protocol = columns.next()?;
        let target = Target {
            endpoint_prefix: columns.next()?,
            signing_name: columns.next()?,
            endpoint_variable: columns.next()?,
        };
        let last = columns.next()?;
        let protocol = match protocol {
            "json1.0" | "json1.1" => Protocol::Json {
                version: protocol.trim_start_matches("json"),
                prefix: last,
            },
            "query" | "ec2" => Protocol::Query {
                version: last,
                is_ec2: protocol == "ec2",
            },
            "rest-json" | "rest-xml" => Protocol::Rest,
            other => Protocol::Other(other),
        };
        Some(Self { target, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_service() {
        let mut names = Vec::new();
        for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
            let (name, _) = line.split_once(' ').expect("columns");
            assert!(Service::find(name).is_some(), "{line}");
            names.push(name);
        }
        assert!(names.len() > 400, "{}", names.len());
        assert!(Service::find("ss").is_none());
        assert_eq!(
            Service::find("ssm").expect("a service").protocol,
            Protocol::Json {
                version: "1.1",
                prefix: "AmazonSSM"
            }
        );
    }
}
