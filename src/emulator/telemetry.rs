//! What extensions are sent of a sandbox, if they subscribe: the platform's events, and the log.
//!
//! Lambda's Telemetry API: <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>, and
//! for the events <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>. A
//! subscriber is posted arrays of events, as many as it wants, and as late as it allows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;

/// As Lambda's defaults.
const MAX_ITEMS: u64 = 1000;
const TIMEOUT_MS: u64 = 1000;
/// How long a subscriber may take for an array.
const POST_LIMIT: Duration = Duration::from_secs(2);
/// How long the last events may take.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// Names of the sandbox that resolve on Lambda alone.
const OWN_HOSTS: [&str; 2] = ["sandbox.localdomain", "sandbox"];

/// The subscribers of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    /// `platform` or `function`.
    types: Vec<String>,
    events: mpsc::UnboundedSender<Value>,
    task: JoinHandle<()>,
}

impl Telemetry {
    /// Subscribes an extension, from the body of its request.
    ///
    /// # Errors
    /// When that is not as Lambda wants it: `types` and an HTTP `destination`.
    pub(crate) fn subscribe(&self, extension: &str, body: &[u8]) -> Result<(), Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::REQUEST_BODY)?;
        let types = body["types"].as_array().into_iter().flatten();
        let types = types.filter_map(|one| one.as_str().map(ToOwned::to_owned));
        let types: Vec<String> = types.collect();
        let is_known = |one: &String| ["platform", "function", "extension"].contains(&one.as_str());
        let destination = &body["destination"];
        let uri = destination["URI"].as_str().and_then(local_uri);
        let (Some(uri), false, true) = (uri, types.is_empty(), types.iter().all(is_known)) else {
            return Err(Refusal::REQUEST_BODY);
        };
        let number = |name: &str, default| body["buffering"][name].as_u64().unwrap_or(default);
        let max_items = usize::try_from(number("maxItems", MAX_ITEMS)).unwrap_or(usize::MAX);
        let pause = Duration::from_millis(number("timeoutMs", TIMEOUT_MS));
        let (events, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(deliver(uri, receiver, max_items, pause));
        let record = json!({"name": extension, "state": "Subscribed", "types": types});
        // The receiver lives in the task that was just started.
        let _ = events.send(event("platform.telemetrySubscription", &record));
        self.subscribers().push(Subscriber {
            types,
            events,
            task,
        });
        Ok(())
    }

    /// Something that the platform did; `record` is asked for if anybody wants to know.
    pub(crate) fn tell(&self, event_type: &str, record: impl FnOnce() -> Value) {
        let subscribers = self.subscribers();
        if subscribers.is_empty() {
            return;
        }
        let event = event(event_type, &record());
        send(&subscribers, "platform", &event);
    }

    /// Whole lines that the function has logged.
    pub(crate) fn tell_lines(&self, lines: &[u8]) {
        let subscribers = self.subscribers();
        if subscribers.is_empty() {
            return;
        }
        for line in String::from_utf8_lossy(lines).lines() {
            send(&subscribers, "function", &event("function", &line.into()));
        }
    }

    /// Sends what is left, for half a second at most; nothing is sent after that.
    pub(crate) async fn close(&self) {
        let subscribers = std::mem::take(&mut *self.subscribers());
        let end = Instant::now() + CLOSE_LIMIT;
        for Subscriber { events, task, .. } in subscribers {
            drop(events);
            let _ = timeout_at(end, task).await;
        }
    }

    /// Never held over an `await`.
    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(subscribers: &[Subscriber], wanted: &str, event: &Value) {
    for subscriber in subscribers {
        if subscriber.types.iter().any(|one| one == wanted) {
            // An error means that its task has ended.
            let _ = subscriber.events.send(event.clone());
        }
    }
}

fn event(event_type: &str, record: &Value) -> Value {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    json!({"time": time, "type": event_type, "record": record})
}

/// Where the subscriber listens; it runs on this machine, by whatever name it calls that.
fn local_uri(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host = if OWN_HOSTS.contains(&host) {
        "127.0.0.1"
    } else {
        host
    };
    Some(format!("http://{host}{rest}"))
}

/// Posts the events as arrays, until there will be no more.
async fn deliver(
    uri: String,
    mut events: mpsc::UnboundedReceiver<Value>,
    max_items: usize,
    pause: Duration,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(POST_LIMIT))
        .proxy(None)
        .build()
        .into();
    while let Some(first) = events.recv().await {
        let mut array = vec![first];
        let end = Instant::now() + pause;
        while array.len() < max_items.max(1) {
            match timeout_at(end, events.recv()).await {
                Ok(Some(event)) => array.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        let (agent, uri) = (agent.clone(), uri.clone());
        let post = tokio::task::spawn_blocking(move || {
            let post = agent.post(&uri).header("content-type", "application/json");
            post.send(Value::Array(array).to_string())
        });
        // One that does not listen misses it, as on Lambda.
        let _ = timeout(POST_LIMIT, post).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn subscription_needs_types_and_a_destination() {
        let telemetry = Telemetry::default();
        let subscribe = |body: &str| telemetry.subscribe("one", body.as_bytes());
        for wrong in [
            "",
            "{}",
            r#"{"types":["platform"]}"#,
            r#"{"types":[],"destination":{"URI":"http://sandbox:1"}}"#,
            r#"{"types":["other"],"destination":{"URI":"http://sandbox:1"}}"#,
            r#"{"types":["platform"],"destination":{"URI":"tcp://sandbox:1"}}"#,
        ] {
            assert_eq!(subscribe(wrong), Err(Refusal::REQUEST_BODY), "{wrong}");
        }
        let right = r#"{"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:1"}}"#;
        assert_eq!(subscribe(right), Ok(()));
    }

    #[test]
    fn own_names_of_the_sandbox_are_this_machine() {
        let local = |uri| local_uri(uri).unwrap_or_default();
        assert_eq!(
            local("http://sandbox.localdomain:8080/a"),
            "http://127.0.0.1:8080/a"
        );
        assert_eq!(local("http://sandbox/a"), "http://127.0.0.1/a");
        assert_eq!(local("http://127.0.0.2:80"), "http://127.0.0.2:80");
        assert_eq!(local("https://sandbox"), "");
    }
}
