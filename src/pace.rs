//! How long things take that are done with every frame. Input: each time it was done. Output: the longest time of late. Source: ours.

use std::time::Duration;

/// How long something that is done again and again takes: the longest time of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest(Duration);

impl Longest {
    /// Hears how long it took this time.
    pub(crate) fn hear(&mut self, time: Duration) {
        self.0 = time.max(self.0 - self.0 / 8);
    }

    pub(crate) fn time(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_forgotten_slowly() {
        let mut lasting = Longest::default();
        lasting.hear(Duration::from_millis(10));
        lasting.hear(Duration::from_millis(80));
        lasting.hear(Duration::from_millis(10));
        assert_eq!(lasting.time(), Duration::from_millis(70));
        (0..40).for_each(|_| lasting.hear(Duration::from_millis(10)));
        assert_eq!(lasting.time(), Duration::from_millis(10));
    }
}
