use crate::redis::config::Fault;

/// The most endpoints that there are beside the default one.
pub const MOST_ENDPOINTS: usize = 16;

/// What is wrong with `name` for an endpoint beside the default one, if anything is. Answers from memory.
///
/// A name is made of lower case letters and digits, of several words with one `-` between them, at most 32 bytes. A
/// variable writes that `-` as `_`: `rate-limits` and `RATE_LIMITS` are one name, and no other name is written so.
pub fn fault_of_name(name: &str) -> Option<Fault> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if name.len() <= MOST_BYTES && name.split('-').all(is_word) {
        return None;
    }
    // It may be a URL in the wrong place, password and all.
    let is_url = name.contains("://") || name.contains('@');
    Some(Fault {
        key: "endpoints",
        given: if is_url { "a URL".to_owned() } else { format!("{name:?}") },
        wanted: format!(
            "a name of lower case letters and digits, its words joined by one -, at most {MOST_BYTES} bytes"
        ),
    })
}

const MOST_BYTES: usize = 32;
