//! URLs, as curl reads them.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::aws::encode_query_bytes;

use super::failure::{Failure, failure, status};

/// What may not be in a path or a query as it is.
const WRONG: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
const IN_USER: &AsciiSet = &WRONG
    .add(b'/')
    .add(b'@')
    .add(b'?')
    .add(b'#')
    .add(b'%')
    .add(b' ');
/// What may not be in the name of a host.
const NOT_IN_HOST: &str = "/:#?!@{}[]\\$'\"^`*<>=;,+&()|%";

/// An absolute URL. As text it has no user: that text gets into errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub is_protected: bool,
    /// `name:password`, decoded.
    pub user: Option<String>,
    /// An address of IPv6 is in brackets.
    pub host: String,
    port: Option<u16>,
    pub path: String,
    pub query: Option<String>,
    fragment: Option<String>,
}

/// How to read a URL.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// A server sent it: blanks are encoded, and there is a scheme.
    pub is_location: bool,
    /// `/../` stays.
    pub keeps_dots: bool,
}

impl Url {
    /// The name of a file, for `--remote-name`.
    ///
    /// # Errors
    /// The URL has none.
    pub(super) fn remote_name(&self) -> Result<&str, Failure> {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            let cause = "the URL has no name of a file for --remote-name";
            return Err(failure(status::WRITE, cause));
        }
        Ok(name)
    }

    /// # Errors
    /// It is no URL, or one of another protocol. No error shows the URL, which may have a password.
    pub(super) fn read(text: &str, rules: Rules) -> Result<Self, Failure> {
        let (scheme, rest) = match split_scheme(text) {
            Some((scheme, rest)) if rules.is_location || rest.starts_with('/') => {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => ("http".to_owned(), text),
        };
        if scheme != "http" && scheme != "https" {
            let cause = format!("Protocol \"{scheme}\" is not supported; http and https are");
            return Err(failure(status::PROTOCOL, cause));
        }
        let has_scheme = rest.len() < text.len();
        let slashes = rest.len() - rest.trim_start_matches('/').len();
        if has_scheme && !(1..=3).contains(&slashes) {
            return Err(wrong("expected // behind the scheme"));
        }
        let rest = if has_scheme { &rest[slashes..] } else { rest };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let mut url = Self {
            is_protected: scheme == "https",
            user: user.map(decoded),
            host: read_host(host)?,
            port,
            path: String::new(),
            query: None,
            fragment: None,
        };
        url.set_rest(rest, rules)?;
        Ok(url)
    }

    /// Where `location` leads from here: RFC 3986, section 5.2. `None` if it leads nowhere else.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub(super) fn join(&self, location: &str, keeps_dots: bool) -> Result<Option<Self>, Failure> {
        let rules = Rules {
            is_location: true,
            keeps_dots,
        };
        let location = location.trim();
        if location.is_empty() || location.starts_with('#') {
            return Ok(None);
        }
        if split_scheme(location).is_some() {
            return Self::read(location, rules).map(Some);
        }
        if location.starts_with("//") {
            return Self::read(&format!("{}:{location}", self.scheme()), rules).map(Some);
        }
        let folder = self.path.rfind('/').map_or("/", |at| &self.path[..=at]);
        let rest = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{}{location}", self.path),
            _ => format!("{folder}{location}"),
        };
        let mut url = Self {
            user: None,
            ..self.clone()
        };
        url.set_rest(&rest, rules)?;
        Ok(Some(url))
    }

    /// Reads path, query and fragment.
    fn set_rest(&mut self, rest: &str, rules: Rules) -> Result<(), Failure> {
        let is_wrong = |letter: char| {
            letter.is_control() || (letter.is_whitespace() && !(rules.is_location && letter == ' '))
        };
        if rest.contains(is_wrong) {
            let cause = "it has a blank or a control character; -G --data-urlencode NAME=TEXT encodes a value";
            return Err(wrong(cause));
        }
        let (rest, fragment) = split(rest, '#');
        let (path, query) = split(rest, '?');
        let path = if path.is_empty() { "/" } else { path };
        self.path = if rules.keeps_dots {
            encoded(path)
        } else {
            without_dots(&encoded(path))
        };
        self.path = self.path.replace(' ', "%20");
        self.query = query.map(|query| encoded(query).replace(' ', "+"));
        self.fragment = fragment.map(ToOwned::to_owned);
        Ok(())
    }

    /// Adds `data` to the query. `&` stands between the two.
    pub(super) fn add_query(&mut self, data: &str) -> Result<(), Failure> {
        if data.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            let cause = "the data has a blank or a control character; --data-urlencode encodes it";
            return Err(wrong(cause));
        }
        let query = self.query.take().filter(|query| !query.is_empty());
        let query = query.map_or_else(String::new, |query| format!("{query}&"));
        self.query = Some(format!("{query}{}", encoded(data)));
        Ok(())
    }

    /// Adds a name to a path that ends with `/`.
    pub(super) fn add_file_name(&mut self, name: &str) {
        if self.path.ends_with('/') {
            self.path.push_str(&encode_query_bytes(name.as_bytes()));
        }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.is_protected { "https" } else { "http" }
    }

    fn port(&self) -> u16 {
        let usual = if self.is_protected { 443 } else { 80 };
        self.port.unwrap_or(usual)
    }

    pub(super) fn has_same_host(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Whether both are at the same server, which may see the same credentials.
    pub(super) fn has_same_origin(&self, other: &Self) -> bool {
        self.is_protected == other.is_protected
            && self.port() == other.port()
            && self.has_same_host(other)
    }

    /// The URL with its user and its fragment, as a server wrote it.
    pub(super) fn with_user(&self) -> String {
        let rest = self.with_fragment();
        match (&self.user, rest.split_once("://")) {
            (Some(user), Some((scheme, rest))) => {
                let user = utf8_percent_encode(user, IN_USER);
                format!("{scheme}://{user}@{rest}")
            }
            _ => rest,
        }
    }

    /// The URL with its fragment, as `--write-out` shows it.
    pub(super) fn with_fragment(&self) -> String {
        match &self.fragment {
            Some(fragment) => format!("{self}#{fragment}"),
            None => self.to_string(),
        }
    }
}

