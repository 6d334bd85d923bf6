//! What nobody wants in a package: secrets, which everybody who may read the function's code would have, and files that no
//! function needs.
//!
//! By name, as people and their programs name such files; a private key also by its contents. A certificate without a key has no
//! secret, and neither has `.env.example`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::globs::Glob;

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// It may hold a secret.
    Secret,
    /// No function needs it.
    Unneeded,
}

const SECRETS: &[&str] = &[
    // Variables of a developer's machine.
    ".env",
    ".env.*",
    ".envrc",
    // Credentials of programs, in the home folder for the most part.
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".pgpass",
    ".my.cnf",
    ".pypirc",
    ".s3cfg",
    ".boto",
    ".dockercfg",
    ".vault-token",
    "**/.aws/credentials",
    "**/.aws/sso/",
    "**/.aws/cli/",
    "**/.docker/config.json",
    "**/.kube/config",
    "**/.config/gcloud/",
    "**/.config/gh/hosts.yml",
    "**/.config/rclone/rclone.conf",
    "**/.cargo/credentials*",
    ".azure/",
    ".ssh/",
    ".gnupg/",
    // Keys.
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    // Terraform keeps passwords of what it made.
    "*.tfstate",
    "*.tfstate.backup",
];

/// Templates, which people publish.
const HARMLESS: &[&str] = &[
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    ".env.*.example",
];

const UNNEEDED: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    ".jj",
    "CVS/", // version control
    "*~",
    ".*.sw?",
    "#*#",
    ".#*",
    "*.bak",
    "*.orig",
    "*.rej",
    ".idea/",
    ".vscode/", // editors
    ".DS_Store",
    "._*",
    "__MACOSX/",
    "Thumbs.db",
    "desktop.ini", // other systems
    "*.log",
    "nohup.out",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".lesshst",
    ".viminfo",
    ".terraform/",
    ".aws-sam/",
    "cdk.out/",        // what deployment tools make
    ".coshell-??????", // a package of ours that was killed with SIGKILL
];

/// The first bytes of a file in which a key is looked for: a chain of certificates may come before it.
const START_BYTES: u64 = 1024 * 1024;
/// How `.npmrc` names a token or a password.
const TOKENS: [&[u8]; 3] = [b"_authToken", b"_auth=", b"_password"];

/// The rules, parsed.
#[derive(Debug)]
pub(crate) struct Rules {
    secrets: Vec<Glob>,
    harmless: Vec<Glob>,
    unneeded: Vec<Glob>,
}

impl Rules {
    pub(crate) fn new() -> Self {
        let parse = |texts: &[&str]| {
            let globs = texts
                .iter()
                .map(|text| Glob::parse("exclude", &text.to_lowercase()));
            globs.filter_map(Result::ok).collect()
        };
        Self {
            secrets: parse(SECRETS),
            harmless: parse(HARMLESS),
            unneeded: parse(UNNEEDED),
        }
    }

    /// Why nobody wants what has this name in the package. Capitals do not count: to some systems they make no difference.
    pub(crate) fn by_name(&self, name: &Path, is_folder: bool) -> Option<Unwanted> {
        let name = PathBuf::from(name.to_string_lossy().to_lowercase());
        let matches = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(&name, is_folder));
        if matches(&self.secrets) && !matches(&self.harmless) {
            return Some(Unwanted::Secret);
        }
        matches(&self.unneeded).then_some(Unwanted::Unneeded)
    }
}

/// Why nobody wants the file, by what is in it. One that cannot be read is for another to report.
pub(crate) fn by_contents(file: &Path) -> Option<Unwanted> {
    let start = start_of(file).unwrap_or_default();
    // A core dump: the type of an ELF file; elf(5).
    if start.starts_with(b"\x7fELF") && start.get(16..18) == Some(&[4, 0]) {
        return Some(Unwanted::Unneeded);
    }
    let has = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    let is_secret = if is_pem(file, &start) {
        has(b"PRIVATE KEY")
    } else if start.starts_with(b"{") {
        // The key of a service account, as Google hands it out.
        has(b"\"private_key\"") && has(b"BEGIN PRIVATE KEY")
    } else if file.file_name().is_some_and(|name| name == ".npmrc") {
        TOKENS.iter().any(|token| has(token))
    } else {
        start.starts_with(b"PuTTY-User-Key-File-")
    };
    is_secret.then_some(Unwanted::Secret)
}

