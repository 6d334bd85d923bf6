//! Which version or alias a caller calls: of the query, or at the end of the function's name.
//!
//! A name is `any`, `123456789012:function:any` or a whole ARN, and each may end in `:live`:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax>.

use axum::http::Uri;

/// `live` of `/2015-03-31/functions/any/invocations?Qualifier=live` and of
/// `/2015-03-31/functions/any:live/invocations`.
pub(crate) fn qualifier(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    if let Some((_, value)) = pairs.find(|(name, _)| name == "Qualifier") {
        return Some(value.into_owned());
    }
    let name = uri.path().split('/').nth(3)?;
    // The SDKs encode its colons.
    let (name, _) = form_urlencoded::parse(name.as_bytes()).next()?;
    let last = name.rsplit_once(":function:").map(|(_, last)| last);
    let (_, qualifier) = last.unwrap_or(&name).split_once(':')?;
    Some(qualifier.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, query: &str) -> Option<String> {
        let uri = format!("/2015-03-31/functions/{name}/invocations{query}");
        uri.parse().ok().and_then(|uri| qualifier(&uri))
    }

    #[test]
    fn every_form_of_a_name_may_end_in_a_qualifier() {
        let arn = "arn:aws:lambda:eu-north-1:123456789012:function:any";
        for name in ["any", "123456789012:function:any", arn] {
            assert_eq!(of(name, ""), None);
            assert_eq!(of(&format!("{name}:live"), ""), Some("live".to_owned()));
        }
        assert_eq!(of("any%3A%24LATEST", "?a=b"), Some("$LATEST".to_owned()));
    }

    #[test]
    fn qualifier_of_the_query_comes_first() {
        assert_eq!(of("any", "?a=b&Qualifier=7"), Some("7".to_owned()));
        assert_eq!(of("any:live", "?Qualifier=7"), Some("7".to_owned()));
    }
}
