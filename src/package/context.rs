//! A folder for `docker build`: `var` as it will lie in the image, and a Dockerfile that copies it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::bootstrap::{Architecture, Bootstrap};
use super::error::{Error, Result};
use super::stage::{self, EXECUTABLE};

/// A folder that is not there yet, or empty.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_there: bool,
}

impl Folder {
    /// # Errors
    /// [`Error::Misuse`] when there is something in it that would be lost.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let what = || format!("cannot write image context to {}", path.display());
        let parent = path.parent().unwrap_or(path);
        if !parent.as_os_str().is_empty() {
            fs::metadata(parent).map_err(Error::no_folder(what(), parent))?;
        }
        let is_there = match fs::read_dir(path).map(|mut entries| entries.next()) {
            Ok(None) => true,
            Ok(Some(_)) => return Err(Error::misuse(what(), "the folder is not empty")),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => false,
            Err(error) => return Err(Error::io(what())(error)),
        };
        Ok(Self {
            path: std::path::absolute(path).map_err(stage::failed(path))?,
            is_there,
        })
    }

    /// Its path, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder on the same file system, and the task root in it: a folder that is there may be where another is mounted, or
    /// where a shell is.
    pub(crate) fn stage(&self) -> Result<(TempDir, PathBuf)> {
        let parent = if self.is_there {
            Some(&*self.path)
        } else {
            self.path.parent()
        };
        let staging = stage::temporary_folder(parent.unwrap_or(&self.path), ".coshell-")?;
        let var = staging.path().join("var");
        stage::make_folder(&var)?;
        let task_root = var.join("task");
        stage::make_folder(&task_root)?;
        Ok((staging, task_root))
    }

    /// Adds what is not the function's, and moves all of it to its place.
    pub(crate) fn write(
        &self,
        staging: TempDir,
        bootstrap: Option<&Bootstrap>,
        dockerfile: &str,
    ) -> Result<()> {
        if let Some(bootstrap) = bootstrap {
            let runtime = staging.path().join("var/runtime");
            stage::make_folder(&runtime)?;
            stage::write_program(&bootstrap.program, &runtime.join("bootstrap"))?;
        }
        let place = staging.path().join("Dockerfile");
        fs::write(&place, dockerfile).map_err(stage::failed(&place))?;
        stage::set_mode(&place, stage::PLAIN)?;
        if self.is_there {
            // The Dockerfile last: no image is built from a half.
            for name in ["var", "Dockerfile"] {
                let place = self.path.join(name);
                fs::rename(staging.path().join(name), &place).map_err(stage::failed(&place))?;
            }
            return Ok(());
        }
        stage::set_mode(staging.path(), EXECUTABLE)?;
        fs::rename(staging.path(), &self.path).map_err(stage::failed(&self.path))?;
        // There is nothing to remove any more.
        let _ = staging.keep();
        Ok(())
    }
}

/// What builds the image, by each builder that Docker has had since 20.10. The head has the command, since the machine that builds it
/// may be another: the older builder ignores the variable, and has no flag `--provenance`.
pub(crate) fn dockerfile(base: &str, handler: &str, architecture: Option<Architecture>) -> String {
    let platform = match architecture {
        Some(Architecture::X86_64) => " --platform linux/amd64",
        Some(Architecture::Arm64) => " --platform linux/arm64",
        None => "",
    };
    let command = serde_json::json!([handler]);
    format!(
        "# Built by: BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build{platform} -t function .\n\
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
