//! The command line of `coshell serve`: options and variables, the arguments and the name of AWS's emulator, and coshell's own
//! messages.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::signal::Signal;

use support::coshell_path;
use support::emulator::{EmulatorBuilder, coshell};
use support::{Emulator, LIMIT, Process, TaskRoot, bootstrap_path, unique_address, wait_until};

/// Prints the variables that the event names, and `-` for each one that is not set.
const PRINTS_VARIABLES: &str =
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
fn the_function_has_lambdas_variables() {
    let builder = Emulator::of(PRINTS_VARIABLES)
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
    let builder = Emulator::of(PRINTS_VARIABLES)
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
fn options_and_files_set_variables() {
    let builder = Emulator::of(PRINTS_VARIABLES)
        .env("STAGE", "outside")
        .env("KEPT", "kept");
    let file = "# a comment\nSTAGE=file\nTABLE='of orders'\nMONEY=pa$word # no comment\r\n\nEMPTY=\nKEPT\n";
    let first = builder.task_root.write("first.env", file);
    let second = builder.task_root.write("second.env", "TABLE=\"second\"\n");
    let dotenv = "export REGION=\"a b\" # it's \"a comment, $STAGE\nCOPY=${REGION}!\nEND=\"at $REGION\"\n\
        LONG_NAME=x\nUNDERSCORE=$LONG_NAME-$LONG_NAME\nSEVERAL=\"$REGION\\n\\$REGION\n'$REGION'\"\nPLAIN='$REGION' # $REGION\nESCAPED=\\$REGION\nBEFORE=$REGION # a comment\n";
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
        ("END", "at a b"),
        ("UNDERSCORE", "x-x"),
        ("SEVERAL", "a b\n$REGION\n'a b'"),
        ("PLAIN", "$REGION"),
        ("ESCAPED", "$REGION"),
        ("BEFORE", "a b"),
        ("EMPTY", ""),
        ("KEPT", "kept"),
        ("_HANDLER", "function.handler"),
    ];
    assert_variables(builder, &expected);
    let builder = Emulator::of(PRINTS_VARIABLES).option("--env-file", "/no/such/file");
    let (status, stderr) = builder.expect_start_failure();
    let expected = "coshell: cannot read variables from /no/such/file: No such file or directory";
    assert!(status == 2 && stderr.contains(expected), "{stderr}");
    let (status, stderr) = Emulator::of(PRINTS_VARIABLES)
        .option("--env", "STAGE")
        .expect_start_failure();
    assert!(
        status == 2 && stderr.contains("expected NAME=VALUE"),
        "{stderr}"
    );
}

#[test]
fn the_error_of_an_invalid_variable_line_has_its_place() {
    for (option, file, message) in [
        (
            "--env-file",
            "A=b\n\nexport C=d\n",
            "line 3: the name \"export C\" contains a space",
        ),
        (
            "--env-file",
            "=b\n",
            "line 1: \"=b\" has no name before the =",
        ),
        ("--dotenv", "A=b\nC=d e\n", "line 2: cannot parse \"d e\""),
        (
            "--dotenv",
            "A=b\nC=\"$HOME\n",
            "line 2: cannot parse \"C=\\\"${HOME}\\n\"",
        ),
        (
            "--dotenv",
            "A=b\nC=x\0y\n",
            "line 2: it contains a NUL byte, which no variable can have",
        ),
        (
            "--env-file",
            "A=b\nC=x\0y\n",
            "line 2: it contains a NUL byte, which no variable can have",
        ),
    ] {
        let builder = Emulator::of(PRINTS_VARIABLES);
        let path = builder.task_root.write("variables", file);
        let (status, stderr) = builder
            .option(option, &path.to_string_lossy())
            .expect_start_failure();
        assert!(
            status == 2 && stderr.contains(message),
            "{message}: {stderr}"
        );
        assert!(stderr.contains("/variables: "), "{stderr}");
    }
}

