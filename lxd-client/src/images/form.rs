//! Forms (`multipart/form-data`), which are how an image of two files is sent and received: written in front
//! of and behind what is in them, and taken apart as they come. What the parts mean is left to others.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use memchr::memmem;
use ring::rand::{SecureRandom, SystemRandom};

use crate::body::Body;
use crate::error::BoxError;

/// The most that the headers of a part may have.
const HEADERS: usize = 16 << 10;

/// A form to send.
pub(crate) struct Form {
    boundary: String,
    pieces: VecDeque<Piece>,
}

enum Piece {
    /// What is around the parts.
    Frame(Bytes),
    Part(Body),
}

impl Form {
    /// A form of files, each with the name of its part.
    pub(crate) fn new<const N: usize>(parts: [(&str, Body); N]) -> Self {
        let mut random = [0; 16];
        // That it fails leaves a boundary that is as good, but for those who know it.
        let _filled = SystemRandom::new().fill(&mut random);
        let boundary = format!("lxd-client-{}", HEXLOWER.encode(&random));
        let mut pieces = VecDeque::new();
        let mut before = format!("--{boundary}\r\n");
        for (name, body) in parts {
            let disposition = format!("form-data; name=\"{name}\"; filename=\"{name}\"");
            before.push_str(&format!("content-disposition: {disposition}\r\n"));
            before.push_str("content-type: application/octet-stream\r\n\r\n");
            pieces.push_back(Piece::Frame(std::mem::take(&mut before).into()));
            pieces.push_back(Piece::Part(body));
            before = format!("\r\n--{boundary}\r\n");
        }
        pieces.push_back(Piece::Frame(format!("\r\n--{boundary}--\r\n").into()));
        Self { boundary, pieces }
    }

    pub(crate) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// How long it is, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.pieces.iter().map(Piece::length).sum()
    }

    /// The same once more, where all of it is at hand.
    pub(crate) fn copy(&self) -> Option<Self> {
        let pieces = self.pieces.iter().map(Piece::copy).collect::<Option<_>>()?;
        Some(Self { boundary: self.boundary.clone(), pieces })
    }

    /// What is in its parts.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = &mut Body> {
        self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Frame(_) => None,
            Piece::Part(body) => Some(body),
        })
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Frame(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.pieces.pop_front();
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Piece::Part(body)) => match ready!(body.poll_bytes(context)) {
                    Some(bytes) => return Poll::Ready(Some(bytes)),
                    None => drop(self.pieces.pop_front()),
                },
            }
        }
    }
}

impl Piece {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Frame(bytes) => Some(bytes.len() as u64),
            Self::Part(body) => body.known_length(),
        }
    }

    fn copy(&self) -> Option<Self> {
        match self {
            Self::Frame(bytes) => Some(Self::Frame(bytes.clone())),
            Self::Part(body) => body.copy().map(Self::Part),
        }
    }
}

/// What comes of a form.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// A part begins, with its name and that of its file.
    Part(String, String),
    /// What is in it.
    Bytes(Bytes),
    /// The part has ended.
    PartEnd,
    /// The form has ended.
    End,
}

/// A form as it comes.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What is between the parts.
    delimiter: Vec<u8>,
    /// What has come and is not taken apart yet.
    rest: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// In front of the first part.
    Before,
    /// Behind a delimiter: another part, or the end.
    Between,
    Headers,
    Content,
    Ended,
}

impl Parts {
    /// A form of the type that a header tells.
    pub(crate) fn new(content_type: &str) -> Result<Self, String> {
        let boundary = parameter(content_type, "boundary").unwrap_or_default();
        if boundary.is_empty() || boundary.len() > 70 {
            return Err(format!("its type is `{content_type}`, without a boundary"));
        }
        // The first one has no line before it: it gets one.
        let rest = Bytes::from_static(b"\r\n");
        Ok(Self { delimiter: format!("\r\n--{boundary}").into_bytes(), rest, state: State::Before })
    }

