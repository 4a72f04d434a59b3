//! Runs that were interrupted and gone on with.

use super::*;

#[test]
fn a_run_that_was_interrupted_and_resumed_writes_the_same_stream() {
    let room = Room::new("resume");
    let line = |output: &str, extra: &str| {
        format!("encode crops.mkv --aligned-input --pack pack.safetensors -o {output} {QUICK} --tune-steps 150 {extra}")
    };
    room.ok(&line("whole.effigy", ""));
    let kept = room.path("a.effigy.unfinished");
    let mut child = room.command(&line("a.effigy", "").replace("--quiet", "")).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("fit the latent: ")));
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("--resume goes on")), "{rest:?}");
    assert!(kept.join("tuning.safetensors").exists() && !room.path("a.effigy").exists());
    // Neither is the work thrown away unasked, nor is it gone on with for another purpose.
    let refused = room.run(&line("a.effigy", ""));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && errors.contains("go on with it by --resume"), "{errors}");
    let other = room.run(&line("a.effigy", "--resume --seed 7"));
    assert!(other.status.code() == Some(2) && kept.exists(), "{}", String::from_utf8_lossy(&other.stderr));
    room.ok(&line("a.effigy", "--resume"));
    assert_eq!(fs::read(room.path("a.effigy")).unwrap(), fs::read(room.path("whole.effigy")).unwrap());
    assert!(!kept.exists());
}

#[test]
fn a_search_that_was_interrupted_goes_on_behind_the_segments_it_has_done() {
    let room = Room::new("segments");
    room.encode("-o first.effigy --save-identity me.identity");
    room.clip("long.mkv", SIDE, 90);
    let line = |output: &str, extra: &str| {
        format!(
            "encode long.mkv --aligned-input --identity me.identity --pack pack.safetensors -o {output} {} {extra}",
            QUICK.replace("fast", "medium")
        )
    };
    room.ok(&line("whole.effigy", "--aligned whole.mkv"));
    let kept = room.path("a.effigy.unfinished").join("numbers");
    let mut child = room.command(&line("a.effigy", "")).spawn().unwrap();
    // The first segment is kept: 64 frames of 35 numbers behind a hash.
    let length = || fs::metadata(&kept).map_or(0, |meta| meta.len());
    while length() < 32 + 64 * 140 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(length() >= 32 + 64 * 140 && !room.path("a.effigy").exists());
    // A clip of as many frames that shows something else is another clip.
    fs::rename(room.path("long.mkv"), room.path("mine.mkv")).unwrap();
    let (base, options) = (TimeBase { num: 1, den: 30000 }, WriteOptions::default());
    let mut writer = ClipWriter::create(room.path("long.mkv"), SIDE, SIDE, base, &options).unwrap();
    for i in 0..90 {
        writer.write(i * TICKS, &Frame::filled(SIDE, SIDE, [i as u8; 3]).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let refused = room.run(&line("a.effigy", "--resume"));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && errors.contains("belongs to another clip"), "{errors}");
    fs::rename(room.path("mine.mkv"), room.path("long.mkv")).unwrap();
    room.ok(&line("a.effigy", "--resume --aligned a.mkv"));
    assert_eq!(fs::read(room.path("a.effigy")).unwrap(), fs::read(room.path("whole.effigy")).unwrap());
    assert_eq!(clip(&room.path("a.mkv")), clip(&room.path("whole.mkv")), "all crops, those of the first run too");
}
