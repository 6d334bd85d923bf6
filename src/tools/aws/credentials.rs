//! The credentials that sign a request, and those that end and are kept until then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::AwsError;

/// Credentials are renewed this long before they end.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

#[derive(Clone, PartialEq, Eq, Hash)]
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

/// Credentials that end, by the hash of what they are known by: that names where they are from and all that decides what they are,
/// and may hold secrets.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<Key, Ending>>);

type Key = [u8; 32];

impl Cache {
    /// Those that are known, unless they end soon; or else new ones.
    pub(super) fn get_or_renew(
        &self,
        known_by: &str,
        renew: impl FnOnce() -> Result<Ending, AwsError>,
    ) -> Result<Credentials, AwsError> {
        let key = Key::from(Sha256::digest(known_by.as_bytes()));
        let known = self.lock().get(&key).cloned();
        let now = OffsetDateTime::now_utc();
        if let Some((credentials, end)) = &known
            && now + REFRESH_BEFORE < *end
        {
            return Ok(credentials.clone());
        }
        match (renew(), known) {
            (Ok(found), _) => {
                let credentials = found.0.clone();
                self.lock().insert(key, found);
                Ok(credentials)
            }
            // They hold for some minutes still.
            (Err(_), Some((credentials, end))) if now < end => Ok(credentials),
            (Err(error), _) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Ending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
