//! The talk with the mail relay: one message over one connection.
//!
//! `HELO`, as keepalived says: every relay that takes its mails takes these, and nothing here needs an
//! extension. lettre says EHLO by itself while it connects, without limits of time and size; so what it
//! reads then is written here, and the relay is spoken to step by step afterwards, each answer within the
//! limit. Not here: when and how often (`outbox`).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lbd_grammar::config::{MailHost, MailServer};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::message::mailbox;

/// What became of a message for those whom the relay did not refuse it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Recipients to try again, with what the relay said.
    pub later: Vec<(String, String)>,
    /// Recipients refused for good, with why.
    pub refused: Vec<(String, String)>,
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The relay takes none now: connection, greeting, HELO.
    Relay(String),
    /// Not this one, not now.
    Later(String),
    /// Not this one, ever.
    Never(String),
}

/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;
/// The talk as a whole may take this many times the limit of an answer.
const WHOLE: u32 = 10;
/// Limit of the farewell, when all is said.
const QUIT: Duration = Duration::from_secs(1);

/// Hands `message` to the relay for `to`. Ends within ten times `limit` and a second.
///
/// # Errors
/// [`Failure`], with words that say what was asked and what came back.
pub async fn send(
    server: &MailServer,
    helo: &str,
    limit: Duration,
    from: &str,
    to: &[String],
    message: &[u8],
) -> Result<Delivery, Failure> {
    let talk = talk(server, helo, limit, from, to, message);
    let whole = limit.saturating_mul(WHOLE);
    timeout(whole, talk)
        .await
        .unwrap_or_else(|_| Err(Failure::Later(format!("not done within {} s", whole.as_secs_f64()))))
}

async fn talk(
    server: &MailServer,
    helo: &str,
    limit: Duration,
    from: &str,
    to: &[String],
    message: &[u8],
) -> Result<Delivery, Failure> {
    let Some(sender) = mailbox(from) else {
        return Err(Failure::Never(format!("the sender {from:?} is no mail address")));
    };
    let mut relay = Relay::connect(server, limit).await.map_err(Failure::Relay)?;
    let outcome = relay.exchange(helo, sender, to, message).await;
    // What it says to that matters to nobody.
    let _farewell = timeout(QUIT.min(limit), relay.connection.command("QUIT\r\n")).await;
    outcome
}

struct Relay {
    connection: AsyncSmtpConnection,
    limit: Duration,
}

/// What came back instead of the answer that was wanted.
struct Answer {
    text: String,
    permanent: bool,
}

