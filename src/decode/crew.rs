//! Work on several pictures, split over threads: each draws its own alone, which takes less time than if all of them shared each picture (docs/encoder.md, "Detail").

use crate::error::{Error, Result};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::thread::{scope, Builder};

/// Threads times pixels of a picture, at most, for the memory's sake: two threads for 512 x 512.
const PIXELS: usize = 1 << 19;

/// How many of `threads` draw pictures of `side` pixels, each its own: all of them, fewer where pictures are large.
pub(super) fn hands(threads: i32, side: u32) -> usize {
    let most = PIXELS / (side as usize).pow(2).max(1);
    (threads.max(1) as usize).min(most.max(1))
}

/// What `work` makes of the parts of `0..count`, in order; each worker does one part, with its share of the threads. A single part is done by the caller.
///
/// # Errors
/// The first of those of `work`; device, when a thread cannot be started.
pub(super) fn divided<W: Send, T: Send>(
    workers: &mut [W],
    (count, threads): (usize, i32),
    work: impl Fn(&mut W, Range<usize>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let busy = workers.len().min(count).max(1);
    let part = |i: usize| i * count / busy..(i + 1) * count / busy;
    if busy == 1 {
        return workers.iter_mut().take(1).map(|worker| work(worker, part(0))).collect();
    }
    let (own, share) = (tch::get_num_threads(), (threads / busy as i32).max(1));
    let work = &work;
    scope(|scope| {
        let (ready, set) = channel();
        let start = |(i, worker)| {
            let ready = ready.clone();
            Builder::new().spawn_scoped(scope, move || {
                // A thread takes over the last setting made anywhere when it first looks at it; from then on it has its own.
                tch::get_num_threads();
                tch::set_num_threads(share);
                // The caller waits no longer than for this.
                let _ = ready.send(());
                work(worker, part(i))
            })
        };
        let started: Vec<_> = workers.iter_mut().take(busy).enumerate().map(start).collect();
        drop(ready);
        for _ in started.iter().flatten() {
            let _ = set.recv();
        }
        // Threads that others start meanwhile are to begin with the caller's.
        tch::set_num_threads(own);
        let thread = |started: std::io::Result<std::thread::ScopedJoinHandle<'_, Result<T>>>| match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(e) => Err(Error::Device(format!("cannot start a thread: {e}"))),
        };
        started.into_iter().map(thread).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_are_done_in_order_by_as_many_as_there_are_pieces_for() {
        let own = tch::get_num_threads();
        // Which worker had which piece, and with how many threads. One for each: other tests begin threads meanwhile.
        let shared = |workers: usize, count: usize| {
            let mut workers: Vec<usize> = (0..workers).collect();
            let threads = workers.len() as i32;
            divided(&mut workers, (count, threads), |worker, part| Ok((*worker, part, tch::get_num_threads()))).unwrap()
        };
        assert_eq!(shared(2, 5), [(0, 0..2, 1), (1, 2..5, 1)]);
        assert_eq!(shared(7, 3), [(0, 0..1, 2), (1, 1..2, 2), (2, 2..3, 2)]);
        // One picture, or one worker, is the caller's.
        assert_eq!(shared(3, 1), [(0, 0..1, own)]);
        assert_eq!(shared(1, 9), [(0, 0..9, own)]);
        assert_eq!(shared(2, 0), [(0, 0..0, own)]);
        assert_eq!(tch::get_num_threads(), own);
    }

    #[test]
    fn what_goes_wrong_in_one_thread_is_told_and_the_setting_stays() {
        let own = tch::get_num_threads();
        let failing = |_: &mut i32, part: Range<usize>| match part.start {
            0 => Ok(0),
            at => Err(Error::Misuse(format!("piece {at}"))),
        };
        let told = divided(&mut [1, 2, 3], (3, 3), failing);
        assert!(matches!(told, Err(Error::Misuse(text)) if text == "piece 1"));
        let panicking = |_: &mut i32, part: Range<usize>| if part.start == 0 { Ok(0) } else { panic!("piece {}", part.start) };
        let caught = std::panic::catch_unwind(|| divided(&mut [1, 2], (2, 2), panicking));
        assert_eq!(caught.unwrap_err().downcast_ref::<String>().map(String::as_str), Some("piece 1"));
        assert_eq!(tch::get_num_threads(), own);
        assert_eq!(std::thread::spawn(tch::get_num_threads).join().unwrap(), own);
    }

    #[test]
    fn hands_are_as_many_as_threads_but_few_for_large_pictures() {
        assert_eq!([16, 128, 256, 512, 1024, 4096].map(|side| hands(6, side)), [6, 6, 6, 2, 1, 1]);
        assert_eq!(hands(0, 128), 1);
    }
}
