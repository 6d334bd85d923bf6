//! A value of a document, by its place in the text.

use std::borrow::Cow;
use std::sync::Arc;

use crate::document::{Document, Kind, Span};

/// A document that outlives the evaluation, or one that it made.
#[derive(Clone)]
pub(crate) enum Origin<'d> {
    Given(&'d Document<'d>),
    Made(Arc<Document<'static>>),
}

impl Origin<'_> {
    pub(crate) fn document(&self) -> &Document<'_> {
        match self {
            Self::Given(document) => document,
            Self::Made(document) => document,
        }
    }
}

/// A value of a document.
#[derive(Clone)]
pub(crate) struct Node<'d> {
    pub(crate) origin: Origin<'d>,
    pub(crate) span: Span,
    /// Which elements were chosen where the path has `[]`.
    pub(crate) chosen: Vec<usize>,
}

impl<'d> Node<'d> {
    pub(crate) fn root(document: &'d Document<'d>) -> Self {
        Self {
            origin: Origin::Given(document),
            span: document.root(),
            chosen: Vec::new(),
        }
    }

    /// The whole of a document that was made on the way.
    pub(crate) fn of_document(document: Document<'static>, chosen: Vec<usize>) -> Self {
        Self::of_shared(Arc::new(document), chosen)
    }

    pub(crate) fn of_shared(document: Arc<Document<'static>>, chosen: Vec<usize>) -> Self {
        Self {
            span: document.root(),
            origin: Origin::Made(document),
            chosen,
        }
    }

    pub(crate) fn at(&self, span: Span) -> Self {
        Self {
            span,
            ..self.clone()
        }
    }

    pub(crate) fn document(&self) -> &Document<'_> {
        self.origin.document()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.document().kind(self.span)
    }

    pub(crate) fn raw(&self) -> &str {
        self.document().raw(self.span)
    }
}

impl Node<'_> {
    /// As `jq -r -c` prints it: a string's own text, and JSON of all else.
    pub(crate) fn output(&self) -> Cow<'_, [u8]> {
        let document = self.document();
        let text = match self.kind() {
            Kind::String => document.string(self.span),
            Kind::Array | Kind::Object => Cow::Owned(document.compact(self.span)),
            _ => Cow::Borrowed(document.raw(self.span)),
        };
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}
