//! The pattern of a url: whether a body holds it.
//!
//! Here: options, places, limits of time, memory and text. Not here: the library (`pcre`), collecting
//! the body (`answer`).
//!
//! A body comes from the server: whatever it holds, a search ends. A short attempt is made in place; what
//! needs more goes to a thread where nobody else waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pcre2_sys as sys;
use tokio::sync::Semaphore;

use super::pcre::{Found, Limits, Pattern, Text};
use crate::state::Outcome;
use crate::types::{Regex, RegexOptions};

/// Octets of a body that are searched.
pub const MAX_BODY: usize = 1024 * 1024;

/// A pattern that can be searched for.
#[derive(Debug)]
pub struct Compiled {
    pattern: Pattern,
    /// What the pattern means depends on where a search starts.
    whole: bool,
    min_offset: usize,
    max_offset: usize,
    memory_kib: u32,
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// Octet of the pattern where it is wrong.
    pub offset: usize,
    /// Why, in PCRE2's words.
    pub message: String,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// A match begins at this octet.
    Found(usize),
    /// There is none.
    NotFound,
    /// It could not be said; why.
    Failed(String),
}

impl Compiled {
    /// Compiles the pattern with its options.
    ///
    /// # Errors
    /// [`BadPattern`]
    pub fn new(regex: &Regex) -> Result<Self, BadPattern> {
        let options = regex.options.names().fold(0, |bits, name| bits | bit(name));
        let pattern = Pattern::compile(&regex.pattern, options)
            .map_err(|(offset, message)| BadPattern { offset, message })?;
        let has = |part: &[u8]| regex.pattern.windows(part.len()).any(|window| window == part);
        let most = regex.stack.map_or(0, |(_, most)| u32::try_from(most / 1024).unwrap_or(u32::MAX));
        Ok(Compiled {
            pattern,
            whole: regex.options.contains("firstline") || has(b"(*") || has(b"\\G"),
            min_offset: regex.min_offset,
            max_offset: regex.max_offset.unwrap_or(usize::MAX),
            memory_kib: most.clamp(MEMORY_KIB, MOST_MEMORY_KIB),
        })
    }

    /// Searches a body. Takes about a second at most; a thread's own work.
    pub fn search(&self, body: &[u8]) -> Search {
        match self.within(body, STEPS, LONG) {
            Some(search) => search,
            None => Search::Failed("matching takes too long; simplify the pattern".to_owned()),
        }
    }

    /// The same in a millisecond or so; `None` if that is not enough.
    pub fn glance(&self, body: &[u8]) -> Option<Search> {
        // A single step can look at the whole body.
        if body.len() > SMALL {
            return None;
        }
        self.within(body, FEW_STEPS, SHORT)
    }

    /// Part after part, so that time can be looked at in between. The more places a part has, the fewer
    /// steps each may take, so that no part lasts much longer than another.
    fn within(&self, body: &[u8], steps: u32, time: Duration) -> Option<Search> {
        let end = Instant::now() + time;
        let text = Text::new(&self.pattern, body);
        let last = self.max_offset.min(body.len());
        let mut first = self.min_offset;
        let mut part = FIRST_PART;
        while first <= last {
            let began = Instant::now();
            // A search must not start within a character.
            let next = text.boundary(first.saturating_add(part));
            let share = u32::try_from(part / FIRST_PART).unwrap_or(u32::MAX).max(1);
            let limits = Limits { steps: (steps / share).max(1), memory_kib: self.memory_kib };
            // Where the start matters, what was searched is searched again.
            let from = if self.whole { self.min_offset } else { first };
            match self.pattern.find(&text, from, last.min(next.saturating_sub(1)), limits) {
                Found::At(start) => return Some(Search::Found(start)),
                Found::Nowhere => {
                    first = next;
                    if began.elapsed() < QUICK || self.whole {
                        let largest = if self.whole { MAX_BODY } else { LARGEST_PART };
                        part = part.saturating_mul(2).min(largest);
                    }
                }
                Found::Limit if part > FIRST_PART => part = FIRST_PART,
                Found::Limit => return None,
                Found::Error(why) => return Some(Search::Failed(why)),
            }
            if Instant::now() >= end && first <= last {
                return None;
            }
        }
        Some(Search::NotFound)
    }
}

/// Whether the body is as the pattern wants it; both are reasons. `cut`: only the first [`MAX_BODY`]
/// octets of the body are here.
///
/// # Errors
/// The outcome of the check: the body is not, or this host has no time to search it.
pub async fn check(regex: &Regex, body: Vec<u8>, cut: bool) -> Result<&'static str, Outcome> {
    let compiled = Compiled::new(regex).map_err(|bad| {
        let BadPattern { offset, message } = bad;
        Outcome::bad(format!("pattern {} is wrong at octet {offset}: {message}", shown(regex)))
    })?;
    let length = body.len();
    let search = match compiled.glance(&body) {
        Some(search) => search,
        None => at_length(compiled, body).await.map_err(Outcome::unknown)?,
    };
    judge(regex, &search, length, cut).map_err(Outcome::bad)
}

