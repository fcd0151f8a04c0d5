//! The octets of a mail: header and body as keepalived writes them, so that filters still match.
//!
//! Pure. Not here: dots and the envelope's dialogue (`smtp`), the words (`super`).

use std::time::SystemTime;

use lettre::message::Body;
use lettre::message::header::{Date, HeaderName, HeaderValue, Headers};

use super::Letter;

/// Longest line that a header field may be (RFC 5322 §2.1.1), less some room.
const LINE: usize = 900;
/// Longest subject or body; longer ones are cut.
const TEXT: usize = 800;

/// The whole message, lines ended by CR LF.
pub fn message(letter: &Letter) -> Vec<u8> {
    let settings = &letter.settings;
    let mut text = String::new();
    let mut field = |name: &'static str, value: &str| {
        text.push_str(&format!("{name}: {value}\r\n"));
    };
    field("Date", &date(letter.at));
    field("From", &encoded("From", &plain(&settings.from)));
    field("Subject", &encoded("Subject", &cut(&plain(&letter.subject))));
    field("X-Mailer", "Keepalived");
    field("To", &recipients(&settings.to));
    let body = cut(&plain(&letter.body));
    if body.is_ascii() {
        text.push_str(&format!("\r\n{body}\r\n"));
        return text.into_bytes();
    }
    let body = Body::new(format!("{body}\r\n"));
    field("MIME-Version", "1.0");
    field("Content-Type", "text/plain; charset=utf-8");
    field("Content-Transfer-Encoding", &body.encoding().to_string());
    text.push_str("\r\n");
    let mut message = text.into_bytes();
    message.extend_from_slice(&body.into_vec());
    message
}

/// The part of `address` that goes into MAIL and RCPT: what is in the last `<…>`, else all of it.
/// `None` if it cannot be there: it is empty or has octets that a command must not have.
pub fn mailbox(address: &str) -> Option<&str> {
    let address = address.trim();
    let inner = match (address.rfind('<'), address.strip_suffix('>')) {
        (Some(open), Some(body)) => body.get(open + 1..)?,
        _ => address,
    };
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>');
    (!inner.is_empty() && inner.len() <= 320 && inner.chars().all(good)).then_some(inner)
}

/// RFC 5322 with the offset that keepalived writes.
fn date(at: SystemTime) -> String {
    let mut headers = Headers::new();
    headers.set(Date::new(at));
    value(&headers, "Date").replace("GMT", "+0000")
}

/// The value of the only field, as it is written.
fn value(headers: &Headers, name: &str) -> String {
    let text = headers.to_string();
    let value = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
    value.trim_end().to_owned()
}

/// Without octets that would end a field.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// As it stands where that is allowed, so that the whole subject is in one line; else RFC 2047.
fn encoded(name: &'static str, text: &str) -> String {
    if text.is_ascii() && text.len() <= LINE {
        return text.to_owned();
    }
    let mut headers = Headers::new();
    headers.insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), text.to_owned()));
    value(&headers, name)
}

fn recipients(to: &[String]) -> String {
    let mut text = String::new();
    let mut line = 0;
    for one in to {
        let one = encoded("To", &plain(one));
        if !text.is_empty() {
            text.push(',');
            line += one.len() + 2;
            if line > LINE {
                text.push_str("\r\n");
                line = one.len();
            }
            text.push(' ');
        }
        text.push_str(&one);
    }
    text
}
