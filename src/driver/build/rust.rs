//! Writes the constants and enums of Rust.

use std::fmt::{Result, Write};

use crate::Script;
use crate::names::{Names, PREFIX};
use crate::older;
use crate::table::{Table, Word};

pub(crate) fn constants(table: &Table, names: &Names, scripts: &[Script]) -> String {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write_descriptors(&mut text, table)
        .and_then(|()| write_names(&mut text, table, names))
        .and_then(|()| write_calls(&mut text, table))
        .and_then(|()| write_kinds(&mut text, &table.kind))
        .and_then(|()| write_records(&mut text, &table.record))
        .and_then(|()| write_state(&mut text, table))
        .and_then(|()| write_shell_reply(&mut text, table))
        .and_then(|()| write_scripts(&mut text, scripts))
        .and_then(|()| write_tables(&mut text, table));
    text
}

fn write_shell_reply(text: &mut String, table: &Table) -> Result {
    let reply = &table.shell_reply;
    writeln!(
        text,
        "/// The characters of the caller with which a reply to the shell itself begins.\npub const REPLY_CALLER_CHARS: usize = {};\n\
         /// The characters of the command behind it.\npub const REPLY_COMMAND_CHARS: usize = {};",
        reply.caller, reply.command
    )
}

fn write_descriptors(text: &mut String, table: &Table) -> Result {
    writeln!(
        text,
        "/// The descriptors, by their numbers.\npub mod fd {{"
    )?;
    for one in &table.descriptor {
        let name = one.name.to_uppercase();
        for (prefix, number) in [
            ("", one.number),
            ("INHERITED_", one.inherited()),
            ("OPENED_", one.opened),
        ] {
            if let Some(number) = number {
                writeln!(
                    text,
                    "/// {}\npub const {prefix}{name}: i32 = {number};",
                    one.what
                )?;
            }
        }
    }
    let numbers = table.descriptor.iter().filter_map(|one| one.number);
    let (first, last) = (numbers.clone().min(), numbers.max());
    writeln!(
        text,
        "/// All numbers that coshell uses in a running shell.\npub const OURS: std::ops::RangeInclusive<i32> = {}..={};\n}}",
        first.unwrap_or_default(),
        last.unwrap_or_default()
    )
}

fn write_names(text: &mut String, table: &Table, names: &Names) -> Result {
    writeln!(
        text,
        "/// The functions and variables of the driver, as they are called in what ships.\npub mod names {{\n/// What each of them begins with.\npub const PREFIX: &str = {PREFIX:?};"
    )?;
    for (long, short) in names.iter() {
        let name = long.to_uppercase();
        writeln!(
            text,
            "/// `{PREFIX}{long}`\npub const {name}: &str = {short:?};"
        )?;
    }
    for wire in &table.wire_name {
        let name = wire.function.to_uppercase();
        writeln!(
            text,
            "/// {}\npub const {name}: &str = {:?};",
            wire.what, wire.name
        )?;
    }
    writeln!(
        text,
        "}}\n/// The functions and variables of the driver, and what they are called in what ships.\npub const NAME_PAIRS: &[(&str, &str)] = &["
    )?;
    for (long, short) in names.iter() {
        writeln!(text, "(\"{PREFIX}{long}\", {short:?}),")?;
    }
    let calls = table.call.iter().map(|call| &call.name);
    let wires = table.wire_name.iter().map(|wire| &wire.name);
    let wires: Vec<_> = calls.chain(wires).collect();
    writeln!(
        text,
        "];\n/// The functions that bootstrap calls for each event.\npub const WIRE_NAMES: &[&str] = &{wires:?};"
    )?;
    let context = table.context.variables();
    writeln!(
        text,
        "/// The variables of an invocation that rarely change, in the order in which they are sent.\npub const CONTEXT: [&str; {}] = {context:?};",
        context.len()
    )
}

fn write_calls(text: &mut String, table: &Table) -> Result {
    writeln!(
        text,
        "/// The functions that call the handler.\npub const CALLS: &[super::Call] = &["
    )?;
    for call in &table.call {
        writeln!(
            text,
            "super::Call {{ name: {:?}, field_count: {}, has_lines: {}, is_rare: {} }},",
            call.name,
            call.fields.len(),
            call.lines,
            call.rare
        )?;
    }
    writeln!(text, "];")
}

