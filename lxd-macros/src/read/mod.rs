//! Reads the two inputs, the description and its overlay. Making sense of the description is left
//! to the lowering.

mod overlay;
mod yaml;

pub(crate) use overlay::{Answer, FieldOverlay, OperationOverlay, Overlay};
pub(crate) use yaml::{Document, Node};

/// Says that a word is not known, and which known one is near.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min();
    match near {
        Some((_, near)) => format!("unknown {what} `{word}`: did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`: known are {}", list(known)),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
