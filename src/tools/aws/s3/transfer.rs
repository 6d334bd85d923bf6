//! `aws s3 cp`, `mv`, `rm` and `sync`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::arguments::Arguments;
use super::commands::Name;
use super::context::Context;
use super::failure::Stop;
use super::filter::Filters;
use super::item::{Item, Location, Verb};
use super::pool;
use super::route::{self, End, Listing, Route};
use super::step;
use super::sync::Sync;
use super::uri;
use crate::aws::AwsError;
use crate::call::Place;

/// What the command line of a transfer asks for.
#[derive(Debug)]
pub(super) struct Plan {
    name: Name,
    /// With the slash behind a bucket. A command with one path has it twice.
    words: [String; 2],
    verb: Verb,
    is_recursive: bool,
    is_stream: bool,
    page_size: Option<i64>,
}

impl Plan {
    /// # Errors
    /// The paths fit neither the command nor each other, or a file is not there.
    pub(super) fn read(
        name: Name,
        arguments: &Arguments,
        folder: &str,
        place: Place,
    ) -> Result<Self, Stop> {
        let page_size = arguments.number("page-size").map_err(Stop::other)?;
        let verb = verb_of(name, &arguments.paths)?;
        let words: Vec<_> = arguments
            .paths
            .iter()
            .map(|word| with_slash(word))
            .collect();
        let (Some(source), Some(target)) = (words.first(), words.last()) else {
            return Err(Stop::invalid("the following arguments are required: paths"));
        };
        let mut plan = Self {
            name,
            words: [source.clone(), target.clone()],
            verb,
            is_recursive: route::is_recursive(arguments, name == Name::Sync),
            is_stream: false,
            page_size,
        };
        if source == "-" || target == "-" {
            if name != Name::Cp || plan.is_recursive {
                return Err(Stop::invalid(
                    "Streaming currently is only compatible with non-recursive cp commands",
                ));
            }
            plan.is_stream = true;
        }
        plan.check(folder, place)?;
        Ok(plan)
    }

    /// Whether standard input or output is one of the ends.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    fn check(&self, folder: &str, place: Place) -> Result<(), Stop> {
        let [source, target] = &self.words;
        if self.name == Name::Mv && self.verb == Verb::Copy && is_same_path(source, target) {
            return Err(Stop::invalid(format!(
                "Cannot mv a file onto itself: '{source}' - '{target}'"
            )));
        }
        let is_relative = |word: &&String| {
            uri::without_scheme(word).is_none() && !word.starts_with('/') && *word != "-"
        };
        if let Some(word) = self.words.iter().find(is_relative)
            && is_gone(folder, place)
        {
            return Err(Stop::other(format!(
                "cannot find {word}: the current folder has no path any more"
            )));
        }
        let found = |word: &str| place.path(Path::new(&super::paths::absolute(folder, word)));
        if self.verb == Verb::Upload && !self.is_stream && fs::metadata(found(source)).is_err() {
            return Err(Stop::other(format!(
                "The user-provided path {source} does not exist."
            )));
        }
        if self.verb == Verb::Download && self.is_recursive {
            fs::create_dir_all(found(target)).map_err(|error| {
                Stop::other(format!("cannot create the folder {target}: {error}"))
            })?;
        }
        Ok(())
    }

    /// Does it.
    pub(super) fn run(&self, context: &Context) {
        let [source, target] = &self.words;
        let end = |word: &str| End::new(word, self.is_recursive, &context.folder, context.place);
        let route = Route {
            source: end(source),
            target: end(target),
            is_recursive: self.is_recursive,
        };
        if self.is_stream {
            return step::run(context, &self.stream_item(&route));
        }
        let root = |word: &str| route::filter_root(word, self.is_recursive, &context.folder);
        let filters = Filters::new(context.arguments.filters(), &root(source), &root(target));
        let is_wanted = |item: &Result<Item, AwsError>| match item {
            Ok(Item {
                source: Location::File(path) | Location::Object(path),
                ..
            }) => filters.include(path),
            _ => true,
        };
        let listing = Listing {
            verb: self.verb,
            follows_links: !context.arguments.has("no-follow-symlinks"),
            page_size: self.page_size,
            // A download learns all of it from its first answer.
            needs_head: self.verb == Verb::Copy
                || self.verb == Verb::Download && context.arguments.has("dryrun"),
        };
        let items = route.items(context, listing).filter(is_wanted);
        if self.name == Name::Sync {
            let reversed = route.reversed();
            let present = reversed.items(context, listing).filter(is_wanted);
            pool::run(context, Sync::new(items, present, context.arguments));
        } else {
            pool::run(context, items);
        }
    }

    fn stream_item(&self, route: &Route) -> Item {
        let location = |end: &End, word: &str| {
            if end.is_object {
                // Standard input has no name of its own.
                let (object, _) = route.target_of("-");
                let is_target = end == &route.target;
                Location::Object(if is_target { object } else { end.path.clone() })
            } else if word == "-" {
                Location::Stream
            } else {
                Location::File(end.path.clone())
            }
        };
        let [source, target] = &self.words;
        Item {
            verb: self.verb,
            source: location(&route.source, source),
            target: Some(location(&route.target, target)),
            key: String::new(),
            size: None,
            modified: None,
            is_archived: false,
            head: Vec::new(),
        }
    }
}

