//! Panics of this process, counted by scenario.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

static PANICS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Counts every panic from now on, by the name of its thread, besides printing it.
pub fn count() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current().name().unwrap_or_default().to_owned();
        panics().push((thread, panic.to_string()));
        print(panic);
    }));
}

/// Takes all panics.
pub fn take_all() -> Vec<String> {
    std::mem::take(&mut *panics()).into_iter().map(|(_, message)| message).collect()
}

/// Takes the panics of the threads with this name.
pub fn take(thread: &str) -> Vec<String> {
    let mut panics = panics();
    let (own, others) = std::mem::take(&mut *panics).into_iter().partition(|(name, _)| name == thread);
    *panics = others;
    let own: Vec<(String, String)> = own;
    own.into_iter().map(|(_, message)| format!("panic: {message}")).collect()
}

fn panics() -> MutexGuard<'static, Vec<(String, String)>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}
