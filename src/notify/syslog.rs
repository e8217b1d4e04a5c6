//! Events as messages of RFC 5424.
//!
//! Syslog has no acknowledgement: an event counts as delivered once it is handed
//! to the system or the connection.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Outgoing, SendError, Sending, Sink};

/// How long an attempt may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The facility `authpriv`.
const FACILITY: u8 = 10;

/// Where the messages go: an absolute path of a Unix socket,
/// `udp://HOST:PORT` or `tcp://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// TCP, with octet counting (RFC 6587 section 3.4.1).
    Tcp(String),
    /// UDP (RFC 5426).
    Udp(String),
    /// A Unix socket, such as `/dev/log`.
    Unix(PathBuf),
}

/// A text that is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syslog is reached by /PATH, udp://HOST:PORT or tcp://HOST:PORT")]
pub struct InvalidTarget;

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        let has_port = |address: &str| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(address) = text.strip_prefix("udp://").filter(|a| has_port(a)) {
            Ok(Self::Udp(address.to_owned()))
        } else if let Some(address) = text.strip_prefix("tcp://").filter(|a| has_port(a)) {
            Ok(Self::Tcp(address.to_owned()))
        } else if text.starts_with('/') {
            Ok(Self::Unix(text.into()))
        } else {
            Err(InvalidTarget)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A receiver of syslog messages.
#[derive(Debug)]
pub struct SyslogSink {
    target: Target,
    host: String,
    tcp: Mutex<Option<TcpStream>>,
}

impl SyslogSink {
    /// Messages to `target`, as coming from `host`.
    #[must_use]
    pub fn new(target: Target, host: String) -> Self {
        Self { target, host, tcp: Mutex::new(None) }
    }

    fn message(&self, event: &Outgoing) -> Vec<u8> {
        let severity = match event.name.level() {
            "CRITICAL" => 2,
            "WARN" => 4,
            _ => 6,
        };
        let millis = event.at.millis().rem_euclid(1000);
        let time = event.at.to_string();
        let time = time.strip_suffix('Z').unwrap_or(&time);
        let host: String = self.host.chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-" } else { &host };
        let head = format!(
            "<{}>1 {time}.{millis:03}Z {host} strongroom - {} - ",
            FACILITY * 8 + severity,
            event.name.result()
        );
        [head.as_bytes(), event.body.as_bytes()].concat()
    }

    async fn hand_over(&self, message: &[u8]) -> io::Result<()> {
        match &self.target {
            Target::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                match socket.connect(path) {
                    Ok(()) => socket.send(message).await.map(drop),
                    // Some systems have a stream socket there.
                    Err(error) if error.raw_os_error() == Some(PROTOTYPE) => {
                        let mut stream = UnixStream::connect(path).await?;
                        stream.write_all(message).await?;
                        stream.write_all(b"\n").await?;
                        stream.shutdown().await
                    }
                    Err(error) => Err(error),
                }
            }
            Target::Udp(address) => {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in tokio::net::lookup_host(address).await? {
                    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.send_to(message, address).await {
                        Ok(_) => return Ok(()),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Target::Tcp(address) => {
                let mut kept = self.tcp.lock().await;
                let mut stream = match kept.take().filter(is_open) {
                    Some(stream) => stream,
                    None => TcpStream::connect(address).await?,
                };
                let framed = [format!("{} ", message.len()).as_bytes(), message].concat();
                stream.write_all(&framed).await?;
                *kept = Some(stream);
                Ok(())
            }
        }
    }
}

/// EPROTOTYPE: the socket is of the other kind.
const PROTOTYPE: i32 = 91;

/// Whether the other side has not closed it; syslog never answers.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Sink for SyslogSink {
    fn name(&self) -> &str {
        "syslog"
    }

    fn send<'a>(&'a self, events: &'a [Outgoing]) -> Sending<'a> {
        Box::pin(async move {
            for event in events {
                let sent = timeout(LIMIT, self.hand_over(&self.message(event))).await;
                sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
                    .map_err(|error| SendError::Later(Box::new(error)))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventName, Timestamp};

    #[test]
    fn a_message_has_the_form_of_rfc_5424() {
        let sink = SyslogSink::new(Target::Unix("/dev/log".into()), "vault 1".to_owned());
        let at = Timestamp::from_millis(1_534_399_175_089);
        for (name, start) in [
            (EventName::Failure, "<82>1 2018-08-16T05:59:35.089Z vault1 strongroom - Failure - {}"),
            (EventName::Success, "<86>1 2018-08-16T05:59:35.089Z vault1 strongroom - Success - {}"),
            (EventName::Overdue, "<84>1 2018-08-16T05:59:35.089Z vault1 strongroom - Overdue - {}"),
        ] {
            let event = Outgoing { id: String::new(), name, at, body: "{}".to_owned() };
            assert_eq!(String::from_utf8(sink.message(&event)).unwrap(), start);
        }
    }

    #[test]
    fn a_target_prints_as_it_is_written() {
        for text in ["/dev/log", "udp://127.0.0.1:514", "tcp://[::1]:601", "tcp://log.example:6514"] {
            assert_eq!(Target::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for bad in ["", "dev/log", "udp://host", "tcp://:1", "http://a:1"] {
            assert!(Target::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
