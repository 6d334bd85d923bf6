//! `coshell compare`: measured, and read from logs; and coshell's emulator beside AWS's own, measured by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compare;
mod compare_logs;
mod emulator_rie;