fn verb_of(name: Name, paths: &[String]) -> Result<Verb, Stop> {
    let are_objects: Vec<_> = paths
        .iter()
        .map(|path| uri::without_scheme(path).is_some())
        .collect();
    let verb = match are_objects[..] {
        [true] => Some(Verb::Delete),
        [false, true] => Some(Verb::Upload),
        [true, false] => Some(Verb::Download),
        [true, true] => Some(Verb::Copy),
        _ => None,
    };
    verb.ok_or_else(|| {
        Stop::invalid(format!(
            "usage: aws s3 {} {}\nError: Invalid argument type",
            name.word(),
            name.usage()
        ))
    })
}

/// Whether the caller's folder is not the one of this path: Linux names one that was removed by its old path with ` (deleted)`
/// behind it.
fn is_gone(folder: &str, place: Place) -> bool {
    let identity = |path: &str| {
        let found = fs::metadata(place.path(Path::new(path))).ok()?;
        Some((found.dev(), found.ino()))
    };
    let present = identity("/proc/self/cwd");
    present.is_none() || identity(folder) != present
}

/// The name of a bucket alone gets a slash.
fn with_slash(word: &str) -> String {
    match uri::without_scheme(word) {
        Some(name) if !name.contains('/') => format!("{word}/"),
        _ => word.to_owned(),
    }
}

/// Whether an object would be moved to where it is.
fn is_same_path(source: &str, target: &str) -> bool {
    let name = source.rsplit('/').next().unwrap_or_default();
    source == target || target.ends_with('/') && source == format!("{target}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(name: Name, paths: &[&str]) -> Result<Verb, String> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        verb_of(name, &paths).map_err(|stop| stop.text)
    }

    #[test]
    fn paths_decide_on_the_direction() {
        assert_eq!(verb(Name::Cp, &["a", "s3://b"]), Ok(Verb::Upload));
        assert_eq!(verb(Name::Cp, &["s3://b/k", "-"]), Ok(Verb::Download));
        assert_eq!(verb(Name::Sync, &["s3://b", "s3://c"]), Ok(Verb::Copy));
        assert_eq!(verb(Name::Rm, &["s3://b"]), Ok(Verb::Delete));
        assert_eq!(
            verb(Name::Rm, &["b"]),
            Err("usage: aws s3 rm <S3Uri>\nError: Invalid argument type".to_owned())
        );
        assert!(verb(Name::Mv, &["a", "b"]).is_err());
    }

    #[test]
    fn objects_do_not_move_onto_themselves() {
        assert!(is_same_path("s3://b/a/k", "s3://b/a/"));
        assert!(is_same_path("s3://b/k", "s3://b/k"));
        assert!(!is_same_path("s3://b/k", "s3://b/l"));
        assert_eq!(with_slash("s3://b"), "s3://b/");
        assert_eq!(with_slash("s3://b/k"), "s3://b/k");
        assert_eq!(with_slash("b"), "b");
    }
}
