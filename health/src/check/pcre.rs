//! PCRE2 behind a safe interface: a compiled pattern, and searching with it.
//!
//! Here: every call into the library. Not here: which options, limits and places a check wants (`regex`).
//! Not the `pcre2` crate: it offers a third of the options that the configuration has, and neither
//! limits nor a last place where a match may begin.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use std::ptr::{NonNull, null_mut};

use pcre2_sys as sys;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(NonNull<sys::pcre2_code_8>);

// SAFETY: compiled code is not changed after compiling; PCRE2 allows its use by several threads
// (pcre2api, "Multithreading"; no JIT here).
unsafe impl Send for Pattern {}
// SAFETY: as above.
unsafe impl Sync for Pattern {}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: made by pcre2_compile and freed once.
        unsafe { sys::pcre2_code_free_8(self.0.as_ptr()) }
    }
}

/// How far a search may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Steps of each attempt at one place.
    pub steps: u32,
    /// Memory for going back, in KiB.
    pub memory_kib: u32,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A match begins here.
    At(usize),
    /// None begins in the range.
    Nowhere,
    /// More steps or memory than allowed.
    Limit,
    /// The library refuses the text.
    Error(String),
}

/// A text for one pattern, checked once.
pub(super) struct Text<'t> {
    octets: &'t [u8],
    /// The pattern matches characters, and this is UTF-8. What is not is the library's to refuse.
    characters: bool,
}

impl<'t> Text<'t> {
    pub fn new(pattern: &Pattern, octets: &'t [u8]) -> Self {
        Text { octets, characters: pattern.is_utf() && std::str::from_utf8(octets).is_ok() }
    }

    /// This place, or the next one at which a character begins.
    pub fn boundary(&self, place: usize) -> usize {
        let inside = |place: &usize| self.octets.get(*place).is_some_and(|octet| octet & 0xc0 == 0x80);
        if !self.characters {
            return place;
        }
        (place..=usize::MAX).find(|place| !inside(place)).unwrap_or(place)
    }
}

impl Pattern {
    /// It matches characters: by an option, or because it says so itself.
    fn is_utf(&self) -> bool {
        let mut options = 0_u32;
        // SAFETY: the pattern is valid; this question is answered with a 32-bit number.
        let failed = unsafe {
            sys::pcre2_pattern_info_8(self.0.as_ptr(), sys::PCRE2_INFO_ALLOPTIONS, (&raw mut options).cast())
        };
        failed == 0 && options & sys::PCRE2_UTF != 0
    }

    /// Compiles `pattern`.
    ///
    /// # Errors
    /// The octet of the pattern where it is wrong, and why.
    pub fn compile(pattern: &[u8], options: u32) -> Result<Self, (usize, String)> {
        let (mut code, mut offset) = (0, 0);
        // SAFETY: pointer and length are those of a slice, which is not kept; a null context is allowed.
        let compiled = unsafe {
            sys::pcre2_compile_8(
                pattern.as_ptr(),
                pattern.len(),
                options | sys::PCRE2_USE_OFFSET_LIMIT,
                &raw mut code,
                &raw mut offset,
                null_mut(),
            )
        };
        NonNull::new(compiled).map(Pattern).ok_or_else(|| (offset, message(code)))
    }

    /// Searches `text` for a match that begins at `first..=last`. What stands before `first` is seen by
    /// the pattern, but not taken into a match.
    pub fn find(&self, text: &Text<'_>, first: usize, last: usize, limits: Limits) -> Found {
        let octets = text.octets;
        if first > octets.len() {
            return Found::Nowhere;
        }
        // Otherwise the library looks at the whole text each time.
        let checked = text.characters && text.boundary(first) == first;
        let options = if checked { sys::PCRE2_NO_UTF_CHECK } else { 0 };
        let Some(memory) = Memory::new(self, last, limits) else {
            return Found::Error("no memory".to_owned());
        };
        // SAFETY: code, match data and context are valid and belong to this call alone; the text is a
        // slice that outlives the call, `first` is within it. Unchecked is only what is UTF-8, from the
        // beginning of a character.
        let result = unsafe {
            sys::pcre2_match_8(
                self.0.as_ptr(),
                octets.as_ptr(),
                octets.len(),
                first,
                options,
                memory.data.as_ptr(),
                memory.context.as_ptr(),
            )
        };
        match result {
            0.. => {
                // SAFETY: after a match the vector has at least one pair.
                let start = unsafe { sys::pcre2_get_ovector_pointer_8(memory.data.as_ptr()).read() };
                Found::At(start)
            }
            sys::PCRE2_ERROR_NOMATCH => Found::Nowhere,
            sys::PCRE2_ERROR_MATCHLIMIT | sys::PCRE2_ERROR_DEPTHLIMIT | sys::PCRE2_ERROR_HEAPLIMIT => {
                Found::Limit
            }
            code => Found::Error(message(code)),
        }
    }
}

/// What one search needs.
struct Memory {
    data: NonNull<sys::pcre2_match_data_8>,
    context: NonNull<sys::pcre2_match_context_8>,
}

impl Memory {
    fn new(pattern: &Pattern, last: usize, limits: Limits) -> Option<Self> {
        // SAFETY: the pattern is valid; a null general context is the library's own memory.
        let data = unsafe { sys::pcre2_match_data_create_from_pattern_8(pattern.0.as_ptr(), null_mut()) };
        let data = NonNull::new(data)?;
        // SAFETY: as above.
        let Some(context) = NonNull::new(unsafe { sys::pcre2_match_context_create_8(null_mut()) }) else {
            // SAFETY: made above and freed once.
            unsafe { sys::pcre2_match_data_free_8(data.as_ptr()) };
            return None;
        };
        // SAFETY: the context is valid; these calls only store numbers in it.
        unsafe {
            sys::pcre2_set_match_limit_8(context.as_ptr(), limits.steps);
            sys::pcre2_set_heap_limit_8(context.as_ptr(), limits.memory_kib);
            sys::pcre2_set_offset_limit_8(context.as_ptr(), last);
        }
        Some(Memory { data, context })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are freed once.
        unsafe {
            sys::pcre2_match_data_free_8(self.data.as_ptr());
            sys::pcre2_match_context_free_8(self.context.as_ptr());
        }
    }
}

fn message(code: i32) -> String {
    let mut text = [0_u8; 256];
    // SAFETY: pointer and length are those of the array; the result ends with a zero within it.
    let length = unsafe { sys::pcre2_get_error_message_8(code, text.as_mut_ptr(), text.len()) };
    let length = usize::try_from(length).unwrap_or_default();
    String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
}
