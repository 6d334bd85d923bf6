//! The credentials that sign a request, and those that end and are kept until then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::AwsError;

/// Credentials are renewed this long before they end.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    /// Without the secrets, which belong in no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Credentials, and when they end.
pub(super) type Ending = (Credentials, OffsetDateTime);

/// Credentials that end. A key names where they are from, and all that decides what they are.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<String, Ending>>);

impl Cache {
    /// Those that are known, unless they end soon; or else new ones.
    pub(super) fn get_or_renew(
        &self,
        key: &str,
        renew: impl FnOnce() -> Result<Ending, AwsError>,
    ) -> Result<Credentials, AwsError> {
        let known = self.lock().get(key).cloned();
        let now = OffsetDateTime::now_utc();
        if let Some((credentials, end)) = &known
            && now + REFRESH_BEFORE < *end
        {
            return Ok(credentials.clone());
        }
        match (renew(), known) {
            (Ok(found), _) => {
                let credentials = found.0.clone();
                self.lock().insert(key.to_owned(), found);
                Ok(credentials)
            }
            // They hold for some minutes still.
            (Err(_), Some((credentials, end))) if now < end => Ok(credentials),
            (Err(error), _) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
