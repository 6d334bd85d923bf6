//! Behaviour of the programs, with real bash, real pipes and a scripted Runtime API; a file a behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

mod answer_faults;
mod check;
mod comfort;
mod containment;
mod containment_descriptors;
mod containment_exit;
mod containment_names;
mod containment_processes;
mod containment_shell;
mod containment_traps;
mod containment_words;
mod context;
mod deadline;
mod differential;
mod emulator_rie;
mod entrypoint;
mod errors;
mod function_url;
mod init;
mod invoke;
mod isolation;
mod leftovers;
mod logs;
mod logs_json;
mod next_faults;
mod payload;
mod programs;
mod scripts;
mod serve_calls;
mod serve_events;
mod serve_extensions;
mod serve_faults;
mod serve_forms;
mod serve_lifecycle;
mod serve_runtimes;
mod serve_scale;
mod serve_watch;
mod settings;
mod shutdown;
mod surroundings;
mod telemetry;
mod tidy;
mod wire;
