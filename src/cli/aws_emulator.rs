//! `coshell` in the place of AWS's emulator: under the name `aws-lambda-rie` it takes that program's arguments.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::error::Error;

/// Where AWS's emulator looks for a bootstrap, in this order.
const BOOTSTRAPS: [&str; 3] = [
    "/var/task/bootstrap",
    "/opt/bootstrap",
    "/var/runtime/bootstrap",
];

/// Translates the arguments of AWS's emulator into those of `coshell serve`. Its options come first. The first other
/// argument is the bootstrap, and everything after it belongs to the bootstrap.
pub(crate) fn translate_aws_emulator_arguments(
    arguments: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut translated: Vec<OsString> =
        vec!["coshell".into(), "serve".into(), "--as-aws-emulator".into()];
    let mut arguments = arguments.peekable();
    while let Some(option) = arguments.next_if(|argument| is_option(argument)) {
        let wants_value =
            option != "--enable-init-caching" && !option.to_string_lossy().contains('=');
        translated.push(option);
        translated.extend(if wants_value { arguments.next() } else { None });
    }
    translated.push("--".into());
    translated.extend(arguments);
    translated
}

fn is_option(argument: &OsStr) -> bool {
    argument.to_string_lossy().starts_with("--") && argument != "--"
}

/// The bootstrap that AWS's emulator starts if no argument names one.
pub(crate) fn find_bootstrap() -> Result<OsString, Error> {
    let found = BOOTSTRAPS.iter().find(|path| Path::new(path).is_file());
    found.map(OsString::from).ok_or_else(|| Error::Misuse {
        what: "cannot find a bootstrap".to_owned(),
        cause: format!("none of these files exists: {}", BOOTSTRAPS.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_the_bootstrap() {
        let translate = |arguments: &str| {
            let arguments = arguments.split(' ').map(OsString::from);
            let translated = translate_aws_emulator_arguments(arguments)
                .into_iter()
                .skip(3);
            let translated: Vec<_> = translated
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect();
            translated.join(" ")
        };
        assert_eq!(
            translate("--log-level debug --enable-init-caching /var/runtime/bootstrap --flag a.b"),
            "--log-level debug --enable-init-caching -- /var/runtime/bootstrap --flag a.b"
        );
        assert_eq!(
            translate("--runtime-api-address=127.0.0.1:9001 bootstrap"),
            "--runtime-api-address=127.0.0.1:9001 -- bootstrap"
        );
    }
}
