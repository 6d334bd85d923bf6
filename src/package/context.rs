//! A folder for `docker build`: `var` as it will lie in the image, and a Dockerfile that copies it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::bootstrap::{Architecture, Bootstrap};
use super::error::{Error, Result};
use super::stage::{self, EXECUTABLE};

/// # Errors
/// [`Error::Misuse`] when there is something at `folder` that would be lost.
pub(crate) fn check_empty(folder: &Path) -> Result<()> {
    let what = || format!("cannot write image context to {}", folder.display());
    match fs::read_dir(folder).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Error::misuse(what(), "the folder is not empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(what())(error)),
    }
}

/// A folder beside the place where it will be, and the task root in it.
pub(crate) fn stage(folder: &Path) -> Result<(TempDir, PathBuf)> {
    let absolute = std::path::absolute(folder).map_err(stage::failed(folder))?;
    let parent = absolute.parent().unwrap_or(&absolute);
    let staging = stage::temporary_folder(parent, ".coshell-")?;
    let var = staging.path().join("var");
    stage::make_folder(&var)?;
    let task_root = var.join("task");
    stage::make_folder(&task_root)?;
    Ok((staging, task_root))
}

/// Adds what is not the function's to the folder, and moves it to its place.
pub(crate) fn write(
    staging: TempDir,
    bootstrap: Option<&Bootstrap>,
    dockerfile: &str,
    folder: &Path,
) -> Result<()> {
    if let Some(bootstrap) = bootstrap {
        let runtime = staging.path().join("var/runtime");
        stage::make_folder(&runtime)?;
        stage::copy(&bootstrap.path, &runtime.join("bootstrap"), EXECUTABLE)?;
    }
    let place = staging.path().join("Dockerfile");
    fs::write(&place, dockerfile).map_err(stage::failed(&place))?;
    stage::set_mode(&place, stage::PLAIN)?;
    stage::set_mode(staging.path(), EXECUTABLE)?;
    fs::rename(staging.path(), folder).map_err(stage::failed(folder))?;
    // There is nothing to remove any more.
    let _ = staging.keep();
    Ok(())
}

/// What builds the image. The head has the command, since the machine that builds it may be another.
pub(crate) fn dockerfile(base: &str, handler: &str, architecture: Option<Architecture>) -> String {
    let platform = match architecture {
        Some(Architecture::X86_64) => " --platform linux/amd64",
        Some(Architecture::Arm64) => " --platform linux/arm64",
        None => "",
    };
    let command = serde_json::json!([handler]);
    format!(
        "# Built by: docker build{platform} --provenance=false -t function .\n\
         FROM {base}\n\
         COPY var /var/\n\
         CMD {command}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_is_quoted_as_json() {
        let text = dockerfile("base", "a \"b\"\\c\n.sh", Some(Architecture::Arm64));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].contains("--platform linux/arm64"), "{text}");
        assert_eq!(lines[3], r#"CMD ["a \"b\"\\c\n.sh"]"#);
    }
}
