//! A DNS query and what answers it (RFC 1035 §4).
//!
//! ```text
//!  0: ID
//!  2: QR Opcode(4) AA TC RD | RA Z(3) RCODE(4)
//!  4: QDCOUNT   6: ANCOUNT   8: NSCOUNT   10: ARCOUNT
//! 12: QNAME (length and octets of each label, 0), QTYPE, QCLASS
//! ```
//!
//! Here: octets, any of which are taken. Not here: sending them (`dns`). Of an answer only header and
//! question are looked at: a truncated one is an answer as well, and names in records, which could point
//! at each other in a circle, are never followed.

use crate::types::DnsType;

/// One question of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    id: u16,
    /// QNAME, QTYPE, QCLASS.
    question: Vec<u8>,
}

/// Why a datagram is not an answer to the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// Shorter than a header.
    TooShort,
    /// The id of another query.
    OtherId,
    /// A query itself.
    NotAResponse,
    /// It answers another question, or its question cannot be read.
    OtherQuestion,
}

impl NotOurs {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            NotOurs::TooShort => "too short",
            NotOurs::OtherId => "other id",
            NotOurs::NotAResponse => "not a response",
            NotOurs::OtherQuestion => "other question",
        }
    }
}

impl Query {
    /// Of class IN. `name` as in [`DnsCheck::name`](crate::types::DnsCheck::name); labels are cut at the
    /// limits of the protocol.
    pub fn new(id: u16, record: DnsType, name: &str) -> Self {
        let mut question = Vec::with_capacity(name.len() + 6);
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let label = label.as_bytes();
            let label = label.get(..MAX_LABEL).unwrap_or(label);
            if question.len() + 1 + label.len() > MAX_NAME - 1 {
                break;
            }
            question.push(u8::try_from(label.len()).expect("at most 63"));
            question.extend_from_slice(label);
        }
        question.push(0);
        question.extend_from_slice(&type_number(record).to_be_bytes());
        question.extend_from_slice(&CLASS_IN);
        Query { id, question }
    }

    /// What is sent: recursion desired, one question.
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(HEADER + self.question.len());
        octets.extend_from_slice(&self.id.to_be_bytes());
        octets.extend_from_slice(&[RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend_from_slice(&self.question);
        octets
    }

    /// The response code 0..=15 of an answer to this query.
    ///
    /// keepalived does not look at the question. Here an answer that has one must have ours (RFC 5452
    /// §9.1), in letters of any case; one without a question is taken, as some servers refuse so.
    ///
    /// # Errors
    /// Why `octets` are not an answer to it.
    pub fn rcode_in(&self, octets: &[u8]) -> Result<u8, NotOurs> {
        let Some((&[id_high, id_low, flags, code, questions_high, questions_low, ..], rest)) =
            octets.split_first_chunk::<HEADER>()
        else {
            return Err(NotOurs::TooShort);
        };
        if u16::from_be_bytes([id_high, id_low]) != self.id {
            return Err(NotOurs::OtherId);
        }
        if flags & RESPONSE == 0 {
            return Err(NotOurs::NotAResponse);
        }
        match u16::from_be_bytes([questions_high, questions_low]) {
            0 => {}
            1 if self.asks(rest) => {}
            _ => return Err(NotOurs::OtherQuestion),
        }
        Ok(code & RCODE)
    }

    /// Whether a message's octets after the header begin with our question.
    fn asks(&self, rest: &[u8]) -> bool {
        let (name, tail) = self.question.split_at(self.question.len().saturating_sub(4));
        // Lengths are below 64 and so no letters.
        rest.split_at_checked(name.len())
            .is_some_and(|(theirs, after)| theirs.eq_ignore_ascii_case(name) && after.starts_with(tail))
    }
}

/// What holds for any octets: who is taken for the answerer knows the id, says that it is a response, and
/// repeats the question if there is one. For property tests and fuzzing.
pub fn law(octets: &[u8]) -> bool {
    let query = Query::new(0x1234, DnsType::A, "www.example.net");
    match query.rcode_in(octets) {
        Ok(rcode) => {
            let sent = query.octets();
            let header =
                octets.starts_with(&[0x12, 0x34]) && octets.get(2).is_some_and(|flags| *flags >= RESPONSE);
            let question = || octets.get(HEADER..sent.len()).map(<[u8]>::to_ascii_lowercase);
            let echoed = octets.get(4..6) == Some(&[0, 0])
                || octets.get(4..6) == Some(&[0, 1]) && question().as_deref() == sent.get(HEADER..);
            rcode <= RCODE && header && echoed
        }
        Err(_) => true,
    }
}

/// Name of a response code (RFC 6895 §2.3).
pub fn rcode_name(rcode: u8) -> String {
    let name = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        other => return other.to_string(),
    };
    name.into()
}

/// RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 4034 §2 and §3.
fn type_number(record: DnsType) -> u16 {
    match record {
        DnsType::A => 1,
        DnsType::Ns => 2,
        DnsType::Cname => 5,
        DnsType::Soa => 6,
        DnsType::Mx => 15,
        DnsType::Txt => 16,
        DnsType::Aaaa => 28,
        DnsType::Rrsig => 46,
        DnsType::Dnskey => 48,
    }
}

const HEADER: usize = 12;
const RECURSION_DESIRED: u8 = 0x01;
const RESPONSE: u8 = 0x80;
const RCODE: u8 = 0x0f;
const CLASS_IN: [u8; 2] = [0, 1];
/// Octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Octets of a name with lengths and end (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
