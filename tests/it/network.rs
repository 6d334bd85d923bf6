//! `lambda_fetch`, `lambda_aws`, `lambda_secret` and `lambda_parameter` in a handler, against a server that counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use support::{Event, LIMIT, Reply, Sandbox, SandboxBuilder, as_pid, children, wait_until};

/// Answers every request with its number, or as AWS would; a request for `/never`, in any folder, gets no answer, and one for `/busy` a refusal.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Self {
            url,
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (
            Arc::clone(&server.connections),
            Arc::clone(&server.requests),
        );
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let requests = Arc::clone(&requests);
                thread::spawn(move || serve(stream, &requests));
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the requests").clone()
    }
}

/// Serves one connection until the client closes it.
fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let header = |name: &str| {
            let line = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let length = header("content-length").map_or(0, |text| text.parse().expect("a length"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let body = String::from_utf8_lossy(&body).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let target = header("x-amz-target").unwrap_or_default();
        let token = header("x-aws-parameters-secrets-token").unwrap_or_default();
        let number = {
            let mut requests = requests.lock().expect("the requests");
            requests.push(format!("{path} {target} {token} {body}"));
            requests.len()
        };
        if path.ends_with("/never") {
            // Until the client is gone.
            let _ = reader.read(&mut [0]);
            return;
        }
        if path == "/busy" {
            let refusal = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(refusal.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        let is_secret = target.ends_with("GetSecretValue") || path.starts_with("/secretsmanager");
        let (status, answer) = if body.contains("throttled") {
            (
                400,
                r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#.to_owned(),
            )
        } else if body.contains("refused") {
            (
                400,
                r#"{"__type":"a#ResourceNotFoundException","message":"there is none"}"#.to_owned(),
            )
        } else if body.contains("long") {
            let text = "s".repeat(6000);
            (200, format!(r#"{{"SecretString":"{text}"}}"#))
        } else if is_secret {
            (
                200,
                format!(r#"{{"SecretString":"{{\"password\":\"word {number}\"}}"}}"#),
            )
        } else if target.ends_with("GetParameter") {
            (
                200,
                format!(r#"{{"Parameter":{{"Value":"value {number}"}}}}"#),
            )
        } else {
            (200, format!("{path} {number}"))
        };
        let length = answer.len();
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn sandbox(server: &Server, script: &str) -> SandboxBuilder {
    with_cloud(Sandbox::of(script), server)
}

fn with_cloud(builder: SandboxBuilder, server: &Server) -> SandboxBuilder {
    builder
        .env("URL", &server.url)
        .env("AWS_ENDPOINT_URL", &server.url)
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "a secret of AWS's")
        .env("AWS_SESSION_TOKEN", "token")
}

fn respond(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

#[test]
fn a_connection_lives_on_between_events() {
    let server = Server::start();
    let script =
        r#"handler() { lambda_fetch "$URL/a" -v answer; echo "$answer"; lambda_fetch "$URL/b"; }"#;
    for isolation in ["restore", "subshell", "process", "none"] {
        let before = (server.connections(), server.requests().len());
        let sandbox = sandbox(&server, script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for event in 0..3 {
            let number = before.1 + 2 * event + 1;
            let expected = format!("/a {number}\n/b {}", number + 1);
            assert_eq!(respond(&sandbox, "x"), expected, "{isolation}");
        }
        assert_eq!(server.connections(), before.0 + 1, "{isolation}");
    }
}

#[test]
fn requests_are_made_from_subshells_and_pipelines_and_at_the_same_time() {
    let server = Server::start();
    let script = r#"handler() {
  echo "$(lambda_fetch "$URL/sub")" | tr 0-9 n
  printf '%s' "$1" | lambda_fetch -d @- "$URL/in" | tr 0-9 n; echo
  for i in {1..20}; do lambda_fetch "$URL/many" -o "$TMPDIR/$i" & done; wait
  cat "$TMPDIR"/{1..20} | tr -s 0-9 n | tr -d ' '
}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(&server, script)
        .env("TMPDIR", folder.path().to_string_lossy())
        .start();
    let expected = format!("/sub n\n/in n\n{}", "/manyn".repeat(20));
    assert_eq!(respond(&sandbox, "the event"), expected);
    let requests = server.requests();
    assert!(
        requests.contains(&"/in   the event".to_owned()),
        "{requests:?}"
    );
}

#[test]
fn a_whole_script_has_them_too() {
    let server = Server::start();
    let script = "#!/bin/bash\n. \"${COSHELL_FUNCTIONS:?}\"\nlambda_fetch \"$URL/a\" | tr 0-9 n\nlambda_secret s name --field password; echo \" ${s%% *}\"\n";
    let sandbox = sandbox(&server, "")
        .file("script.sh", script)
        .handler("script.sh")
        .start();
    assert_eq!(respond(&sandbox, "x"), "/a n word");
}

#[test]
fn values_are_fetched_once_and_kept_out_of_the_shell() {
    let server = Server::start();
    let script = r#"handler() {
  lambda_secret secret name
  lambda_secret field name --field password
  lambda_parameter parameter /a
  lambda_parameter again /a --ttl 0
  printf '%s|' "$secret" "$field" "$parameter" "$again"
  compgen -e | while read -r name; do case ${!name} in *word*) echo "$name" ;; esac; done
}"#;
    let sandbox = sandbox(&server, script).start();
    let first = r#"{"password":"word 1"}|word 1|value 2|value 3|"#;
    assert_eq!(respond(&sandbox, "x"), first);
    // Only what may not be kept is fetched again.
    assert_eq!(
        respond(&sandbox, "x"),
        first
            .replace("value 3", "value 4")
            .replace("value 2", "value 3")
    );
    let requests = server.requests();
    assert_eq!(
        requests[1],
        r#"/ AmazonSSM.GetParameter  {"Name":"/a","WithDecryption":true}"#
    );
}

/// A value that is known comes from `bootstrap`, and any other from `coshell-tools`.
#[test]
fn a_value_is_known_by_the_words_of_its_call_and_by_the_credentials() {
    let server = Server::start();
    let script = r#"handler() {
  local a b c d e
  lambda_secret a name --field password
  AWS_ACCESS_KEY_ID=other lambda_secret b name --field password
  AWS_SECRET_ACCESS_KEY=other lambda_secret d name --field password
  AWS_SESSION_TOKEN=other lambda_secret e name --field password
  AWS_PROFILE=none lambda_secret c name 2>/dev/null || c="status $?"
  printf '%s|' "$a" "$b" "$c" "$d" "$e" "$(lambda_secret a name --field password; echo "$a")"
}"#;
    let sandbox = sandbox(&server, script).start();
    let expected = "word 1|word 2|status 255|word 3|word 4|word 1|";
    for _ in 0..4 {
        assert_eq!(respond(&sandbox, "x"), expected);
    }
    assert_eq!(server.requests().len(), 4);
}

/// The credentials and the endpoint may come from a file, whose name says nothing.
#[test]
fn a_value_is_known_by_the_credentials_and_the_server_that_files_and_variables_name() {
    let (server, other) = (Server::start(), Server::start());
    let script = r#"handler() {
  local s t
  unset -v AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
  printf '[default]\naws_access_key_id=%s\naws_secret_access_key=x\n' "$1" >"$LAMBDA_TASK_ROOT/credentials"
  export AWS_SHARED_CREDENTIALS_FILE=$LAMBDA_TASK_ROOT/credentials
  lambda_secret s name --field password
  export AWS_ACCESS_KEY_ID=same AWS_SECRET_ACCESS_KEY=x
  unset -v AWS_SHARED_CREDENTIALS_FILE
  if [[ $1 == two ]]; then export AWS_ENDPOINT_URL_SECRETS_MANAGER=$OTHER; fi
  lambda_secret t name --field password
  printf '%s|%s' "$s" "$t"
}"#;
    let sandbox = sandbox(&server, script).env("OTHER", &other.url).start();
    for _ in 0..3 {
        assert_eq!(respond(&sandbox, "one"), "word 1|word 2");
        assert_eq!(respond(&sandbox, "two"), "word 3|word 1");
    }
    assert_eq!((server.requests().len(), other.requests().len()), (3, 1));
}

/// Connections are dead after a restore, and the time for which a value is kept does not pass in a snapshot.
#[test]
fn nothing_of_before_a_snapshot_is_used_after_the_restore() {
    let server = Server::start();
    let script = r#"lambda_before_snapshot() { lambda_fetch -s "$URL/x" -v x; lambda_secret x name; lambda_secret x name; }
handler() { local x y; lambda_fetch -s "$URL/x" -v x; lambda_secret y name --field password; echo "$x|$y"; }"#;
    let sandbox = sandbox(&server, script)
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        .start();
    sandbox.api.wait_snapshot();
    assert_eq!(server.requests().len(), 2);
    let connections = server.connections.load(Ordering::SeqCst);
    sandbox.api.restore(Reply::restored());
    assert_eq!(respond(&sandbox, "x"), "/x 3|word 4");
    assert!(server.connections.load(Ordering::SeqCst) > connections);
}

#[test]
fn files_get_the_mode_that_the_caller_would_give_them() {
    let server = Server::start();
    let script = r#"handler() {
  local mask
  cd "$LAMBDA_TASK_ROOT"
  for mask in 077 022 027 000; do
    umask "$mask"
    rm -rf ours theirs folder
    lambda_fetch -s -o ours "$URL/x"
    (lambda_fetch -s --create-dirs -o folder/ours "$URL/x")
    touch theirs folder/theirs
    [[ $(stat -c %a ours folder/ours) == $(stat -c %a theirs folder/theirs) ]] || stat -c '%n %a' ours folder/ours theirs
  done
  (umask 077; lambda_fetch -s -o last "$URL/x"); stat -c %a last; rm last
  umask
}"#;
    let sandbox = sandbox(&server, script).start();
    for _ in 0..2 {
        assert_eq!(respond(&sandbox, "x"), "600\n0000");
    }
}

/// The `sleep` is as long as bash would wait.
#[test]
fn a_request_is_sent_once_whatever_tmout_says() {
    let server = Server::start();
    let script = r#"shopt -s lastpipe
handler() {
  local v TMOUT=1
  { sleep 1.2; printf body; } | lambda_fetch -s -v v -d @- "$URL/order"
  printf %s "${v%% *}"
}"#;
    let sandbox = sandbox(&server, script).start();
    for number in 1..=3 {
        assert_eq!(respond(&sandbox, "x"), "/order");
        assert_eq!(server.requests().len(), number);
    }
}

#[test]
fn a_long_secret_is_in_no_file_of_the_shell_when_its_event_has_ended() {
    let server = Server::start();
    let script = r#"handler() {
  local secret found
  found=$(tr -d '\0' <"/proc/$$/fd/84" 2>/dev/null || :)
  lambda_secret secret long
  echo "${#secret} ${#found}"
}"#;
    let sandbox = sandbox(&server, script).start();
    for _ in 0..4 {
        assert_eq!(respond(&sandbox, "x"), "6000 0");
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_output_of_a_call_goes_where_its_caller_sends_it() {
    let server = Server::start();
    let script = r#"handler() {
  local file=$LAMBDA_TASK_ROOT/file answer link
  lambda_fetch "$URL/a"; echo
  lambda_fetch "$URL/b" >"$file"; lambda_fetch "$URL/c" >>"$file"; cat "$file"; echo
  lambda_fetch -v answer "$URL/d"; echo "$answer"
  lambda_fetch -d @- "$URL/e" <<<"input"; echo
  aws -v link s3 presign s3://bucket/key; echo "${link%%\?*}"
  lambda_fetch "$URL/f" >&- 2>/dev/null || printf "status %s " "$?"
  lambda_fetch http://127.0.0.1:1/ 2>"$file" || cat "$file"
  aws -v 1x s3 presign s3://bucket/key 2>&1 || echo "status $?"
  { lambda_fetch "$URL/g" >&3; } 3>&1
}"#;
    let sandbox = sandbox(&server, script)
        .env("COSHELL_COMMANDS", "aws")
        .env("AWS_REGION", "eu-west-1")
        .start();
    let first = respond(&sandbox, "x");
    for part in [
        "/a 1\n/b 2/c 3\n/d 4\n/e 5\n",
        "/bucket/key\n",
        "status 23 ",
        "Failed to connect",
        "aws: cannot set variable 1x",
        "status 252\n/g 7",
    ] {
        assert!(first.contains(part), "{first}");
    }
    assert!(server.requests().contains(&"/e   input".to_owned()));
    let letters = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
    for _ in 0..2 {
        assert_eq!(letters(&respond(&sandbox, "x")), letters(&first));
    }
}

#[test]
fn a_throttled_call_fails_its_event_and_the_next_one_works() {
    let server = Server::start();
    let script = r#"handler() {
  case $1 in
    fetch) lambda_fetch --fail --retry 2 --retry-delay 0 "$URL/busy" ;;
    throttled) lambda_parameter x throttled ;;
    *) lambda_fetch "$URL/$1" | tr -s 0-9 n ;;
  esac
}"#;
    let sandbox = sandbox(&server, script)
        .env("AWS_REGION", "eu-west-1")
        .start();
    for (event, reason, requests) in [
        ("fetch", "(22) The requested URL returned error: 503", 3),
        (
            "throttled",
            "(ThrottlingException) when calling the GetParameter operation (reached max retries: 2): Rate exceeded",
            3,
        ),
    ] {
        for round in 0..2 {
            let before = server.requests().len();
            let error = sandbox.fail(event);
            assert_eq!(error["errorType"], "Function.CommandFailed", "{event}");
            let message = error["errorMessage"].as_str().expect("a message");
            assert!(message.contains(reason), "{event} {round}: {message}");
            assert_eq!(server.requests().len(), before + requests, "{event}");
            assert_eq!(respond(&sandbox, "a"), "/a n", "{event}");
        }
    }
}