/// On a thread of its own; few at a time, for the sake of the other checks.
async fn at_length(compiled: Compiled, body: Vec<u8>) -> Result<Search, String> {
    static SEARCHES: Semaphore = Semaphore::const_new(1);
    let behind = || "matching is behind: too many patterns take long; simplify them".to_owned();
    let permit = tokio::time::timeout(BEHIND, SEARCHES.acquire()).await.map_err(|_| behind())?;
    let compiled = Arc::new(compiled);
    let search = tokio::task::spawn_blocking(move || {
        // Held to the end of the search, also if the check that wanted it is gone.
        let _permit = permit.ok();
        compiled.search(&body)
    });
    search.await.map_err(|_| "internal error: matching panicked".to_owned())
}

/// What a search means for the server.
fn judge(regex: &Regex, search: &Search, length: usize, cut: bool) -> Result<&'static str, String> {
    // What follows could still hold it.
    let open = cut && regex.max_offset.is_none_or(|last| last >= MAX_BODY);
    match (search, regex.no_match) {
        (Search::Failed(why), _) => Err(format!("pattern {} not decided: {why}", shown(regex))),
        (Search::NotFound, _) if open => Err(format!(
            "pattern {} not found in the first {} KiB of the body; more is not searched",
            shown(regex),
            MAX_BODY / 1024
        )),
        (Search::Found(_), false) => Ok("pattern found"),
        (Search::NotFound, true) => Ok("pattern not found, as wanted"),
        (Search::Found(at), true) => Err(format!("unwanted pattern {} found at octet {at}", shown(regex))),
        (Search::NotFound, false) => {
            Err(format!("pattern {} not found in the body of {length} octets", shown(regex)))
        }
    }
}

/// Whether a match of any pattern, with the options of these bits (in the order of
/// [`RegexOptions::NAMES`]), begins between `first` and `first + length`: the property that the fuzz
/// target and a property test share. A pattern that is refused has no match.
pub fn stays_within(pattern: &[u8], options: u64, first: usize, length: usize, body: &[u8]) -> bool {
    let mut regex = Regex { pattern: pattern.into(), min_offset: first, ..Regex::default() };
    regex.max_offset = Some(first.saturating_add(length).max(1));
    for (bit, name) in RegexOptions::NAMES.into_iter().enumerate() {
        if options >> bit & 1 == 1 {
            regex.options.insert(name);
        }
    }
    let Ok(compiled) = Compiled::new(&regex) else { return true };
    // `\K` moves the beginning of a match that began where it may.
    let moves = pattern.windows(2).any(|pair| pair == b"\\K");
    match compiled.glance(body) {
        Some(Search::Found(at)) => moves || (at >= first && Some(at) <= regex.max_offset),
        _ => true,
    }
}

fn shown(regex: &Regex) -> String {
    format!("\"{}\"", super::shown::shown(&regex.pattern))
}

/// The bit of an option.
fn bit(name: &str) -> u32 {
    BITS.iter().zip(RegexOptions::NAMES).find(|(_, known)| *known == name).map_or(0, |(bit, _)| *bit)
}

/// In the order of [`RegexOptions::NAMES`].
const BITS: [u32; RegexOptions::NAMES.len()] = [
    sys::PCRE2_ALLOW_EMPTY_CLASS,
    sys::PCRE2_ALT_BSUX,
    sys::PCRE2_AUTO_CALLOUT,
    sys::PCRE2_CASELESS,
    sys::PCRE2_DOLLAR_ENDONLY,
    sys::PCRE2_DOTALL,
    sys::PCRE2_DUPNAMES,
    sys::PCRE2_EXTENDED,
    sys::PCRE2_FIRSTLINE,
    sys::PCRE2_MATCH_UNSET_BACKREF,
    sys::PCRE2_MULTILINE,
    sys::PCRE2_NEVER_UCP,
    sys::PCRE2_NEVER_UTF,
    sys::PCRE2_NO_AUTO_CAPTURE,
    sys::PCRE2_NO_AUTO_POSSESS,
    sys::PCRE2_NO_DOTSTAR_ANCHOR,
    sys::PCRE2_NO_START_OPTIMIZE,
    sys::PCRE2_UCP,
    sys::PCRE2_UNGREEDY,
    sys::PCRE2_UTF,
    sys::PCRE2_NEVER_BACKSLASH_C,
    sys::PCRE2_ALT_CIRCUMFLEX,
    sys::PCRE2_ALT_VERBNAMES,
    sys::PCRE2_USE_OFFSET_LIMIT,
];

/// Steps at one place of the body.
const STEPS: u32 = 100_000;
const FEW_STEPS: u32 = 1_000;
/// Octets of a body that are searched in place.
const SMALL: usize = 32 * 1024;
/// Time of a search.
const LONG: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(1);
/// How long a search waits for others.
const BEHIND: Duration = Duration::from_secs(5);
/// Places tried between two looks at the clock, and when they may become more.
const FIRST_PART: usize = 64;
const LARGEST_PART: usize = 4096;
const QUICK: Duration = Duration::from_micros(500);
/// Memory for going back; regex_stack may ask for more.
const MEMORY_KIB: u32 = 8 * 1024;
const MOST_MEMORY_KIB: u32 = 64 * 1024;

#[cfg(test)]
#[path = "regex/tests.rs"]
mod tests;
