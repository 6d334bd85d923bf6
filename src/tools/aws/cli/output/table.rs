//! The output format `table`: a box for each structure, with those within it indented by bars.
//!
//! ```text
//! ---------------------
//! |   GetParameters   |
//! +-------------------+
//! ||    Parameters   ||
//! |+-------+---------+|
//! ||  Name |  Value  ||
//! |+-------+---------+|
//! ||  a    |  1      ||
//! |+-------+---------+|
//! ```

use std::sync::LazyLock;

use super::text::scalar_text;
use crate::aws::cli::failure::Failure;
use crate::aws::cli::value::Value;

/// A wider table gets a row for each column of structures that have one row.
const MAX_WIDTH: usize = 80;

/// Writes a result. What is empty is not written.
///
/// # Errors
/// The rows of a section are not equally long.
pub(crate) fn write(text: &mut String, value: &Value, title: &str) -> Result<(), Failure> {
    let mut sections = Vec::new();
    if !add(&mut sections, value, Some(title), 0) || sections.is_empty() {
        return Ok(());
    }
    for section in &sections {
        section.check()?;
    }
    if width_of(&sections) > MAX_WIDTH {
        for section in &mut sections {
            section.turn();
        }
    }
    let width = width_of(&sections);
    text.push_str(&"-".repeat(width));
    text.push('\n');
    for section in &sections {
        section.write(text, width);
    }
    Ok(())
}

fn width_of(sections: &[Section]) -> usize {
    sections
        .iter()
        .map(Section::width)
        .max()
        .unwrap_or_default()
}

/// Adds the sections of a value. Returns false if there is nothing in it.
fn add(sections: &mut Vec<Section>, value: &Value, title: Option<&str>, depth: usize) -> bool {
    let is_empty = match value {
        Value::Null | Value::Bool(false) | Value::Integer(0) => true,
        Value::Text(text) => text.is_empty(),
        Value::List(elements) => elements.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    };
    if is_empty {
        return false;
    }
    if let Some(title) = title {
        sections.push(Section::new(title, depth));
    }
    match value {
        Value::List(elements) if matches!(elements.first(), Some(Value::Map(_))) => {
            add_structures(sections, elements, title.unwrap_or_default(), depth);
        }
        Value::List(elements) => {
            for element in elements {
                match element {
                    Value::List(row) if row.iter().all(|cell| !cell.is_container()) => {
                        add_row(sections, row.iter().map(scalar_text).collect());
                    }
                    Value::List(_) | Value::Map(_) => {
                        add(sections, element, None, 0);
                    }
                    scalar => add_row(sections, vec![scalar_text(scalar)]),
                }
            }
        }
        Value::Map(entries) => add_structure(sections, value, entries, depth),
        _ => {}
    }
    true
}

fn add_row(sections: &mut [Section], row: Vec<String>) {
    if let Some(section) = sections.last_mut() {
        section.add_row(row);
    }
}

/// The keys of scalars, and those of the rest, sorted.
fn keys<'a>(entries: impl Iterator<Item = &'a (String, Value)>) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut scalars, mut rest) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        let keys = if value.is_container() {
            &mut rest
        } else {
            &mut scalars
        };
        keys.push(key.as_str());
    }
    for keys in [&mut scalars, &mut rest] {
        keys.sort_unstable();
        keys.dedup();
    }
    (scalars, rest)
}

fn cell(value: &Value, key: &str) -> String {
    value.get(key).map(scalar_text).unwrap_or_default()
}

fn add_structure(
    sections: &mut Vec<Section>,
    map: &Value,
    entries: &[(String, Value)],
    depth: usize,
) {
    let (headers, rest) = keys(entries.iter());
    if let [only] = headers[..] {
        add_row(sections, vec![only.to_owned(), cell(map, only)]);
    } else if !headers.is_empty() {
        if let Some(section) = sections.last_mut() {
            section.set_headers(&headers);
        }
        add_row(sections, headers.iter().map(|key| cell(map, key)).collect());
    }
    for key in rest {
        if let Some(value) = map.get(key) {
            add(sections, value, Some(key), depth + 1);
        }
    }
}

fn add_structures(sections: &mut Vec<Section>, elements: &[Value], title: &str, depth: usize) {
    let (headers, rest) = keys(elements.iter().flat_map(Value::entries));
    for (at, element) in elements.iter().enumerate() {
        if at > 0 && !rest.is_empty() {
            sections.push(Section::new(title, depth));
        }
        if let Some(section) = sections.last_mut()
            && (at == 0 || !rest.is_empty())
        {
            section.set_headers(&headers);
        }
        add_row(
            sections,
            headers.iter().map(|key| cell(element, key)).collect(),
        );
        for key in &rest {
            if let Some(value) = element.get(key) {
                add(sections, value, Some(key), depth + 1);
            }
        }
    }
}

struct Section {
    title: String,
    depth: usize,
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Of the widest cell of each column.
    widths: Vec<usize>,
}

/// How many columns of a terminal a text takes for the AWS CLI: two for a letter such as `ü`, too, which is wide only in East Asia.
fn width(text: &str) -> usize {
    // unicode-width takes Cyrillic letters, and others, for narrow ones.
    static WIDE: LazyLock<Vec<(u32, u32)>> = LazyLock::new(|| {
        let number = |text: &str| u32::from_str_radix(text, 16).unwrap_or_default();
        let lines = include_str!("wide.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        let range = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            (number(first), number(last))
        };
        lines.flat_map(str::split_whitespace).map(range).collect()
    });
    let is_wide = |letter: char| {
        let letter = u32::from(letter);
        let behind = WIDE.partition_point(|(first, _)| *first <= letter);
        behind > 0 && letter <= WIDE[behind - 1].1
    };
    text.chars()
        .map(|letter| {
            if letter.is_ascii() || !is_wide(letter) {
                1
            } else {
                2
            }
        })
        .sum()
}

