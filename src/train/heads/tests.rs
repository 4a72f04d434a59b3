//! What the renderer promises to the trainer, checked on small pictures.

use super::*;

fn open_mouth() -> Head {
    let mut head = Head::default();
    head.expression[channel::JAW_OPEN] = 0.8;
    head
}

fn count(image: &HeadImage, class: u8) -> usize {
    image.labels.iter().filter(|l| **l == class).count()
}

fn difference(a: &HeadImage, b: &HeadImage) -> f32 {
    let sum: u32 = a.frame.data.iter().zip(&b.frame.data).map(|(x, y)| u32::from(x.abs_diff(*y))).sum();
    sum as f32 / a.frame.data.len() as f32
}

fn mark(image: &HeadImage, name: &str) -> (f32, f32) {
    let i = LANDMARK_NAMES.iter().position(|n| *n == name).unwrap();
    image.landmarks[i]
}

#[test]
fn the_same_head_gives_the_same_pixels() {
    let (a, b) = (render(&sample(7), 64), render(&sample(7), 64));
    assert_eq!(a.frame.data, b.frame.data);
    assert_eq!(a.labels, b.labels);
    assert_ne!(a.frame.data, render(&sample(8), 64).frame.data);
}

#[test]
fn a_frontal_head_with_open_mouth_shows_every_class_of_the_face() {
    let image = render(&open_mouth(), 128);
    for class in 0..label::GLASSES {
        assert!(count(&image, class) > 8, "{} has {} pixels", LABEL_NAMES[class as usize], count(&image, class));
    }
    let glasses = (0..60).any(|s| count(&render(&sample(s), 64), label::GLASSES) > 10);
    assert!(glasses, "some of 60 people wear glasses");
}

#[test]
fn opening_the_jaw_shows_the_inside_of_the_mouth() {
    let (shut, open) = (render(&Head::default(), 128), render(&open_mouth(), 128));
    assert!(count(&shut, label::INNER_MOUTH) < 6);
    assert!(count(&open, label::INNER_MOUTH) > 100);
}

#[test]
fn a_blink_hides_the_iris() {
    let mut head = Head::default();
    let open = count(&render(&head, 128), label::IRIS);
    head.expression[channel::BLINK] = 1.0;
    head.expression[channel::BLINK + 1] = 1.0;
    let shut = count(&render(&head, 128), label::IRIS);
    assert!(open > 40 && shut * 20 < open, "{open} open, {shut} shut");
}

#[test]
fn gaze_moves_the_iris_right_and_up() {
    let centroid = |x: f32, y: f32| {
        let mut head = Head::default();
        (head.expression[channel::GAZE_X], head.expression[channel::GAZE_Y]) = (x, y);
        let image = render(&head, 128);
        let spots: Vec<_> = (0..128 * 128).filter(|i| image.labels[*i] == label::IRIS).collect();
        let n = spots.len() as f32;
        (spots.iter().map(|i| i % 128).sum::<usize>() as f32 / n, spots.iter().map(|i| i / 128).sum::<usize>() as f32 / n)
    };
    assert!(centroid(1.0, 0.0).0 > centroid(-1.0, 0.0).0 + 3.0);
    assert!(centroid(0.0, 0.8).1 < centroid(0.0, -0.8).1 - 1.0);
}

#[test]
fn positive_yaw_turns_the_nose_to_the_right_and_positive_pitch_turns_it_up() {
    let turned = |yaw: f32, pitch: f32| {
        let image = render(&Head { yaw, pitch, ..Head::default() }, 128);
        let (tip, bridge) = (mark(&image, "nose_tip"), mark(&image, "nose_bridge"));
        (tip.0 - bridge.0, tip.1 - bridge.1)
    };
    assert!(turned(20.0, 0.0).0 > 4.0 && turned(-20.0, 0.0).0 < -4.0);
    assert!(turned(0.0, 15.0).1 < turned(0.0, -15.0).1 - 4.0);
}

#[test]
fn the_aligned_crop_has_ffhq_framing() {
    for seed in 0..12 {
        let head = Head { yaw: 0.0, pitch: 0.0, expression: [0.0; 32], framing: Framing::default(), ..sample(seed) };
        let image = render(&head, 64);
        let (l, r) = (mark(&image, "eye_left"), mark(&image, "eye_right"));
        let apart = (r.0 - l.0) / 64.0;
        assert!((apart - 0.25).abs() < 0.01, "seed {seed}: eyes {apart} R apart, 0.25 by definition");
        let middle = (0.5 * (l.0 + r.0) / 64.0, 0.5 * (l.1 + r.1) / 64.0);
        assert!((middle.0 - 0.5).abs() < 0.01 && (middle.1 - 0.47).abs() < 0.02, "seed {seed}: eyes at {middle:?}");
    }
}

#[test]
fn the_crop_follows_a_turned_face() {
    for (yaw, pitch) in [(30.0, 0.0), (-30.0, 0.0), (0.0, 20.0), (0.0, -20.0), (25.0, 15.0)] {
        let image = render(&Head { yaw, pitch, ..Head::default() }, 64);
        let (l, r) = (mark(&image, "eye_left"), mark(&image, "eye_right"));
        let apart = ((r.0 - l.0) * (r.0 - l.0) + (r.1 - l.1) * (r.1 - l.1)).sqrt() / 64.0;
        assert!((0.2..0.3).contains(&apart), "yaw {yaw}, pitch {pitch}: eyes {apart} R apart");
    }
}

