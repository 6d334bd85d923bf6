//! Earlier packages among the files of a package: the output of another day, by another name.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ::zip::ZipArchive;

use super::contents::{Contents, Kind};

/// The names of zip files that have a bootstrap, as `coshell package` puts it in.
pub(crate) fn packages(contents: &Contents) -> Vec<String> {
    let packages = contents.iter().filter(|(name, entry)| {
        let is_zip = Path::new(name).extension() == Some("zip".as_ref());
        is_zip && matches!(entry.kind, Kind::File { .. }) && has_bootstrap(&entry.source)
    });
    packages.map(|(name, _)| name.to_owned()).collect()
}

fn has_bootstrap(file: &Path) -> bool {
    let archive = File::open(file).map(|file| ZipArchive::new(BufReader::new(file)));
    archive.is_ok_and(|archive| archive.is_ok_and(|zip| zip.index_for_name("bootstrap").is_some()))
}