#[test]
fn a_call_whose_second_program_is_killed_fails_its_event_and_the_next_one_works() {
    let server = Server::start();
    let script = r#"handler() { lambda_fetch "$URL/$1" >"$LAMBDA_TASK_ROOT/answer"; tr 0-9 n <"$LAMBDA_TASK_ROOT/answer"; }"#;
    let sandbox = sandbox(&server, script).start();
    // The first call goes with a ticket, and later ones through the descriptors of the shell.
    for round in 0..3 {
        let before = server.requests().len();
        sandbox
            .api
            .push(Event::new(&format!("id-{round}"), "never"));
        wait_until(|| server.requests().len() > before, LIMIT);
        for pid in children(sandbox.bootstrap.pid()) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("a name");
            if name.trim() == "coshell-tools" {
                let pid = as_pid(pid);
                kill(pid, Signal::SIGKILL).expect("killed");
            }
        }
        let answer = sandbox.api.wait_answer(&format!("id-{round}"));
        let error = answer.error_document();
        let message = error["errorMessage"].as_str().expect("a message");
        assert_eq!(error["errorType"], "Function.CommandFailed", "{message}");
        assert!(
            message.contains("lambda_fetch: cannot finish: coshell-tools ended with SIGKILL"),
            "{message}"
        );
        assert_eq!(respond(&sandbox, "a"), "/a n");
    }
}

