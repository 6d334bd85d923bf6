//! What one caller has set: on its command line, in its variables, and in its profile.

use std::collections::HashMap;
use std::time::Duration;

use super::AwsError;
use super::endpoint::Target;
use super::profile::Profile;
use crate::call::Place;

/// What a caller chooses on its command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    /// Sends requests without a signature.
    pub is_unsigned: bool,
    pub skips_verification: bool,
    /// The path of a file with authorities.
    pub ca_bundle: Option<String>,
    pub read_timeout: Option<Duration>,
    pub connect_timeout: Option<Duration>,
}

/// A setting is looked for on the command line, in a variable, and in the profile, in this order.
#[derive(Clone)]
pub(crate) struct Settings {
    environment: HashMap<String, String>,
    profile: Profile,
    choices: Choices,
    place: Place,
}

impl Settings {
    /// # Errors
    /// The profile is not there, or a file of settings cannot be read.
    pub(super) fn read(
        environment: &[(String, String)],
        choices: Choices,
        place: Place,
    ) -> Result<Self, AwsError> {
        let environment: HashMap<_, _> = environment.iter().cloned().collect();
        let profile = Profile::read(&environment, choices.profile.as_deref(), place)?;
        Ok(Self {
            environment,
            profile,
            choices,
            place,
        })
    }

    /// Those for a request for credentials. The endpoint on the command line is that of the caller's own request.
    pub(super) fn for_credentials(&self, region: &str) -> Self {
        let choices = Choices {
            region: Some(region.to_owned()),
            endpoint_url: None,
            ..self.choices.clone()
        };
        Self {
            choices,
            ..self.clone()
        }
    }

    /// Another profile of the caller.
    ///
    /// # Errors
    /// It is not there, or a file of settings cannot be read.
    pub(super) fn read_profile(&self, name: &str) -> Result<Profile, AwsError> {
        Profile::read(&self.environment, Some(name), self.place)
    }

    /// Checks the mode of retries, which has no other effect here.
    ///
    /// # Errors
    /// The AWS CLI knows no such mode.
    pub(super) fn check_retry_mode(&self) -> Result<(), AwsError> {
        let variable = self.environment.get("AWS_RETRY_MODE").map(String::as_str);
        match variable.or_else(|| self.setting("retry_mode")) {
            None | Some("standard" | "adaptive") => Ok(()),
            Some(mode) => Err(AwsError::Other(format!(
                "Invalid value provided to \"mode\": \"{mode}\" must be one of: \"standard\" or \"adaptive\""
            ))),
        }
    }

    /// The region of requests.
    ///
    /// # Errors
    /// None is set.
    pub(crate) fn region(&self) -> Result<&str, AwsError> {
        let chosen = self.choices.region.as_deref();
        let region = chosen
            .or_else(|| self.variable("AWS_REGION"))
            .or_else(|| self.either("AWS_DEFAULT_REGION", "region"));
        let region = region.ok_or_else(|| {
            AwsError::Settings(
                "You must specify a region. You can also configure your region by running \"aws configure\"."
                    .to_owned(),
            )
        })?;
        if is_region(region) {
            Ok(region)
        } else {
            Err(AwsError::Other(format!(
                "Provided region_name '{region}' doesn't match a supported format."
            )))
        }
    }

    /// The setting of the profile with this name, such as `output`.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.profile.get(name)
    }

    /// A variable of the caller that is set, and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    pub(crate) fn choices(&self) -> &Choices {
        &self.choices
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn environment(&self) -> &HashMap<String, String> {
        &self.environment
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn either(&self, variable: &str, setting: &str) -> Option<&str> {
        self.variable(variable).or_else(|| self.setting(setting))
    }

    pub(super) fn is_on(&self, variable: &str, setting: &str) -> bool {
        self.either(variable, setting)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The endpoint that the caller has chosen for a service.
    pub(super) fn endpoint_url(&self, target: &Target) -> Option<&str> {
        if let Some(url) = &self.choices.endpoint_url {
            return Some(url);
        }
        if self.is_on(
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "ignore_configured_endpoint_urls",
        ) {
            return None;
        }
        let name = format!("AWS_ENDPOINT_URL_{}", target.endpoint_variable);
        self.variable(&name)
            .or_else(|| self.either("AWS_ENDPOINT_URL", "endpoint_url"))
    }
}

/// Whether a text can be the name of a region. It becomes part of a host's name.
pub(super) fn is_region(text: &str) -> bool {
    let mut bytes = text.bytes();
    !text.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
