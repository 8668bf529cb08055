//! Lines of `iptables-save` as words.

use crate::model::Side;
use crate::names::ChainName;

/// The words of a line: apart by blanks, those in double quotes as one, with `\` before a
/// character that means nothing there. `None` if a quote has no end.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if_eq(&' ').is_some() {}
        if characters.peek().is_none() {
            return Some(words);
        }
        let mut word = String::new();
        let mut quoted = false;
        while let Some(character) = characters.next_if(|c| quoted || *c != ' ') {
            match character {
                '"' => quoted = !quoted,
                '\\' if quoted => word.push(characters.next()?),
                character => word.push(character),
            }
        }
        if quoted {
            return None;
        }
        words.push(word);
    }
}

/// Words that are taken from the front.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a [String]);

impl<'a> Words<'a> {
    /// The next one.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Takes the next one if it is `word`.
    pub(super) fn next_if(&mut self, word: &str) -> bool {
        let is_it = self.0.first().is_some_and(|first| first == word);
        if is_it {
            self.next();
        }
        is_it
    }

    /// Takes the next one, which is to be `word`.
    pub(super) fn expect(&mut self, word: &str) -> Option<()> {
        self.next_if(word).then_some(())
    }

    /// Takes the next one as a number, without signs and leading zeros.
    pub(super) fn number<N: std::str::FromStr + ToString>(&mut self) -> Option<N> {
        number(self.next()?)
    }

    /// Takes the next one as the end that a set looks at, once for each of its dimensions.
    pub(super) fn ends(&mut self) -> Option<(Side, usize)> {
        match self.next()? {
            "src" => Some((Side::Source, 1)),
            "dst" => Some((Side::Destination, 1)),
            "src,src" => Some((Side::Source, 2)),
            "dst,dst" => Some((Side::Destination, 2)),
            _ => None,
        }
    }

    /// Takes the next one as a chain of ours.
    pub(super) fn chain(&mut self) -> Option<ChainName> {
        ChainName::read(self.next()?)
    }

    /// Whether none is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A number as programs print it.
pub(super) fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number: &N| number.to_string() == text)
}
