//! What calls come to, beside what jq and Python make of the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod caller;
mod documents;
mod encode;
mod get;
mod hostile;
mod jq;
mod json;
mod metric;
mod programs;
mod random;
mod records;
mod request;
