//! `coshell man`: the help texts as manual pages, for coshell itself and for every subcommand.
//!
//! The pages are generated from the same definitions as `--help`, so both always agree. `clap_mangen` would join the text
//! after the options into one paragraph; here each heading in it becomes a section.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::Arguments;
use crate::error::Error;
use crate::terminal::print;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell man | man -l -\n  \
        coshell man invoke | man -l -\n  \
        coshell man > ~/.local/share/man/man1/coshell.1")]
pub struct ManArguments {
    /// The subcommand to describe [default: coshell itself]
    #[arg(value_parser = SubcommandName)]
    pub subcommand: Option<String>,
}

pub(crate) fn run(arguments: &ManArguments) -> Result<ExitCode, Error> {
    let mut page = Vec::new();
    render(arguments.subcommand.as_deref(), &mut page)
        .map_err(Error::io("cannot write the manual page"))?;
    print(&page)
}

/// Parses the name of a subcommand. It looks the names up when it parses, because they are not known while clap still
/// builds the definitions that this parser is part of.
#[derive(Debug, Clone)]
struct SubcommandName;

impl SubcommandName {
    fn all() -> impl Iterator<Item = PossibleValue> {
        let names: Vec<_> = Arguments::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| PossibleValue::new(command.get_name().to_owned()))
            .collect();
        names.into_iter()
    }
}

impl TypedValueParser for SubcommandName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        PossibleValuesParser::new(Self::all()).parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Self::all()))
    }
}

fn render(subcommand: Option<&str>, page: &mut Vec<u8>) -> io::Result<()> {
    // A manual page needs no subcommand `help`.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let version = command.get_version().unwrap_or_default().to_owned();
    let command = subcommand
        .and_then(|name| command.find_subcommand(name))
        .unwrap_or(&command);
    let title = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let below = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let man = Man::new(command.clone());

    // `render_title` omits an empty date, and then the version would be taken for the date.
    writeln!(page, ".TH {title} 1 \"\" \"coshell {version}\"")?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    sections(&below.map(ToString::to_string).unwrap_or_default()).to_writer(page)
}

/// Turns `Heading:` into a section that keeps the breaks of the indented lines below it, and other lines into paragraphs.
fn sections(below: &str) -> Roff {
    let mut roff = Roff::new();
    let mut is_filled = true;
    for line in below.lines() {
        if let Some(indented) = line.strip_prefix("  ") {
            roff.text([roman(indented)]);
        } else if let Some(heading) = line.strip_suffix(':') {
            roff.control("SH", [heading.to_uppercase().as_str()]);
            roff.control("nf", []);
            is_filled = false;
        } else if !line.is_empty() {
            if !is_filled {
                roff.control("fi", []);
                roff.control("PP", []);
                is_filled = true;
            }
            roff.text([roman(line)]);
        }
    }
    if !is_filled {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_after_the_options_become_sections() {
        let below =
            "Examples:\n  coshell man\n  .a -b\n\nIt ends.\nIn order.\n\nExit status:\n  0  good";
        let page = sections(below).to_roff();
        assert_eq!(
            page.lines().collect::<Vec<_>>(),
            [
                ".SH EXAMPLES",
                ".nf",
                "coshell man",
                "\\&.a \\-b",
                ".fi",
                ".PP",
                "It ends.",
                "In order.",
                ".SH \"EXIT STATUS\"",
                ".nf",
                "0  good",
                ".fi"
            ]
        );
    }
}
