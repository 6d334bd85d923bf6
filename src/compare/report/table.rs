//! A report as tables of text: every cell is computed once, so that no two forms of a report can disagree.

use super::super::results::Metric;

/// All parts of a report, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub title: String,
    /// The result in one sentence.
    pub headline: String,
    /// Where and when it was measured, in one line.
    pub origin: String,
    /// What makes the figures less sure than they look.
    pub warnings: Vec<String>,
    pub tables: Vec<Table>,
    /// Names and values: when, with what, where, and the settings.
    pub facts: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub subject: Subject,
    pub title: String,
    /// What its figures are, and whether less or more of it is better; for readers who see the table for the first time.
    pub definition: Option<String>,
    /// The titles of the columns.
    pub columns: Vec<String>,
    /// Each row has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Remarks below the table.
    pub notes: Vec<String>,
    /// Lines of logs below the table.
    pub logs: Vec<Log>,
}

/// The last lines that a runtime printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub title: String,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The medians of all measures, with a column for each runtime.
    Medians,
    Problems,
    /// One metric at one event size.
    Measure(Metric, Option<usize>),
    /// The cost of measuring.
    Floor,
    /// What the runtimes are.
    Runtimes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub text: String,
    pub tone: Tone,
}

/// What colour a cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Better than the baseline, for sure.
    Better,
    /// Worse than the baseline, for sure.
    Worse,
    /// Something went wrong.
    Bad,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

impl Table {
    pub(crate) fn new(subject: Subject, title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            subject,
            title: title.into(),
            definition: None,
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Whether the cells of a column are words, which are aligned to the left.
    pub(crate) fn has_words(&self, column: usize) -> bool {
        column == 0 || matches!(self.subject, Subject::Problems | Subject::Runtimes)
    }
}
