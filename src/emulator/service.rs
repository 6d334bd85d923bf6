//! What the routes for callers share: the function that is served, and how.

use std::sync::Arc;

use super::asynchronous::AsynchronousEvents;
use super::gateway::Format;
use super::pool::Pool;

/// The state of the routes for callers.
#[derive(Debug)]
pub struct Service {
    pub pool: Arc<Pool>,
    pub events: Arc<AsynchronousEvents>,
    /// The format of the events that the function URL makes from requests.
    pub url_format: Format,
    /// Whether to log a line for every request to the function URL.
    pub logs_access: bool,
}
