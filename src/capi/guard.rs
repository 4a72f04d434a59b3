//! What surrounds the body of every C function. Input: a closure. Output: a status number; its message is kept per thread,
//! since a failure may leave no handle that could hold it.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::status::Status;
use crate::Error;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Why a C function fails.
pub(super) struct Failure {
    status: Status,
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { status: Status::from(&error), message: error.to_string() }
    }
}

/// The failure of an argument that must not be NULL.
pub(super) fn null(argument: &str) -> Failure {
    Failure { status: Status::Null, message: format!("{argument} must not be NULL") }
}

/// Runs `body`. A failure or a panic becomes a status and this thread's last message; success leaves the message alone.
pub(super) fn guard(body: impl FnOnce() -> Result<Status, Failure>) -> Status {
    // A broken value is not seen again: handles refuse work after a panic (see `Handle`).
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let failure = match outcome {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure { status: Status::Panic, message: format!("internal error: {}", panic_text(payload.as_ref())) },
    };
    // During the end of a thread its storage may be gone; then the status alone has to do.
    let _ = LAST.try_with(|last| *last.borrow_mut() = failure.message);
    failure.status
}

/// Hands this thread's last message to `read`.
pub(super) fn with_last_message<T>(read: impl FnOnce(&str) -> T) -> T {
    let message = LAST.try_with(|last| last.borrow().clone()).unwrap_or_default();
    read(&message)
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a message")
}

/// As [`guard`] for a call on a handle, which keeps the message of a failure too.
pub(super) fn guard_on<T>(
    handle: Option<&mut Handle<T>>,
    argument: &str,
    body: impl FnOnce(&mut T) -> Result<Status, Failure>,
) -> Status {
    let Some(handle) = handle else { return guard(|| Err(null(argument))) };
    let status = guard(|| handle.run(body));
    if (status as i32) < 0 {
        handle.message = with_last_message(str::to_owned);
    }
    status
}

/// A value behind a C pointer, refusing work once a call on it has panicked half-way.
pub(super) struct Handle<T> {
    value: T,
    busy: bool,
    message: String,
}

impl<T> Handle<T> {
    pub(super) fn new(value: T) -> Self {
        Handle { value, busy: false, message: String::new() }
    }

    /// The message of the last failure of [`guard_on`].
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Runs `work` on the value. A panic in `work` leaves the handle marked, and later calls fail as misuse.
    pub(super) fn run<R, E: From<Error>>(&mut self, work: impl FnOnce(&mut T) -> Result<R, E>) -> Result<R, E> {
        if self.busy {
            return Err(Error::Misuse("this handle is broken by an earlier internal error: free it".into()).into());
        }
        self.busy = true;
        let result = work(&mut self.value);
        self.busy = false;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        assert_eq!(guard(|| panic!("row {} is missing", 3)), Status::Panic);
        with_last_message(|text| assert_eq!(text, "internal error: row 3 is missing"));
    }

    #[test]
    fn a_failure_keeps_its_message_until_the_next_one() {
        assert_eq!(guard(|| Err(Error::Malformed("packet 7".into()).into())), Status::Malformed);
        assert_eq!(guard(|| Ok(Status::Ok)), Status::Ok);
        with_last_message(|text| assert_eq!(text, "malformed packet 7"));
        assert_eq!(guard(|| Err(null("pack"))), Status::Null);
        with_last_message(|text| assert_eq!(text, "pack must not be NULL"));
    }

    #[test]
    fn messages_of_other_threads_are_not_seen() {
        guard(|| Err(null("here")));
        std::thread::spawn(|| with_last_message(|text| assert_eq!(text, ""))).join().unwrap();
    }

    #[test]
    fn a_handle_refuses_work_after_a_panic() {
        let mut handle = Handle::new(1);
        assert_eq!(handle.run(|value| Ok::<_, Error>(*value)).unwrap(), 1);
        let status = guard_on(Some(&mut handle), "handle", |_| panic!("half-way"));
        assert_eq!(status, Status::Panic);
        assert_eq!(handle.message(), "internal error: half-way");
        assert!(matches!(handle.run(|value| Ok(*value)), Err(Error::Misuse(_))));
    }
}
