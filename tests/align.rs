//! Alignment end to end: a drawn face moved by known similarities must be followed, held still when it is still, and found again.
#![cfg(feature = "encode")]

use effigy::encode::align::{AlignOptions, Aligner, FaceChoice, Shift};
use effigy::encode::{AlignedFrame, Misplaced};
use effigy::frame::{Frame, TimedFrame};
use effigy::Error;

/// Crop side of the tests, pixels; the goals are stated at 256.
const SIDE: f64 = 256.0;

/// A picture as brightness per channel at any place, so that moving it needs no interpolation.
type Scene = fn(f64, f64) -> [f64; 3];

/// Smooth step from 1 inside to 0 outside of an ellipse.
fn blob(x: f64, y: f64, cx: f64, cy: f64, rx: f64, ry: f64) -> f64 {
    let d = ((x - cx) / rx).hypot((y - cy) / ry);
    1.0 / (1.0 + ((d - 1.0) * 14.0).exp())
}

/// A drawn head in a 400 x 400 picture, eyes 80 pixels apart around (200, 185), with freckles for texture.
fn head(x: f64, y: f64) -> [f64; 3] {
    let mut light = 0.55 + 0.1 * (0.02 * x + 0.013 * y).sin();
    let mut mix = |amount: f64, value: f64| light += amount * (value - light);
    mix(blob(x, y, 200.0, 195.0, 105.0, 140.0), 0.15);
    let shade = 0.78 - 0.0012 * (x - 200.0).abs() - 0.0003 * (y - 200.0).abs();
    let freckles = 0.02 * (0.31 * x + 0.05 * y).sin() * (0.27 * y - 0.07 * x).sin() + 0.02 * (0.11 * x).sin() * (0.13 * y).cos();
    mix(blob(x, y, 200.0, 215.0, 88.0, 118.0), shade + freckles);
    for side in [-1.0, 1.0] {
        let eye = 200.0 + side * 40.0;
        mix(0.5 * blob(x, y, eye, 183.0, 30.0, 18.0), 0.45);
        mix(blob(x, y, eye, 160.0, 27.0, 5.0), 0.2);
        mix(blob(x, y, eye, 185.0, 17.0, 7.0), 0.85);
        mix(blob(x, y, eye, 185.0, 8.0, 8.0), 0.1);
        mix(0.7 * blob(x, y, 200.0 + side * 11.0, 248.0, 6.0, 4.0), 0.25);
    }
    mix(0.5 * blob(x, y, 200.0, 215.0, 8.0, 32.0), 0.92);
    mix(0.8 * blob(x, y, 200.0, 282.0, 32.0, 9.0), 0.35);
    [(light * 1.05).min(1.0), light * 0.9, light * 0.8]
}

fn empty(x: f64, y: f64) -> [f64; 3] {
    [0.5 + 0.2 * (0.02 * x).sin() * (0.015 * y).cos(); 3]
}

/// Motion of the scene in the frame: turned clockwise by `angle` (radians) and scaled about the head's middle, then shifted.
#[derive(Clone, Copy)]
struct Motion {
    angle: f64,
    scale: f64,
    shift: (f64, f64),
}

const STILL: Motion = Motion { angle: 0.0, scale: 1.0, shift: (0.0, 0.0) };
const MIDDLE: (f64, f64) = (200.0, 200.0);

impl Motion {
    fn apply(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (s, c) = self.angle.sin_cos();
        let (dx, dy) = ((x - MIDDLE.0) * self.scale, (y - MIDDLE.1) * self.scale);
        (MIDDLE.0 + c * dx - s * dy + self.shift.0, MIDDLE.1 + s * dx + c * dy + self.shift.1)
    }

    fn undo(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (s, c) = self.angle.sin_cos();
        let (dx, dy) = ((x - MIDDLE.0 - self.shift.0) / self.scale, (y - MIDDLE.1 - self.shift.1) / self.scale);
        (MIDDLE.0 + c * dx + s * dy, MIDDLE.1 - s * dx + c * dy)
    }
}

