//! `coshell compare`, measuring and reading logs; and bootstrap behind AWS's own emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compare;
mod compare_logs;
mod emulator_rie;
