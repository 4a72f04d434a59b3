//! Residuals, from the command line.

use std::fs;

use crate::{clip, json, Room, DECODE, FRAMES, QUICK, UNTUNED};

#[test]
fn a_residual_shows_what_the_numbers_miss_of_its_own_person_alone() {
    let room = Room::new("residual");
    room.encode("-o plain.effigy --residual 0");
    room.encode("-o rich.effigy --residual 300 --save-identity me.identity");
    let bytes = |name: &str| json(&room.ok(&format!("inspect {name} --json")))["residual_bytes"].as_u64().unwrap();
    assert_eq!(bytes("plain.effigy"), 0);
    assert!((100..=300 * FRAMES).contains(&bytes("rich.effigy")), "{}", bytes("rich.effigy"));
    for name in ["plain", "rich"] {
        room.ok(&format!("inspect {name}.effigy --params {name}.csv"));
        room.ok(&format!("decode {name}.effigy --pack pack.safetensors -o {name}.mkv {DECODE}"));
    }
    let text = |name: &str| fs::read_to_string(room.path(name)).unwrap();
    assert_eq!(text("plain.csv"), text("rich.csv"));
    let psnr = |name: &str| json(&room.ok(&format!("evaluate crops.mkv {name} --json --quiet")))["psnr"].as_f64().unwrap();
    assert!(psnr("rich.mkv") > psnr("plain.mkv") + 3.0, "{} {}", psnr("plain.mkv"), psnr("rich.mkv"));
    // The same identity by its file is the same person; another one is not.
    room.ok(&format!("enroll crops.mkv --aligned-input --frames 2 --pack pack.safetensors -o ada.identity {UNTUNED} {QUICK}"));
    for (identity, same) in [("me", true), ("ada", false)] {
        let decode = |stream: &str, out: &str| {
            room.ok(&format!("decode {stream} --pack pack.safetensors --identity {identity}.identity -o {out} {DECODE}"));
            clip(&room.path(out))
        };
        let (rich, plain) = (decode("rich.effigy", "a.mkv"), decode("plain.effigy", "b.mkv"));
        assert_eq!(rich == plain, !same, "{identity}");
        assert_eq!(rich == clip(&room.path("rich.mkv")), same, "{identity}");
    }
    room.encode("-o raw.effigy --coding raw16");
    assert_eq!(bytes("raw.effigy"), 0);
    // As a call sends it: of what the frames before have shown.
    room.clip("long.mkv", crate::SIDE, 24);
    let live = "--aligned-input --pack pack.safetensors --preset live --precision fp32 --device cpu --threads 1 --quiet";
    let call = |name: &str, residual: u32| {
        let more = format!("--identity me.identity --residual {residual} -o {name}.effigy");
        room.ok(&format!("encode long.mkv {live} {more}"));
        room.ok(&format!("decode {name}.effigy --pack pack.safetensors -o {name}.mkv {DECODE}"));
        json(&room.ok(&format!("evaluate long.mkv {name}.mkv --json --quiet")))["psnr"].as_f64().unwrap()
    };
    let (none, some) = (call("silent", 0), call("call", 100));
    assert!((50..=100 * 24).contains(&bytes("call.effigy")) && bytes("silent.effigy") == 0, "{}", bytes("call.effigy"));
    assert!(some > none + 0.3, "{none} {some}");
}