/// Frame `n` of a moved scene with noise of 2 grey levels (uniform, from a linear congruential generator).
fn render(scene: Scene, motion: Motion, n: i64) -> TimedFrame {
    let mut state = 77u32.wrapping_add(n as u32 * 9781);
    let mut data = Vec::with_capacity(3 * 400 * 400);
    for y in 0..400 {
        for x in 0..400 {
            let (u, v) = motion.undo((f64::from(x) + 0.5, f64::from(y) + 0.5));
            for value in scene(u, v) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = f64::from(state >> 16) / 65536.0 * 7.0 - 3.5;
                data.push((255.0 * value + noise).round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    TimedFrame { pts: n, frame: Frame::new(400, 400, data).unwrap() }
}

fn align(frames: &[TimedFrame]) -> Vec<AlignedFrame> {
    align_with(&AlignOptions::default(), frames)
}

fn align_with(options: &AlignOptions, frames: &[TimedFrame]) -> Vec<AlignedFrame> {
    let mut aligner = Aligner::new(options).unwrap();
    aligner.start(&frames[..frames.len().min(10)]).unwrap();
    frames.iter().map(|f| aligner.push(f).unwrap()).collect()
}

/// Where the crop has a point (shares of its side from the centre), camera pixels.
fn camera_point(a: &AlignedFrame, (u, v): (f64, f64)) -> (f64, f64) {
    let (s, c) = f64::from(a.roll).to_radians().sin_cos();
    let side = f64::from(a.placement.side);
    (f64::from(a.placement.x) + side * (c * u - s * v), f64::from(a.placement.y) + side * (s * u + c * v))
}

/// Distance at four points around the face between the crop of `b` and that of `a` after the true motion between them, pixels at 256.
fn error(a: &AlignedFrame, from: Motion, b: &AlignedFrame, to: Motion) -> f64 {
    let squares: f64 = [(0.2, 0.2), (-0.2, 0.2), (0.2, -0.2), (-0.2, -0.2)]
        .iter()
        .map(|&p| {
            let want = to.apply(from.undo(camera_point(a, p)));
            let got = camera_point(b, p);
            (want.0 - got.0).powi(2) + (want.1 - got.1).powi(2)
        })
        .sum();
    (squares / 4.0).sqrt() * SIDE / f64::from(b.placement.side)
}

fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v * v, n + 1.0));
    (sum / f64::max(n, 1.0)).sqrt()
}

#[test]
fn the_crop_has_ffhq_framing() {
    let turned = Motion { angle: 0.15, ..STILL };
    let first = &align(&[render(head, turned, 0)])[0];
    assert!((f64::from(first.roll) - 0.15f64.to_degrees()).abs() < 3.0, "roll {}", first.roll);
    let distance = 80.0 / f64::from(first.placement.side);
    assert!((0.20..0.30).contains(&distance), "eye distance {distance} of the crop");
    let midpoint = turned.apply((200.0, 185.0));
    let place = camera_point(first, (0.0, -0.03));
    let off = (place.0 - midpoint.0).hypot(place.1 - midpoint.1) / f64::from(first.placement.side);
    assert!(off < 0.04, "eyes are off their place by {off} of the crop");
}

#[test]
fn a_still_head_gives_still_crops() {
    let frames: Vec<_> = (0..20).map(|n| render(head, STILL, n)).collect();
    for quick in [false, true] {
        let crops = align_with(&AlignOptions { quick, ..AlignOptions::default() }, &frames);
        let jitter = rms(crops[1..].iter().map(|c| error(&crops[0], STILL, c, STILL)));
        println!("quick {quick}: {jitter:.3} px");
        assert!(jitter <= 0.1, "jitter {jitter} px at 256");
        assert!(crops[1..].iter().all(|c| !c.key && c.confidence > 0.9));
    }
}

