//! Processes of any program: those that we start ([`Child`]), and all that descend from us ([`processes`]).
//!
//! [`sys`] has the system calls that no library wraps. It is the only file with `unsafe`. Nothing here depends on bash
//! as a program or on Lambda.

mod child;
mod files;
mod message;
pub mod processes;
mod registry;
mod stop_signal;
pub mod sys;

pub use child::{Child, ExitStatus, SignalNumber};
pub use files::{empty_text_file, fill_text_file, memory_file, path_of, response_pipe, text_file};
pub use message::{Message, message_sockets};
pub use registry::{register_child, unregister_child};
pub use stop_signal::StopSignal;