#[test]
fn sixteen_lanes_call_at_the_same_time_and_get_their_own_answers() {
    let server = Server::start();
    let script = r#"handler() {
  local i answer copy secret
  for i in {1..5}; do
    lambda_fetch -v answer "$URL/$1-$i"
    aws s3 cp "s3://bucket/$1-$i" "$TMPDIR/$1" --only-show-errors
    read -r copy <"$TMPDIR/$1" || :
    lambda_secret secret "$1" --field password
    echo "${answer%% *} ${copy%% *} ${secret%% *} $(lambda_fetch "$URL/$1-sub" | tr 0-9 n)"
  done
}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(&server, script)
        .env("COSHELL_COMMANDS", "aws")
        .env("AWS_REGION", "eu-west-1")
        .env("TMPDIR", folder.path().to_string_lossy())
        .lanes(16)
        .start();
    sandbox.api.wait_all_parked(16);
    for round in 0..2 {
        let names: Vec<_> = (0..16).map(|lane| format!("r{round}l{lane}x")).collect();
        for name in &names {
            sandbox.api.push(Event::new(name, name));
        }
        for name in &names {
            let answer = sandbox.api.wait_answer(name);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.is_response(), "{text}");
            let sub = format!("/{name}-sub").replace(|letter: char| letter.is_ascii_digit(), "n");
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 5, "{text}");
            for (line, number) in lines.iter().zip(1..) {
                let expected = format!("/{name}-{number} /bucket/{name}-{number} word {sub} ");
                let line = line.trim_end_matches('n');
                assert_eq!(line, expected);
            }
        }
    }
}

