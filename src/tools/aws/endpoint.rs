//! Where the requests of a service go.

use std::net::IpAddr;

/// A service, as its requests name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The first part of the name of its host, such as `email` of SES.
    pub endpoint_prefix: &'a str,
    /// The name in the signature, such as `ses`.
    pub signing_name: &'a str,
    /// How the variable `AWS_ENDPOINT_URL_...` spells it, such as `SES`, `DYNAMODB`.
    pub endpoint_variable: &'a str,
}

/// S3, whose first part of a path is a bucket.
pub(crate) const S3: Target<'static> = Target {
    endpoint_prefix: "s3",
    signing_name: "s3",
    endpoint_variable: "S3",
};

/// A URL without path: scheme, host, and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub scheme: String,
    /// With the port, if it is not the scheme's.
    pub host: String,
    /// Comes before the path of each request.
    pub prefix: String,
    /// The region of signatures.
    pub region: String,
}

/// What a caller chooses of the service's own endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variant {
    pub is_dual_stack: bool,
    pub is_fips: bool,
}

/// Services that have one endpoint for a whole partition, and the region that they sign for.
const GLOBAL: [(&str, &str); 3] = [
    ("iam", "us-east-1"),
    ("route53", "us-east-1"),
    ("cloudfront", "us-east-1"),
];

/// The names under which a partition has its hosts: beginnings of regions, domain, domain of dual stack.
const PARTITIONS: [(&str, &str, &str); 5] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("", "amazonaws.com", "api.aws"),
];

impl Endpoint {
    /// The service's own endpoint in a region.
    pub(crate) fn of(target: &Target, region: &str, variant: Variant) -> Self {
        let partition = PARTITIONS
            .iter()
            .find(|(start, ..)| region.starts_with(start));
        let (_, domain, dual_domain) = partition.unwrap_or(&PARTITIONS[4]);
        let prefix = target.endpoint_prefix;
        let fips = if variant.is_fips { "-fips" } else { "" };
        let global = GLOBAL.iter().find(|(service, _)| *service == prefix);
        let (host, region) = match global {
            Some((_, signing)) if *domain == "amazonaws.com" => {
                (format!("{prefix}{fips}.{domain}"), *signing)
            }
            _ if variant.is_dual_stack && prefix == "s3" => {
                (format!("s3{fips}.dualstack.{region}.{domain}"), region)
            }
            _ if variant.is_dual_stack => {
                (format!("{prefix}{fips}.{region}.{dual_domain}"), region)
            }
            _ => (format!("{prefix}{fips}.{region}.{domain}"), region),
        };
        Self {
            scheme: "https".to_owned(),
            host,
            prefix: String::new(),
            region: region.to_owned(),
        }
    }

    /// The endpoint that a setting gives as a URL.
    pub(crate) fn from_url(url: &str, region: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.split(['?', '#']).next()?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let default_port = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        let host = host.strip_suffix(default_port).unwrap_or(host);
        let is_host = !host.is_empty() && !host.contains(['@', ' ', '"']);
        is_host.then(|| Self {
            scheme,
            host: host.to_owned(),
            prefix: path.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
        })
    }

    /// The endpoint at which `bucket` is the first part of the host's name, or `None` if the name cannot be.
    pub(crate) fn with_bucket(&self, bucket: &str) -> Option<Self> {
        let name = self.host.split(':').next().unwrap_or_default();
        let is_address = name.parse::<IpAddr>().is_ok() || self.host.starts_with('[');
        if is_address || !is_host_label(bucket) {
            return None;
        }
        Some(Self {
            host: format!("{bucket}.{}", self.host),
            ..self.clone()
        })
    }

    /// Whether nobody in between can change what is sent: by TLS, or because the server is on this machine.
    pub(crate) fn is_protected(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => self.host.split(':').next(),
        };
        let name = name.unwrap_or_default();
        let address = name.parse::<IpAddr>();
        self.scheme == "https"
            || name == "localhost"
            || address.is_ok_and(|address| address.is_loopback())
    }

    /// The URL of a path with a query, both encoded.
    pub(crate) fn url(&self, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        let Self {
            scheme,
            host,
            prefix,
            ..
        } = self;
        format!("{scheme}://{host}{prefix}{path}{mark}{query}")
    }
}

/// Whether a bucket's name can be part of a host's. One with dots has no certificate.
fn is_host_label(bucket: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(is_part)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(endpoint_prefix: &'static str) -> Target<'static> {
        Target {
            endpoint_prefix,
            signing_name: endpoint_prefix,
            endpoint_variable: "",
        }
    }

    fn host(prefix: &'static str, region: &str, is_dual_stack: bool, is_fips: bool) -> String {
        let variant = Variant {
            is_dual_stack,
            is_fips,
        };
        Endpoint::of(&target(prefix), region, variant).host
    }

    #[test]
    fn hosts_are_those_of_the_partition() {
        assert_eq!(
            host("ssm", "eu-west-1", false, false),
            "ssm.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            host("s3", "us-east-1", false, false),
            "s3.us-east-1.amazonaws.com"
        );
        assert_eq!(
            host("s3", "cn-north-1", false, false),
            "s3.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(
            host("s3", "eu-west-1", true, true),
            "s3-fips.dualstack.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            host("sqs", "eu-west-1", true, false),
            "sqs.eu-west-1.api.aws"
        );
        assert_eq!(host("iam", "eu-west-1", false, false), "iam.amazonaws.com");
    }

    #[test]
    fn ways_over_a_network_are_protected_by_tls_alone() {
        let is_protected =
            |url| Endpoint::from_url(url, "r").map(|endpoint| endpoint.is_protected());
        for url in [
            "https://a.b",
            "http://localhost:1",
            "http://127.0.0.2",
            "http://[::1]:9000",
        ] {
            assert_eq!(is_protected(url), Some(true), "{url}");
        }
        for url in [
            "http://a.b",
            "http://10.0.0.1",
            "http://localhost.b",
            "http://[fe80::1]",
        ] {
            assert_eq!(is_protected(url), Some(false), "{url}");
        }
    }

    #[test]
    fn urls_are_read() {
        let endpoint = Endpoint::from_url("http://localhost:80/base/", "r").expect("an endpoint");
        assert_eq!(endpoint.host, "localhost");
        assert_eq!(endpoint.url("/a", "b=c"), "http://localhost/base/a?b=c");
        for wrong in ["localhost:5000", "ftp://x", "http://", "https://a b"] {
            assert_eq!(Endpoint::from_url(wrong, "r"), None, "{wrong}");
        }
    }

    #[test]
    fn bucket_is_part_of_the_host_if_it_can_be() {
        let endpoint = Endpoint::of(&target("s3"), "eu-west-1", Variant::default());
        let host = |bucket| endpoint.with_bucket(bucket).map(|endpoint| endpoint.host);
        assert_eq!(
            host("my-bucket").as_deref(),
            Some("my-bucket.s3.eu-west-1.amazonaws.com")
        );
        assert_eq!(host("my.bucket"), None);
        assert_eq!(host("My_Bucket"), None);
        let local = Endpoint::from_url("http://127.0.0.1:9000", "r").expect("an endpoint");
        assert_eq!(local.with_bucket("bucket"), None);
    }
}
