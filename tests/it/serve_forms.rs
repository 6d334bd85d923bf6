//! How `coshell serve` is called: AWS's emulator's words and name, variables, what coshell says of itself.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::signal::Signal;

use support::coshell_path;
use support::emulator::{EmulatorBuilder, coshell};
use support::{Emulator, LIMIT, Process, TaskRoot, bootstrap_path, unique_address, wait_until};

/// Prints the variables that its event names, `-` for those that are not set.
const PRINTS: &str =
    "handler() { local name; for name in $1; do printf '%s;' \"${!name--}\"; done; }";

#[track_caller]
fn assert_variables(builder: EmulatorBuilder, expected: &[(&str, &str)]) {
    let emulator = builder.start();
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = expected.iter().map(|(_, value)| *value).collect();
    let values = values.join(";") + ";";
    assert_eq!(emulator.respond_text(names.join(" ")), values, "{names:?}");
}

#[test]
fn variables_are_those_of_lambda() {
    let builder = Emulator::of(PRINTS)
        .env("AWS_EXECUTION_ENV", "x")
        .env("_X_AMZN_TRACE_ID", "x")
        .env("HOME", "/home/somebody");
    let task_root = builder.task_root.path().to_string_lossy().into_owned();
    let libraries = format!(
        "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:{task_root}:{task_root}/lib:/opt/lib"
    );
    let expected = [
        ("_HANDLER", "function.handler"),
        ("LAMBDA_TASK_ROOT", task_root.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "test_function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "3008"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/Functions"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("LD_LIBRARY_PATH", libraries.as_str()),
        ("HOME", "-"),
        ("AWS_EXECUTION_ENV", "-"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "-"),
        ("PWD", task_root.as_str()),
    ];
    assert_variables(builder, &expected);
}

#[test]
fn variables_of_awss_emulator_describe_the_function() {
    let builder = Emulator::of(PRINTS)
        .env("AWS_LAMBDA_FUNCTION_NAME", "mine")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "3")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "7")
        .env("AWS_REGION", "eu-north-1")
        .env("STAGE", "test");
    let expected = [
        ("AWS_LAMBDA_FUNCTION_NAME", "mine"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "3"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_DEFAULT_REGION", "eu-north-1"),
        ("STAGE", "test"),
        (
            "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
            "arn:aws:lambda:eu-north-1:012345678912:function:mine",
        ),
    ];
    assert_variables(builder, &expected);
    let builder =
        Emulator::of("handler() { sleep 600; }").env("AWS_LAMBDA_FUNCTION_TIMEOUT", "0.3");
    let document = builder.start().fail("{}");
    assert!(
        document
            .to_string()
            .contains("Task timed out after 0.30 seconds"),
        "{document}"
    );
}

#[test]
fn variables_come_from_options_and_files() {
    let builder = Emulator::of(PRINTS)
        .env("STAGE", "outside")
        .env("KEPT", "kept");
    let file = "# a comment\nSTAGE=file\nTABLE='of orders'\nMONEY=pa$word # no comment\r\n\nEMPTY=\nKEPT\n";
    let first = builder.task_root.write("first.env", file);
    let second = builder.task_root.write("second.env", "TABLE=\"second\"\n");
    let dotenv = "export REGION=\"a b\" # a comment\nCOPY=${REGION}!\n";
    let dotenv = builder.task_root.write("third.env", dotenv);
    let builder = builder
        .option("--env-file", &first.to_string_lossy())
        .option("--env-file", &second.to_string_lossy())
        .option("--dotenv", &dotenv.to_string_lossy())
        .option("--env", "STAGE=option=with=signs")
        .option("-e", "_HANDLER=is.ours");
    let expected = [
        ("STAGE", "option=with=signs"),
        ("TABLE", "\"second\""),
        ("MONEY", "pa$word # no comment"),
        ("REGION", "a b"),
        ("COPY", "a b!"),
        ("EMPTY", ""),
        ("KEPT", "kept"),
        ("_HANDLER", "function.handler"),
    ];
    assert_variables(builder, &expected);
    let builder = Emulator::of(PRINTS).option("--env-file", "/no/such/file");
    let (status, said) = builder.expect_start_failure();
    let expected = "coshell: cannot read variables from /no/such/file: No such file or directory";
    assert!(status == 2 && said.contains(expected), "{said}");
    let (status, said) = Emulator::of(PRINTS)
        .option("--env", "STAGE")
        .expect_start_failure();
    assert!(
        status == 2 && said.contains("expected NAME=VALUE"),
        "{said}"
    );
}

