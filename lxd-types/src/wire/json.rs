//! Reads JSON into a place, in one pass over the text: one parser for all types. It takes most of the time of a
//! request, and serde_json took a third more of it, behind serde's traits and the ones here. Other formats,
//! and values that are in memory, are left to `read`; what a place does with a value, to the place.

use std::borrow::Cow;

use super::mismatch::{self, Mismatch, PASSED_ON, Step};
use super::{Entries, Incoming, Items, Number, Read, Refused};

/// How deep lists and objects may be in each other, which is as deep as serde_json reads them.
const DEEPEST: usize = 127;

/// Reads JSON into a place, in one pass.
pub fn from_json(json: &[u8], place: &mut dyn Read) -> Result<(), serde_json::Error> {
    // Once for all of it: the parts are cut at letters of ASCII.
    let text = std::str::from_utf8(json).map_err(serde::de::Error::custom)?;
    let mut json = Json { text, at: 0, decoded: String::new(), depth: 0, fault: None };
    // What the outcome was is in the fault, which a place cannot forget.
    let _ = json.whole(place);
    match json.fault {
        None => Ok(()),
        Some(fault) => Err(fault.told(text)),
    }
}

/// JSON that is being read.
struct Json<'j> {
    text: &'j str,
    /// How many bytes of it have been read.
    at: usize,
    /// The last string that had escapes, without them.
    decoded: String,
    depth: usize,
    /// The first thing that was wrong.
    fault: Option<Fault>,
}

enum Fault {
    /// Something else was expected there.
    Syntax(usize, &'static str),
    Mismatch(Mismatch),
}

impl Fault {
    fn told(self, text: &str) -> serde_json::Error {
        use serde::de::Error as _;
        let (at, expected) = match self {
            Self::Mismatch(mismatch) => return serde_json::Error::custom(mismatch),
            Self::Syntax(at, expected) => (at, expected),
        };
        let before = &text.as_bytes()[..at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let found = if at < text.len() { "found something else" } else { "but it ends" };
        serde_json::Error::custom(format_args!(
            "not JSON: expected {expected}, {found} at line {line} column {column}"
        ))
    }
}

/// A string that has been read.
enum Text<'j> {
    /// As it stands.
    Plain(&'j str),
    /// It had escapes, and is in `Json::decoded` now.
    Decoded,
}

impl<'j> Json<'j> {
    /// The only value of the text.
    fn whole(&mut self, place: &mut dyn Read) -> Result<(), Refused> {
        self.value(place)?;
        match self.ahead() {
            None => Ok(()),
            Some(_) => self.syntax("the end"),
        }
    }

