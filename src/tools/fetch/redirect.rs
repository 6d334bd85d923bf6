//! Where a redirect leads, and what is sent there.

use crate::http::{Body, Request};

/// Makes `request` the one for `location`. Credentials stay with the server that they are for.
pub(super) fn redirect(request: &mut Request, status: u16, location: &str, keeps_method: bool) {
    let url = join(&request.url, location);
    // Browsers began it, and everybody does it.
    let becomes_get = status == 303 && request.method != "HEAD"
        || matches!(status, 301 | 302) && request.method == "POST";
    if becomes_get {
        if !keeps_method {
            "GET".clone_into(&mut request.method);
        }
        request.body = Body::None;
        request.headers.retain(|(name, _)| name != "content-type");
    }
    if origin(&url) != origin(&request.url) {
        let is_secret = |name: &str| name == "authorization" || name == "cookie";
        request.headers.retain(|(name, _)| !is_secret(name));
    }
    request.url = url;
}

/// The scheme and the host of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..start + end])
}

/// `location`, as seen from `base`; RFC 3986, section 5.2.
fn join(base: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let location = location.replace(' ', "%20");
    let origin = origin(base);
    let scheme = origin.split("//").next().unwrap_or_default();
    let path = base[origin.len()..].split('?').next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
    if location.contains("://") {
        location
    } else if location.starts_with("//") {
        format!("{scheme}{location}")
    } else if location.starts_with('?') {
        format!("{origin}{path}{location}")
    } else {
        let (target, query) = match location.split_once('?') {
            Some((target, query)) => (target.to_owned(), format!("?{query}")),
            None => (location, String::new()),
        };
        let target = if target.starts_with('/') {
            target
        } else {
            format!("{folder}{target}")
        };
        format!("{origin}{}{query}", without_dots(&target))
    }
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

    #[test]
    fn locations_are_seen_from_the_url() {
        let base = "http://h:1/a/b?q=1";
        for (location, expected) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/c?d", "http://h:1/c?d"),
            ("c", "http://h:1/a/c"),
            ("../c#f", "http://h:1/c"),
            ("./", "http://h:1/a/"),
            ("..", "http://h:1/"),
            ("?r", "http://h:1/a/b?r"),
            ("/a b", "http://h:1/a%20b"),
        ] {
            assert_eq!(join(base, location), expected, "{location}");
        }
        assert_eq!(join("http://h", "x"), "http://h/x");
    }

    #[test]
    fn another_server_gets_no_credentials() {
        let request = || Request {
            method: "POST".to_owned(),
            url: "http://a/x".to_owned(),
            headers: ["authorization", "content-type", "x-a"]
                .map(|name| (name.to_owned(), "v".to_owned()))
                .into(),
            body: Body::Bytes(Vec::new().into()),
        };
        let names = |request: &Request| {
            let names = request.headers.iter().map(|(name, _)| name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let mut other = request();
        redirect(&mut other, 307, "http://b/", false);
        assert_eq!(
            (other.method.as_str(), names(&other).as_str()),
            ("POST", "content-type x-a")
        );
        let mut same = request();
        redirect(&mut same, 302, "/y", false);
        assert_eq!(
            (same.method.as_str(), names(&same).as_str()),
            ("GET", "authorization x-a")
        );
        assert_eq!(same.body.length(), Some(0));
    }
}