/// Whether it holds keys or certificates: programs may write other lines above them.
fn is_pem(file: &Path, start: &[u8]) -> bool {
    let kind = file.extension().unwrap_or_default().to_ascii_lowercase();
    start.starts_with(b"-----BEGIN") || matches!(kind.to_str(), Some("pem" | "key" | "crt"))
}

/// Enough to know what a file is; of one that may hold a key, enough to find it.
fn start_of(file: &Path) -> io::Result<Vec<u8>> {
    let mut opened = File::open(file)?;
    let mut start = Vec::new();
    (&mut opened).take(4096).read_to_end(&mut start)?;
    if is_pem(file, &start) {
        opened.take(START_BYTES).read_to_end(&mut start)?;
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_and_of_what_is_not_needed_are_known() {
        let rules = Rules::new();
        assert_eq!(rules.secrets.len(), SECRETS.len());
        assert_eq!(rules.unneeded.len(), UNNEEDED.len());
        for (name, is_folder) in [
            (".env", false),
            ("config/.env.production", false),
            (".aws/credentials", false),
            ("home/.aws/credentials", false),
            (".ssh", true),
            ("keys/id_ed25519", false),
            ("a.p12", false),
            (".ENV", false),
            ("ID_RSA", false),
        ] {
            let found = rules.by_name(Path::new(name), is_folder);
            assert_eq!(found, Some(Unwanted::Secret), "{name}");
        }
        for (name, is_folder) in [
            (".git", true),
            ("lib/.git", false),
            ("function.sh~", false),
            (".function.sh.swp", false),
            ("#function.sh#", false),
            (".#function.sh", false),
            ("logs/a.log", false),
            ("logs/A.LOG", false),
            ("thumbs.db", false),
            (".coshell-a1B2c3", false),
        ] {
            let found = rules.by_name(Path::new(name), is_folder);
            assert_eq!(found, Some(Unwanted::Unneeded), "{name}");
        }
        for (name, is_folder) in [
            (".env.example", false),
            ("id_rsa.pub", false),
            (".aws/config", false),
            (".gitignore", false),
            ("function.sh", false),
            ("log", true),
            (".coshell.toml", false),
            (".vscode", false),
        ] {
            assert_eq!(rules.by_name(Path::new(name), is_folder), None, "{name}");
        }
    }

    #[test]
    fn contents_tell_a_key_from_a_certificate() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let of = |name: &str, contents: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, contents)?;
            Ok::<_, io::Error>(by_contents(&file))
        };
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        // In parts: what looks for keys in a repository need not find one here.
        let key = ["-----BEGIN RSA", "PRIVATE KEY-----\nMIIE\n"].join(" ");
        let chain = certificate.repeat(200) + &key;
        assert_eq!(of("ca.pem", certificate)?, None);
        assert_eq!(of("server.pem", &key)?, Some(Unwanted::Secret));
        assert_eq!(of("any name", &chain)?, Some(Unwanted::Secret));
        let above = format!("Bag Attributes\n    friendlyName: a\n{key}");
        assert_eq!(of("client.PEM", &above)?, Some(Unwanted::Secret));
        let account = format!("{{\"private_key\": \"{}\"}}", key.replace("RSA ", ""));
        assert_eq!(of("account.json", &account)?, Some(Unwanted::Secret));
        assert_eq!(of("event.json", "{\"private_key\": null}")?, None);
        assert_eq!(of("find-keys.sh", &format!("grep '{key}'"))?, None);
        let token = "//registry.example/:_authToken=abc\n";
        assert_eq!(of(".npmrc", token)?, Some(Unwanted::Secret));
        assert_eq!(of(".npmrc", "save-exact=true\n")?, None);
        assert_eq!(
            of("core", "\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0")?,
            Some(Unwanted::Unneeded)
        );
        Ok(())
    }
}
