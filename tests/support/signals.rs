//! Signals as a program expects them, whatever the test run itself was started with.

use std::sync::{Arc, Once};

use crate::status_of;

/// From here on every program that this process starts finds every signal at its default. `nohup`, and `&` in a script,
/// have some ignored, and a child inherits that; a handler it does not, `execve(2)`. So every signal that is ignored
/// here gets one that does nothing: this process goes on ignoring it.
pub fn start_programs_with_default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = status_of(std::process::id(), "SigIgn").expect("/proc/self/status");
        let ignored = u64::from_str_radix(&ignored, 16).expect("a mask");
        // Above are those of the C library and of real time.
        for signal in (1..32).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
            if !signal_hook::consts::FORBIDDEN.contains(&signal) {
                signal_hook::flag::register(signal, Arc::default()).expect("a handler");
            }
        }
    });
}