#[test]
fn in_plane_motion_is_recovered() {
    let motion = |n: i64| {
        let t = n as f64 * 0.3;
        Motion {
            angle: 0.12 * (0.9 * t).sin(),
            scale: 1.0 + 0.1 * (0.6 * t).sin(),
            shift: (25.0 * t.sin(), 15.0 * (1.3 * t).sin()),
        }
    };
    let frames: Vec<_> = (0..40).map(|n| render(head, motion(n), n)).collect();
    for quick in [false, true] {
        let crops = align_with(&AlignOptions { quick, ..AlignOptions::default() }, &frames);
        let worst = rms(crops[1..].iter().map(|c| error(&crops[0], motion(0), c, motion(c.pts))));
        println!("quick {quick}: {worst:.3} px");
        assert!(worst <= 0.5, "RMS {worst} px at 256");
    }
}

#[test]
fn a_lost_face_holds_the_crop_and_is_found_again() {
    let far = Motion { shift: (45.0, 20.0), ..STILL };
    let mut frames: Vec<_> = (0..6).map(|n| render(head, STILL, n)).collect();
    frames.extend((6..12).map(|n| render(empty, STILL, n)));
    frames.extend((12..20).map(|n| render(head, far, n)));
    let crops = align(&frames);
    for c in &crops[6..12] {
        assert_eq!((c.confidence, c.placement), (0.0, crops[5].placement), "frame {}", c.pts);
    }
    let last = crops.last().unwrap();
    assert!(last.confidence > 0.9);
    assert!(error(&crops[0], STILL, last, far) < 6.0, "{:?}", last.placement);
}