    fn syntax<T>(&mut self, expected: &'static str) -> Result<T, Refused> {
        self.fault.get_or_insert(Fault::Syntax(self.at, expected));
        Err(PASSED_ON)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn ahead(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    fn value(&mut self, place: &mut dyn Read) -> Result<(), Refused> {
        match self.ahead() {
            Some(b'"') => {
                let outcome = match self.string()? {
                    Text::Plain(text) => place.read(Incoming::Text(text)),
                    Text::Decoded => place.read(Incoming::Text(&self.decoded)),
                };
                self.told(outcome, || "a string".into())
            }
            Some(b'{') => {
                self.enter()?;
                let mut object = Object { json: self, key: Cow::Borrowed(""), begun: false };
                let outcome = place.read(Incoming::Object(&mut object));
                self.depth -= 1;
                self.told(outcome, || "an object".into())
            }
            Some(b'[') => {
                self.enter()?;
                let mut array = Array { json: self, index: 0 };
                let outcome = place.read(Incoming::List(&mut array));
                self.depth -= 1;
                self.told(outcome, || "a list".into())
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                let outcome = place.read(Incoming::Number(number));
                self.told(outcome, || mismatch::number(number))
            }
            Some(b't') => self.word("true", Incoming::Boolean(true), place),
            Some(b'f') => self.word("false", Incoming::Boolean(false), place),
            Some(b'n') => self.word("null", Incoming::Null, place),
            _ => self.syntax("a value"),
        }
    }

    /// Leaves word where the place refused a value, unless the fault is further in.
    fn told(
        &mut self,
        outcome: Result<(), Refused>,
        found: impl FnOnce() -> Cow<'static, str>,
    ) -> Result<(), Refused> {
        if let Err(Refused { expected }) = outcome {
            self.fault.get_or_insert_with(|| Fault::Mismatch(Mismatch::new(expected, found())));
        }
        outcome
    }

    /// Adds a step to the way to a value that did not fit.
    fn step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(Fault::Mismatch(mismatch)) = &mut self.fault {
            mismatch.steps.push(step());
        }
    }

    /// Into a list or an object.
    fn enter(&mut self) -> Result<(), Refused> {
        if self.depth == DEEPEST {
            return self.syntax("at most 127 lists and objects in each other");
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Whether another item follows in a list or an object, of which some have been read, or none.
    fn another(&mut self, begun: bool, end: u8, expected: &'static str) -> Result<bool, Refused> {
        match self.ahead() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if begun => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if !begun => Ok(true),
            _ => self.syntax(expected),
        }
    }

    fn word(&mut self, word: &'static str, value: Incoming<'_>, place: &mut dyn Read) -> Result<(), Refused> {
        if !self.text[self.at..].starts_with(word) {
            return self.syntax(word);
        }
        self.at += word.len();
        let outcome = place.read(value);
        self.told(outcome, || if word == "null" { "nothing".into() } else { "a boolean".into() })
    }

    fn number(&mut self) -> Result<Number, Refused> {
        let begin = self.at;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        let end_of_integer = self.at;
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        let text = &self.text[begin..self.at];
        if self.at == end_of_integer {
            if let Ok(value) = text.parse() {
                return Ok(Number::Unsigned(value));
            }
            if let Ok(value) = text.parse::<i64>() {
                return Ok(u64::try_from(value).map_or(Number::Negative(value), Number::Unsigned));
            }
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Number::Float(value)),
            _ => self.syntax("a number that is not that large"),
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.byte() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Refused> {
        let begin = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin { self.syntax("a digit") } else { Ok(()) }
    }

    /// A string, of which the first quote is ahead.
    fn string(&mut self) -> Result<Text<'j>, Refused> {
        let text = self.text;
        self.at += 1;
        let mut begin = self.at;
        self.at = end_of_plain(text.as_bytes(), begin);
        if self.skip(b'"') {
            return Ok(Text::Plain(&text[begin..self.at - 1]));
        }
        self.decoded.clear();
        loop {
            self.decoded.push_str(&text[begin..self.at]);
            if self.skip(b'"') {
                return Ok(Text::Decoded);
            }
            if !self.skip(b'\\') {
                return self.syntax("a letter or the end of a string");
            }
            begin = self.at;
            if let Some(b'"' | b'\\' | b'/') = self.byte() {
                // It stands for itself from here on.
                self.at += 1;
            } else {
                let decoded = self.escape()?;
                self.decoded.push(decoded);
                begin = self.at;
            }
            self.at = end_of_plain(text.as_bytes(), self.at);
        }
    }

    /// What is behind a backslash, and does not stand for itself.
    fn escape(&mut self) -> Result<char, Refused> {
        let decoded = match self.byte() {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.escaped_number(),
            _ => return self.syntax("an escape of JSON"),
        };
        self.at += 1;
        Ok(decoded)
    }

    /// `uXXXX`, or two of them for what is not in the first plane.
    fn escaped_number(&mut self) -> Result<char, Refused> {
        let first = self.sixteen_bits()?;
        let mut second = None;
        if (0xd800..0xdc00).contains(&first) && self.skip(b'\\') {
            second = Some(self.sixteen_bits()?);
        }
        let mut decoded = char::decode_utf16([first].into_iter().chain(second));
        match (decoded.next(), decoded.next()) {
            (Some(Ok(letter)), None) => Ok(letter),
            _ => self.syntax("the escape of a letter"),
        }
    }

    fn sixteen_bits(&mut self) -> Result<u16, Refused> {
        let digits = self.text.as_bytes().get(self.at..self.at + 5).and_then(|all| all.strip_prefix(b"u"));
        let value = digits.and_then(|digits| {
            let mut digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
            digits.try_fold(0, |value, digit| Some(value << 4 | digit? as u16))
        });
        let Some(value) = value else { return self.syntax("`u` and four hexadecimal digits") };
        self.at += 5;
        Ok(value)
    }
}

/// Where the letters end that stand for themselves: at a quote, a backslash, a control character or the
/// end. Eight at a time, as most strings have more.
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    const EACH: u64 = u64::MAX / 255;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let quote = (word ^ (EACH * u64::from(b'"'))).wrapping_sub(EACH);
        let backslash = (word ^ (EACH * u64::from(b'\\'))).wrapping_sub(EACH);
        let control = word.wrapping_sub(EACH * 0x20);
        // The highest bit of the first byte that was too small to be subtracted from, and maybe of some behind it.
        let found = (quote | backslash | control) & !word & (EACH << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

struct Array<'a, 'j> {
    json: &'a mut Json<'j>,
    index: usize,
}

impl Items for Array<'_, '_> {
    fn next(&mut self, place: &mut dyn Read) -> Result<bool, Refused> {
        let Self { json, index } = self;
        if !json.another(*index > 0, b']', "`,` or `]`")? {
            return Ok(false);
        }
        if let Err(refused) = json.value(place) {
            json.step(|| Step::Index(*index));
            return Err(refused);
        }
        *index += 1;
        Ok(true)
    }
}

struct Object<'a, 'j> {
    json: &'a mut Json<'j>,
    key: Cow<'j, str>,
    begun: bool,
}

impl Object<'_, '_> {
    fn advance(&mut self) -> Result<bool, Refused> {
        let Self { json, key, begun } = self;
        if !json.another(std::mem::replace(begun, true), b'}', "`,` or `}`")? {
            return Ok(false);
        }
        if json.ahead() != Some(b'"') {
            return json.syntax("a key");
        }
        *key = match json.string()? {
            Text::Plain(text) => Cow::Borrowed(text),
            Text::Decoded => Cow::Owned(json.decoded.clone()),
        };
        if json.ahead() != Some(b':') {
            return json.syntax("`:`");
        }
        json.at += 1;
        Ok(true)
    }
}

impl Entries for Object<'_, '_> {
    fn key(&mut self) -> Result<Option<String>, Refused> {
        Ok(self.advance()?.then(|| self.key.clone().into_owned()))
    }

    fn value(&mut self, place: &mut dyn Read) -> Result<(), Refused> {
        let Self { json, key, .. } = self;
        json.value(place).inspect_err(|_| json.step(|| Step::Key(key.to_string())))
    }

    fn fill(&mut self, target: &mut dyn Read) -> Result<(), Refused> {
        while self.advance()? {
            match target.field(&self.key) {
                Some(place) => self.value(place)?,
                None => self.value(&mut ())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::from_json;

    fn read(json: &[u8]) -> Result<Value, String> {
        let mut value = Value::Null;
        from_json(json, &mut value).map(|()| value).map_err(|error| error.to_string())
    }

    fn refusal(json: &str) -> String {
        read(json.as_bytes()).expect_err(json)
    }

    /// All kinds of values, escapes and white space.
    const ALL: &str = r#" { "a\"b\\" : [ true , false,null, [ ], {}, [[-3]] ] ,
	"\u00e9\ud83d\ude00\/\b\f\n\r\t" : "plain é 😀 text that is long, \u0041 and \n on" ,"n":[0,10, -7.25,1e3,2E-2,
	18446744073709551615,-9223372036854775808,18446744073709551616,1.5e300]} "#;

    /// A value with its fractions in ten digits: of some, serde_json reads the last ones wrong.
    fn rounded(value: Value) -> Value {
        match value {
            Value::Number(number) if number.is_f64() => json!(format!("{:.10e}", number.as_f64().unwrap())),
            Value::Array(items) => items.into_iter().map(rounded).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
            other => other,
        }
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        assert_eq!(read(ALL.as_bytes()).unwrap(), serde_json::from_str::<Value>(ALL).unwrap());
    }

    /// What is cut, and what has another byte somewhere: the same is taken and the same is refused.
    #[test]
    fn what_is_broken_is_refused_where_serde_json_refuses_it() {
        let mut taken = 0;
        let mut compare = |json: &[u8]| {
            // There it is a fraction, and here a whole number, which is what Go means by it.
            if json.windows(2).any(|two| two == b"-0") {
                return;
            }
            let theirs = serde_json::from_slice(json).ok().map(rounded);
            let ours = read(json).ok().map(rounded);
            assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(json));
            taken += usize::from(ours.is_some());
        };
        for end in 0..ALL.len() {
            compare(&ALL.as_bytes()[..end]);
        }
        let mut json = ALL.as_bytes().to_vec();
        for at in 0..json.len() {
            for byte in 0..=255 {
                let before = std::mem::replace(&mut json[at], byte);
                compare(&json);
                json[at] = before;
            }
        }
        assert!(taken > 5_000, "{taken}");
    }

    #[test]
    fn the_end_of_plain_letters_is_found_wherever_it_is() {
        for around in [b' ', b'a', 0x7f, 0x80, 0xff] {
            for (at, byte) in (0..20).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut bytes = [around; 20];
                bytes[at] = byte;
                let expected = if matches!(byte, b'"' | b'\\' | 0..0x20) { at } else { bytes.len() };
                assert_eq!(super::end_of_plain(&bytes, 0), expected, "{byte} among {around} at {at}");
            }
        }
    }

    #[test]
    fn minus_nothing_is_nothing() {
        assert_eq!(read(b"-0").unwrap(), json!(0));
    }

    #[test]
    fn a_refusal_says_where_and_why() {
        assert_eq!(
            refusal("{\n\"a\": tru}"),
            "not JSON: expected true, found something else at line 2 column 6"
        );
        assert_eq!(refusal("[1,"), "not JSON: expected a value, but it ends at line 1 column 4");
        assert_eq!(
            refusal("[1 2]"),
            "not JSON: expected `,` or `]`, found something else at line 1 column 4"
        );
        assert_eq!(
            refusal("1e999"),
            "not JSON: expected a number that is not that large, but it ends at line 1 column 6"
        );
        assert!(refusal(r#""\ud800""#).starts_with("not JSON: expected the escape of a letter"));
        let mut numbers: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let error = from_json(br#"{"a":[1],"b\n":[2,300]}"#, &mut numbers).unwrap_err().to_string();
        assert_eq!(error, "b\n[1]: expected an integer from 0 to 255, found the number 300");
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(read(deep(127).as_bytes()).is_ok() && serde_json::from_str::<Value>(&deep(127)).is_ok());
        assert!(serde_json::from_str::<Value>(&deep(128)).is_err());
        let error = refusal(&deep(128));
        assert!(error.contains("127 lists and objects"), "{error}");
        let mut passed_over = ();
        assert!(from_json(deep(1_000_000).as_bytes(), &mut passed_over).is_err());
    }
}
