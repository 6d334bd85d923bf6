//! The processes that a handler started: finds, describes and stops them, by way of `/proc`.
//!
//! Each is a descendant of the child that runs the handler, or, once its parents have ended, a child of ours, because we
//! are a subreaper. A child of ours that we did not start is such an orphan, and we have to reap it.

mod open_files;
mod orphans;
mod status;
mod stop;
mod tree;

pub use open_files::{any_has_one_open, any_has_open, find_holders, find_writers};
pub use orphans::{Orphans, are_orphans_left, reap_orphans};
pub use status::{
    Stat, find_tagged, has_tag, is_runnable, is_stopped, peak_kib, processor_time, program_name,
    shows_environment,
};
pub use stop::{stop, stop_with_exit_trace};
pub use tree::{our_descendants, program_names, read_pids, running, with_descendants};
