//! Handlers: what `_HANDLER` names, and what can be wrong with it.
//!
//! A handler is a function in a file, a whole script, or an executable. [`Handler::find`] checks its name and its file
//! before anything is started. What only bash can find out, a syntax error or a missing function, comes later: the
//! functions of `syntax.rs` make the same kind of error of it, a [`LoadError`].

pub mod bash;
mod delivery;
pub mod encoding;
mod executable;
mod failure;
mod files;
mod handler;
mod name;
pub mod shape;
mod suggestion;
mod syntax;
mod text;
mod words;

pub use delivery::Delivery;
pub use encoding::has_crlf_line_ends;
pub use executable::{Interpreter, machine_of};
pub use failure::{Failure, Frame, LoadError, quote_log_tail};
pub use files::files_below;
pub use handler::{Handler, Kind};
pub use suggestion::{Suggestion, nearest};
pub use syntax::{check_runs_commands, check_syntax, undefined_function};
pub use text::names_word;
