//! Processes, of whatever program: those that we start ([`Child`]), and all that descends from us ([`processes`]).
//!
//! [`sys`] has the system calls that no library wraps, and is the only room for `unsafe`. Nothing here knows of bash or of
//! Lambda.

mod child;
mod files;
pub mod processes;
mod started;
pub mod sys;

pub use child::Child;
pub use files::{memory_file, response_pipe, text_file};
pub use started::{forget, keep};