#[test]
fn the_extension_of_aws_is_used_where_it_is() {
    let server = Server::start();
    let port = server.url.rsplit(':').next().expect("a port");
    let sandbox = sandbox(
        &server,
        "handler() { lambda_secret s 'a name' --field password; echo \"$s\"; }",
    )
    .env("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", port)
    .start();
    assert_eq!(respond(&sandbox, "x"), "word 1");
    assert_eq!(
        server.requests(),
        ["/secretsmanager/get?secretId=a%20name  token "]
    );
}

#[test]
fn a_refusal_fails_the_event_with_its_reason_and_without_secrets() {
    let server = Server::start();
    for (call, reason) in [
        (
            "lambda_secret s refused",
            "(ResourceNotFoundException) when calling the GetSecretValue operation: there is none",
        ),
        (
            "lambda_aws ssm PutParameter '{\"Name\":\"refused\"}'",
            "(ResourceNotFoundException) when calling the PutParameter operation",
        ),
        ("lambda_secret 1x name", "cannot set variable 1x"),
        (
            "lambda_secret SHELLOPTS name",
            "cannot set variable SHELLOPTS",
        ),
        ("lambda_fetch -v UID $URL/a", "cannot set variable UID"),
        (
            "lambda_aws -v __driver_x sts GetCallerIdentity",
            "cannot set variable __driver_x",
        ),
        ("lambda_parameter v", "expected a variable and a name"),
        ("lambda_fetch", "expected a URL"),
        (
            "lambda_fetch http://127.0.0.1:1/",
            "(7) Failed to connect to 127.0.0.1:1",
        ),
        ("lambda_aws nothing Op", "there is no service nothing"),
        (
            "AWS_ACCESS_KEY_ID= lambda_aws ssm GetParameter",
            "Unable to locate credentials",
        ),
    ] {
        let sandbox = sandbox(&server, &format!("handler() {{ {call}; echo never; }}")).start();
        let error = sandbox.fail("x");
        assert_eq!(error["errorType"], "Function.CommandFailed", "{call}");
        let message = error["errorMessage"].as_str().expect("a message");
        assert!(message.contains(reason), "{call}: {message}");
        assert!(!message.contains("a secret of AWS's"), "{message}");
        assert!(!sandbox.bootstrap.log().contains("a secret of AWS's"));
    }
}

