//! What `SnapStart` asks: to wait for the restore, to tell that it failed, to connect anew.
//!
//! AWS's runtimes ask `restore/next` once, and end if that breaks off. A snapshot may break it, so we ask
//! again; whoever gave the first answer, which did not arrive, may refuse another: then we are restored.

use ureq::http::StatusCode;

use super::answer::{Posted, read_text, refusal};
use super::connection::{agent, connect};
use super::failure::document;
use super::{Attempt, Client};
use crate::error::{Error, Result};
use coshell_handler::Failure;
use coshell_wire as wire;

impl Client<'_> {
    /// Waits until we are restored from the snapshot, which may be weeks. `false` if we are asked to end.
    /// Only before the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// [`Error::Restore`] when the Runtime API answers anything but 200, or when it cannot be reached, or
    /// breaks off, four times in a row.
    pub(crate) fn wait_for_restore(&mut self) -> Result<bool> {
        let mut is_repeated = false;
        let restored = self.with_retries(|| {
            self.progress.reset();
            let asked = self.try_restore(is_repeated);
            is_repeated |= self.progress.is_sent();
            asked
        });
        let restored = restored.map_err(|cause| Error::Restore {
            api: self.api.clone(),
            cause,
        })?;
        Ok(restored.is_some())
    }

    fn try_restore(&self, is_repeated: bool) -> Attempt<()> {
        let response = self.agent.get(self.url(wire::RESTORE_NEXT)).call()?;
        let status = response.status();
        let text = read_text(response.into_body());
        let is_restored =
            status == StatusCode::OK || (is_repeated && status == StatusCode::FORBIDDEN);
        Ok(if is_restored {
            Ok(())
        } else {
            Err(refusal(status, &text))
        })
    }

    /// Drops all connections, and opens others.
    ///
    /// # Errors
    /// Why the extension does not wait any more, in words. If nobody is there the next request says so too.
    pub(crate) fn reopen(&mut self) -> std::result::Result<(), String> {
        let opened = connect(&self.api).ok();
        self.agent = agent(&self.api, opened, &self.progress, self.signals);
        if let Some(extension) = self.extension.take() {
            self.extension = Some(extension.reopen(&self.api, self.signals)?);
        }
        Ok(())
    }

    /// Tells why we cannot go on after the restore. Only between that and the first
    /// [`Client::next_invocation`].
    ///
    /// # Errors
    /// As [`Client::post_outcome`].
    pub(crate) fn post_restore_error(&mut self, failure: &Failure) -> Result<Posted> {
        let headers = [(wire::ERROR_TYPE, Some(failure.error_type))];
        self.post(
            "restore error",
            wire::RESTORE_ERROR,
            &headers,
            document(failure).as_bytes(),
        )
    }
}
