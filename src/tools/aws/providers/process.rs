//! `credential_process`: a program that prints credentials. It gets the variables of AWS, and `PATH`.

use std::process::{Command, Stdio};

use super::{Credentials, Ending, read_document, unusable};
use crate::aws::AwsError;
use crate::aws::profile::Profile;
use crate::aws::session::Session;

/// The second program has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/bin";

/// The credentials that the program of a profile prints, if it has one.
pub(super) fn of_profile(
    session: &Session<'_>,
    profile: &Profile,
) -> Result<Option<Credentials>, AwsError> {
    let Some(command) = profile.get("credential_process") else {
        return Ok(None);
    };
    // The program may read any of the variables, and any file in the folder of the caller.
    let mut variables: Vec<_> = session.settings.environment().iter().collect();
    variables.sort_unstable();
    let folder = std::fs::canonicalize(session.settings.place().path("".as_ref()));
    let key = format!("{command} {variables:?} {folder:?}");
    let cache = &session.kept().credentials;
    let found = cache.get_or_renew(&key, || {
        run(session, command).map_err(|cause| unusable(profile, &cause))
    });
    found.map(Some)
}

/// Runs the program in the folder of the caller. What it prints besides credentials is in no error: it may be secret.
fn run(session: &Session<'_>, command: &str) -> Result<Ending, String> {
    let words = shell_words::split(command)
        .map_err(|error| format!("cannot read its credential_process: {error}"))?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| "its credential_process is empty".to_owned())?;
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .envs(session.settings.environment())
        .current_dir(session.settings.place().path("".as_ref()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run its credential_process {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "its credential_process {program} ended with {}",
            output.status
        ));
    }
    read_document(&output.stdout, "SessionToken")
        .map_err(|cause| format!("what its credential_process {program} prints {cause}"))
}
