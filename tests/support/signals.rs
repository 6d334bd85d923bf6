//! Gives programs under test the default signal handling, however the test run itself was started.

use std::sync::{Arc, Once};

use crate::status_field;

/// Makes sure that every program started from now on has every signal at its default. A test run under `nohup`, or behind
/// `&` in a script, has ignored signals, which children inherit. They do not inherit handlers (`execve(2)`). So this
/// installs a handler that does nothing for every ignored signal.
pub fn start_programs_with_default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = status_field(std::process::id(), "SigIgn").expect("/proc/self/status");
        let ignored = u64::from_str_radix(&ignored, 16).expect("a mask");
        // Signals from 32 on belong to the C library or are real-time signals.
        for signal in (1..32).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
            if !signal_hook::consts::FORBIDDEN.contains(&signal) {
                signal_hook::flag::register(signal, Arc::default()).expect("a handler");
            }
        }
    });
}
