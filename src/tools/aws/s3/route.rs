//! From where to where a command goes, and what each file or object of the source is called at the target.

use std::fs;

use super::arguments::Arguments;
use super::context::Context;
use super::head;
use super::item::{self, Item, Location, Verb};
use super::listing::{Object, Objects, Query};
use super::local_files::LocalFiles;
use super::paths;
use super::uri;
use crate::aws::AwsError;
use crate::call::Place;

/// One end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub is_object: bool,
    /// An absolute path of the caller's, or `BUCKET/KEY`. It ends with a slash if names are put behind it.
    pub path: String,
    takes_names: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Route {
    pub source: End,
    pub target: End,
    pub is_recursive: bool,
}

/// Which verb, and which way of listing, fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    pub verb: Verb,
    pub follows_links: bool,
    pub page_size: Option<i64>,
    /// Whether what is known of a single object matters.
    pub needs_head: bool,
}

impl End {
    /// `word` is that of the command line; `folder` is the caller's.
    pub(super) fn new(word: &str, is_recursive: bool, folder: &str, place: Place) -> Self {
        let slash = |path: String, takes_names: bool, is_object| {
            let end = if takes_names && !path.ends_with('/') {
                "/"
            } else {
                ""
            };
            Self {
                is_object,
                path: path + end,
                takes_names,
            }
        };
        if let Some(name) = uri::without_scheme(word) {
            return slash(name.to_owned(), is_recursive || name.ends_with('/'), true);
        }
        let path = paths::absolute(folder, word);
        let found = place.path(std::path::Path::new(&path));
        let is_folder = fs::metadata(found).is_ok_and(|metadata| metadata.is_dir());
        slash(
            path,
            is_folder || is_recursive || word.ends_with('/'),
            false,
        )
    }

    fn location(&self, path: String) -> Location {
        if self.is_object {
            Location::Object(path)
        } else {
            Location::File(path)
        }
    }
}

/// The root of the patterns of filters, for a path of the command line.
pub(super) fn filter_root(word: &str, is_recursive: bool, folder: &str) -> String {
    let Some(name) = uri::without_scheme(word) else {
        if is_recursive {
            return paths::absolute(folder, word);
        }
        let parent = word.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_at_root = word.starts_with('/') && parent.is_empty();
        return paths::absolute(folder, if is_at_root { "/" } else { parent });
    };
    let (bucket, key) = uri::split(name);
    if is_recursive || key.ends_with('/') {
        return format!("{bucket}/{key}");
    }
    let parent = key.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{bucket}/{parent}")
}

impl Route {
    pub(super) fn reversed(&self) -> Self {
        Self {
            source: self.target.clone(),
            target: self.source.clone(),
            is_recursive: self.is_recursive,
        }
    }

    /// What something at the source is called at the target, and below the source.
    pub(super) fn target_of(&self, source: &str) -> (String, String) {
        let key = if self.is_recursive {
            source.strip_prefix(&self.source.path).unwrap_or(source)
        } else {
            source.rsplit('/').next().unwrap_or_default()
        };
        let target = if self.target.takes_names {
            format!("{}{key}", self.target.path)
        } else {
            self.target.path.clone()
        };
        (target, key.to_owned())
    }

    /// The files or objects at the source, in the order of their keys.
    pub(super) fn items<'a>(
        &'a self,
        context: &'a Context<'a>,
        listing: Listing,
    ) -> Box<dyn Iterator<Item = Result<Item, AwsError>> + 'a> {
        let item = move |path: String| {
            let (target, key) = self.target_of(&path);
            Item {
                verb: listing.verb,
                source: self.source.location(path),
                target: (listing.verb != Verb::Delete).then(|| self.target.location(target)),
                key,
                size: None,
                modified: None,
                is_archived: false,
                head: Vec::new(),
            }
        };
        if !self.source.is_object {
            let files = LocalFiles::new(
                self.source.path.clone(),
                self.is_recursive,
                listing.follows_links,
                context.place,
                context.report,
            );
            return Box::new(files.map(move |file| {
                Ok(Item {
                    size: Some(file.size),
                    modified: Some(file.modified),
                    ..item(file.path)
                })
            }));
        }
        let (bucket, prefix) = uri::split(&self.source.path);
        if !self.is_recursive && !prefix.is_empty() {
            let known = move || {
                let plain = item(self.source.path.clone());
                if !listing.needs_head {
                    return Ok(plain);
                }
                let head = head::head(context, &self.source.path)?;
                Ok(Item {
                    size: Some(head.size),
                    modified: head.modified,
                    is_archived: head.is_archived,
                    head: head.headers,
                    ..plain
                })
            };
            return Box::new(std::iter::once_with(known));
        }
        let query = Query {
            bucket,
            prefix,
            is_flat: false,
            page_size: listing.page_size,
            requester_pays: context.arguments.has("request-payer"),
        };
        let of_object = move |object: Object| {
            // What looks like a folder is made by consoles, and no file.
            let is_folder = object.size == 0 && object.key.ends_with('/');
            let is_wanted = if is_folder {
                listing.verb == Verb::Delete
            } else {
                self.is_recursive
            };
            is_wanted.then(|| Item {
                size: Some(object.size),
                modified: Some(object.modified),
                is_archived: item::is_archived(&object.storage_class, ""),
                ..item(format!("{bucket}/{}", object.key))
            })
        };
        let objects = Objects::new(context.session, query);
        Box::new(objects.filter_map(move |object| match object {
            Ok(object) => of_object(object).map(Ok),
            Err(error) => Some(Err(error)),
        }))
    }
}

/// Whether a command is about many files or objects.
pub(super) fn is_recursive(arguments: &Arguments, is_sync: bool) -> bool {
    is_sync || arguments.has("recursive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(source: &str, target: &str, is_recursive: bool) -> Route {
        let place = Place::of_this_process();
        let end = |word| End::new(word, is_recursive, "/no/such", place);
        Route {
            source: end(source),
            target: end(target),
            is_recursive,
        }
    }

    #[test]
    fn targets_take_the_name_of_the_source_where_they_end_with_a_slash() {
        for (source, target, is_recursive, from, to) in [
            ("a", "s3://b/k", false, "/no/such/a", "b/k"),
            ("a", "s3://b/", false, "/no/such/a", "b/a"),
            ("s3://b/x/k", "d/", false, "b/x/k", "/no/such/d/k"),
            ("s3://b/x/k", "d", false, "b/x/k", "/no/such/d"),
            ("s3://b/x/k", "/", false, "b/x/k", "/k"),
            ("s3://b/x", "d", true, "b/x/y/z", "/no/such/d/y/z"),
            ("d", "s3://b/x", true, "/no/such/d/y", "b/x/y"),
            ("s3://b/", "s3://c/", true, "b/k", "c/k"),
        ] {
            let route = route(source, target, is_recursive);
            assert_eq!(route.target_of(from).0, to, "{source} {target}");
        }
    }

    #[test]
    fn filters_begin_at_the_folder_of_the_source() {
        for (word, is_recursive, root) in [
            ("s3://b", true, "b/"),
            ("s3://b/x", true, "b/x"),
            ("s3://b/x/y", false, "b/x"),
            ("s3://b/y", false, "b/"),
            ("d", true, "/f/d"),
            ("d/a", false, "/f/d"),
            ("a", false, "/f"),
            ("/a", false, "/"),
        ] {
            assert_eq!(filter_root(word, is_recursive, "/f"), root, "{word}");
        }
    }
}
