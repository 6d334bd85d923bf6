//! The function that is served, as all doors for callers know it.

use std::sync::Arc;

use super::asynchronous::Events;
use super::gateway::Format;
use super::pool::Pool;

/// What the doors need to know.
#[derive(Debug)]
pub struct Service {
    /// The sandboxes.
    pub pool: Arc<Pool>,
    /// Events whose callers do not wait.
    pub events: Arc<Events>,
    /// Whose events the requests of the function URL become.
    pub url_format: Format,
    /// Each request to the function URL is a line.
    pub logs_access: bool,
}
