//! How results are written.

pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod text;
