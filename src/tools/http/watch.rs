//! Notices whether a request opened a connection, and whether the server sent anything.

use std::cell::Cell;

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};

thread_local! {
    // The client connects, and reads the head of an answer, in the thread of its caller.
    static SEEN: Cell<Seen> = const { Cell::new(Seen::NOTHING) };
    /// A proxy gets the whole URL.
    static IS_RELAYED: Cell<bool> = const { Cell::new(false) };
}

/// What happened on behalf of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The connection is a new one.
    pub has_connected: bool,
    pub has_sent: bool,
    pub has_received: bool,
}

impl Seen {
    const NOTHING: Self = Self {
        has_connected: false,
        has_sent: false,
        has_received: false,
    };
}

fn update(change: impl FnOnce(&mut Seen)) {
    let mut seen = SEEN.get();
    change(&mut seen);
    SEEN.set(seen);
}

/// Runs `send`, and reports what happened meanwhile. If a proxy relays the request, its path is `/` and the whole URL:
/// that is no path for ureq without the `/`.
pub(super) fn watch<T>(is_relayed: bool, send: impl FnOnce() -> T) -> (T, Seen) {
    SEEN.set(Seen::NOTHING);
    IS_RELAYED.set(is_relayed);
    let result = send();
    (result, SEEN.get())
}

/// Connects as ureq does by itself.
#[derive(Debug, Default)]
pub(super) struct Watched(DefaultConnector);

impl Connector<()> for Watched {
    type Out = WatchedTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        update(|seen| seen.has_connected = true);
        let transport = self.0.connect(details, chained)?;
        Ok(transport.map(WatchedTransport))
    }
}

/// `GET /http://host/ HTTP/1.1`, without the first slash. Returns how many bytes there are.
fn drop_slash(output: &mut [u8], amount: usize) -> usize {
    match output[..amount].iter().position(|byte| *byte == b'/') {
        Some(at) => {
            output.copy_within(at + 1..amount, at);
            amount - 1
        }
        None => amount,
    }
}

#[derive(Debug)]
pub(super) struct WatchedTransport(Box<dyn Transport>);

impl Transport for WatchedTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let amount = if IS_RELAYED.get() && !SEEN.get().has_sent {
            drop_slash(self.0.buffers().output(), amount)
        } else {
            amount
        };
        self.0.transmit_output(amount, timeout)?;
        update(|seen| seen.has_sent = true);
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let has_more = self.0.await_input(timeout)?;
        update(|seen| seen.has_received |= has_more);
        Ok(has_more)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
