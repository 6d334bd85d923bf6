//! The files `~/.aws/config` and `~/.aws/credentials`.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::AwsError;
use crate::call::Place;

/// The settings of one profile. Those of the section `s3` are named `s3.NAME`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub name: String,
    settings: HashMap<String, String>,
}

impl Profile {
    /// Reads the profile that `chosen` or `AWS_PROFILE` names, or else `default`.
    ///
    /// # Errors
    /// A file cannot be read, or has no profile of the name.
    pub(crate) fn read(
        environment: &HashMap<String, String>,
        chosen: Option<&str>,
        place: Place,
    ) -> Result<Self, AwsError> {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let wanted = chosen.map(ToOwned::to_owned).or_else(|| {
            let variables = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];
            variables.into_iter().find_map(variable).cloned()
        });
        let name = wanted.clone().unwrap_or_else(|| "default".to_owned());
        let home = variable("HOME").map_or("/", String::as_str);
        let read = |setting: &str, file: &str| {
            let path = variable(setting).map_or_else(
                || format!("{home}/.aws/{file}"),
                |path| match path.strip_prefix("~/") {
                    Some(rest) => format!("{home}/{rest}"),
                    None => path.clone(),
                },
            );
            match place.read(Path::new(&path)) {
                Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                // Lambda's own user has a home that it may not read.
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && wanted.is_none() =>
                {
                    Ok(String::new())
                }
                Err(error) => Err(AwsError::Settings(format!("cannot read {path}: {error}"))),
            }
        };
        let config = read("AWS_CONFIG_FILE", "config")?;
        let credentials = read("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let in_config = if name == "default" {
            section(&config, |title| {
                title == "default" || is_profile(title, &name)
            })
        } else {
            section(&config, |title| is_profile(title, &name))
        };
        let in_credentials = section(&credentials, |title| title == name);
        if wanted.is_some() && in_config.is_none() && in_credentials.is_none() {
            let cause = format!("The config profile ({name}) could not be found");
            return Err(AwsError::Other(cause));
        }
        let mut settings = in_config.unwrap_or_default();
        settings.extend(in_credentials.unwrap_or_default());
        if let Some(session) = settings.get("sso_session").cloned() {
            let shared = section(&config, |title| is_titled(title, "sso-session", &session));
            for (name, value) in shared.unwrap_or_default() {
                settings.entry(name).or_insert(value);
            }
        }
        Ok(Self { name, settings })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.settings.get(name)?;
        (!value.is_empty()).then_some(value)
    }
}

/// The region in the profile of this environment.
pub(crate) fn region(environment: &HashMap<String, String>, place: Place) -> Option<String> {
    let profile = Profile::read(environment, None, place).ok()?;
    profile.get("region").map(ToOwned::to_owned)
}

/// Whether the title of a section of the file `config` is that of a profile.
fn is_profile(title: &str, name: &str) -> bool {
    is_titled(title, "profile", name)
}

fn is_titled(title: &str, kind: &str, name: &str) -> bool {
    let rest = title.strip_prefix(kind).unwrap_or_default();
    rest.starts_with([' ', '\t']) && rest.trim().trim_matches(['"', '\'']) == name
}

/// The settings in all sections whose title is wanted; `None` if there is no such section.
fn section(text: &str, is_wanted: impl Fn(&str) -> bool) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut is_inside = false;
    let mut group = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(title) = trimmed.strip_prefix('[') {
            let title = title.split(']').next().unwrap_or_default().trim();
            is_inside = is_wanted(title);
            if is_inside {
                found.get_or_insert_default();
            }
            group.clear();
            continue;
        }
        let (true, Some(settings), Some((name, value))) =
            (is_inside, &mut found, trimmed.split_once('='))
        else {
            continue;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let is_nested = line.starts_with([' ', '\t']) && !group.is_empty();
        if is_nested {
            settings.insert(format!("{group}.{name}"), value.to_owned());
        } else {
            group = if value.is_empty() {
                name.clone()
            } else {
                String::new()
            };
            settings.insert(name, value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# a comment
[default]
region = eu-west-1
[profile two words]
region=us-east-2
s3 =
    addressing_style = path
    max_concurrent_requests = 3
output = text
[profile \"quoted\"]
region = ap-south-1
";

    #[test]
    fn profile_has_its_settings_and_nested_ones() {
        let settings = section(CONFIG, |title| is_profile(title, "two words")).expect("a section");
        assert_eq!(settings["region"], "us-east-2");
        assert_eq!(settings["s3.addressing_style"], "path");
        assert_eq!(settings["s3.max_concurrent_requests"], "3");
        assert_eq!(settings["output"], "text");
        let quoted = section(CONFIG, |title| is_profile(title, "quoted")).expect("a section");
        assert_eq!(quoted["region"], "ap-south-1");
        assert!(section(CONFIG, |title| is_profile(title, "default")).is_none());
    }
}
