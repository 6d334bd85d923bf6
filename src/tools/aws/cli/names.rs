//! Names of arguments, made from the API's names.

/// The argument of a member: `max-items` of `MaxItems`, `vpc-id` of `VPCId`.
///
/// A hyphen goes before a capital that begins a word, and between a small letter or digit and a capital. The table has
/// the names that the AWS CLI makes in another way; make-services finds them.
pub(crate) fn argument_of(member: &str) -> String {
    let letters: Vec<char> = member.chars().collect();
    let mut name = String::with_capacity(member.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let begins_word = letter.is_ascii_uppercase()
            && before.is_some()
            && after.is_some_and(char::is_ascii_lowercase);
        let ends_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit());
        if (begins_word || ends_word) && !name.ends_with('-') {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::argument_of;

    #[test]
    fn words_of_a_name_are_parted_by_hyphens() {
        for (member, argument) in [
            ("MaxItems", "max-items"),
            ("VPCId", "vpc-id"),
            ("name", "name"),
            ("CopySourceIfMatch", "copy-source-if-match"),
            ("ClientRequestToken", "client-request-token"),
            ("MD5OfBody", "md5-of-body"),
            ("SSECustomerKeyMD5", "sse-customer-key-md5"),
        ] {
            assert_eq!(argument_of(member), argument);
        }
    }
}