#[test]
fn line_that_says_no_variable_is_told_with_its_place() {
    for (option, file, said) in [
        (
            "--env-file",
            "A=b\n\nexport C=d\n",
            "line 3: the name \"export C\" has a space in it",
        ),
        (
            "--env-file",
            "=b\n",
            "line 1: \"=b\" has no name before the =",
        ),
        (
            "--dotenv",
            "A=b\nC=d e\n",
            "line 2: cannot make sense of \"d e\"",
        ),
    ] {
        let builder = Emulator::of(PRINTS);
        let path = builder.task_root.write("variables", file);
        let (status, all) = builder
            .option(option, &path.to_string_lossy())
            .expect_start_failure();
        assert!(status == 2 && all.contains(said), "{said}: {all}");
        assert!(all.contains("/variables: "), "{all}");
    }
}

#[test]
fn path_that_invokes_nothing_is_told_with_the_one_that_does() {
    let emulator = Emulator::of("handler() { echo hi; }").start();
    for (path, said) in [
        (
            "/2015-03-31/function/function/invocations",
            "did you mean /2015-03-31/functions/function/invocations?",
        ),
        ("/", "the function is invoked at /2015-03-31/functions/"),
    ] {
        let reply = emulator.request("POST", path, &[], "x");
        let body = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, 404, "{body}");
        assert!(body.contains(said), "{body}");
        let line = format!("coshell: cannot answer POST {path:?}: there is no such path\n");
        emulator.process.wait_log(&line);
    }
}

#[test]
fn handler_comes_from_its_variable_too() {
    let builder = Emulator::empty().env("_HANDLER", "function.handler");
    builder.task_root.write("function.sh", PRINTS);
    assert_variables(builder, &[("_HANDLER", "function.handler")]);
}

#[test]
fn scripts_and_executables_are_served_too() {
    let builder = Emulator::empty().arg("legacy.sh");
    builder
        .task_root
        .write("legacy.sh", "#!/bin/bash\nprintf 'script: '\ncat\n");
    assert_eq!(builder.start().respond_text("an event"), "script: an event");
    let builder = Emulator::empty().arg("tool");
    let program = "#!/usr/bin/env python3\nimport sys\nprint('program:', sys.stdin.read())\n";
    builder.task_root.write_program("tool", program);
    assert_eq!(
        builder.start().respond_text("an event"),
        "program: an event"
    );
}

/// The last word of several is the handler, the first the bootstrap.
#[test]
fn bootstrap_with_arguments_and_handler_is_a_command() {
    let bootstrap = r#"#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while head=$(curl -sS -D - -o /dev/null "$api/next" | tr -d '\r'); do
  [[ $head =~ [Rr]equest-[Ii]d:\ ([0-9a-f-]+) ]]
  curl -sS -o /dev/null -d "$* $_HANDLER" "$api/${BASH_REMATCH[1]}/response"
done
"#;
    let builder = Emulator::empty();
    let path = builder.task_root.write_program("boot", bootstrap);
    let builder = builder.arg(&path.to_string_lossy()).arg("first").arg("a.b");
    let emulator = builder.start();
    assert_eq!(emulator.respond_text("{}"), "first a.b a.b");
    assert_eq!(emulator.respond_text("{}"), "first a.b a.b");
    let builder = Emulator::of(PRINTS).option("--bootstrap", &bootstrap_path());
    assert_variables(builder, &[("_HANDLER", "function.handler")]);
}

