//! The context of an invocation: the handler gets each header of `GET next` in a variable.

use crate::wire::{EVENT_MARK, SilentSandbox};
use support::{Event, Sandbox};

/// Every header of `GET next` for the handler, with its variable and a value. The request id, which is always there, is
/// left out.
const CONTEXT: [(&str, &str, &str); 7] = [
    (
        "Lambda-Runtime-Deadline-Ms",
        "LAMBDA_RUNTIME_DEADLINE_MS",
        "1542409706888",
    ),
    (
        "Lambda-Runtime-Invoked-Function-Arn",
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "arn:aws:lambda:us-east-2:123456789012:function:custom-runtime:$LATEST",
    ),
    (
        "Lambda-Runtime-Trace-Id",
        "LAMBDA_RUNTIME_TRACE_ID",
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    ),
    (
        "Lambda-Runtime-Client-Context",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "{\"custom\":{\"k\":\"it's  \\\"$(id)\\\" `id` \\\\ * %s \u{e9}\u{6f22}\"}, \"env\": null}",
    ),
    (
        "Lambda-Runtime-Cognito-Identity",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "{\"cognitoIdentityId\":\"eu-west-1:0a1b\",\"cognitoIdentityPoolId\":\"eu-west-1:2c3d\"}",
    ),
    (
        "Lambda-Runtime-Aws-Tenant-Id",
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
        "tenant 1",
    ),
    (
        "Lambda-Runtime-Trace-Id",
        "_X_AMZN_TRACE_ID",
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    ),
];

/// Prints each context variable twice: as bash has it, and as a child process gets it.
const PRINTS_CONTEXT: &str = r#"
handler() {
  local name
  for name in AWS_REQUEST_ID DEADLINE_MS INVOKED_FUNCTION_ARN TRACE_ID CLIENT_CONTEXT COGNITO_IDENTITY AWS_TENANT_ID; do
    name=LAMBDA_RUNTIME_$name
    printf '%s: %s: %s\n' "$name" "${!name-unset}" "$(printenv "$name" || echo unset)"
  done
  printf '_X_AMZN_TRACE_ID: %s: %s\n' "${_X_AMZN_TRACE_ID-unset}" "$(printenv _X_AMZN_TRACE_ID || echo unset)"
}"#;

fn full_event() -> Event {
    CONTEXT
        .iter()
        .fold(Event::fresh(EVENT_MARK), |event, (header, _, value)| {
            event.header(header, value)
        })
}

/// Invokes [`PRINTS_CONTEXT`]. Variables whose header `is_sent` must have their value, the others must be unset.
#[track_caller]
fn assert_context(sandbox: &Sandbox, event: Event, is_sent: impl Fn(&str) -> bool) {
    let request_id = (
        "",
        "LAMBDA_RUNTIME_AWS_REQUEST_ID",
        event.request_id.clone(),
    );
    let others = CONTEXT.iter().map(|(header, variable, value)| {
        let value = if is_sent(header) { value } else { "unset" };
        (*header, *variable, value.to_owned())
    });
    let lines = std::iter::once(request_id)
        .chain(others)
        .map(|(_, variable, value)| format!("{variable}: {value}: {value}"));
    let response = sandbox.respond_to(event);
    let response = String::from_utf8_lossy(&response);
    assert_eq!(
        response.lines().collect::<Vec<_>>(),
        lines.collect::<Vec<_>>()
    );
}

#[test]
fn header_names_match_in_any_case() {
    let sandbox = SilentSandbox::start(Sandbox::of(PRINTS_CONTEXT));
    let alternating = |name: &str| {
        let letters = name.chars().enumerate();
        letters
            .map(|(index, letter)| {
                if index % 2 == 0 {
                    letter.to_ascii_lowercase()
                } else {
                    letter.to_ascii_uppercase()
                }
            })
            .collect()
    };
    let spellings: [fn(&str) -> String; 4] = [
        ToOwned::to_owned,
        str::to_ascii_lowercase,
        str::to_ascii_uppercase,
        alternating,
    ];
    for spelling in spellings {
        assert_context(
            &sandbox,
            full_event().with_header_spelling(spelling),
            |_| true,
        );
    }
}

#[test]
fn context_variables_are_unset_when_their_header_is_absent() {
    let sandbox = SilentSandbox::start(Sandbox::of(PRINTS_CONTEXT));
    assert_context(&sandbox, full_event(), |_| true);
    let bare = Event::bare("bare", EVENT_MARK);
    assert_context(&sandbox, bare, |_| false);
    assert_context(&sandbox, full_event(), |_| true);
    for (absent, ..) in CONTEXT {
        assert_context(&sandbox, full_event().without(absent), |header| {
            header != absent
        });
    }
}

#[test]
fn context_variables_are_unset_before_the_first_invocation() {
    let script =
        "early=${LAMBDA_RUNTIME_AWS_REQUEST_ID-unset}\nhandler() { printf '%s' \"$early\"; }";
    let sandbox = SilentSandbox::start(Sandbox::of(script));
    assert_eq!(sandbox.respond_to(full_event()), b"unset");
}