/// What a request is for: neither a user nor a fragment.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

fn wrong(cause: &str) -> Failure {
    failure(status::URL, format!("cannot use the URL: {cause}"))
}

/// `http://host/`: `http` and `//host/`.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(is_part);
    is_scheme.then_some((scheme, rest))
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), Failure> {
    let host_end = address.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = address[host_end..].find(':') else {
        return Ok((address, None));
    };
    let (host, port) = address.split_at(host_end + colon);
    let port = &port[1..];
    if port.is_empty() {
        return Ok((host, None));
    }
    let number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if number => Ok((host, Some(port))),
        _ => Err(wrong("the port is not a number from 0 to 65535")),
    }
}

fn read_host(host: &str) -> Result<String, Failure> {
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').unwrap_or_default();
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(host.to_owned()),
            Err(_) => Err(wrong("what is in brackets is no address of IPv6")),
        };
    }
    let host = decoded(host);
    let is_wrong = |letter: char| {
        letter.is_whitespace() || letter.is_control() || NOT_IN_HOST.contains(letter)
    };
    if host.is_empty() {
        Err(wrong("it has no host"))
    } else if host.contains(is_wrong) {
        Err(wrong("the host has a character that no host has"))
    } else if !host.is_ascii() {
        Err(wrong("the host is not ASCII; write its name with xn--"))
    } else {
        Ok(host)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, WRONG).to_string()
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Url {
        let url = Url::read(text, Rules::default());
        url.unwrap_or_else(|failure| panic!("{text}: {}", failure.message))
    }

    #[test]
    fn locations_are_seen_from_the_url() {
        let base = read("http://h:1/a/b?q=1");
        for (location, expected) in [
            ("https://x/y", "https://x/y"),
            ("HTTP://x", "http://x/"),
            ("//x/y", "http://x/y"),
            ("/c?d", "http://h:1/c?d"),
            ("c", "http://h:1/a/c"),
            ("../c#f", "http://h:1/c"),
            ("./", "http://h:1/a/"),
            ("..", "http://h:1/"),
            ("?r", "http://h:1/a/b?r"),
            ("/a b?c d", "http://h:1/a%20b?c+d"),
            ("/login?next=https://x/", "http://h:1/login?next=https://x/"),
            ("c/d:e", "http://h:1/a/c/d:e"),
            ("/ä{|\"<>", "http://h:1/%C3%A4%7B%7C%22%3C%3E"),
            ("/../../x/./y", "http://h:1/x/y"),
        ] {
            let joined = base.join(location, false).ok().flatten();
            let joined = joined.map(|url| url.to_string());
            assert_eq!(joined.as_deref(), Some(expected), "{location}");
        }
        for location in ["", "  ", "#f"] {
            assert!(matches!(base.join(location, false), Ok(None)), "{location}");
        }
        let failed = |location| {
            base.join(location, false)
                .err()
                .map(|failure| failure.status)
        };
        assert_eq!(failed("file:///etc/passwd"), Some(status::PROTOCOL));
        assert_eq!(failed("foo:bar"), Some(status::PROTOCOL));
        assert_eq!(failed("http:c"), Some(status::URL));
        assert_eq!(failed("/a\tb"), Some(status::URL));
    }

    #[test]
    fn urls_are_read_as_curl_reads_them() {
        for (text, expected) in [
            ("h", "http://h/"),
            ("h:80/x", "http://h:80/x"),
            ("HTTPS://H?q#f", "https://H/?q"),
            ("http:/h", "http://h/"),
            ("http://u:p%40w@h:/x", "http://h/x"),
            ("http://[::1]:8/", "http://[::1]:8/"),
            ("http://h/a/../b", "http://h/b"),
        ] {
            assert_eq!(read(text).to_string(), expected, "{text}");
        }
        assert_eq!(read("http://u:p%40w@h/").user.as_deref(), Some("u:p@w"));
        for (text, expected) in [
            ("http://u:SECRET@h:65536/", status::URL),
            ("http://u:SECRET@h:8x/", status::URL),
            ("http://u:SECRET@h:+8/", status::URL),
            ("http:////u:SECRET@h/", status::URL),
            ("http://u:SECRET@/", status::URL),
            ("http://u:SECRET@[::1", status::URL),
            ("http://u:SECRET@h/a b", status::URL),
            ("ftp://u:SECRET@h/", status::PROTOCOL),
        ] {
            let failure = Url::read(text, Rules::default()).expect_err(text);
            assert_eq!(failure.status, expected, "{text}");
            assert!(!failure.message.contains("SECRET"), "{}", failure.message);
        }
    }

    #[test]
    fn query_takes_data_before_the_fragment() {
        for (text, expected) in [
            ("http://h/#f", "http://h/?a=b#f"),
            ("http://h/?", "http://h/?a=b"),
            ("http://h/?x#f", "http://h/?x&a=b#f"),
        ] {
            let mut url = read(text);
            assert!(url.add_query("a=b").is_ok());
            assert_eq!(url.with_fragment(), expected);
        }
    }
}