#[test]
fn a_clip_without_a_face_says_so() {
    let mut aligner = Aligner::new(&AlignOptions::default()).unwrap();
    let frames: Vec<_> = (0..3).map(|n| render(empty, STILL, n)).collect();
    match aligner.start(&frames) {
        Err(Error::NoContent(text)) => assert!(text.contains("no face found in the first 3 frames"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_face_in_a_later_frame_of_the_lookahead_is_enough() {
    let mut frames: Vec<_> = (0..4).map(|n| render(empty, STILL, n)).collect();
    frames.extend((4..8).map(|n| render(head, STILL, n)));
    let crops = align(&frames);
    assert_eq!(crops[0].confidence, 0.0);
    assert!(crops[7].confidence > 0.9);
}

#[test]
fn crops_may_reach_over_the_border_and_have_the_size_asked_for() {
    let close = Motion { scale: 1.25, shift: (0.0, -60.0), ..STILL };
    let frames = [render(head, close, 0)];
    for resolution in [64, 512] {
        let mut aligner = Aligner::new(&AlignOptions { resolution, ..AlignOptions::default() }).unwrap();
        let crop = aligner.push(&frames[0]).unwrap();
        assert!(camera_point(&crop, (0.0, -0.5)).1 < 0.0, "the crop stays inside: the test shows nothing");
        assert_eq!((crop.frame.width, crop.frame.height), (resolution, resolution));
    }
}

/// A known crop that is not framed by the eyes: the face is larger than usual, beside the middle and turned. Its motion, its place
/// and its picture.
fn known_crop() -> (Motion, AlignedFrame, Frame) {
    let odd = Motion { scale: 1.12, angle: 0.06, shift: (14.0, -9.0) };
    let usual = align(&[render(head, STILL, 0)]).remove(0);
    let known = align(&[render(head, odd, 1)]).remove(0);
    let shown = AlignedFrame { placement: usual.placement, roll: usual.roll, ..known };
    let side = 2 * (f64::from(usual.placement.side) / 2.0) as i64;
    let (left, top) = (f64::from(usual.placement.x) as i64 - side / 2, f64::from(usual.placement.y) as i64 - side / 2);
    let reference = cropped(&render(head, odd, 1).frame, left, top, side);
    (odd, shown, reference)
}

#[test]
fn a_crop_is_placed_as_known_crops_of_the_same_face_are() {
    let (odd, shown, reference) = known_crop();
    // A camera that stands elsewhere.
    let camera = Motion { scale: 0.9, shift: (-20.0, 25.0), ..STILL };
    let options = AlignOptions { references: vec![reference], resolution: 256, ..AlignOptions::default() };
    let mut aligner = Aligner::new(&options).unwrap();
    let placed = aligner.push(&render(head, camera, 2)).unwrap();
    let off = error(&shown, odd, &placed, camera);
    let by_eyes = error(&shown, odd, &align(&[render(head, camera, 2)])[0], camera);
    assert!(off < 1.5, "{off} px at 256 beside the known crop");
    assert!(by_eyes > 8.0, "{by_eyes}: the eyes alone would do, and the test shows nothing");
}

/// The head with a mask of broad stripes over forehead and cheeks, which leaves the eyes free.
fn painted(x: f64, y: f64) -> [f64; 3] {
    striped(x, y, 0.22)
}

/// The same with stronger stripes.
fn masked(x: f64, y: f64) -> [f64; 3] {
    striped(x, y, 0.5)
}

fn striped(x: f64, y: f64, depth: f64) -> [f64; 3] {
    let bare = head(x, y);
    let face = blob(x, y, 200.0, 215.0, 80.0, 110.0);
    let eyes = blob(x, y, 160.0, 180.0, 34.0, 30.0).max(blob(x, y, 240.0, 180.0, 34.0, 30.0));
    let stripes = depth * (0.16 * x + 0.12 * y).sin();
    bare.map(|v| (v + face * (1.0 - eyes) * stripes).clamp(0.0, 1.0))
}

/// Frame `n`, `share` of the way from one picture to the other.
fn blend(n: i64, from: &Frame, to: &Frame, share: f64) -> TimedFrame {
    let mix = |(a, b): (&u8, &u8)| (f64::from(*a) + share * (f64::from(*b) - f64::from(*a))).round() as u8;
    let data = from.data.iter().zip(&to.data).map(mix).collect();
    TimedFrame { pts: n, frame: Frame::new(from.width, from.height, data).unwrap() }
}

#[test]
fn a_face_that_begins_unlike_all_known_crops_is_placed_from_later_frames() {
    let (odd, shown, reference) = known_crop();
    let camera = Motion { scale: 0.9, shift: (-20.0, 25.0), ..STILL };
    let (bare, mask) = (render(head, camera, 2).frame, render(painted, camera, 3).frame);
    // The mask fades from frame 2 to frame 10.
    let clip: Vec<_> = (0..14).map(|n| blend(n, &mask, &bare, ((n - 2) as f64 / 8.0).clamp(0.0, 1.0))).collect();
    let place = |frames: &[TimedFrame]| {
        let options = AlignOptions { references: vec![reference.clone()], lookahead: 2, ..AlignOptions::default() };
        let mut aligner = Aligner::new(&options).unwrap();
        aligner.start(frames).unwrap();
        error(&shown, odd, &aligner.push(&frames[0]).unwrap(), camera)
    };
    let (far, near) = (place(&clip), place(&clip[..2]));
    assert!(far < 2.5, "{far} px at 256 beside the known crop");
    assert!(near > 8.0, "{near}: the first frames would do, and the test shows nothing");
}

#[test]
fn a_crop_placed_by_the_eyes_moves_into_place_once_the_face_is_recognised() {
    let (odd, shown, reference) = known_crop();
    let camera = Motion { scale: 0.9, shift: (-20.0, 25.0), ..STILL };
    let (bare, mask) = (render(head, camera, 2).frame, render(masked, camera, 3).frame);
    // Another face is among those that are known, more often than can be looked at in one frame of a call.
    let other = Frame::new(64, 64, (0..64 * 64 * 3).map(|i| (i * i / 97 % 256) as u8).collect()).unwrap();
    let references = [vec![other; 5], vec![reference]].concat();
    for quick in [false, true] {
        // Frame by frame, as in a call; the mask fades from frame 2 to frame 10.
        let options = AlignOptions { references: references.clone(), lookahead: 1, quick, ..AlignOptions::default() };
        let mut aligner = Aligner::new(&options).unwrap();
        let mut place = |n: i64| {
            let timed = blend(n, &mask, &bare, ((n - 2) as f64 / 8.0).clamp(0.0, 1.0));
            error(&shown, odd, &aligner.push(&timed).unwrap(), camera)
        };
        let first = place(0);
        let last = (1..30).map(&mut place).last().unwrap();
        assert!(first > 8.0, "{first}: the first frame would do, and the test shows nothing, quick {quick}");
        println!("quick {quick}: {first:.1} to {last:.2} px");
        assert!(last < 2.5, "{last} px at 256 beside the known crop, quick {quick}");
    }
}

/// The square of a picture that begins at (`left`, `top`); what lies beyond the border is black.
fn cropped(frame: &Frame, left: i64, top: i64, side: i64) -> Frame {
    let mut out = Frame::filled(side as u32, side as u32, [0; 3]).unwrap();
    for y in 0..side {
        for x in 0..side {
            if (0..i64::from(frame.width)).contains(&(left + x)) && (0..i64::from(frame.height)).contains(&(top + y)) {
                let at = 3 * (y * side + x) as usize;
                out.data[at..at + 3].copy_from_slice(&frame.pixel((left + x) as u32, (top + y) as u32));
            }
        }
    }
    out
}

#[test]
fn crops_are_moved_for_good_and_go_on_following() {
    let moving = |n: i64| Motion { shift: (2.0 * n as f64, 0.0), ..STILL };
    let mut aligner = Aligner::new(&AlignOptions::default()).unwrap();
    let before: Vec<_> = (0..4).map(|n| aligner.push(&render(head, moving(n), n)).unwrap()).collect();
    let off = Misplaced { shift: (0.05, -0.02), scale: 1.04, angle: 0.03, error: 0.0 };
    aligner.nudge(&Shift::new(&off).unwrap());
    let after: Vec<_> = (4..40).map(|n| aligner.push(&render(head, moving(n), n)).unwrap()).collect();
    // Where the first crop would be, had it been moved.
    let moved = Shift::new(&off).unwrap().moved(&before[3].track()).with(before[3].frame.clone());
    let worst = after.iter().map(|c| error(&moved, moving(3), c, moving(c.pts))).fold(0.0, f64::max);
    assert!(worst < 0.7, "{worst} px at 256");
}

/// Two people side by side, the right one the larger.
fn pair(x: f64, y: f64) -> [f64; 3] {
    let (middle, scale) = if x < 190.0 { (100.0, 0.42) } else { (292.0, 0.5) };
    head(200.0 + (x - middle) / scale, 200.0 + (y - 200.0) / scale)
}

#[test]
fn of_several_faces_the_chosen_one_is_followed() {
    let frames: Vec<_> = (0..4).map(|n| render(pair, STILL, n)).collect();
    let middle = |face: FaceChoice| align_with(&AlignOptions { face, ..AlignOptions::default() }, &frames)[3].placement.x;
    let (left, right, largest) = (middle(FaceChoice::Number(1)), middle(FaceChoice::Number(2)), middle(FaceChoice::Largest));
    assert!((left - 100.0).abs() < 8.0 && (right - 292.0).abs() < 8.0, "{left}, {right}");
    assert_eq!(largest, right);
    let mut aligner = Aligner::new(&AlignOptions { face: FaceChoice::Number(3), ..AlignOptions::default() }).unwrap();
    assert!(matches!(aligner.start(&frames), Err(Error::NoContent(text)) if text.contains("2 in sight")));
}

#[test]
fn the_enrolled_one_of_two_people_is_followed_although_the_other_is_larger() {
    // The left one wears the stripes that the reference wears.
    let striped_pair: Scene = |x, y| match x < 190.0 {
        true => painted(200.0 + (x - 100.0) / 0.42, 200.0 + (y - 200.0) / 0.42),
        false => pair(x, y),
    };
    let references = vec![align(&[render(painted, STILL, 0)]).remove(0).frame];
    let options = AlignOptions { references, ..AlignOptions::default() };
    let placed = align_with(&options, &[render(striped_pair, STILL, 1)]);
    assert!((placed[0].placement.x - 100.0).abs() < 8.0, "{:?}", placed[0].placement);
    let literal = AlignOptions { face: FaceChoice::Largest, ..options };
    let placed = align_with(&literal, &[render(striped_pair, STILL, 1)]);
    assert!((placed[0].placement.x - 292.0).abs() < 8.0, "{:?}", placed[0].placement);
}

/// The same head in another room.
fn elsewhere(x: f64, y: f64) -> [f64; 3] {
    let face = blob(x, y, 200.0, 195.0, 108.0, 143.0);
    let stripes = 0.5 + 0.4 * (0.05 * x).sin().signum() * (0.04 * y).cos();
    head(x, y).map(|v| face * v + (1.0 - face) * stripes)
}

#[test]
fn after_a_cut_the_face_sits_in_the_crop_as_before() {
    let there = Motion { scale: 0.75, angle: 0.1, shift: (60.0, -30.0) };
    let mut frames: Vec<_> = (0..6).map(|n| render(head, STILL, n)).collect();
    frames.extend((6..12).map(|n| render(elsewhere, there, n)));
    for quick in [false, true] {
        let mut aligner = Aligner::new(&AlignOptions { quick, ..AlignOptions::default() }).unwrap();
        let crops: Vec<_> = frames.iter().map(|f| aligner.push(f).unwrap()).collect();
        let worst = crops[6..].iter().map(|c| error(&crops[0], STILL, c, there)).fold(0.0, f64::max);
        assert!(worst < 1.5, "{worst} px at 256, quick {quick}");
        assert!(crops[6].key && crops[6..].iter().all(|c| c.shot == 0 && c.confidence > 0.6));
        let summary = aligner.summary();
        assert_eq!((summary.cuts, summary.lost, summary.strange), (1, 0, 0), "quick {quick}");
    }
}

#[test]
fn another_background_around_a_face_that_goes_on_is_no_cut() {
    let there = Motion { shift: (10.0, 5.0), ..STILL };
    let mut frames: Vec<_> = (0..6).map(|n| render(head, STILL, n)).collect();
    frames.extend((6..10).map(|n| render(elsewhere, there, n)));
    let mut aligner = Aligner::new(&AlignOptions::default()).unwrap();
    let crops: Vec<_> = frames.iter().map(|f| aligner.push(f).unwrap()).collect();
    assert!(crops[6].key && crops[6..].iter().all(|c| c.confidence > 0.6));
    assert_eq!(aligner.summary().cuts, 0);
}

#[test]
fn another_face_that_shows_up_after_a_cut_is_taken_and_told() {
    let mut frames: Vec<_> = (0..4).map(|n| render(head, STILL, n)).collect();
    frames.extend((4..6).map(|n| render(|x, y| empty(x, y).map(|v| 1.0 - v), STILL, n)));
    frames.extend((6..10).map(|n| render(|x, y| masked(x, y).map(|v| 1.0 - 0.9 * (1.0 - v)), STILL, n)));
    let mut aligner = Aligner::new(&AlignOptions::default()).unwrap();
    let crops: Vec<_> = frames.iter().map(|f| aligner.push(f).unwrap()).collect();
    assert_eq!((crops[5].confidence, crops[9].shot, aligner.summary().strange), (0.0, 1, 1));
}

#[test]
fn another_face_after_a_cut_is_taken_and_told() {
    let mut frames: Vec<_> = (0..4).map(|n| render(head, STILL, n)).collect();
    let there = Motion { shift: (40.0, 30.0), ..STILL };
    frames.extend((4..8).map(|n| render(|x, y| masked(x, y).map(|v| 1.0 - 0.9 * (1.0 - v)), there, n)));
    let mut aligner = Aligner::new(&AlignOptions::default()).unwrap();
    let crops: Vec<_> = frames.iter().map(|f| aligner.push(f).unwrap()).collect();
    assert_eq!((crops[3].shot, crops[7].shot, aligner.summary().strange), (0, 1, 1));
    assert!(crops[7].confidence > 0.6 && error(&crops[0], STILL, &crops[7], there) < 16.0);
}

/// The head behind a hand.
fn covered(x: f64, y: f64) -> [f64; 3] {
    let hand = blob(x, y, 205.0, 265.0, 75.0, 70.0);
    let skin = 0.6 + 0.06 * (0.2 * x).sin() * (0.17 * y).cos();
    head(x, y).map(|v| (1.0 - hand) * v + hand * skin)
}

#[test]
fn a_hand_before_the_face_moves_the_crop_hardly_and_not_for_good() {
    let frames: Vec<_> = (0..20).map(|n| render(if (6..14).contains(&n) { covered } else { head }, STILL, n)).collect();
    for quick in [false, true] {
        let crops = align_with(&AlignOptions { quick, ..AlignOptions::default() }, &frames);
        let off =
            |range: std::ops::Range<usize>| crops[range].iter().map(|c| error(&crops[0], STILL, c, STILL)).fold(0.0, f64::max);
        println!("behind the hand {:.2} px, after it {:.2} px, quick {quick}", off(6..14), off(15..20));
        assert!(off(6..14) < 8.0 && off(15..20) < 1.5);
        assert!(crops.iter().all(|c| c.shot == 0));
    }
}

/// A parametric head that turns into profile and back within two seconds.
#[cfg(feature = "train")]
#[test]
fn a_head_that_turns_into_profile_comes_back_to_its_place() {
    use effigy::train::heads::{self, Framing, Head};
    let turn = |n: i64| 75.0 * (std::f32::consts::PI * n as f32 / 47.0).sin();
    let framing = Framing::Camera { x: 0.5, y: 0.5, scale: 0.7, roll_degrees: 0.0 };
    let frames: Vec<_> = (0..56)
        .map(|n| {
            let yaw = if (4..52).contains(&n) { turn(n - 4) } else { 0.0 };
            TimedFrame { pts: n, frame: heads::render(&Head { yaw, framing, ..Head::default() }, 192).frame }
        })
        .collect();
    for quick in [false, true] {
        let crops = align_with(&AlignOptions { quick, ..AlignOptions::default() }, &frames);
        // Sane all the way: the crop stays where a head could be.
        let side = f64::from(crops[0].placement.side);
        assert!(crops.iter().all(|c| (0.6..1.6).contains(&(f64::from(c.placement.side) / side))));
        let back = error(&crops[0], STILL, &crops[55], STILL);
        println!("back with {back:.2} px, shot {}, quick {quick}", crops[55].shot);
        assert!(back < 12.0);
    }
}

/// A parametric head that turns at once, while the camera misses it, and goes on turning.
#[cfg(feature = "train")]
#[test]
fn a_head_that_turns_at_once_is_followed_on() {
    use effigy::params::Placement;
    use effigy::train::heads::{self, Framing, Head};
    let framing = Framing::Camera { x: 0.5, y: 0.5, scale: 0.7, roll_degrees: 0.0 };
    let frames: Vec<_> = (0..14)
        .map(|n| {
            let yaw = if n < 5 { 0.4 * n as f32 } else { 45.0 + 0.7 * n as f32 };
            TimedFrame { pts: n, frame: heads::render(&Head { yaw, framing, ..Head::default() }, 192).frame }
        })
        .collect();
    for quick in [false, true] {
        let crops = align_with(&AlignOptions { quick, ..AlignOptions::default() }, &frames);
        let sure: Vec<_> = crops.iter().map(|c| (c.confidence * 100.0) as i32).collect();
        println!("{sure:?}, quick {quick}");
        let seen = |c: &AlignedFrame| c.confidence > 0.0 && c.confidence < 0.35;
        assert!(seen(&crops[5]) && crops[7..].iter().all(|c| c.confidence > 0.5), "{sure:?}, quick {quick}");
        // The head turns on the spot, and its eyes move to the side.
        let first = crops[0].placement;
        for Placement { x, y, side } in crops[7..].iter().map(|c| c.placement) {
            let off = ((x - first.x).hypot(y - first.y) / first.side, side / first.side);
            assert!(off.0 < 0.3 && (0.85..1.15).contains(&off.1), "{off:?}, quick {quick}");
        }
    }
}
