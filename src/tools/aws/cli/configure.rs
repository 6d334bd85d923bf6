//! `aws configure get NAME` and `aws configure set NAME VALUE`: the settings of a profile.
//!
//! ```text
//! NAME     region              of the chosen profile
//!          s3.addressing_style of its section s3
//!          default.NAME, profile.PROFILE.NAME
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::failure::Failure;
use super::files::Files;
use super::globals::Globals;
use super::words::Words;
use crate::aws::providers;
use crate::aws::session::Kept;
use crate::call::Output;

/// These are in the file of credentials.
const CREDENTIALS: [&str; 3] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
];

pub(crate) fn run(
    words: &[String],
    globals: Globals,
    kept: &Kept,
    files: Files,
    output: &Output,
) -> Result<(), Failure> {
    let mut words = Words::parse(&[], words)?;
    let action = words.take_first().unwrap_or_default();
    let given: Vec<String> = words.rest.into_iter().map(|rest| rest.word).collect();
    match (action.as_str(), &given[..]) {
        ("get", [name]) => get(name, globals, kept, files, output),
        ("set", [name, value]) => set(name, value, &globals, files),
        ("get" | "set", _) => Err(Failure::usage_error(
            "the following arguments are required: varname, and value for set",
        )),
        _ => Err(Failure::missing("configure, but for get and set,")),
    }
}

/// The profile that a name is of, and the name in it.
fn profile_of(name: &str) -> (Option<&str>, &str) {
    if let Some(rest) = name.strip_prefix("default.") {
        return (Some("default"), rest);
    }
    let named = name
        .strip_prefix("profile.")
        .and_then(|rest| rest.split_once('.'));
    named.map_or((None, name), |(profile, rest)| (Some(profile), rest))
}

fn get(
    name: &str,
    mut globals: Globals,
    kept: &Kept,
    files: Files,
    output: &Output,
) -> Result<(), Failure> {
    let (profile, name) = profile_of(name);
    if let Some(profile) = profile {
        globals.choices.profile = Some(profile.to_owned());
    }
    let session = providers::session(kept, files.environment, globals.choices, files.place)?;
    let value = session
        .settings
        .setting(&name.to_ascii_lowercase())
        .ok_or(Failure::silent(1))?;
    let line = format!("{value}\n");
    output.write(|text| text.extend_from_slice(line.as_bytes()), false);
    Ok(())
}

fn set(name: &str, value: &str, globals: &Globals, files: Files) -> Result<(), Failure> {
    let variable = |name: &str| {
        let mut variables = files.environment.iter();
        let (_, value) =
            variables.find(|(variable, value)| variable == name && !value.is_empty())?;
        Some(value.as_str())
    };
    let (profile, name) = profile_of(name);
    let chosen = globals.choices.profile.as_deref();
    let chosen = profile
        .or(chosen)
        .or_else(|| variable("AWS_PROFILE"))
        .unwrap_or("default");
    let is_secret = CREDENTIALS.contains(&name);
    let section = if is_secret || chosen == "default" {
        chosen.to_owned()
    } else {
        format!("profile {chosen}")
    };
    let (setting, usual) = if is_secret {
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    } else {
        ("AWS_CONFIG_FILE", "~/.aws/config")
    };
    let file = files.expand(variable(setting).unwrap_or(usual));
    let path = files.place.path(&file);
    let fail =
        |error: &io::Error| Failure::other(format!("cannot write {}: {error}", file.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(fail(&error)),
    };
    write(&path, &updated(&text, &section, name, value)).map_err(|error| fail(&error))
}

/// Writes a file that others cannot read, with the folders on the way there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The text of a file with one setting changed or added. Other lines stay as they are.
fn updated(text: &str, section: &str, name: &str, value: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let title = |line: &str| {
        let title = line.trim_start().strip_prefix('[')?.split(']').next()?;
        Some(title.replace(['"', '\''], ""))
    };
    let is_title = |line: &String| title(line).is_some();
    let start = lines
        .iter()
        .position(|line| title(line).as_deref() == Some(section));
    let Some(start) = start else {
        lines.push(format!("[{section}]"));
        lines.extend(new_lines(name, value));
        return lines.join("\n") + "\n";
    };
    let length = lines[start + 1..].iter().position(is_title);
    let end = length.map_or(lines.len(), |length| start + 1 + length);
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let is_nested = |line: &str| line.starts_with([' ', '\t']);
    let find = |from: usize, to: usize, wanted: &str, nested: bool| {
        (from..to).find(|at| {
            is_nested(&lines[*at]) == nested && key(&lines[*at]).as_deref() == Some(wanted)
        })
    };
    // Behind the last setting, and before blank lines.
    let last = (start..end)
        .rev()
        .find(|at| *at == start || key(&lines[*at]).is_some());
    let behind_last = last.unwrap_or(start) + 1;
    let (group, inner) = name
        .split_once('.')
        .map_or((name, None), |(group, inner)| (group, Some(inner)));
    match (find(start + 1, end, group, false), inner) {
        (Some(at), None) => lines[at] = format!("{name} = {value}"),
        (Some(at), Some(inner)) => {
            let group_end = (at + 1..end)
                .find(|at| !is_nested(&lines[*at]))
                .unwrap_or(end);
            match find(at + 1, group_end, inner, true) {
                Some(at) => lines[at] = format!("    {inner} = {value}"),
                None => lines.insert(group_end, format!("    {inner} = {value}")),
            }
        }
        (None, _) => {
            lines.splice(behind_last..behind_last, new_lines(name, value));
        }
    }
    lines.join("\n") + "\n"
}

fn new_lines(name: &str, value: &str) -> Vec<String> {
    match name.split_once('.') {
        Some((group, inner)) => vec![format!("{group} ="), format!("    {inner} = {value}")],
        None => vec![format!("{name} = {value}")],
    }
}

#[cfg(test)]
mod tests {
    use super::updated;

    #[test]
    fn a_setting_is_changed_in_its_place_or_added_to_its_section() {
        let text = "# mine\n[default]\nregion = a\n\n[profile b]\ns3 =\n    x = 1\noutput = text\n";
        let changed = updated(text, "default", "region", "c");
        assert_eq!(changed, text.replace("region = a", "region = c"));
        let added = updated(text, "default", "output", "json");
        assert_eq!(
            added,
            text.replace("region = a\n", "region = a\noutput = json\n")
        );
        let nested = updated(text, "profile b", "s3.y", "2");
        assert_eq!(
            nested,
            text.replace("    x = 1\n", "    x = 1\n    y = 2\n")
        );
        let nested = updated(text, "profile b", "s3.x", "2");
        assert_eq!(nested, text.replace("x = 1", "x = 2"));
        assert_eq!(
            updated("", "profile n", "s3.x", "1"),
            "[profile n]\ns3 =\n    x = 1\n"
        );
        assert_eq!(updated("[d]\na=1", "e", "b", ""), "[d]\na=1\n[e]\nb = \n");
    }
}
