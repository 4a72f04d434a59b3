//! When a crop shows somebody else than the enrolled person, or nobody. Input: what is left of the error after a search, and how unlike the
//! face and its render are. `sequence` and `follower` ask.

use tch::Tensor;

/// When a face is somebody else's: both its error (mean square of samples in [-1, 1], weighed by place) and how unlike it is (`Newton::unlike`, to which
/// neither background nor light matter) are beyond these. Tuned people have up to 0.02 and 0.08, in much dimmer light 0.05 and 0.16; others
/// 0.07 and 0.33 at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strange {
    pub error: f64,
    pub unlike: f64,
}

pub(super) const STRANGE: Strange = Strange { error: 0.05, unlike: 0.25 };

impl Strange {
    /// The same where less can be expected of the search.
    pub(super) const fn doubtful(self) -> Strange {
        Strange { error: 2.0 * self.error, unlike: 1.2 * self.unlike }
    }

    pub(super) fn is(&self, error: f64, unlike: f64) -> bool {
        error > self.error && unlike > self.unlike
    }
}

/// How faces are told from others.
#[derive(Debug)]
pub(super) struct Recognition<'a> {
    pub limit: Strange,
    /// Weights `[1, 1, h, w]` of the face.
    pub face: &'a Tensor,
    /// Frames in which the face was not surely followed: whether the crop shows it at all is to be proved.
    pub unsure: &'a [bool],
}

impl Recognition<'_> {
    pub(super) fn knows(&self, frame: usize, error: f64, unlike: f64) -> bool {
        match self.unsure.get(frame) {
            Some(true) => error <= self.limit.error && unlike <= self.limit.unlike,
            _ => !self.limit.is(error, unlike),
        }
    }
}