fn write_kinds(text: &mut String, kinds: &[Word]) -> Result {
    let variant = |kind: &Word| kind.name[..1].to_uppercase() + &kind.name[1..];
    writeln!(
        text,
        "/// What runs in the shell, and then how the handler ended.\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\npub enum Kind {{"
    )?;
    for kind in kinds {
        let name = variant(kind);
        writeln!(text, "/// `{}`: {}\n{name},", kind.name, kind.what)?;
    }
    writeln!(
        text,
        "}}\nimpl Kind {{\n/// Reads the word that bash writes.\npub fn parse(word: &str) -> Option<Self> {{\nmatch word {{"
    )?;
    for kind in kinds {
        writeln!(text, "{:?} => Some(Self::{}),", kind.name, variant(kind))?;
    }
    writeln!(text, "_ => None,\n}}\n}}\n}}")
}

fn write_records(text: &mut String, records: &[Word]) -> Result {
    writeln!(
        text,
        "/// The words with which records begin.\npub mod record {{"
    )?;
    for record in records {
        let (Word { name, what }, upper) = (record, record.constant());
        writeln!(text, "/// {what}\npub const {upper}: &str = {name:?};")?;
        writeln!(
            text,
            "/// The same with the NUL that ends the field.\npub const {upper}_FIELD: &[u8] = b\"{name}\\0\";"
        )?;
    }
    writeln!(text, "}}")
}

fn write_state(text: &mut String, table: &Table) -> Result {
    writeln!(
        text,
        "/// The fields with which a state begins, by their places.\npub mod state_field {{"
    )?;
    for (place, field) in table.state_field.iter().enumerate() {
        let name = field.name.to_uppercase();
        writeln!(
            text,
            "/// {}\npub const {name}: usize = {place};",
            field.what
        )?;
    }
    writeln!(
        text,
        "/// How many there are.\npub const COUNT: usize = {};\n}}\n/// How many variables of the context a state has values of.\npub const CONTEXT_VALUES: usize = {};\n/// Of how many more it shows whether they are set.\npub const CONTEXT_PRESENT: usize = {};",
        table.state_field.len(),
        table.context.values.len(),
        table.context.present.len()
    )
}

fn write_scripts(text: &mut String, scripts: &[Script]) -> Result {
    writeln!(
        text,
        "/// The files of `runtime-scripts`, as they ship.\npub mod script {{"
    )?;
    for script in scripts {
        let name = script.name.to_uppercase();
        if name != "OLDER" {
            writeln!(text, "pub const {name}: &str = {:?};", script.shipped)?;
        }
    }
    writeln!(
        text,
        "/// The same for bash 4.2 and 4.3, where they are others.\npub mod older {{"
    )?;
    for script in scripts {
        if let Some(shipped) = &script.shipped_older {
            let (pieces, own) = older::differences(&script.shipped, shipped);
            let name = script.name.to_uppercase();
            writeln!(
                text,
                "pub const {name}: crate::OlderText = crate::OlderText {{ newer: super::{name}, pieces: &{pieces:?}, own: {own:?} }};",
            )?;
        }
    }
    writeln!(
        text,
        "}}\n}}\n/// The files of `runtime-scripts`: name, text with long names, text as it ships.\npub const SCRIPTS: &[(&str, &str, &str)] = &["
    )?;
    for Script {
        name,
        long,
        shipped,
        ..
    } in scripts
    {
        writeln!(text, "({name:?}, {long:?}, {shipped:?}),")?;
    }
    writeln!(text, "];")
}

/// The tables of `docs/protocol.md`.
fn write_tables(text: &mut String, table: &Table) -> Result {
    let mut pages = String::new();
    let shown = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    writeln!(
        pages,
        "| Running | Inherited | Name | What it is |\n|--:|--:|---|---|"
    )?;
    for one in &table.descriptor {
        let inherited = shown(one.inherited().or(one.opened));
        writeln!(
            pages,
            "| {} | {inherited} | {} | {} |",
            shown(one.number),
            one.name,
            one.what
        )?;
    }
    writeln!(pages, "\n| Function | What it does |\n|---|---|")?;
    let calls = table.call.iter().map(|call| (&call.name, &call.what));
    let wires = table.wire_name.iter().map(|wire| (&wire.name, &wire.what));
    for (name, what) in calls.chain(wires) {
        writeln!(pages, "| `{name}` | {what} |")?;
    }
    for (title, words) in [("Kind", &table.kind), ("Record", &table.record)] {
        writeln!(pages, "\n| {title} | What it means |\n|---|---|")?;
        for Word { name, what } in words {
            writeln!(pages, "| `{name}` | {what} |")?;
        }
    }
    writeln!(
        text,
        "/// The tables of the page of the protocol, as Markdown.\npub const TABLES: &str = {pages:?};"
    )
}
