//! Does the steps of a command, several at once.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::context::Context;
use super::failure::Failure;
use super::item::Item;
use super::parallel;
use super::step;
use crate::aws::AwsError;

/// Does all steps. One alone needs no thread.
pub(super) fn run(context: &Context, items: impl Iterator<Item = Result<Item, AwsError>>) {
    let mut items = items.map_while(|item| match item {
        Ok(item) => Some(item),
        Err(error) => {
            context.report.fatal(&Failure::Aws(error));
            None
        }
    });
    let Some(first) = items.next() else {
        return;
    };
    let Some(second) = items.next() else {
        return step::run(context, &first);
    };
    let items = [first, second].into_iter().chain(items);
    let most = context.settings.requests;
    let (sender, receiver) = mpsc::sync_channel(most * 2);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let mut started = 0;
        for item in items {
            if started < most {
                let thread = thread::Builder::new().stack_size(parallel::STACK_BYTES);
                let work = || work(context, &receiver);
                match thread.spawn_scoped(scope, work) {
                    Ok(_) => started += 1,
                    Err(_) if started == 0 => {
                        step::run(context, &item);
                        continue;
                    }
                    Err(_) => {}
                }
            }
            if sender.send(item).is_err() {
                break;
            }
        }
        drop(sender);
    });
}

fn work(context: &Context, items: &Mutex<Receiver<Item>>) {
    loop {
        let next = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(item) = next else {
            return;
        };
        step::run(context, &item);
    }
}