    /// Takes in what has come.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.rest = bytes;
            return;
        }
        let mut all = BytesMut::with_capacity(self.rest.len() + bytes.len());
        all.extend_from_slice(&self.rest);
        all.extend_from_slice(&bytes);
        self.rest = all.freeze();
    }

    /// The next that there is; nothing where more has to come for it. After the end, that is told each time.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            match self.state {
                State::Ended => return Ok(Some(Event::End)),
                State::Before | State::Content => {
                    let in_part = self.state == State::Content;
                    let (bytes, found) = self.until_delimiter();
                    if in_part && !bytes.is_empty() {
                        return Ok(Some(Event::Bytes(bytes)));
                    }
                    if !found {
                        return Ok(None);
                    }
                    drop(self.rest.split_to(self.delimiter.len()));
                    self.state = State::Between;
                    if in_part {
                        return Ok(Some(Event::PartEnd));
                    }
                }
                State::Between => match self.rest.get(..2) {
                    None => return Ok(None),
                    Some(b"--") => self.state = State::Ended,
                    Some(b"\r\n") => {
                        drop(self.rest.split_to(2));
                        self.state = State::Headers;
                    }
                    Some(_) => return Err("it has a boundary with something behind it".to_owned()),
                },
                State::Headers => {
                    let Some(part) = self.headers()? else { return Ok(None) };
                    self.state = State::Content;
                    return Ok(Some(part));
                }
            }
        }
    }

    /// What is certain not to be of the next delimiter, and whether that is behind it.
    fn until_delimiter(&mut self) -> (Bytes, bool) {
        if let Some(end) = memmem::find(&self.rest, &self.delimiter) {
            return (self.rest.split_to(end), true);
        }
        // Its beginning may have come.
        let most = self.rest.len().min(self.delimiter.len() - 1);
        let begun = (1..=most).rev().find(|count| self.rest.ends_with(&self.delimiter[..*count]));
        (self.rest.split_to(self.rest.len() - begun.unwrap_or(0)), false)
    }

    fn headers(&mut self) -> Result<Option<Event>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        match httparse::parse_headers(&self.rest, &mut headers) {
            Ok(httparse::Status::Complete((length, headers))) => {
                let disposition = headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-disposition"))
                    .and_then(|header| std::str::from_utf8(header.value).ok())
                    .ok_or("a part of it does not say which it is")?;
                let name = parameter(disposition, "name").unwrap_or_default();
                let file_name = parameter(disposition, "filename").unwrap_or_default();
                drop(self.rest.split_to(length));
                Ok(Some(Event::Part(name, file_name)))
            }
            Ok(httparse::Status::Partial) if self.rest.len() <= HEADERS => Ok(None),
            Ok(httparse::Status::Partial) => Err("a part of it has too long headers".to_owned()),
            Err(error) => Err(format!("a part of it has headers that are none: {error}")),
        }
    }
}

/// A parameter in the value of a header, as in `form-data; name="metadata"`.
pub(crate) fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once(';') {
        let (name, value) = behind.split_once('=')?;
        let (value, behind) = text(value);
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// The text that a parameter begins with, in quotes or without, and what is behind it.
fn text(value: &str) -> (String, &str) {
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        return (value[..end].trim().to_owned(), &value[end..]);
    };
    let (mut text, mut escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (text, &quoted[at + 1..]),
            letter => {
                text.push(letter);
                escaped = false;
            }
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Event, Parts, parameter};

    const FORM: &[u8] = b"ignored\r\n--B\r\nContent-Disposition: form-data; name=\"metadata\"; \
        filename=\"a.tar\"\r\nContent-Type: x\r\n\r\none\r\n--A\r\n-\r\n--\r\n--B\r\ncontent-disposition: \
        form-data; name=rootfs\r\n\r\n\r\n--B--\r\nignored";

    /// What comes of a form that comes in pieces of this size.
    fn taken(form: &[u8], size: usize) -> Result<Vec<(String, String, Vec<u8>)>, String> {
        let mut parts = Parts::new("multipart/form-data; boundary=\"B\"")?;
        let (mut taken, mut ended) = (Vec::new(), false);
        for piece in form.chunks(size) {
            parts.feed(Bytes::copy_from_slice(piece));
            while !ended && let Some(event) = parts.next()? {
                match event {
                    Event::Part(name, file_name) => taken.push((name, file_name, Vec::new())),
                    Event::Bytes(bytes) => taken.last_mut().ok_or("no part")?.2.extend(bytes),
                    Event::PartEnd => {}
                    Event::End => ended = true,
                }
            }
        }
        ended.then_some(taken).ok_or_else(|| "no end".to_owned())
    }

    #[test]
    fn a_form_is_the_same_in_all_pieces() {
        let expected = vec![
            ("metadata".to_owned(), "a.tar".to_owned(), b"one\r\n--A\r\n-\r\n--".to_vec()),
            ("rootfs".to_owned(), String::new(), Vec::new()),
        ];
        for size in 1..=FORM.len() {
            assert_eq!(taken(FORM, size).as_ref(), Ok(&expected), "in pieces of {size}");
        }
    }

    #[test]
    fn a_form_may_begin_with_its_first_part() {
        let form = b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B--";
        assert_eq!(taken(form, 3).unwrap(), [("a".to_owned(), String::new(), b"x".to_vec())]);
    }

    #[test]
    fn what_is_no_form_is_told() {
        assert!(Parts::new("multipart/form-data").unwrap_err().contains("without a boundary"));
        for (form, told) in [
            (&b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B"[..], "no end"),
            (b"", "no end"),
            (b"--Bx\r\n", "something behind"),
            (b"--B\r\nContent-Type: x\r\n\r\n", "which it is"),
            (b"--B\r\n\0\r\n\r\n", "none"),
        ] {
            assert!(taken(form, 4).unwrap_err().contains(told), "{told}");
        }
        let long = [&b"--B\r\na: "[..], &[b'x'; 40 << 10], b"\r\n\r\n"].concat();
        assert!(taken(&long, 1000).unwrap_err().contains("too long"));
    }

    #[test]
    fn parameters_are_found() {
        let value = r#"attachment; x = "a;filename=b\"c" ;FileName=d e.tar ; name="#;
        assert_eq!(parameter(value, "x").unwrap(), "a;filename=b\"c");
        assert_eq!(parameter(value, "filename").unwrap(), "d e.tar");
        assert_eq!(parameter(value, "name").unwrap(), "");
        assert_eq!(parameter(value, "y"), None);
        assert_eq!(parameter("attachment", "x"), None);
    }
}