/// A call that its event's deadline ends: the error names the call and its line.
#[test]
fn a_call_that_never_ends_ends_with_its_event_and_harms_no_other() {
    let calls = [
        ("lambda_fetch", r#"lambda_fetch "$URL/$1""#),
        ("aws", r#"aws s3 cp "s3://bucket/$1" -"#),
        ("lambda_each", "lambda_each work"),
    ];
    let isolations = ["restore", "none", "subshell", "process", "script"];
    let cases: Vec<_> = isolations
        .into_iter()
        .flat_map(|isolation| calls.map(|(name, call)| (isolation, name, call)))
        .collect();
    let name = |case: &(&str, &str, &str)| format!("{case:?}");
    crate::deadline::check_all(&cases, name, |(isolation, name, call)| {
        let server = Server::start();
        let work = r#"work() { local body; lambda_get body .body; lambda_fetch "$URL/$body"; }"#;
        let body = format!(
            "  if [[ $1 == a ]]; then lambda_fetch \"$URL/$1\"; exit; fi\n  {call}\n  : more\n"
        );
        let (builder, file, place) = if *isolation == "script" {
            let text = format!(". \"$COSHELL_FUNCTIONS\"; {work}\n\n{body}");
            let builder = with_cloud(Sandbox::empty().file("legacy.sh", text), &server);
            let builder = builder.handler("legacy.sh").event_as_argument();
            (builder, "legacy.sh", "main")
        } else {
            let script = format!("{work}\nhandler() {{\n{body}}}");
            let builder = sandbox(&server, &script).env("COSHELL_ISOLATION", *isolation);
            (builder, "function.sh", "handler")
        };
        let sandbox = builder
            .env("COSHELL_COMMANDS", "aws")
            .env("COSHELL_DEADLINE_MARGIN_MS", "1000")
            .start();
        assert!(sandbox.respond("a").starts_with(b"/a "));
        let before = server.requests().len();
        let event = if *name == "lambda_each" {
            r#"{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"never"}]}"#
        } else {
            "never"
        };
        let event = Event::new("one", event).with_deadline_in(Duration::from_secs(3));
        let error = sandbox.invoke(event).error_document();
        let place = format!(
            "{place} ({}:4)",
            sandbox.task_root.path().join(file).display()
        );
        let message = error["errorMessage"].as_str().expect("a message");
        let during = format!("deadline during `{name}` in {place}");
        assert!(message.contains(&during), "{message}");
        assert_eq!(error["stackTrace"], serde_json::json!([place]));
        assert_eq!(server.requests().len(), before + 1);
        assert!(sandbox.respond("a").starts_with(b"/a "));
    });
}

#[test]
fn a_program_of_the_same_name_is_not_replaced_unasked() {
    let server = Server::start();
    let script = "handler() { type -t aws jq; }";
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["aws", "jq"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").expect("a program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("its mode");
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let installed = sandbox(&server, script).env("PATH", &path).start();
    assert_eq!(respond(&installed, "x"), "file\nfile");
    let wanted = sandbox(&server, script)
        .env("PATH", &path)
        .env("COSHELL_COMMANDS", "aws,jq")
        .start();
    assert_eq!(respond(&wanted, "x"), "function\nfunction");
}
