//! Prints what the build made, for tests of the driver alone and for the page of the protocol:
//!
//! ```text
//! driver-text long NAME...       files of runtime-scripts, with comments and long names
//! driver-text shipped NAME...    the same as they ship
//! driver-text names              each name of the driver, and what it is called in what ships
//! driver-text tables             the tables of the page
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(text) = text_for(&arguments) else {
        eprintln!("usage: driver-text long|shipped NAME... | names | tables");
        return ExitCode::from(2);
    };
    print!("{text}");
    ExitCode::SUCCESS
}

fn text_for(arguments: &[String]) -> Option<String> {
    let (form, files) = arguments.split_first()?;
    match form.as_str() {
        "tables" => Some(coshell_driver::TABLES.to_owned()),
        "names" => {
            let pairs = coshell_driver::NAME_PAIRS.iter();
            let lines = pairs.flat_map(|(long, short)| [*long, " ", *short, "\n"]);
            Some(lines.collect())
        }
        "long" | "shipped" => {
            let text = |file: &String| {
                let mut scripts = coshell_driver::SCRIPTS.iter();
                let (_, long, shipped) = scripts.find(|(name, ..)| name == file)?;
                Some(if form == "long" { *long } else { *shipped })
            };
            files.iter().map(text).collect()
        }
        _ => None,
    }
}
