//! What a peer sent, fit for a reason: short, no control characters.

/// The first octets, printable; `…` where more came.
pub(super) fn shown(octets: &[u8]) -> String {
    let start = octets.get(..SHOWN).unwrap_or(octets);
    let more = if octets.len() > SHOWN { "…" } else { "" };
    format!("{}{more}", start.escape_ascii())
}

const SHOWN: usize = 60;
