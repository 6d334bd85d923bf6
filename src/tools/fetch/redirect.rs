//! What is sent to where a redirect leads.

use super::url::Url;
use crate::http::{Body, Request};

/// Makes `request`, which was for `from`, the one for `to`. Credentials stay with the server that they are for.
pub(super) fn redirect(request: &mut Request, from: &Url, to: &Url, becomes_get: bool) {
    if becomes_get {
        request.body = Body::None;
        drop_headers(
            request,
            &["content-type", "content-length", "transfer-encoding"],
        );
    }
    if !to.has_same_origin(from) {
        drop_headers(request, &["authorization", "cookie"]);
    }
    if !to.has_same_host(from) {
        drop_headers(request, &["host"]);
    }
    request.url = to.to_string();
}

fn drop_headers(request: &mut Request, names: &[&str]) {
    let headers = &mut request.headers;
    headers.retain(|(name, _)| !names.contains(&name.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::url::Rules;

    #[test]
    fn another_server_gets_no_credentials() {
        let url = |text: &str| Url::read(text, Rules::default()).expect("a URL");
        let names = |to: &str, becomes_get| {
            let mut request = Request {
                method: "POST".to_owned(),
                url: "http://a/x".to_owned(),
                headers: ["authorization", "cookie", "host", "content-type", "x-a"]
                    .map(|name| (name.to_owned(), "v".to_owned()))
                    .into(),
                body: Body::Bytes(vec![1].into()),
            };
            redirect(&mut request, &url("http://a/x"), &url(to), becomes_get);
            assert_eq!(request.body.length(), Some(u64::from(!becomes_get)));
            let names = request.headers.iter().map(|(name, _)| name.as_str());
            names.collect::<Vec<_>>().join(" ")
        };
        let all = "authorization cookie host content-type x-a";
        assert_eq!(names("http://a:80/y", false), all);
        assert_eq!(names("http://a/y", true), "authorization cookie host x-a");
        assert_eq!(names("http://b/", false), "content-type x-a");
        assert_eq!(names("https://a/", false), "host content-type x-a");
        assert_eq!(names("http://a:81/", false), "host content-type x-a");
    }
}
