//! The texts for bash 4.2 and 4.3, which lack what the driver does its work with.
//!
//! On these versions every event runs in a fork of the shell. `driver.bash` ends a bash that is too old for it with the
//! record `older VERSION NUL`; then [`Starting`](super::Starting) starts bash again, with the texts that
//! the build has made for it (`src/driver/build/older.rs`). So no other version pays for them. docs/bash-versions.md has what cannot be had on these versions.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{Config, Isolation};

/// All shells of this process run the same bash.
static IS_OLDER: AtomicBool = AtomicBool::new(false);

/// Whether bash is known to be older than 4.4.
pub(super) fn is_older() -> bool {
    IS_OLDER.load(Ordering::Relaxed)
}

/// Makes all shells from now on use the texts for it. Warns if bash `version` cannot do what the settings ask for.
pub(super) fn set_older(version: &str, config: &Config) {
    let is_known = IS_OLDER.swap(true, Ordering::Relaxed);
    if config.isolation == Isolation::None && !is_known {
        config.log.warn(format_args!(
            "COSHELL_ISOLATION=none needs bash 4.4 or later, and this is bash {version}: each event runs in a fork of the \
             shell, and only variables that lambda_keep names live on"
        ));
    }
}