#[test]
fn every_expression_changes_the_picture() {
    let rest = render(&Head::default(), 128);
    for (i, name) in EXPRESSION_NAMES.iter().enumerate() {
        let mut head = Head::default();
        head.expression[i] = 1.0;
        let base = if i == channel::TONGUE_OUT {
            head.expression[channel::JAW_OPEN] = 0.4;
            let mut open = head.clone();
            open.expression[i] = 0.0;
            render(&open, 128)
        } else {
            rest.clone()
        };
        let d = difference(&base, &render(&head, 128));
        assert!(d > 0.08, "{name} changes the picture by {d} of 255 on average");
    }
}

#[test]
fn identity_numbers_are_clamped_and_nonsense_is_survived() {
    let mut head = Head { identity: [f32::NAN; IDENTITY], yaw: f32::INFINITY, pitch: f32::NAN, ..Head::default() };
    head.expression = [f32::NAN; 32];
    assert_eq!(render(&head, 32).labels.len(), 32 * 32);
    let far = Head { identity: [40.0; IDENTITY], ..Head::default() };
    let edge = Head { identity: [2.5; IDENTITY], ..Head::default() };
    assert_eq!(render(&far, 32).frame.data, render(&edge, 32).frame.data);
}

#[test]
fn landmarks_lie_in_the_picture() {
    for seed in 0..20 {
        let image = render(&sample(seed), 64);
        assert_eq!(image.landmarks.len(), LANDMARK_NAMES.len());
        for (name, p) in LANDMARK_NAMES.iter().zip(&image.landmarks) {
            assert!((0.0..64.0).contains(&p.0) && (0.0..64.0).contains(&p.1), "seed {seed}: {name} at {p:?}");
        }
    }
}

#[test]
fn a_pair_differs_in_pose_and_expression_only() {
    let (a, b) = pair(5);
    assert_eq!((a.identity, a.framing), (b.identity, b.framing));
    assert_ne!((a.yaw, a.pitch), (b.yaw, b.pitch));
}

#[test]
fn clips_move_smoothly_and_blink() {
    let spec = ClipSpec { seed: 3, frames: 200, fps: (25, 1), camera: Some((160, 120)) };
    let heads: Vec<Head> = (0..spec.frames).map(|i| head_at(&spec, i)).collect();
    for pair in heads.windows(2) {
        assert!((pair[1].yaw - pair[0].yaw).abs() < 3.0, "at most 3 degrees in 40 ms");
        assert_eq!(pair[0].identity, pair[1].identity);
    }
    let spread = |f: fn(&Head) -> f32| heads.iter().map(f).fold((f32::MAX, f32::MIN), |a, v| (a.0.min(v), a.1.max(v)));
    let (low, high) = spread(|h| h.yaw);
    assert!(high - low > 10.0 && low >= -20.0 && high <= 20.0, "yaw {low} to {high}");
    let blinks =
        heads.windows(2).filter(|p| p[0].expression[channel::BLINK] < 0.5 && p[1].expression[channel::BLINK] >= 0.5).count();
    assert!((2..=4).contains(&blinks), "{blinks} blinks in 8 seconds, one every 2 to 4 seconds");
    let image = render_camera(&heads[0], 160, 120);
    assert_eq!((image.frame.width, image.frame.height), (160, 120));
}

#[test]
fn a_camera_without_faults_changes_nothing() {
    let image = render(&sample(3), 48);
    for camera in [Camera::default(), Camera::sample(9, 0.0)] {
        let filmed = camera.film(&image.frame);
        let worst = filmed.data.iter().zip(&image.frame.data).map(|(a, b)| a.abs_diff(*b)).max();
        // One step of rounding through linear light.
        assert!(worst <= Some(1), "{worst:?}");
    }
}

#[test]
fn worse_compression_is_farther_from_the_picture_and_the_same_camera_films_the_same() {
    let image = render(&sample(4), 64);
    let error = |quality: f32| {
        let filmed = Camera { quality, ..Camera::default() }.film(&image.frame);
        filmed.data.iter().zip(&image.frame.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>()
    };
    assert!(error(10.0) > 2.0 * error(60.0) && error(60.0) > error(95.0));
    let camera = Camera::sample(5, 1.0);
    assert_eq!(camera.film(&image.frame), camera.film(&image.frame));
    // Sides that are no multiple of a block.
    let odd = render_camera(&sample(4), 37, 21);
    assert_eq!(camera.film(&odd.frame).data.len(), 37 * 21 * 3);
}

#[test]
fn most_pixels_of_long_hair_are_hair_and_a_shaven_head_has_none() {
    let styled = |style: usize, length: f32| {
        let mut head = Head::default();
        for k in 0..8 {
            head.identity[look::slot::STYLE + k] = -2.5;
        }
        head.identity[look::slot::STYLE + style] = 2.5;
        head.identity[look::slot::HAIR_LENGTH] = length;
        count(&render(&head, 64), label::HAIR)
    };
    let (bald, short, long) = (styled(0, -2.5), styled(1, 0.0), styled(3, 1.0));
    assert!(bald < 20 && short > 250 && long > short + 150, "bald {bald}, short {short}, long {long} of 4096");
}

#[test]
fn dark_and_light_skins_differ_and_both_are_exposed() {
    let cheek = |tone: f32| {
        let mut head = Head::default();
        head.identity[look::slot::SKIN] = tone;
        let image = render(&head, 64);
        let p = mark(&image, "cheek_left");
        f32::from(image.frame.pixel(p.0 as u32, p.1 as u32)[1])
    };
    let (light, dark) = (cheek(-2.0), cheek(2.0));
    assert!(light > dark + 40.0 && dark > 20.0 && light < 245.0, "green at the cheek: {light} and {dark} of 255");
}
