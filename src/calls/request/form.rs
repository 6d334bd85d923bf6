//! Names with values: queries, forms, headers and cookies.

use crate::Variable;
use crate::encoding::Encoding;
use crate::order::firsts;

/// Pairs in their order; a name may be there more than once.
#[derive(Debug, Default)]
pub(super) struct Pairs(pub(super) Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    /// The last value of this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// A map, in which a name that is there more than once has its last value, or all with `separator` between them. NULs
    /// and empty names are dropped: bash has none, and a client must not be able to make the call fail.
    pub(super) fn into_map(self, separator: Option<&[u8]>) -> Variable {
        let pairs = self.merged(&|_| separator).0.into_iter();
        let pairs = pairs.map(|(name, value)| (without_nuls(name), without_nuls(value)));
        Variable::Map(pairs.filter(|(name, _)| !name.is_empty()).collect())
    }

    /// Each name once, where it is first: with its last value, or with all and a separator between them.
    pub(super) fn merged<'s>(self, separator: &dyn Fn(&[u8]) -> Option<&'s [u8]>) -> Self {
        let name = |number: usize| self.0.get(number).map(|(name, _)| name);
        let firsts = firsts(self.0.len(), &|one, other| name(one).cmp(&name(other)));
        let mut merged: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        // Where in `merged` each is that came first.
        let mut places = Vec::with_capacity(firsts.len());
        for ((number, first), (name, mut value)) in firsts.into_iter().enumerate().zip(self.0) {
            places.push(merged.len());
            if number == first {
                merged.push((name, value));
                continue;
            }
            let place = places.get(first).copied().unwrap_or_default();
            if let Some((_, known)) = merged.get_mut(place) {
                match separator(&name) {
                    Some(separator) => {
                        known.extend_from_slice(separator);
                        known.append(&mut value);
                    }
                    None => *known = value,
                }
            }
        }
        Self(merged)
    }
}

pub(super) fn without_nuls(mut text: Vec<u8>) -> Vec<u8> {
    text.retain(|byte| *byte != 0);
    text
}

/// What a query or a form holds; `is_encoded` unless someone decoded it before.
pub(super) fn pairs(text: &[u8], is_encoded: bool) -> Pairs {
    let parts = text.split(|byte| *byte == b'&');
    let pair = |part: &[u8]| {
        let at = memchr::memchr(b'=', part).unwrap_or(part.len());
        let (name, value) = part.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        (decoded(name, is_encoded), decoded(value, is_encoded))
    };
    Pairs(parts.filter(|part| !part.is_empty()).map(pair).collect())
}

pub(super) fn decoded(text: &[u8], is_encoded: bool) -> Vec<u8> {
    match Encoding::UriPlus.decode(text) {
        Ok(decoded) if is_encoded => decoded,
        _ => text.to_vec(),
    }
}
