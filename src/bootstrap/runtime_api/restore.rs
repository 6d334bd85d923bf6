//! The requests of `SnapStart`: wait for the restore, reconnect afterwards, and post an error of the restore.
//!
//! AWS's runtimes request `restore/next` once, and exit if the connection breaks. A snapshot may break it, so we try again. The
//! platform may have replied to the first request already, and then rejects the second one with 403: that means that we are
//! restored.

use ureq::http::StatusCode;

use super::connection::{agent, connect};
use super::failure::error_document;
use super::reply::{PostOutcome, describe_rejection, read_text};
use super::{Attempt, Client};
use crate::error::{Error, Result};
use coshell_handler::Failure;
use coshell_wire as wire;

impl Client<'_> {
    /// Waits until we are restored from the snapshot, which may take weeks. `false` if we have to shut down. Allowed only before
    /// the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// [`Error::WaitForRestore`] if the Runtime API replies with a status other than 200, or if the connection fails four times
    /// in a row.
    pub(crate) fn wait_for_restore(&mut self) -> Result<bool> {
        let mut is_repeated = false;
        let restored = self.with_retries(|| {
            self.progress.reset();
            let result = self.try_wait_for_restore(is_repeated);
            is_repeated |= self.progress.is_sent();
            result
        });
        let restored = restored.map_err(|cause| Error::WaitForRestore {
            api: self.api.clone(),
            cause,
        })?;
        Ok(restored.is_some())
    }

    fn try_wait_for_restore(&self, is_repeated: bool) -> Attempt<()> {
        let response = self.agent.get(self.url(wire::RESTORE_NEXT)).call()?;
        let status = response.status();
        let text = read_text(response.into_body());
        let is_restored =
            status == StatusCode::OK || (is_repeated && status == StatusCode::FORBIDDEN);
        Ok(if is_restored {
            Ok(())
        } else {
            Err(describe_rejection(status, &text))
        })
    }

    /// Closes all connections, and opens new ones.
    ///
    /// # Errors
    /// A message for the log, if the extension cannot wait on a new connection. A failure of the runtime's own connection is
    /// reported by the next request.
    pub(crate) fn reconnect(&mut self) -> std::result::Result<(), String> {
        let opened = connect(&self.api).ok();
        self.agent = agent(&self.api, opened, &self.progress, self.signals);
        if let Some(extension) = self.extension.take() {
            self.extension = Some(extension.reopen(&self.api, self.signals)?);
        }
        Ok(())
    }

    /// Posts why we cannot go on after the restore. Allowed only between the restore and the first
    /// [`Client::next_invocation`].
    ///
    /// # Errors
    /// As [`Client::post_outcome`].
    pub(crate) fn post_restore_error(&mut self, failure: &Failure) -> Result<PostOutcome> {
        let headers = [(wire::ERROR_TYPE, Some(&*failure.error_type))];
        self.post(
            "restore error",
            wire::RESTORE_ERROR,
            &headers,
            error_document(failure).as_bytes(),
        )
    }
}
