//! The extensions of one sandbox, and the INVOKE and SHUTDOWN events for them.
//!
//! An init or an invocation is over only when every registered extension waits for its next event. An extension is
//! external if it is a program in the folder of extensions. It is internal if the runtime registers it; then it gets
//! no SHUTDOWN.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::exchange::{Exchange, new_id};
use super::refusal::Refusal;

/// Lambda's limit.
const MAX_COUNT: usize = 10;

#[derive(Debug)]
struct Extension {
    identifier: String,
    name: String,
    wants_invoke: bool,
    wants_shutdown: bool,
    events: VecDeque<Value>,
    is_waiting: bool,
}

impl Extension {
    /// Sends it no more events, and lets it count as waiting.
    fn deactivate(&mut self) {
        self.wants_invoke = false;
        self.wants_shutdown = false;
        self.is_waiting = true;
    }
}

/// The extensions of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// The names of the external extensions, which have to register.
    external: Vec<String>,
    registered: Mutex<Vec<Extension>>,
    event_sent: Notify,
    deactivated: Notify,
}

impl Extensions {
    /// None is registered yet. The external ones are expected to.
    pub(crate) fn new(external: Vec<String>) -> Self {
        Self {
            external,
            ..Self::default()
        }
    }

    /// Registers an extension for the events in `{"events": [...]}`, and returns its identifier.
    ///
    /// # Errors
    /// When the name is missing or in use, when it may not have one of the events, or when too many are registered.
    pub(crate) fn register(&self, name: &str, body: &[u8]) -> Result<String, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::REQUEST_BODY)?;
        let events = match &body["events"] {
            Value::Null => &[],
            Value::Array(events) => events.as_slice(),
            _ => return Err(Refusal::REQUEST_BODY),
        };
        let is_known = |event: &Value| event == "INVOKE" || event == "SHUTDOWN";
        let wants_shutdown = events.iter().any(|event| event == "SHUTDOWN");
        let is_external = self.external.iter().any(|external| external == name);
        if !events.iter().all(is_known) || (wants_shutdown && !is_external) {
            return Err(Refusal::EXTENSION_EVENT);
        }
        if name.is_empty() {
            return Err(Refusal::EXTENSION_NAME);
        }
        let mut registered = self.registered();
        if registered.iter().any(|extension| extension.name == name) {
            return Err(Refusal::EXTENSION_TWICE);
        }
        if registered.len() == MAX_COUNT {
            return Err(Refusal::EXTENSION_COUNT);
        }
        let identifier = new_id();
        registered.push(Extension {
            identifier: identifier.clone(),
            name: name.to_owned(),
            wants_invoke: events.iter().any(|event| event == "INVOKE"),
            wants_shutdown,
            events: VecDeque::new(),
            is_waiting: false,
        });
        Ok(identifier)
    }

    /// Whether this is an external extension that has not registered yet.
    pub(crate) fn is_expected(&self, name: &str) -> bool {
        let is_registered = self.registered().iter().any(|known| known.name == name);
        !is_registered && self.external.iter().any(|external| external == name)
    }

    /// # Errors
    /// When no such extension is registered.
    pub(crate) fn name_of(&self, identifier: &str) -> Result<String, Refusal> {
        let registered = self.registered();
        let found = registered
            .iter()
            .find(|extension| extension.identifier == identifier);
        let found = found.map(|extension| extension.name.clone());
        found.ok_or(Refusal::EXTENSION_IDENTIFIER)
    }

    /// Waits for the extension's next event. Calls `on_wait` if there is none yet.
    ///
    /// # Errors
    /// When no such extension is registered.
    pub(crate) async fn next_event(
        &self,
        identifier: &str,
        on_wait: impl Fn(),
    ) -> Result<Value, Refusal> {
        loop {
            // Listen before looking, so that no event is missed in between.
            let event_sent = self.event_sent.notified();
            tokio::pin!(event_sent);
            event_sent.as_mut().enable();
            if let Some(event) = self.take_event(identifier)? {
                return Ok(event);
            }
            on_wait();
            event_sent.await;
        }
    }

    fn take_event(&self, identifier: &str) -> Result<Option<Value>, Refusal> {
        let mut registered = self.registered();
        let found = registered
            .iter_mut()
            .find(|extension| extension.identifier == identifier);
        let extension = found.ok_or(Refusal::EXTENSION_IDENTIFIER)?;
        let event = extension.events.pop_front();
        extension.is_waiting = event.is_none();
        Ok(event)
    }

    /// Notes that the program of an external extension has exited.
    pub(crate) fn record_exit(&self, name: &str) {
        let mut registered = self.registered();
        if let Some(extension) = registered.iter_mut().find(|known| known.name == name) {
            extension.deactivate();
        }
        drop(registered);
        self.deactivated.notify_waiters();
    }

    /// Waits until every extension that gets SHUTDOWN has exited or reported an error.
    pub(crate) async fn wait_for_exit(&self) {
        loop {
            // Listen before looking, so that no exit is missed in between.
            let deactivated = self.deactivated.notified();
            tokio::pin!(deactivated);
            deactivated.as_mut().enable();
            if !self.registered().iter().any(|known| known.wants_shutdown) {
                return;
            }
            deactivated.await;
        }
    }

    /// Sends an extension that has reported an error no more events, and no longer waits for it.
    ///
    /// # Errors
    /// When no such extension is registered.
    pub(crate) fn deactivate(&self, identifier: &str) -> Result<(), Refusal> {
        let mut registered = self.registered();
        let found = registered
            .iter_mut()
            .find(|extension| extension.identifier == identifier);
        found.ok_or(Refusal::EXTENSION_IDENTIFIER)?.deactivate();
        drop(registered);
        self.deactivated.notify_waiters();
        Ok(())
    }

    /// Sends INVOKE to the extensions that registered for it.
    pub(crate) fn send_invoke(&self, exchange: &Exchange) {
        self.send(
            |extension| extension.wants_invoke,
            || {
                json!({
                    "eventType": "INVOKE",
                    "deadlineMs": u64::try_from(exchange.deadline_ms).unwrap_or(u64::MAX),
                    "requestId": exchange.request_id,
                    "invokedFunctionArn": exchange.function_arn,
                    "tracing": {"type": "X-Amzn-Trace-Id", "value": exchange.trace_id},
                })
            },
        );
    }

    /// Sends SHUTDOWN, with a deadline in `grace`, to the extensions that registered for it. False if there are none.
    pub(crate) fn send_shutdown(&self, grace: Duration) -> bool {
        let deadline = SystemTime::now() + grace;
        let since_epoch = deadline.duration_since(UNIX_EPOCH);
        let deadline_ms = u64::try_from(since_epoch.unwrap_or_default().as_millis());
        self.send(
            |extension| extension.wants_shutdown,
            || {
                json!({
                    "eventType": "SHUTDOWN",
                    "shutdownReason": "spindown",
                    "deadlineMs": deadline_ms.unwrap_or(u64::MAX),
                })
            },
        )
    }

    fn send(&self, wants: impl Fn(&Extension) -> bool, event: impl Fn() -> Value) -> bool {
        let mut was_sent = false;
        let mut registered = self.registered();
        for extension in registered.iter_mut().filter(|extension| wants(extension)) {
            extension.events.push_back(event());
            extension.is_waiting = false;
            was_sent = true;
        }
        drop(registered);
        if was_sent {
            self.event_sent.notify_waiters();
        }
        was_sent
    }

    /// Whether all expected extensions have registered, and all registered ones wait for an event.
    pub(crate) fn are_waiting(&self) -> bool {
        let registered = self.registered();
        let is_registered =
            |name: &String| registered.iter().any(|extension| extension.name == *name);
        self.external.iter().all(is_registered)
            && registered.iter().all(|extension| extension.is_waiting)
    }

    /// Never hold the guard over an `await`.
    fn registered(&self) -> MutexGuard<'_, Vec<Extension>> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Event;
    use super::*;

    const INVOKE: &[u8] = br#"{"events":["INVOKE"]}"#;

    fn exchange() -> Exchange {
        Exchange::open("id", Event::default(), "arn", Duration::from_secs(1)).0
    }

    #[test]
    fn registration_is_refused_as_lambda_refuses_it() {
        let extensions = Extensions::new(vec!["outer".to_owned()]);
        let shutdown = br#"{"events":["SHUTDOWN"]}"#;
        let register = |name: &str, body: &[u8]| extensions.register(name, body).map(drop);
        assert_eq!(register("", INVOKE), Err(Refusal::EXTENSION_NAME));
        assert_eq!(register("inner", shutdown), Err(Refusal::EXTENSION_EVENT));
        assert_eq!(
            register("inner", br#"{"events":["OTHER"]}"#),
            Err(Refusal::EXTENSION_EVENT)
        );
        assert_eq!(register("inner", b"events"), Err(Refusal::REQUEST_BODY));
        assert_eq!(register("outer", shutdown), Ok(()));
        assert_eq!(register("outer", shutdown), Err(Refusal::EXTENSION_TWICE));
        for number in 1..MAX_COUNT {
            assert_eq!(register(&number.to_string(), b"{}"), Ok(()));
        }
        assert_eq!(register("one more", b"{}"), Err(Refusal::EXTENSION_COUNT));
    }

    #[tokio::test]
    async fn extension_gets_invocations_and_waits_again() {
        let extensions = Extensions::default();
        let identifier = extensions.register("one", INVOKE).unwrap_or_default();
        assert!(!extensions.are_waiting());
        assert_eq!(extensions.take_event(&identifier), Ok(None));
        assert!(extensions.are_waiting());
        extensions.send_invoke(&exchange());
        assert!(!extensions.are_waiting());
        let event = extensions.next_event(&identifier, || {}).await;
        assert_eq!(
            event.map(|event| event["requestId"].clone()),
            Ok(json!("id"))
        );
        assert!(!extensions.are_waiting());
        assert_eq!(
            extensions.take_event("stray"),
            Err(Refusal::EXTENSION_IDENTIFIER)
        );
    }

    #[test]
    fn external_extension_that_has_not_registered_is_waited_for() {
        let extensions = Extensions::new(vec!["outer".to_owned()]);
        assert!(!extensions.are_waiting());
        assert!(extensions.is_expected("outer") && !extensions.is_expected("inner"));
        let identifier = extensions.register("outer", b"{}").unwrap_or_default();
        assert!(!extensions.is_expected("outer"));
        assert_eq!(extensions.take_event(&identifier), Ok(None));
        assert!(extensions.are_waiting());
        extensions.send_invoke(&exchange());
        assert!(extensions.are_waiting());
    }

    #[test]
    fn extension_that_reported_an_error_is_not_waited_for() {
        let extensions = Extensions::default();
        let identifier = extensions.register("one", INVOKE).unwrap_or_default();
        assert_eq!(extensions.deactivate(&identifier), Ok(()));
        extensions.send_invoke(&exchange());
        assert!(extensions.are_waiting());
        assert_eq!(
            extensions.deactivate("stray"),
            Err(Refusal::EXTENSION_IDENTIFIER)
        );
    }
}
