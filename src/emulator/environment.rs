//! The environment of a sandbox: the variables that Lambda sets, as far as they make sense on this machine.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;

use super::{Function, Scale};

/// The id of the sandbox. All processes of a sandbox inherit this variable, so it identifies them.
const SANDBOX_ID: &str = "COSHELL_SANDBOX";

/// Lambda sets these variables, or coshell does; but the user may override them: they describe the machine, not the function or the
/// platform.
const OVERRIDABLE: [&str; 8] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "TZ",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
];

/// The variable that every process of the sandbox `id` has and no other process has, as `NAME=VALUE`.
pub(crate) fn sandbox_tag(id: &str) -> Vec<u8> {
    format!("{SANDBOX_ID}={id}").into_bytes()
}

/// The variables to set, besides those that the sandbox inherits. `inherited` looks up one of those: some of Lambda's
/// variables are only a default for it. A later entry overrides an earlier one of the same name.
pub(crate) fn variables(
    function: &Function,
    runtime_api: SocketAddr,
    sandbox_id: &str,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let mut lambda: Vec<(&str, OsString)> = vec![
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string().into()),
        (SANDBOX_ID, sandbox_id.into()),
        ("_HANDLER", function.handler.clone()),
        ("LAMBDA_TASK_ROOT", function.task_root.clone().into()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone().into()),
        (
            "AWS_LAMBDA_FUNCTION_VERSION",
            function.version.clone().into(),
        ),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            function.memory_mb.to_string().into(),
        ),
        ("AWS_REGION", function.region.clone().into()),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            function.scale.initialization_type().into(),
        ),
        ("TZ", ":UTC".into()),
    ];
    for (name, default) in [
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_DEFAULT_REGION", &function.region),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/Functions"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
        ("LANG", "en_US.UTF-8"),
    ] {
        lambda.push((name, inherited(name).unwrap_or_else(|| default.into())));
    }
    // Lambda sets no HOME. So these lead to the profiles of the user of this machine.
    for (name, file) in [
        ("AWS_CONFIG_FILE", ".aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ] {
        let path = inherited("HOME").map(|home| Path::new(&home).join(file));
        if let (Some(path), None) = (path.filter(|path| path.is_file()), inherited(name)) {
            lambda.push((name, path.into()));
        }
    }
    if let Scale::ManagedInstance(count) = function.scale {
        lambda.push(("AWS_LAMBDA_MAX_CONCURRENCY", count.to_string().into()));
        lambda.push(("AWS_LAMBDA_LOG_FORMAT", "JSON".into()));
    }
    let path = inherited("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    lambda.push(("PATH", append_folder(path, "/opt/bin")));
    let libraries = inherited("LD_LIBRARY_PATH");
    let libraries = libraries.unwrap_or_else(|| default_library_path(function, &lambda));
    lambda.push(("LD_LIBRARY_PATH", append_folder(libraries, "/opt/lib")));
    let lambda = lambda
        .into_iter()
        .map(|(name, value)| (OsString::from(name), value));
    let mut variables = function.environment.clone();
    variables.extend(lambda.filter(|(name, _)| {
        let is_from_user = function.environment.iter().any(|(user, _)| user == name);
        let is_overridable = OVERRIDABLE.iter().any(|overridable| name == *overridable);
        !(is_from_user && is_overridable)
    }));
    variables
}

/// Where Lambda looks for libraries: in the system, the runtime and the function.
fn default_library_path(function: &Function, variables: &[(&str, OsString)]) -> OsString {
    let runtime = variables
        .iter()
        .find(|(name, _)| *name == "LAMBDA_RUNTIME_DIR");
    let runtime = runtime.map_or_else(OsString::new, |(_, folder)| folder.clone());
    let with_lib = |folder: &OsStr| [folder.to_owned(), Path::new(folder).join("lib").into()];
    let system = ["/lib64".into(), "/usr/lib64".into()];
    let folders: Vec<OsString> = system
        .into_iter()
        .chain(with_lib(&runtime))
        .chain(with_lib(function.task_root.as_os_str()))
        .collect();
    folders.join(OsStr::new(":"))
}

/// Adds a folder at the end of a list like `PATH`, unless the list has it already.
fn append_folder(mut list: OsString, folder: &str) -> OsString {
    if !env::split_paths(&list).any(|known| known == Path::new(folder)) {
        if !list.is_empty() {
            list.push(":");
        }
        list.push(folder);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(function: &Function, name: &str, inherited: &[(&str, &str)]) -> Option<OsString> {
        let look_up = |wanted: &str| {
            inherited
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.into())
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 9001));
        variables(function, address, "id", look_up)
            .into_iter()
            .rfind(|(variable, _)| variable == name)
            .map(|(_, value)| value)
    }

    fn function() -> Function {
        Function {
            region: "eu-north-1".to_owned(),
            memory_mb: 128,
            ..Function::new("hello.greet".into(), "/var/task".into())
        }
    }

    #[test]
    fn variables_have_the_values_that_lambda_gives_them() {
        let value_of = |name| value_of(&function(), name, &[]);
        assert_eq!(
            value_of("AWS_LAMBDA_RUNTIME_API"),
            Some("127.0.0.1:9001".into())
        );
        assert_eq!(value_of("_HANDLER"), Some("hello.greet".into()));
        assert_eq!(
            value_of("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            Some("128".into())
        );
        assert_eq!(value_of("AWS_DEFAULT_REGION"), Some("eu-north-1".into()));
        assert_eq!(
            value_of("AWS_LAMBDA_INITIALIZATION_TYPE"),
            Some("on-demand".into())
        );
        assert_eq!(value_of("AWS_LAMBDA_MAX_CONCURRENCY"), None);
        assert_eq!(value_of("AWS_EXECUTION_ENV"), None);
        assert_eq!(
            value_of("PATH"),
            Some("/usr/local/bin:/usr/bin:/bin:/opt/bin".into())
        );
    }

    #[test]
    fn managed_instance_has_its_concurrency_and_json_logs() {
        let mut function = function();
        function.scale = Scale::ManagedInstance(8);
        let value_of = |name| value_of(&function, name, &[]);
        assert_eq!(value_of("AWS_LAMBDA_MAX_CONCURRENCY"), Some("8".into()));
        assert_eq!(value_of("AWS_LAMBDA_LOG_FORMAT"), Some("JSON".into()));
    }

    #[test]
    fn user_may_override_what_describes_the_machine_but_not_the_platform() {
        let inherited = [
            ("TZ", "Europe/Oslo"),
            ("LANG", "C"),
            ("PATH", "/bin:/opt/bin"),
        ];
        let from_outside = |name| value_of(&function(), name, &inherited);
        assert_eq!(from_outside("TZ"), Some(":UTC".into()));
        assert_eq!(from_outside("LANG"), Some("C".into()));
        assert_eq!(from_outside("PATH"), Some("/bin:/opt/bin".into()));
        let mut function = function();
        function.environment = [("TZ", "Europe/Oslo"), ("_HANDLER", "x"), ("STAGE", "test")]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec();
        let from_option = |name| value_of(&function, name, &[]);
        assert_eq!(from_option("TZ"), Some("Europe/Oslo".into()));
        assert_eq!(from_option("STAGE"), Some("test".into()));
        assert_eq!(from_option("_HANDLER"), Some("hello.greet".into()));
    }
}
