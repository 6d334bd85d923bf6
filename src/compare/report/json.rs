//! The results as JSON, with a line for each round, so that two files can be compared line by line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::super::results::Results;

/// The depth of samples: document, series, one series, rounds, round.
const DEPTH_OF_SAMPLES: usize = 5;

/// The JSON, with a line end.
///
/// # Errors
/// If it cannot be encoded.
pub fn json(results: &Results) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let lines = Lines {
        pretty: PrettyFormatter::new(),
        depth: 0,
    };
    results.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, lines,
    ))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Breaks lines everywhere but within a round.
struct Lines {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

impl Lines {
    fn is_in_round(&self) -> bool {
        self.depth >= DEPTH_OF_SAMPLES
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.is_in_round() {
            return writer.write_all(b"[");
        }
        self.pretty.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let is_in_round = self.is_in_round();
        self.depth -= 1;
        if is_in_round {
            return writer.write_all(b"]");
        }
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        match (self.is_in_round(), first) {
            (true, true) => Ok(()),
            (true, false) => writer.write_all(b", "),
            (false, _) => self.pretty.begin_array_value(writer, first),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_in_round() {
            return Ok(());
        }
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    /// `COSHELL_WRITE_SCHEMA=1 cargo test --lib schema_is_that_of_results` writes the file again.
    #[test]
    fn schema_is_that_of_results() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/compare.schema.json"
        );
        let schema = schemars::schema_for!(Results);
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if std::env::var_os("COSHELL_WRITE_SCHEMA").is_some() {
            std::fs::write(file, &text).expect("docs");
        }
        let written = std::fs::read_to_string(file).expect("docs/compare.schema.json");
        assert!(
            written == text,
            "docs/compare.schema.json is not that of results.rs"
        );
    }
}
