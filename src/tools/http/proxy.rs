//! Which proxy a request goes through, by the variables that curl and the SDKs know.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::{Error, Proxy, ProxyProtocol};

use super::{Request, Route};

/// The proxy for a URL. `variable` finds variables of the caller that are not empty.
pub(crate) fn proxy_for<'a>(
    url: &str,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    // HTTP_PROXY in capitals may come from the header of a request to a CGI script, so that nobody heeds it.
    let names: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let proxy = names.iter().find_map(|name| variable(name))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(&variable);
    let is_excepted = exceptions.is_some_and(|list| excepts(list, host));
    (!is_excepted).then(|| proxy.to_owned())
}

/// Whether a list of exceptions has a host: a name, which stands for the hosts below it, too, or an address, or a
/// network such as 10.0.0.0/8. `*` alone is every host.
fn excepts(list: &str, host: &str) -> bool {
    if list == "*" {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut entries = list
        .split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    match host.parse::<IpAddr>() {
        Ok(address) => entries.any(|entry| is_in_network(entry, address)),
        Err(_) => entries.any(|entry| {
            let entry = entry.strip_prefix('.').unwrap_or(entry);
            let entry = entry.strip_suffix('.').unwrap_or(entry);
            let at = host.len().checked_sub(entry.len());
            let split = at.and_then(|at| host.split_at_checked(at));
            split.is_some_and(|(before, end)| {
                !entry.is_empty()
                    && end.eq_ignore_ascii_case(entry)
                    && (before.is_empty() || before.ends_with('.'))
            })
        }),
    }
}

fn is_in_network(network: &str, address: IpAddr) -> bool {
    let (network, bits) = match network.split_once('/') {
        Some((network, bits)) => (network, Some(bits)),
        None => (network, None),
    };
    let network = network.trim_matches(['[', ']']);
    let (network, address, most) = match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            (network.to_bits().into(), address.to_bits().into(), 32)
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => {
            (network.to_bits(), address.to_bits(), 128)
        }
        _ => return false,
    };
    let bits: u32 = match bits.map(str::parse) {
        None => most,
        Some(Ok(bits)) if bits <= most => bits,
        Some(_) => return false,
    };
    let differing: u128 = network ^ address;
    differing.checked_shr(most - bits).unwrap_or_default() == 0
}

/// A proxy of a protocol that this client does not speak.
#[derive(Debug)]
pub(super) struct UnknownProxy(String);

impl fmt::Display for UnknownProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scheme) = self;
        write!(
            f,
            "cannot use a proxy with {scheme}://; http:// and https:// are supported"
        )
    }
}

impl std::error::Error for UnknownProxy {}

/// Reads the URL of a proxy, or `host:port`. ureq would panic for SOCKS.
pub(super) fn read(url: &str) -> Result<Proxy, Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        let is_scheme =
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !scheme.is_empty();
        let unknown = UnknownProxy(scheme.to_ascii_lowercase());
        return Err(if is_scheme {
            Error::Other(Box::new(unknown))
        } else {
            Error::InvalidProxyUrl
        });
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    let behind = address.rsplit(']').next().unwrap_or_default();
    let port = behind.split_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
        return Err(Error::InvalidProxyUrl);
    }
    Proxy::new(&format!("{}://{authority}", scheme.to_ascii_lowercase()))
}

/// How a request without TLS goes to a proxy: the proxy gets the whole URL, as RFC 9112 says in section 3.2.2.
#[derive(Debug)]
pub(super) struct Relay {
    /// The proxy, with `/` and the URL of the request as its path.
    pub uri: Uri,
    pub headers: Vec<(&'static str, String)>,
}

impl Relay {
    /// `None` if no proxy relays the request: with TLS, the proxy makes a tunnel.
    ///
    /// # Errors
    /// The proxy cannot be used.
    pub(super) fn of(request: &Request, route: &Route) -> Result<Option<Self>, Error> {
        let Some(proxy) = &route.proxy else {
            return Ok(None);
        };
        let proxy = read(proxy)?;
        let Some(rest) = request.url.strip_prefix("http://") else {
            return Ok(None);
        };
        let scheme = match proxy.protocol() {
            ProxyProtocol::Https => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let host = host.strip_suffix(":80").unwrap_or(host);
        let authority = format!("{}:{}", proxy.host(), proxy.port());
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(format!("/http://{host}{path}"));
        let has = |wanted: &str| request.headers.iter().any(|(name, _)| name == wanted);
        let mut headers = Vec::new();
        if !has("host") {
            headers.push(("host", host.to_owned()));
        }
        if let Some(user) = proxy.username().filter(|_| !has("proxy-authorization")) {
            let user = format!("{user}:{}", proxy.password().unwrap_or_default());
            let value = format!("Basic {}", STANDARD.encode(user));
            headers.push(("proxy-authorization", value));
        }
        Ok(Some(Self {
            uri: uri.build().map_err(Error::Http)?,
            headers,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{excepts, proxy_for, read};

    fn proxy(url: &str, variables: &[(&str, &'static str)]) -> Option<String> {
        proxy_for(url, |name| {
            let mut variables = variables.iter();
            variables
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn proxy_is_that_of_the_scheme_but_for_exceptions() {
        let all = [
            ("https_proxy", "http://s:1"),
            ("http_proxy", "http://p:2"),
            ("no_proxy", "localhost, .example.org,10.0.0.1"),
        ];
        assert_eq!(
            proxy("https://a.test/x", &all).as_deref(),
            Some("http://s:1")
        );
        assert_eq!(
            proxy("http://a.test:80/x", &all).as_deref(),
            Some("http://p:2")
        );
        for excepted in [
            "http://localhost:5000/",
            "https://example.org",
            "https://www.EXAMPLE.org/a",
            "http://10.0.0.1/",
        ] {
            assert_eq!(proxy(excepted, &all), None, "{excepted}");
        }
        assert!(proxy("https://notexample.org", &all).is_some());
        assert_eq!(proxy("http://a", &[("HTTP_PROXY", "http://p")]), None);
        assert_eq!(
            proxy("http://a", &[("http_proxy", "http://p"), ("no_proxy", "*")]),
            None
        );
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        for (list, host, expected) in [
            ("*", "a.test", true),
            ("b, *", "a.test", false),
            (".test", "a.test", true),
            ("test.", "a.test", true),
            ("est", "a.test", false),
            (",", "a.test", false),
            (".0.0.1", "127.0.0.1", false),
            ("10.0.0.0/8 127.0.0.0/8", "127.0.0.1", true),
            ("127.0.0.0/33", "127.0.0.1", false),
            ("127.0.0.0/x", "127.0.0.1", false),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("::/64", "::1", true),
            ("[::1]", "::1", true),
            ("::/128", "::1", false),
            ("0.0.0.0/0", "::1", false),
            ("127.0.0.1", "localhost", false),
        ] {
            assert_eq!(excepts(list, host), expected, "{list} {host}");
        }
    }

    #[test]
    fn proxies_are_read_without_a_panic() {
        for wrong in [
            "socks5://h:1",
            "://",
            "",
            "http://",
            "http://h:99999",
            "u:p@h://x",
            "http://[::1",
        ] {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
        for right in [
            "h",
            "h:1",
            "HTTP://h:1/",
            "http://u:p@h",
            "https://[::1]:8",
            "http://h:",
        ] {
            assert!(read(right).is_ok(), "{right}");
        }
    }
}
