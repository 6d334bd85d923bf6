//! The static bootstrap that build.rs has bundled with coshell, if it has.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