impl Section {
    fn new(title: &str, depth: usize) -> Self {
        Self {
            title: title.to_owned(),
            depth,
            headers: Vec::new(),
            rows: Vec::new(),
            widths: Vec::new(),
        }
    }

    fn widen(&mut self, cells: &[String]) {
        self.widths.resize(self.widths.len().max(cells.len()), 0);
        for (widest, cell) in self.widths.iter_mut().zip(cells) {
            *widest = (*widest).max(width(cell));
        }
    }

    fn set_headers(&mut self, headers: &[&str]) {
        self.headers = headers.iter().map(|header| (*header).to_owned()).collect();
        let headers = self.headers.clone();
        self.widen(&headers);
    }

    fn add_row(&mut self, row: Vec<String>) {
        self.widen(&row);
        self.rows.push(row);
    }

    fn check(&self) -> Result<(), Failure> {
        let Some((first, rest)) = self.rows.split_first() else {
            return Ok(());
        };
        match rest.iter().find(|row| row.len() != first.len()) {
            Some(row) => Err(Failure::other(format!(
                "Row should have {} elements, instead it has {}",
                first.len(),
                row.len()
            ))),
            None => Ok(()),
        }
    }

    /// Makes rows of the columns, if there is one row.
    fn turn(&mut self) {
        if let ([row], false) = (&self.rows[..], self.headers.is_empty()) {
            let rows: Vec<_> = self
                .headers
                .iter()
                .zip(row)
                .map(|(header, cell)| vec![header.clone(), cell.clone()])
                .collect();
            let mut turned = Self::new(&self.title, self.depth);
            for row in rows {
                turned.add_row(row);
            }
            *self = turned;
        }
    }

    fn width(&self) -> usize {
        let borders = 2 + 2 * self.depth;
        let cells: usize = self.widths.iter().map(|width| width + 4).sum();
        (width(&self.title) + borders).max(cells + borders)
    }

    /// The widths of the columns, which together are `width`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn scaled(&self, width: usize) -> Vec<usize> {
        let natural: Vec<usize> = self.widths.iter().map(|width| width + 4).collect();
        let sum: usize = natural.iter().sum();
        if sum == 0 {
            return natural;
        }
        let factor = width as f64 / sum as f64;
        let scale = |natural: &usize| (factor * *natural as f64).round_ties_even() as usize;
        let mut scaled: Vec<usize> = natural.iter().map(scale).collect();
        // What rounding has left over goes to the last columns, what it has taken too much comes from the first.
        loop {
            let total: usize = scaled.iter().sum();
            let surplus = total.saturating_sub(width);
            let lack = width.saturating_sub(total);
            if surplus == 0 && lack == 0 {
                return scaled;
            }
            scaled
                .iter_mut()
                .take(surplus)
                .for_each(|width| *width = width.saturating_sub(1));
            scaled
                .iter_mut()
                .rev()
                .take(lack)
                .for_each(|width| *width += 1);
        }
    }

    fn write(&self, text: &mut String, width: usize) {
        let width = width - 2 * self.depth;
        let bars = "|".repeat(self.depth);
        let mut line = |content: &str| {
            text.push_str(&bars);
            text.push_str(content);
            text.push_str(&bars);
            text.push('\n');
        };
        if !self.title.is_empty() {
            line(&center(&self.title, width, "|"));
            if self.headers.is_empty() && self.rows.is_empty() {
                line(&format!("+{}+", "-".repeat(width.saturating_sub(2))));
            }
        }
        let widths = self.scaled(width);
        let mut border = String::new();
        for (at, width) in widths.iter().enumerate() {
            let edge = if at == 0 { "+" } else { "" };
            border.push_str(edge);
            border.push_str(&"-".repeat(width.saturating_sub(1 + edge.len())));
            border.push('+');
        }
        let join = |cells: &[String], place: fn(&str, usize, &str) -> String| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cells = cells
                .map(|(at, (cell, width))| place(cell, *width, if at == 0 { "|" } else { "" }));
            cells.collect::<String>()
        };
        if !self.headers.is_empty() {
            line(&border);
            line(&join(&self.headers, center));
        }
        if !self.rows.is_empty() && !widths.is_empty() {
            line(&border);
            for row in &self.rows {
                line(&join(row, align_left));
            }
            line(&border);
        }
    }
}

fn center(text: &str, length: usize, edge: &str) -> String {
    let before = (length / 2).saturating_sub(width(text) / 2 + 1);
    let used = edge.len() + before + width(text) + 1;
    let after = length.saturating_sub(used);
    format!("{edge}{}{text}{}|", " ".repeat(before), " ".repeat(after))
}

fn align_left(text: &str, length: usize, edge: &str) -> String {
    let padding = if length > width(text) + 2 + edge.len() {
        2
    } else {
        0
    };
    let used = edge.len() + padding + width(text) + 1;
    let after = length.saturating_sub(used);
    format!("{edge}{}{text}{}|", " ".repeat(padding), " ".repeat(after))
}
