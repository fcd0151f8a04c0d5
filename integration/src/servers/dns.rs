//! Answers of name servers, made from the octets of the question (RFC 1035 §4.1): good ones and bad ones.
//!
//! ```text
//! 0 id 2 | flags 2 | questions 2 | answers 2 | authorities 2 | additional 2 | question: labels, type 2, class 2
//! ```

use super::udp::Answer;

/// Octets of the header.
const HEADER: usize = 12;
/// QR, RD and RA.
const RESPONSE: u16 = 0x8180;
/// TC
const TRUNCATED: u16 = 0x0200;

/// One A record for whatever is asked.
pub fn good() -> Answer {
    Answer::new(|question| vec![with_record(question)])
}

/// An answer without records and with this RCODE (2 is SERVFAIL, 3 NXDOMAIN).
pub fn code(rcode: u16) -> Answer {
    Answer::new(move |question| vec![reply(question, RESPONSE | rcode, 0)])
}

/// An answer that is too long for UDP, and says so.
pub fn truncated() -> Answer {
    Answer::new(|question| vec![reply(question, RESPONSE | TRUNCATED, 0)])
}

/// Good answers to a question that nobody asked: the id is another one.
pub fn forged() -> Answer {
    Answer::new(|question| {
        let mut answer = with_record(question);
        if let Some(octet) = answer.get_mut(1) {
            *octet ^= 0x55;
        }
        vec![answer; 20]
    })
}

/// The name of the record is a pointer to itself (RFC 1035 §4.1.4).
pub fn looped() -> Answer {
    Answer::new(|question| {
        let mut answer = reply(question, RESPONSE, 1);
        let here = u16::try_from(answer.len()).unwrap_or(0) | 0xc000;
        answer.extend(here.to_be_bytes());
        answer.extend(RECORD);
        vec![answer]
    })
}

/// Less than a header.
pub fn stump() -> Answer {
    Answer::new(|question| vec![question.iter().copied().take(5).collect()])
}

/// Type A, class IN, TTL 60, four octets of address.
const RECORD: [u8; 14] = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

fn with_record(question: &[u8]) -> Vec<u8> {
    let mut answer = reply(question, RESPONSE, 1);
    // The name of the question.
    answer.extend([0xc0, 12]);
    answer.extend(RECORD);
    answer
}

/// Header and question, with these flags and this count of answers.
fn reply(question: &[u8], flags: u16, answers: u16) -> Vec<u8> {
    let mut answer = question.to_vec();
    if answer.len() >= HEADER {
        answer[2..4].copy_from_slice(&flags.to_be_bytes());
        answer[6..8].copy_from_slice(&answers.to_be_bytes());
    }
    answer
}
