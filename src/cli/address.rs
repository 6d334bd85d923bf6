//! The addresses that `serve` listens on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// The address of AWS's emulator in a container.
pub(crate) const AWS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// The port that AWS's tutorial for container images uses.
const PORT: u16 = 9000;
/// Docker and Podman create these files in every container.
const CONTAINER_FILES: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// `host:port`, where either part may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Address {
    pub host: Option<IpAddr>,
    pub port: Option<u16>,
}

impl Address {
    /// Parses `HOST`, `:PORT` or `HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parse_host = |host: &str| match host {
            "" => Ok(None),
            "localhost" => Ok(Some(Ipv4Addr::LOCALHOST.into())),
            host => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let host = host
                    .parse()
                    .map_err(|_| "expected HOST[:PORT], the host as an IP address");
                host.map(Some)
            }
        };
        if let Ok(host) = parse_host(text) {
            return Ok(Self { host, port: None });
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("expected HOST[:PORT], the host as an IP address")?;
        Ok(Self {
            host: parse_host(host)?,
            port: Some(parse_port(port)?),
        })
    }

    /// This address, with its missing parts taken from `default`.
    pub fn or(self, default: SocketAddr) -> SocketAddr {
        let host = self.host.unwrap_or(default.ip());
        SocketAddr::new(host, self.port.unwrap_or(default.port()))
    }
}

pub(crate) fn parse_port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a port number"))
}

/// Loopback, or in a container all addresses: nobody outside of it could reach its loopback.
pub(crate) fn default_address() -> SocketAddr {
    let is_in_container = CONTAINER_FILES.iter().any(|file| Path::new(file).exists());
    let host = if is_in_container {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::from((host, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_a_host_a_port_or_both() {
        let parts = |text| Address::parse(text).map(|address| (address.host, address.port));
        let loopback = Some(Ipv4Addr::LOCALHOST.into());
        assert_eq!(parts("127.0.0.1"), Ok((loopback, None)));
        assert_eq!(parts("localhost:8080"), Ok((loopback, Some(8080))));
        assert_eq!(parts(":8080"), Ok((None, Some(8080))));
        assert_eq!(
            parts("[::1]:80"),
            Ok((Some(std::net::Ipv6Addr::LOCALHOST.into()), Some(80)))
        );
        for wrong in ["example.com", "127.0.0.1:x", "127.0.0.1:70000"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
