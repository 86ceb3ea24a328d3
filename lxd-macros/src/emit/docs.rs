//! Texts of the description as rustdoc. What is said is left to the callers.

use proc_macro2::TokenStream;
use quote::quote;

/// Doc comments of several lines.
#[derive(Default)]
pub(super) struct Docs {
    lines: Vec<String>,
}

impl Docs {
    /// Adds a paragraph of foreign text, in which nothing is markup.
    pub(super) fn text(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.blank();
            self.lines.extend(sentences(text).map(|line| escaped(&line)));
        }
    }

    /// Adds a paragraph of our own, as markdown.
    pub(super) fn markdown(&mut self, text: impl Into<String>) {
        self.blank();
        self.lines.push(text.into());
    }

    /// Adds an item of a list: `- start: text`, with `start` as markdown.
    pub(super) fn item(&mut self, start: &str, text: &str) {
        let starts_list = !self.lines.last().is_some_and(|line| line.starts_with("- "));
        if starts_list {
            self.blank();
        }
        let text: Vec<String> = sentences(text).map(|line| escaped(&line)).collect();
        let colon = if text.is_empty() { "" } else { ": " };
        self.lines.push(format!("- {start}{colon}{}", text.join(" ")));
    }

    fn blank(&mut self) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
    }

    /// The comments; `otherwise` where there is nothing to say.
    pub(super) fn tokens(&self, otherwise: &str) -> TokenStream {
        if self.lines.is_empty() {
            let line = format!(" {otherwise}");
            return quote!(#[doc = #line]);
        }
        let lines = self.lines.iter().map(|line| match line.as_str() {
            "" => String::new(),
            line => format!(" {line}"),
        });
        quote!(#(#[doc = #lines])*)
    }
}

/// The doc comments of one foreign text.
pub(super) fn text(text: &str, otherwise: &str) -> TokenStream {
    let mut docs = Docs::default();
    docs.text(text);
    docs.tokens(otherwise)
}

/// The lines of a text, without the indentation that would make code of them.
fn sentences(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| line.trim().to_owned())
}

/// A line in which nothing is markup to rustdoc.
fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for letter in line.chars() {
        if matches!(letter, '[' | ']' | '<' | '>' | '`' | '*' | '_' | '#' | '|' | '~' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    // Rustdoc wants bare addresses in angle brackets; the text may hold any address.
    escaped.replace("://", ":\\//")
}

#[cfg(test)]
mod tests {
    use super::{Docs, escaped};

    #[test]
    fn foreign_text_is_no_markup() {
        assert_eq!(escaped("see [x] and <y> `z` user.*"), "see \\[x\\] and \\<y\\> \\`z\\` user.\\*");
        assert_eq!(escaped("https://example.org"), "https:\\//example.org");
    }

    #[test]
    fn paragraphs_and_lists_are_set_apart() {
        let mut docs = Docs::default();
        docs.text("One.\n  Two.");
        docs.item("`a`", "A.");
        docs.item("`b`", "");
        docs.markdown("Three.");
        assert_eq!(docs.lines, ["One.", "Two.", "", "- `a`: A.", "- `b`", "", "Three."]);
    }
}