impl Relay {
    async fn connect(server: &MailServer, limit: Duration) -> Result<Self, String> {
        let seconds = limit.as_secs_f64();
        let addresses: Vec<SocketAddr> = match &server.host {
            MailHost::Address(address) => vec![SocketAddr::new(*address, server.port.get())],
            // Looked up on a thread of its own.
            MailHost::Name(name) => {
                let found = timeout(limit, tokio::net::lookup_host((name.as_str(), server.port.get())));
                match found.await {
                    Err(_) => return Err(format!("{name}: no answer to its look-up within {seconds} s")),
                    Ok(Err(error)) => return Err(format!("{name} is not found: {error}")),
                    Ok(Ok(found)) => found.take(MOST_ADDRESSES).collect(),
                }
            }
        };
        let mut last = "no address".to_owned();
        for address in addresses {
            match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A message is written in two parts; the second one would wait for the first one's
                    // acknowledgement. Without it, it does: slower, that is all.
                    let _slower = stream.set_nodelay(true);
                    let (line, name) = (Box::new(Line::new(stream)), ClientId::Domain("lbd".into()));
                    return match AsyncSmtpConnection::connect_with_transport(line, &name).await {
                        Ok(connection) => Ok(Relay { connection, limit }),
                        Err(error) => Err(format!("{address}: {error}")),
                    };
                }
                Ok(Err(error)) => last = format!("connect to {address}: {error}"),
                Err(_) => last = format!("connect to {address}: no answer within {seconds} s"),
            }
        }
        Err(last)
    }

    async fn exchange(
        &mut self,
        helo: &str,
        sender: &str,
        to: &[String],
        message: &[u8],
    ) -> Result<Delivery, Failure> {
        let relay = |answer: Answer| Failure::Relay(answer.text);
        let greeting = timeout(self.limit, self.connection.read_response()).await;
        self.judge("greeting", "220", greeting).map_err(relay)?;
        let helo: String = helo.chars().filter(char::is_ascii_graphic).collect();
        self.say("HELO", &format!("HELO {helo}\r\n"), "250").await.map_err(relay)?;
        let letter = |answer: Answer| match answer.permanent {
            true => Failure::Never(answer.text),
            false => Failure::Later(answer.text),
        };
        self.say("MAIL", &format!("MAIL FROM:<{sender}>\r\n"), "250").await.map_err(letter)?;
        let mut delivery = Delivery::default();
        let mut taken = false;
        for one in to {
            let Some(address) = mailbox(one) else {
                delivery.refused.push((one.clone(), "it is no mail address".into()));
                continue;
            };
            match self.say("RCPT", &format!("RCPT TO:<{address}>\r\n"), "25").await {
                Ok(()) => taken = true,
                Err(answer) if answer.permanent => delivery.refused.push((one.clone(), answer.text)),
                Err(answer) => delivery.later.push((one.clone(), answer.text)),
            }
        }
        if !taken {
            return Ok(delivery);
        }
        self.say("DATA", "DATA\r\n", "354").await.map_err(letter)?;
        let end = timeout(self.limit, self.connection.message(message)).await;
        self.judge("the message", "250", end).map_err(letter)?;
        Ok(delivery)
    }

    async fn say(&mut self, what: &str, command: &str, wanted: &str) -> Result<(), Answer> {
        let answer = timeout(self.limit, self.connection.command(command)).await;
        self.judge(what, wanted, answer)
    }

    /// Whether the code of an answer begins with `wanted`.
    fn judge(
        &self,
        what: &str,
        wanted: &str,
        answer: Result<Result<Response, lettre::transport::smtp::Error>, tokio::time::error::Elapsed>,
    ) -> Result<(), Answer> {
        let error = match answer {
            Err(_) => {
                let text = format!("{what}: no answer within {} s", self.limit.as_secs_f64());
                return Err(Answer { text, permanent: false });
            }
            Ok(Ok(response)) => {
                let code = response.code().to_string();
                if code.starts_with(wanted) {
                    return Ok(());
                }
                let text = format!("{what}: answered {code}, wanted {wanted}");
                return Err(Answer { text, permanent: false });
            }
            Ok(Err(error)) => error,
        };
        let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let text = match error.status() {
            Some(code) => format!("{what}: refused with {code} {}", shown(&said)),
            None if said == "incomplete response" => format!("{what}: the relay closed the connection"),
            None if error.is_response() => format!("{what}: the answer is not SMTP"),
            None => format!("{what}: {}", if said.is_empty() { error.to_string() } else { shown(&said) }),
        };
        Err(Answer { text, permanent: error.is_permanent() })
    }
}

/// For a log line.
fn shown(said: &str) -> String {
    const MOST: usize = 200;
    said.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The connection as lettre sees it.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    /// What lettre reads first: a greeting, and the answer to an EHLO that is not sent.
    script: VecDeque<u8>,
    /// That EHLO was swallowed.
    greeted: bool,
    /// Octets of the answer so far.
    answer: usize,
}

/// Longest answer. RFC 5321 §4.5.3.1.5 has 512 octets a line.
const LONGEST_ANSWER: usize = 64 * 1024;

impl Line {
    fn new(stream: TcpStream) -> Self {
        let script = b"220 lbd\r\n250 lbd\r\n".iter().copied().collect();
        Line { stream, script, greeted: false, answer: 0 }
    }
}

impl AsyncTokioStream for Line {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.script.is_empty() {
            let count = self.script.len().min(buffer.remaining());
            let bytes: Vec<u8> = self.script.drain(..count).collect();
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let mut count = 0;
        for octet in buffer.filled_mut().iter_mut().skip(before) {
            count += 1;
            // Whatever alphabet it is in: only the code counts, and lettre wants UTF-8.
            if !octet.is_ascii() {
                *octet = b'?';
            }
        }
        self.answer += count;
        if self.answer > LONGEST_ANSWER {
            return Poll::Ready(Err(io::Error::other(format!("the answer exceeds {LONGEST_ANSWER} octets"))));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.greeted {
            // lettre writes a command at once.
            self.greeted = true;
            return Poll::Ready(Ok(bytes.len()));
        }
        self.answer = 0;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
