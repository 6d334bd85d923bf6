//! Finds what `sync` has to do: compares two lists that are in the same order.

use std::cmp::Ordering;
use std::iter::Peekable;

use super::arguments::Arguments;
use super::item::{Item, Verb};
use crate::aws::AwsError;

/// When two files of one name are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    SizeAndTime,
    Size,
    SizeAndExactTime,
}

/// Compares the source with the target.
pub(super) struct Sync<S: Iterator, T: Iterator> {
    source: Peekable<S>,
    target: Peekable<T>,
    comparison: Comparison,
    deletes: bool,
}

impl<S, T> Sync<S, T>
where
    S: Iterator<Item = Result<Item, AwsError>>,
    T: Iterator<Item = Result<Item, AwsError>>,
{
    pub(super) fn new(source: S, target: T, arguments: &Arguments) -> Self {
        // The AWS CLI registers exact timestamps later, so that they outweigh the size.
        let comparison = if arguments.has("exact-timestamps") {
            Comparison::SizeAndExactTime
        } else if arguments.has("size-only") {
            Comparison::Size
        } else {
            Comparison::SizeAndTime
        };
        Self {
            source: source.peekable(),
            target: target.peekable(),
            comparison,
            deletes: arguments.has("delete"),
        }
    }
}

impl<S, T> Iterator for Sync<S, T>
where
    S: Iterator<Item = Result<Item, AwsError>>,
    T: Iterator<Item = Result<Item, AwsError>>,
{
    type Item = Result<Item, AwsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.source.peek(), self.target.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) => return self.source.next(),
                (_, Some(Err(_))) => return self.target.next(),
                (Some(Ok(source)), Some(Ok(target))) => source.key.cmp(&target.key),
                (Some(Ok(_)), None) => Ordering::Less,
                (None, Some(Ok(_))) => Ordering::Greater,
            };
            match order {
                Ordering::Less => return self.source.next(),
                Ordering::Greater => {
                    let target = self.target.next()?;
                    if self.deletes {
                        return Some(target.map(deletion));
                    }
                }
                Ordering::Equal => {
                    let (source, target) = (self.source.next()?, self.target.next()?);
                    if let (Ok(source), Ok(target)) = (&source, &target)
                        && is_same(self.comparison, source, target)
                    {
                        continue;
                    }
                    return Some(source);
                }
            }
        }
    }
}

fn deletion(item: Item) -> Item {
    Item {
        verb: Verb::Delete,
        target: None,
        ..item
    }
}

fn is_same(comparison: Comparison, source: &Item, target: &Item) -> bool {
    let is_same_time = match (source.verb, comparison) {
        (_, Comparison::Size) => true,
        (Verb::Download, Comparison::SizeAndExactTime) => source.modified == target.modified,
        // A file that was changed after the object gets the object's content again.
        (Verb::Download, _) => target.modified <= source.modified,
        _ => target.modified >= source.modified,
    };
    source.size == target.size && is_same_time
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::item::Location;
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "lists are of results")]
    fn item(verb: Verb, key: &str, size: u64, seconds: i64) -> Result<Item, AwsError> {
        Ok(Item {
            verb,
            source: Location::Object(key.to_owned()),
            target: Some(Location::Object(key.to_owned())),
            key: key.to_owned(),
            size: Some(size),
            modified: OffsetDateTime::from_unix_timestamp(seconds).ok(),
            is_archived: false,
            head: Vec::new(),
        })
    }

    /// The steps of a comparison, as `verb key`.
    fn steps(verb: Verb, comparison: Comparison, deletes: bool) -> Vec<String> {
        let sync = Sync {
            source: [
                ("a", 1, 5),
                ("b", 1, 5),
                ("c", 1, 5),
                ("d", 1, 5),
                ("f", 1, 5),
            ]
            .into_iter()
            .map(|(key, size, time)| item(verb, key, size, time))
            .peekable(),
            target: [
                ("0", 1, 5),
                ("b", 1, 4),
                ("c", 1, 6),
                ("d", 2, 5),
                ("e", 1, 5),
                ("f", 1, 5),
            ]
            .into_iter()
            .map(|(key, size, time)| item(verb, key, size, time))
            .peekable(),
            comparison,
            deletes,
        };
        let text = |item: Result<Item, AwsError>| {
            item.map(|item| format!("{} {}", item.verb.word(), item.key))
        };
        sync.map(text).collect::<Result<_, _>>().expect("steps")
    }

    #[test]
    fn what_differs_is_transferred() {
        let usual = Comparison::SizeAndTime;
        assert_eq!(
            steps(Verb::Upload, usual, false),
            ["upload a", "upload b", "upload d"]
        );
        assert_eq!(
            steps(Verb::Download, usual, false),
            ["download a", "download c", "download d"]
        );
        assert_eq!(
            steps(Verb::Copy, usual, true),
            ["delete 0", "copy a", "copy b", "copy d", "delete e"]
        );
        assert_eq!(
            steps(Verb::Upload, Comparison::Size, false),
            ["upload a", "upload d"]
        );
        assert_eq!(
            steps(Verb::Download, Comparison::SizeAndExactTime, false),
            ["download a", "download b", "download c", "download d"]
        );
    }
}