/// With one word or two.
#[test]
fn by_the_name_of_awss_emulator_it_takes_its_place() {
    let task_root = TaskRoot::new();
    let program = task_root.path().join("aws-lambda-rie");
    symlink(coshell_path(), &program).expect("a link");
    task_root.write("function.sh", PRINTS);
    let host = unique_address();
    let (address, api) = (format!("{host}:8080"), format!("{host}:9001"));
    for form in ["words", "equals", "handler from its variable"] {
        println!("the case: {form}");
        let mut command = coshell(&task_root);
        let environment: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        command = Command::new(&program);
        command.env_clear().current_dir(task_root.path());
        command.envs(
            environment
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if form == "equals" {
            command.arg(format!("--runtime-api-address={api}"));
            command.arg(format!("--runtime-interface-emulator-address={address}"));
            command.args(["--log-level=error", &bootstrap_path(), "function.handler"]);
        } else {
            command.args(["--log-level", "debug", "--runtime-api-address", &api]);
            command.args(["--runtime-interface-emulator-address", &address]);
            command.arg(bootstrap_path());
        }
        match form {
            "words" => command.arg("function.handler"),
            _ => command.env("_HANDLER", "function.handler"),
        };
        let process = Process::start(command);
        wait_until(
            || TcpStream::connect(&address).is_ok() || !process.is_running(),
            LIMIT,
        );
        let emulator = Emulator {
            process,
            task_root: TaskRoot::new(),
            address: address.clone(),
        };
        let text = emulator.respond_text("AWS_LAMBDA_RUNTIME_API AWS_LAMBDA_FUNCTION_NAME");
        assert_eq!(text, format!("{api};test_function;"));
        let is_silent = form == "equals";
        let log = emulator.stop();
        assert_eq!(!log.contains("coshell: "), is_silent, "{log}");
    }
}

#[test]
fn runtime_api_address_is_that_of_the_first_sandbox_and_others_are_beside_it() {
    let host = unique_address();
    let script = "handler() { printf '%s' \"$AWS_LAMBDA_RUNTIME_API\"; [[ $1 != wait ]] || read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; }";
    let builder = Emulator::of(script).option("--concurrency", "2");
    let emulator = builder
        .option("--runtime-api-address", &format!("{host}:9001"))
        .start();
    emulator.task_root.fifo("gate");
    let waiting = emulator.begin_call("wait");
    emulator.wait_log_count("START ", 1);
    let other = emulator.respond_text("{}");
    emulator.task_root.release("gate");
    let waited = emulator.expect_response(emulator.finish(waiting));
    let waited = String::from_utf8(waited).expect("UTF-8");
    let mut both = [other, waited];
    both.sort_by_key(|one| one != &format!("{host}:9001"));
    assert_eq!(both[0], format!("{host}:9001"));
    assert!(
        both[1] != both[0] && both[1].starts_with(&format!("{host}:")),
        "{both:?}"
    );
}

/// Level, and who decides it.
#[test]
fn coshell_says_nothing_but_errors_if_it_is_told_so() {
    for (option, variable, is_silent) in [
        ("error", "", true),
        ("", "ERROR", true),
        ("info", "error", false),
        ("", "nonsense", false),
    ] {
        let address = format!("{}:9000", unique_address());
        let mut builder = Emulator::of("handler() { :; }").option("--listen", &address);
        if !option.is_empty() {
            builder = builder.option("--log-level", option);
        }
        let builder = builder.env("LOG_LEVEL", variable);
        let process = Process::start(builder.command());
        wait_until(|| TcpStream::connect(&address).is_ok(), LIMIT);
        // The greeting comes when the init is over, and a call is answered after that.
        let path = "/2015-03-31/functions/function/invocations";
        let reply = support::post(&address, path, &[], b"x", LIMIT).expect("a reply");
        assert_eq!(reply.status, 200);
        let log = || process.log();
        wait_until(|| is_silent || log().contains(" is served"), LIMIT);
        process.signal(Signal::SIGTERM);
        let log = process.wait_clean_exit(LIMIT);
        assert_eq!(
            !log.contains("function.handler is served: curl "),
            is_silent,
            "{log}"
        );
    }
}
