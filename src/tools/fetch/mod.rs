//! `lambda_fetch`: HTTP requests with the words of curl, over connections that live on between events.

mod body;
mod decode;
mod failure;
mod form;
mod options;
mod redirect;
mod request;
mod retry;
mod run;
mod send;
mod take;
mod url;
mod write_out;

pub(crate) use run::run;
