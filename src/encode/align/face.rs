//! Which of several faces is followed.

use super::detect::FaceBox;
use crate::error::{Error, Result};

/// A face is one of the people in sight if it is there in at least this share of the frames that the most frequent one is in: cascades see faces
/// in wallpaper now and then.
const PRESENT: f64 = 0.5;
/// Boxes with this overlap are the same face.
const SAME: f64 = 0.3;

/// Which face is followed, if several are in sight when a clip begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaceChoice {
    /// The one that resembles the enrolled person, if one is known, else the largest.
    #[default]
    Known,
    /// The one that is largest and there for longest.
    Largest,
    /// The n-th from the left of the picture, the first one being 1.
    Number(usize),
}

/// A face in the first frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// The first frame it is in, and its box there.
    pub first: usize,
    pub face: FaceBox,
    /// Frames it is in.
    frames: usize,
}

/// Everybody in sight, from left to right; `boxes` are the faces of each frame.
pub(super) fn people(boxes: &[Vec<FaceBox>]) -> Vec<Person> {
    let mut all: Vec<Person> = Vec::new();
    for (first, list) in boxes.iter().enumerate() {
        for face in list {
            let same = |b: &FaceBox| b.overlap(face) > SAME;
            if !boxes[..first].iter().flatten().any(same) {
                let frames = boxes.iter().filter(|l| l.iter().any(same)).count();
                all.push(Person { first, face: *face, frames });
            }
        }
    }
    let most = all.iter().map(|person| person.frames).max().unwrap_or(0);
    all.retain(|person| person.frames as f64 >= PRESENT * most as f64);
    all.sort_by(|a, b| a.face.at((0.5, 0.5)).0.total_cmp(&b.face.at((0.5, 0.5)).0));
    all
}

impl FaceChoice {
    /// The chosen one of the people in the first `frames` frames.
    pub(super) fn of(self, people: &[Person], frames: usize) -> Result<Person> {
        let score = |person: &Person| person.frames as f64 * person.face.side * person.face.side;
        let chosen = match self {
            FaceChoice::Known | FaceChoice::Largest => people.iter().max_by(|a, b| score(a).total_cmp(&score(b))),
            FaceChoice::Number(n) => n.checked_sub(1).and_then(|i| people.get(i)),
        };
        match (chosen, people.len()) {
            (Some(person), _) => Ok(*person),
            (None, 0) => Err(Error::NoContent(format!(
                "no face found in the first {frames} frames: a frontal, upright face must be in sight"
            ))),
            (None, count) => Err(Error::NoContent(format!(
                "the chosen face is not in the first {frames} frames: {count} in sight, counted from the left from 1"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f64, side: f64) -> FaceBox {
        FaceBox { x, y: 10.0, side }
    }

    #[test]
    fn people_are_counted_from_the_left_and_the_largest_is_the_default() {
        // Two people who sway, and something in the wallpaper once.
        let boxes: Vec<Vec<FaceBox>> = (0..6)
            .map(|n| {
                let mut list = vec![face(200.0 + f64::from(n), 60.0), face(20.0, 40.0)];
                list.extend((n == 3).then(|| face(120.0, 90.0)));
                list
            })
            .collect();
        let found = people(&boxes);
        assert_eq!(found.iter().map(|p| p.face.x).collect::<Vec<_>>(), [20.0, 200.0]);
        assert_eq!(FaceChoice::Largest.of(&found, 6).unwrap().face.x, 200.0);
        assert_eq!(FaceChoice::Number(1).of(&found, 6).unwrap().face.x, 20.0);
        let error = |choice: FaceChoice, people: &[Person]| choice.of(people, 6).unwrap_err().to_string();
        assert!(error(FaceChoice::Number(3), &found).contains("2 in sight"));
        assert!(error(FaceChoice::Number(0), &found).contains("2 in sight"));
        assert!(error(FaceChoice::Largest, &[]).contains("no face found in the first 6 frames"));
    }
}