#[test]
fn both_forms_of_variable_files_have_the_same_encoding() {
    for option in ["--env-file", "--dotenv"] {
        let builder = Emulator::of(PRINTS_VARIABLES);
        let path = builder.task_root.write("variables", "\u{feff}STAGE=test\n");
        let builder = builder.option(option, &path.to_string_lossy());
        assert_variables(builder, &[("STAGE", "test")]);
        let builder = Emulator::of(PRINTS_VARIABLES);
        let path = builder.task_root.write("variables", b"A=b\nC=\xff\n");
        let builder = builder.option(option, &path.to_string_lossy());
        let (status, stderr) = builder.expect_start_failure();
        let expected = "/variables: line 2: it is not UTF-8";
        assert!(status == 2 && stderr.contains(expected), "{stderr}");
    }
}

/// Linux counts the name, the `=` and a NUL at the end.
#[test]
fn a_variable_that_is_too_large_for_a_program_is_named() {
    for option in ["--env-file", "--dotenv"] {
        for (length, is_allowed) in [(131_065, true), (131_066, false)] {
            let builder = Emulator::of("handler() { printf '%s' \"${#LARGE}\"; }");
            let line = format!("LARGE={}\n", "x".repeat(length));
            let path = builder.task_root.write("variables", line);
            let builder = builder.option(option, &path.to_string_lossy());
            if is_allowed {
                assert_eq!(builder.start().respond_text("x"), length.to_string());
                continue;
            }
            let (status, stderr) = builder.expect_start_failure();
            let expected = format!(
                "coshell: cannot use variable LARGE of {}: Linux starts no program with a variable of more than 131072 bytes, and \
                 this one has 131073\n",
                path.display()
            );
            assert!(status == 2 && stderr.contains(&expected), "{stderr}");
        }
    }
}

#[test]
fn the_reply_to_a_wrong_path_suggests_the_right_one() {
    let emulator = Emulator::of("handler() { echo hi; }").start();
    for (path, message) in [
        (
            "/2015-03-31/function/function/invocations",
            "did you mean /2015-03-31/functions/function/invocations?",
        ),
        ("/", "invoke the function at /2015-03-31/functions/"),
    ] {
        let reply = emulator.request("POST", path, &[], "x");
        let body = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, 404, "{body}");
        assert!(body.contains(message), "{body}");
        let line = format!("coshell: cannot answer POST {path:?}: there is no such path\n");
        emulator.process.wait_log(&line);
    }
}

#[test]
fn the_variable_handler_can_name_the_handler() {
    let builder = Emulator::empty().env("_HANDLER", "function.handler");
    builder.task_root.write("function.sh", PRINTS_VARIABLES);
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

/// With several arguments, the first is the bootstrap and the last is the handler.
#[test]
fn a_bootstrap_may_have_arguments_before_the_handler() {
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
    let builder = Emulator::of(PRINTS_VARIABLES).option("--bootstrap", &bootstrap_path());
    assert_variables(builder, &[("_HANDLER", "function.handler")]);
}

/// Options of AWS's emulator may have their value behind `=` or as the next argument.
#[test]
fn a_link_named_like_awss_emulator_behaves_like_it() {
    let task_root = TaskRoot::new();
    let program = task_root.path().join("aws-lambda-rie");
    symlink(coshell_path(), &program).expect("a link");
    task_root.write("function.sh", PRINTS_VARIABLES);
    let host = unique_address();
    let (address, api) = (format!("{host}:8080"), format!("{host}:9001"));
    for form in ["arguments", "equals", "handler from its variable"] {
        println!("case: {form}");
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
            "arguments" => command.arg("function.handler"),
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
fn the_first_sandbox_gets_the_runtime_api_address_and_others_get_free_ports() {
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

/// The option wins over the variable.
#[test]
fn with_log_level_error_coshell_prints_only_errors() {
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
        // The startup message comes after the init, and a call is answered after that.
        let path = "/2015-03-31/functions/function/invocations";
        let reply = support::post(&address, path, &[], b"x", LIMIT).expect("a reply");
        assert_eq!(reply.status, 200);
        let log = || process.log();
        wait_until(|| is_silent || log().contains("serving "), LIMIT);
        process.signal(Signal::SIGTERM);
        let log = process.wait_clean_exit(LIMIT);
        assert_eq!(
            !log.contains("serving function.handler; to invoke it: curl "),
            is_silent,
            "{log}"
        );
    }
}
