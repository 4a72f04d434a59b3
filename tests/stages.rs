//! The stages of the encoder and of the trainer from end to end, on a 32 x 32 pack made by rule: that they improve what they are to
//! improve, stop when asked, and can be continued.
#![cfg(feature = "analysis")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use effigy::bitstream::Identity;
use effigy::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
use effigy::encode::{
    enroll, search, worth_enrolling, AlignedFrame, EncodeOptions, Preset, Searcher, Tuning, MOST_ENROLLED, SEGMENT,
};
use effigy::pack::{fixture, Pack};
use effigy::params::{FrameParams, Placement};
use effigy::progress::{Progress, Silent};
use effigy::Error;

/// Tests that draw from the one random generator that libtorch has for the process, as the trainer does, take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Asks to stop after so many questions.
struct StopAfter {
    stage: &'static str,
    left: AtomicU64,
    inside: AtomicU64,
}

impl StopAfter {
    /// Counts the questions asked in stages whose name contains `stage`.
    fn new(stage: &'static str, questions: u64) -> Self {
        StopAfter { stage, left: AtomicU64::new(questions), inside: AtomicU64::new(0) }
    }
}

impl Progress for StopAfter {
    fn begin(&self, stage: &str, _total: u64) {
        self.inside.store(u64::from(stage.contains(self.stage)), Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        let counts = self.inside.load(Ordering::SeqCst) == 1;
        counts && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err()
    }
}

fn options(tuning: Tuning) -> EncodeOptions {
    EncodeOptions {
        preset: Preset::Fast,
        tuning,
        tune_steps: (tuning == Tuning::None).then_some(20),
        device: DeviceChoice::Cpu,
        precision: Precision::Single,
        threads: Some(1),
        name: "Ada".into(),
        ..EncodeOptions::default()
    }
}

fn render(pack: &Pack, identity: &Identity, params: &[FrameParams]) -> Vec<effigy::frame::Frame> {
    let options = DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(pack, identity, &options).unwrap();
    params.iter().map(|p| decoder.render(p).unwrap()).collect()
}

/// Crops that the pack can draw: a fixture identity with a face that moves.
fn crops(pack: &Pack, count: usize) -> Vec<AlignedFrame> {
    let params: Vec<FrameParams> = (0..count)
        .map(|i| {
            let t = i as f32;
            let mut p = FrameParams { yaw: 12.0 * (0.7 * t).sin(), pitch: 6.0 * (0.4 * t).cos(), ..FrameParams::default() };
            p.alpha.iter_mut().enumerate().for_each(|(k, a)| *a = 0.6 * (0.5 * t + k as f32).sin());
            p
        })
        .collect();
    let side = pack.config().generator.resolution as f32;
    let placement = Placement { x: side / 2.0, y: side / 2.0, side };
    let frames = render(pack, &fixture::identity(pack, 5).unwrap(), &params);
    let aligned =
        |(i, frame)| AlignedFrame { pts: i as i64, frame, roll: i as f32, placement, key: i == 0, shot: 0, confidence: 1.0 };
    frames.into_iter().enumerate().map(aligned).collect()
}

/// Mean absolute difference of the decoded frames to the crops, in steps of 8 bits.
fn error(pack: &Pack, identity: &Identity, params: &[FrameParams], crops: &[AlignedFrame]) -> f64 {
    let renders = render(pack, identity, params);
    let pairs = renders.iter().zip(crops).flat_map(|(r, c)| r.data.iter().zip(&c.frame.data));
    let (sum, count) = pairs.fold((0u64, 0u64), |(sum, n), (a, b)| (sum + u64::from(a.abs_diff(*b)), n + 1));
    sum as f64 / count as f64
}

#[test]
fn enrolling_and_searching_bring_the_renders_nearer_to_the_crops() {
    let pack = fixture::tiny(1).unwrap();
    let seen = crops(&pack, 10);
    let options = EncodeOptions { tune_steps: Some(600), ..options(Tuning::Joint) };
    let enrolled = enroll(&pack, &seen, &options, &Silent).unwrap();
    let identity = &enrolled.identity;
    assert_eq!((identity.name.as_str(), identity.resolution, identity.pack), ("Ada", 32, pack.hash()));
    assert!(!identity.tuned.is_empty() && identity.anchors.len() == 10 && enrolled.identity_frame < 10);
    let tuned = |part: &str| identity.tuned.iter().any(|t| t.name.ends_with(part));
    assert!(tuned(".conv.weight") && tuned(".directions"));
    assert!(identity.sensitivity.iter().all(|g| *g > 0.0), "{:?}", identity.sensitivity);
    assert_eq!(Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap(), *identity, "already as decoders see it");

    // Where the encoder starts: a stranger's latent and no movement.
    let start = error(&pack, &fixture::identity(&pack, 6).unwrap(), &[FrameParams::default(); 10], &seen);
    let still = error(&pack, identity, &[identity.rest; 10], &seen);
    let params: Vec<FrameParams> = enrolled.params.iter().map(|p| p.unwrap()).collect();
    let fitted = error(&pack, identity, &params, &seen);
    let found = search(&pack, identity, &seen, &enrolled.params, &options, &Silent).unwrap();
    let searched = error(&pack, identity, &found, &seen);
    println!("start {start:.2}, still {still:.2}, fitted {fitted:.2}, searched {searched:.2}");
    assert!(still < start && fitted < 0.7 * still && searched < 1.02 * fitted);
    assert!(found.iter().zip(&seen).all(|(p, c)| p.roll == c.roll), "roll comes from the alignment");

    // The same person in other frames, from the anchors alone.
    let unseen = &crops(&pack, 16)[10..];
    let found = search(&pack, identity, unseen, &[], &options, &Silent).unwrap();
    let (still, searched) = (error(&pack, identity, &[identity.rest; 6], unseen), error(&pack, identity, &found, unseen));
    println!("unseen: still {still:.2}, searched {searched:.2}");
    assert!(searched < 0.8 * still);
}

#[test]
fn layers_beyond_what_the_search_sees_are_tuned_too() {
    let pack = fixture::pack(&fixture::Shape::beyond(), 1).unwrap();
    let mut seen = crops(&pack, 6);
    // A pattern that only pictures of 64 pixels can show.
    for crop in &mut seen {
        for (i, value) in crop.frame.data.iter_mut().enumerate() {
            let (x, y) = (i / 3 % 64, i / 192);
            *value = value.saturating_add_signed(if (x + y) % 2 == 0 { 12 } else { -12 });
        }
    }
    let fine_error = |identity: &Identity, params: &[FrameParams]| error(&pack, identity, params, &seen);
    let options = EncodeOptions { tune_steps: Some(480), ..options(Tuning::Joint) };
    let enrolled = enroll(&pack, &seen, &options, &Silent).unwrap();
    let params: Vec<FrameParams> = enrolled.params.iter().map(|p| p.unwrap()).collect();
    let identity = &enrolled.identity;
    assert!(identity.tuned.iter().any(|t| t.name.starts_with("to_rgbs.3.")), "the last colours are tuned");
    assert!(identity.tuned.iter().any(|t| t.name == "convs.7.directions"), "and what the numbers do there");
    // The same person with the pack's own weights where the search does not look.
    let mut blind = identity.clone();
    blind.tuned.retain(|t| !["convs.6.", "convs.7.", "to_rgbs.3."].iter().any(|layer| t.name.starts_with(layer)));
    let (with, without) = (fine_error(identity, &params), fine_error(&blind, &params));
    println!("tuned beyond the sight {with:.2}, not {without:.2}");
    assert!(with < 0.9 * without);
}

#[test]
fn directions_are_learned_if_the_pack_says_so_and_maps_with_them_if_asked_for() {
    for (directions, maps) in [(true, false), (true, true), (false, true)] {
        let pack = fixture::pack(&fixture::Shape { directions, ..fixture::Shape::tiny() }, 1).unwrap();
        let options = EncodeOptions { maps, tune_steps: Some(60), ..options(Tuning::Joint) };
        let identity = enroll(&pack, &crops(&pack, 4), &options, &Silent).unwrap().identity;
        let tuned = |part: &str| identity.tuned.iter().any(|t| t.name.ends_with(part));
        assert!(tuned(".conv.weight"));
        let moving = directions && maps;
        assert_eq!([".directions", ".map", ".warp"].map(tuned), [directions, moving, moving]);
    }
}

#[test]
fn what_others_draw_of_libtorch_meanwhile_changes_nothing() {
    /// Somebody else in the process.
    struct Neighbour;
    impl Progress for Neighbour {
        fn begin(&self, _: &str, _: u64) {
            self.advance(0, "");
        }
        fn advance(&self, _: u64, _: &str) {
            let _ = tch::Tensor::rand([8], (tch::Kind::Float, tch::Device::Cpu));
        }
    }
    let _turn = turn();
    let pack = fixture::tiny(1).unwrap();
    let (seen, options) = (crops(&pack, 4), EncodeOptions { tune_steps: Some(24), ..options(Tuning::Joint) });
    let [alone, beside] = [&Silent as &dyn Progress, &Neighbour].map(|p| enroll(&pack, &seen, &options, p).unwrap());
    assert_eq!((alone.identity, alone.params), (beside.identity, beside.params));
}

#[test]
fn without_tuning_the_identity_carries_no_weights() {
    let pack = fixture::tiny(2).unwrap();
    let seen = crops(&pack, 3);
    let enrolled = enroll(&pack, &seen, &options(Tuning::None), &Silent).unwrap();
    assert!(enrolled.identity.tuned.is_empty());
    assert_eq!(enrolled.identity.metadata["tuning"], "none");
    assert!(enrolled.identity.to_bytes().unwrap().len() < 2000, "16 numbers per row");
}

#[test]
fn a_tuning_that_was_stopped_goes_on_as_if_it_had_not_been() {
    // Of its layers only every fourth step reaches the last.
    let pack = fixture::pack(&fixture::Shape::beyond(), 1).unwrap();
    let seen = crops(&pack, 10);
    let path = std::env::temp_dir().join(format!("effigy-unfinished-{}.safetensors", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let whole = EncodeOptions { tune_steps: Some(96), maps: true, ..options(Tuning::Joint) };
    let kept = EncodeOptions { unfinished: Some(path.clone()), ..whole.clone() };
    let through = enroll(&pack, &seen, &whole, &Silent).unwrap();
    // Stopped before the weights are rounded, and again after.
    for questions in [23, 60] {
        let result = enroll(&pack, &seen, &kept, &StopAfter::new("tune the generator", questions));
        assert!(matches!(result, Err(Error::Cancelled)));
    }
    for other in [EncodeOptions { seed: 1, ..kept.clone() }, EncodeOptions { maps: !kept.maps, ..kept.clone() }] {
        assert!(matches!(enroll(&pack, &seen, &other, &Silent), Err(Error::Misuse(text)) if text.contains("other settings")));
    }
    assert!(matches!(enroll(&pack, &seen[1..], &kept, &Silent), Err(Error::Misuse(_))), "other frames");
    // Only the rest of the tuning is left, and nothing of what comes before it.
    let rest = enroll(&pack, &seen, &kept, &StopAfter::new("fit the latent", 0)).unwrap();
    assert_eq!(rest.identity, through.identity);
    assert_eq!(rest.params, through.params);
    std::fs::write(&path, "not a state").unwrap();
    assert!(matches!(enroll(&pack, &seen, &kept, &Silent), Err(Error::Malformed(_))));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_long_clip_is_searched_in_parts_without_a_seam_and_can_be_gone_on_with() {
    let pack = fixture::tiny(1).unwrap();
    let mut identity = fixture::identity(&pack, 5).unwrap();
    identity.anchors = (0..4).map(|i| FrameParams { yaw: 4.0 * i as f32, ..FrameParams::default() }).collect();
    let frames = crops(&pack, SEGMENT + 8);
    let options = options(Tuning::None);
    let whole = search(&pack, &identity, &frames, &[], &options, &Silent).unwrap();
    let mut later = Searcher::new(&pack, &identity, &options, 0, &Silent).unwrap();
    later.go_on_after(SEGMENT as u64, whole[SEGMENT - 1]).unwrap();
    assert_eq!(later.search(&frames[SEGMENT..], &[], &Silent).unwrap(), whole[SEGMENT..]);
    // Across the seam the numbers follow the frames as well as elsewhere.
    let error = |range: std::ops::Range<usize>| error(&pack, &identity, &whole[range.clone()], &frames[range]);
    let (seam, elsewhere) = (error(SEGMENT - 4..SEGMENT + 4), error(8..SEGMENT - 8));
    println!("seam {seam:.2}, elsewhere {elsewhere:.2}");
    assert!(seam < 1.5 * elsewhere);
}

#[test]
fn a_reader_that_was_asked_for_changes_nothing_of_what_is_searched() {
    let pack = fixture::tiny(1).unwrap();
    // As enrolled from one photograph: no anchors.
    let identity = fixture::identity(&pack, 5).unwrap();
    let (frames, options) = (crops(&pack, 3), options(Tuning::None));
    let found = |asked: bool| {
        let mut searcher = Searcher::new(&pack, &identity, &options, 0, &Silent).unwrap();
        if asked {
            searcher.reader(&Silent).unwrap().read(&frames[0]).unwrap();
        }
        searcher.search(&frames, &[], &Silent).unwrap()
    };
    assert_eq!(found(true), found(false));
}

#[test]
fn frames_without_the_face_keep_the_numbers_and_are_not_learned_from() {
    let pack = fixture::tiny(1).unwrap();
    let mut seen = crops(&pack, 8);
    let grey = effigy::frame::Frame::filled(32, 32, [128; 3]).unwrap();
    for lost in [0, 4, 5] {
        (seen[lost].frame, seen[lost].confidence) = (grey.clone(), 0.0);
    }
    let options = options(Tuning::None);
    let enrolled = enroll(&pack, &seen, &options, &Silent).unwrap();
    let known: Vec<bool> = enrolled.params.iter().map(Option::is_some).collect();
    assert_eq!(known, [false, true, true, true, false, false, true, true]);
    assert!(enrolled.identity_frame != 0 && enrolled.identity.anchors.len() == 5);
    let found = search(&pack, &enrolled.identity, &seen, &enrolled.params, &options, &Silent).unwrap();
    let still = |a: &FrameParams, b: &FrameParams| FrameParams { roll: 0.0, ..*a } == FrameParams { roll: 0.0, ..*b };
    assert!(still(&found[4], &found[3]) && still(&found[5], &found[3]) && !still(&found[6], &found[3]));
    assert!(still(&found[0], &enrolled.identity.rest));
    assert!(found.iter().zip(&seen).all(|(p, c)| p.roll == c.roll));
}

#[test]
fn a_frame_that_shows_nothing_like_the_person_keeps_the_numbers() {
    let pack = fixture::tiny(1).unwrap();
    let mut seen = crops(&pack, 8);
    let options = EncodeOptions { tune_steps: Some(240), ..options(Tuning::Joint) };
    let identity = enroll(&pack, &seen, &options, &Silent).unwrap().identity;
    // Somebody else, whom the alignment follows as surely.
    let stripes = (0..32 * 32).flat_map(|i| [if i / 4 % 2 == 0 { 0 } else { 255 }; 3]).collect();
    seen[3].frame = effigy::frame::Frame::new(32, 32, stripes).unwrap();
    let still = |a: &FrameParams, b: &FrameParams| FrameParams { roll: 0.0, ..*a } == FrameParams { roll: 0.0, ..*b };
    for preset in [Preset::Fast, Preset::Live] {
        let found = search(&pack, &identity, &seen, &[], &EncodeOptions { preset, ..options.clone() }, &Silent).unwrap();
        let changes: Vec<bool> = found.windows(2).map(|pair| !still(&pair[0], &pair[1])).collect();
        assert_eq!(changes, [true, true, false, true, true, true, true], "{preset:?}");
    }
    // Where the alignment is not sure, the numbers follow what surely is the person, and nothing else.
    let mut lost = seen.clone();
    lost[6].frame = effigy::frame::Frame::filled(32, 32, [128; 3]).unwrap();
    [2, 5, 6].into_iter().for_each(|unsure| lost[unsure].confidence = 0.0);
    let found =
        search(&pack, &identity, &lost, &[], &EncodeOptions { preset: Preset::Fast, ..options.clone() }, &Silent).unwrap();
    let changes: Vec<bool> = found.windows(2).map(|pair| !still(&pair[0], &pair[1])).collect();
    assert_eq!(changes, [true, true, false, true, true, false, true]);
    // The same person in dimmer light is no stranger.
    let mut dim = seen.clone();
    dim.remove(3);
    dim.iter_mut().for_each(|crop| crop.frame.data.iter_mut().for_each(|v| *v = (f32::from(*v) * 0.7 + 10.0) as u8));
    let found = search(&pack, &identity, &dim, &[], &options, &Silent).unwrap();
    assert!(found.windows(2).all(|pair| !still(&pair[0], &pair[1])));
    // Whoever is not tuned is never drawn as they are, and must be searched all the same.
    let untuned = Identity { tuned: Vec::new(), ..identity };
    let found = search(&pack, &untuned, &seen, &[], &options, &Silent).unwrap();
    assert!(!still(&found[3], &found[2]));
}

#[test]
fn a_person_is_enrolled_from_frames_of_the_whole_clip() {
    let placement = Placement { x: 16.0, y: 16.0, side: 32.0 };
    let seen = |confidence| effigy::encode::Track { pts: 0, roll: 0.0, placement, key: false, shot: 0, confidence };
    let track = |i: usize| seen(if i % 10 == 3 { 0.0 } else { 1.0 });
    let few: Vec<_> = (0..20).map(track).collect();
    assert_eq!(worth_enrolling(&few).len(), 18);
    let many: Vec<_> = (0..5000).map(track).collect();
    let picks = worth_enrolling(&many);
    assert!(picks.len() == MOST_ENROLLED && picks.windows(2).all(|w| w[0] < w[1] && w[1] - w[0] < 20));
    assert!(picks[0] < 10 && picks[MOST_ENROLLED - 1] > 4980 && picks.iter().all(|i| i % 10 != 3));
    assert_eq!(worth_enrolling(&[track(3)]), [0], "nothing better than a doubtful frame");
    let glimpses = |count: usize| [vec![seen(1.0)], vec![seen(0.3); count], vec![seen(1.0)]].concat();
    assert_eq!(worth_enrolling(&glimpses(3)), [0, 1, 2, 3, 4], "a face that has turned fast");
    assert_eq!(worth_enrolling(&glimpses(4)), [0, 5], "what is before a face for longer");
    assert_eq!(worth_enrolling(&glimpses(2)[..3]), [0], "nobody knows what comes of it");
    let cut = |i, track| effigy::encode::Track { shot: u32::from(i > 1), ..track };
    let across: Vec<_> = glimpses(2).into_iter().enumerate().map(|(i, track)| cut(i, track)).collect();
    assert_eq!(worth_enrolling(&across), [0, 3], "a face after a cut is another glimpse");
}

#[test]
fn every_stage_of_the_encoder_stops_when_asked() {
    let pack = fixture::tiny(1).unwrap();
    let seen = crops(&pack, 3);
    let options = options(Tuning::Joint);
    for (stage, questions) in [("predict", 0), ("invert", 0), ("fit the latent", 2), ("tune the generator", 3)] {
        let result = enroll(&pack, &seen, &options, &StopAfter::new(stage, questions));
        assert!(matches!(result, Err(Error::Cancelled)), "{stage}");
    }
    let mut identity = fixture::identity(&pack, 1).unwrap();
    identity.anchors = vec![FrameParams::default(), FrameParams { yaw: 5.0, ..FrameParams::default() }];
    for (stage, questions) in [("learn the start", 1), ("search the numbers", 1), ("search the numbers", 6)] {
        let result = search(&pack, &identity, &seen, &[], &options, &StopAfter::new(stage, questions));
        assert!(matches!(result, Err(Error::Cancelled)), "{stage}");
    }
}

#[test]
fn crops_and_starting_points_that_do_not_fit_are_refused() {
    let pack = fixture::tiny(1).unwrap();
    let identity = fixture::identity(&pack, 1).unwrap();
    let options = options(Tuning::None);
    assert!(matches!(enroll(&pack, &[], &options, &Silent), Err(Error::NoContent(_))));
    let mut seen = crops(&pack, 2);
    let start = [Some(FrameParams::default()); 3];
    let result = search(&pack, &identity, &seen, &start, &options, &Silent);
    assert!(matches!(result, Err(Error::Misuse(text)) if text.contains("3 starting points for 2 frames")));
    seen[1].frame = effigy::frame::Frame::filled(16, 16, [0; 3]).unwrap();
    let result = search(&pack, &identity, &seen, &[], &options, &Silent);
    assert!(matches!(result, Err(Error::Misuse(text)) if text.contains("crop 1 is 16 x 16")));
}

#[cfg(feature = "train")]
mod training {
    use super::*;
    use effigy::frame::Frame;
    use effigy::train::heads::{self, head_at, ClipSpec};
    use effigy::train::{train_pack, train_personal, TrainOptions};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    /// A folder of one test's own; removed at the end.
    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Room {
            Room(std::env::temp_dir().join(format!("effigy-stages-{name}-{}", std::process::id())))
        }

        fn options(&self) -> TrainOptions {
            TrainOptions {
                out: self.0.join("pack.safetensors"),
                state: self.0.join("state"),
                size: 32,
                images: 32,
                batch: 2,
                analysis_steps: 20,
                generator_steps: 20,
                kind: tch::Kind::Float,
                command: "test".into(),
                ..TrainOptions::default()
            }
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            // Nothing to remove if the test failed before it wrote.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A room with a pack of [`Room::options`], which is trained once for all.
    fn trained(name: &str) -> Room {
        static PACK: OnceLock<Vec<u8>> = OnceLock::new();
        let room = Room::new(name);
        let pack = PACK.get_or_init(|| {
            train_pack(&room.options(), &Silent).unwrap();
            std::fs::read(room.options().out).unwrap()
        });
        std::fs::create_dir_all(&room.0).unwrap();
        std::fs::write(room.options().out, pack).unwrap();
        room
    }

    /// The last line of a loss log for each step, in order.
    fn log(folder: &Path, stage: &str) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(format!("{stage}.csv"))).unwrap();
        let step = |line: &str| line.split(',').next().and_then(|s| s.parse::<u64>().ok());
        let last: std::collections::BTreeMap<u64, String> =
            text.lines().filter_map(|line| Some((step(line)?, line.to_string()))).collect();
        last.into_values().collect()
    }

    #[test]
    fn a_trained_pack_loads_and_a_run_that_was_stopped_ends_with_the_same_losses() {
        let _turn = turn();
        tch::set_num_threads(1);
        let (whole, stopped) = (Room::new("whole"), Room::new("stopped"));
        train_pack(&whole.options(), &Silent).unwrap();
        let pack = Pack::load(&whole.options().out).unwrap();
        assert_eq!((pack.config().generator.resolution, pack.config().command.as_str()), (32, "test"));
        assert!(pack.config().channels.iter().all(|c| c.sensitivity.is_finite()));
        assert_eq!(render(&pack, &fixture::identity(&pack, 1).unwrap(), &[FrameParams::default()])[0].width, 32);

        let options = stopped.options();
        let result = train_pack(&options, &StopAfter::new("train the generator", 12));
        assert!(matches!(result, Err(Error::Cancelled)));
        assert!(!options.out.exists(), "no pack before the end");
        // The last stage is long, and was gone through above.
        let result = train_pack(&options, &StopAfter::new("measure", 0));
        assert!(matches!(result, Err(Error::Cancelled)));
        for stage in ["analysis", "generator"] {
            let (a, b) = (log(&whole.options().state, stage), log(&options.state, stage));
            assert!(!a.is_empty() && a == b, "{stage}: {a:?} against {b:?}");
        }
        assert!(options.state.join("preview.png").exists());
    }

    #[test]
    fn a_grown_pack_draws_what_the_one_before_drew_and_learns_in_its_new_layers_alone() {
        let _turn = turn();
        tch::set_num_threads(1);
        let (small, large) = (trained("small"), Room::new("large"));
        let options = TrainOptions { init: Some(small.options().out), grow: true, size: 64, ..large.options() };
        train_pack(&options, &Silent).unwrap();
        let [before, after] = [small.options().out, options.out.clone()].map(|path| Pack::load(path).unwrap());
        assert_eq!(after.config().generator.resolution, 64);
        assert_eq!(after.config().latent_mean, before.config().latent_mean);
        assert_eq!(after.config().channels, before.config().channels);
        assert!(
            after.config().provenance.starts_with(&before.config().provenance)
                && after.config().licence == before.config().licence
        );
        let device = tch::Device::Cpu;
        let (old, new) = (before.generator(device).unwrap(), after.generator(device).unwrap());
        let w = tch::Tensor::from_slice(&before.config().latent_mean).unsqueeze(0);
        let at_old_size = |generator: &effigy::net::Generator| {
            let styles = generator.styles(&generator.broadcast(&w, None).unwrap()).unwrap();
            let picture = generator.synthesis_to(32, &styles, None, tch::Kind::Float).unwrap();
            Vec::<f32>::try_from(picture.flatten(0, -1)).unwrap()
        };
        assert_eq!(at_old_size(&old), at_old_size(&new));
        // The new colours began at zero.
        let colours = new.weights().get("to_rgbs.3.conv.weight").unwrap().abs().max();
        assert!(f64::try_from(colours).unwrap() > 0.0 && !old.weights().has("to_rgbs.3.conv.weight"));
        let smaller = TrainOptions { size: 32, state: large.0.join("other"), ..options.clone() };
        assert!(matches!(train_pack(&smaller, &Silent), Err(Error::Misuse(text)) if text.contains("cannot grow to 32")));
        let nothing = TrainOptions { init: None, state: large.0.join("nothing"), ..options };
        assert!(matches!(train_pack(&nothing, &Silent), Err(Error::Misuse(text)) if text.contains("start from")));
    }

    /// Crops of a head that training never saw.
    fn clip(seed: u64, frames: u64) -> Vec<Frame> {
        let spec = ClipSpec { seed, frames, fps: (25, 1), camera: None };
        (0..frames).map(|i| heads::render(&head_at(&spec, i), 32).frame).collect()
    }

    #[test]
    fn personal_training_fits_the_footage_and_goes_on_where_it_was_stopped() {
        let _turn = turn();
        tch::set_num_threads(1);
        let (made, whole, stopped) = (trained("made"), Room::new("personal"), Room::new("paused"));
        let clips = [clip(900, 6), clip(901, 4)];
        let options = |room: &Room| TrainOptions {
            init: Some(made.options().out),
            images: 8,
            batch: 4,
            generator_steps: 60,
            ..room.options()
        };
        train_personal(&options(&whole), &clips, &Silent).unwrap();
        let pixels: Vec<f64> =
            log(&whole.options().state, "personal").iter().map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
        assert!(pixels[2] < 0.93 * pixels[0], "{pixels:?}");
        let pack = Pack::load(&whole.options().out).unwrap();
        assert!(pack.config().provenance.contains("10 frames of footage in 2 clips"), "{}", pack.config().provenance);

        let result = train_personal(&options(&stopped), &clips, &StopAfter::new("train on the footage", 30));
        assert!(matches!(result, Err(Error::Cancelled)));
        let result = train_personal(&options(&stopped), &clips, &StopAfter::new("measure", 0));
        assert!(matches!(result, Err(Error::Cancelled)));
        for stage in ["personal", "predictor"] {
            let (a, b) = (log(&whole.options().state, stage), log(&stopped.options().state, stage));
            assert!(!a.is_empty() && a == b, "{stage}: {a:?} against {b:?}");
        }
        let empty = train_personal(&options(&whole), &[], &Silent);
        assert!(matches!(empty, Err(Error::Misuse(_) | Error::NoContent(_))));
        let large = [vec![Frame::filled(64, 64, [0; 3]).unwrap(); 2]];
        let other = TrainOptions { state: whole.0.join("other"), ..options(&whole) };
        assert!(matches!(train_personal(&other, &large, &Silent), Err(Error::Misuse(text)) if text.contains("64 x 64")));
    }

    #[test]
    fn a_state_folder_is_not_continued_with_other_options() {
        let _turn = turn();
        let room = Room::new("other");
        let result = train_pack(&room.options(), &StopAfter::new("render", 0));
        assert!(matches!(result, Err(Error::Cancelled)));
        let other = TrainOptions { seed: 2, ..room.options() };
        assert!(matches!(train_pack(&other, &Silent), Err(Error::Misuse(text)) if text.contains("other options")));
        for minutes in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let timeless = TrainOptions { minutes: Some(minutes), ..room.options() };
            assert!(matches!(train_pack(&timeless, &Silent), Err(Error::Misuse(text)) if text.contains("minutes")), "{minutes}");
        }
        let odd = TrainOptions { size: 48, ..room.options() };
        assert!(matches!(train_pack(&odd, &Silent), Err(Error::Misuse(text)) if text.contains("power of two")));
    }
}
