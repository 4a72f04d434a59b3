//! Work on several pictures, split over threads: each draws its own alone, which takes two thirds of the time that all of them sharing each picture take (docs/encoder.md, "Detail").

use crate::error::Result;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread::scope;

/// Pixels that are drawn at once at most, for the memory's sake: two pictures of 512 x 512.
const PIXELS: usize = 1 << 19;

/// Threads of a processor that draw pictures of `side` pixels, each its own: as many as libtorch uses, fewer where pictures are large.
pub(super) fn hands(side: u32) -> usize {
    let most = PIXELS / (side as usize).pow(2).max(1);
    (tch::get_num_threads().max(1) as usize).min(most.max(1))
}

/// What `work` makes of the parts of `0..count`, in order; each worker does one part, with its share of the threads.
///
/// # Errors
/// The first of those of `work`.
pub(super) fn divided<W: Send, T: Send>(
    workers: &mut [W],
    count: usize,
    work: impl Fn(&mut W, Range<usize>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let busy = workers.len().min(count).max(1);
    let part = |i: usize| i * count / busy..(i + 1) * count / busy;
    if busy == 1 {
        return workers.iter_mut().take(1).map(|worker| work(worker, part(0))).collect();
    }
    let threads = tch::get_num_threads();
    let share = (threads / busy as i32).max(1);
    let work = &work;
    let made = scope(|scope| {
        let start = |(i, worker)| {
            scope.spawn(move || {
                // A thread's first look at the setting takes over the last one made anywhere; from then on it is its own.
                tch::get_num_threads();
                tch::set_num_threads(share);
                work(worker, part(i))
            })
        };
        let started: Vec<_> = workers.iter_mut().take(busy).enumerate().map(start).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    // The setting is each thread's own, but new threads begin with the last one made anywhere.
    tch::set_num_threads(threads);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// What workers do with so many pieces under so many threads: which worker had which piece, and with how many threads.
    fn shared(threads: i32, workers: usize, count: usize) -> Vec<(usize, Range<usize>, i32)> {
        let before = tch::get_num_threads();
        tch::set_num_threads(threads);
        let mut workers: Vec<usize> = (0..workers).collect();
        let made = divided(&mut workers, count, |worker, part| Ok((*worker, part, tch::get_num_threads()))).unwrap();
        assert_eq!(tch::get_num_threads(), threads);
        tch::set_num_threads(before);
        made
    }

    #[test]
    fn all_pieces_are_done_in_order_by_as_many_as_there_are_pieces_for() {
        assert_eq!(shared(2, 2, 5), [(0, 0..2, 1), (1, 2..5, 1)]);
        assert_eq!(shared(7, 3, 3), [(0, 0..1, 2), (1, 1..2, 2), (2, 2..3, 2)]);
        // One picture, or one worker, gets all threads.
        assert_eq!(shared(3, 3, 1), [(0, 0..1, 3)]);
        assert_eq!(shared(4, 1, 9), [(0, 0..9, 4)]);
        assert_eq!(shared(2, 2, 0), [(0, 0..0, 2)]);
    }

    #[test]
    fn what_goes_wrong_in_one_thread_is_told() {
        let failing = |_: &mut i32, part: Range<usize>| match part.start {
            0 => Ok(0),
            at => Err(Error::Misuse(format!("piece {at}"))),
        };
        let told = divided(&mut [1, 2, 3], 3, failing);
        assert!(matches!(told, Err(Error::Misuse(text)) if text == "piece 1"));
    }

    #[test]
    fn hands_are_as_many_as_threads_but_few_for_large_pictures() {
        let before = tch::get_num_threads();
        tch::set_num_threads(6);
        assert_eq!([16, 128, 256, 512, 1024, 4096].map(hands), [6, 6, 6, 2, 1, 1]);
        tch::set_num_threads(before);
    }
}
