//! What is fitted to a clip and what to a person.

use super::*;

#[test]
fn a_clip_is_fitted_with_maps_and_a_person_without_unless_asked() {
    let room = Room::new("maps");
    let maps = |identity: &str| json(&room.ok(&format!("inspect {identity} --json")))["metadata"]["maps"].clone();
    let short = format!("crops.mkv --aligned-input --pack pack.safetensors {QUICK} --tune-steps 2");
    for (flag, clip, person) in
        [("", "yes", "no"), ("--maps off", "no", "no"), ("--maps on", "yes", "yes"), ("--tuning none", "no", "no")]
    {
        room.ok(&format!("encode {short} {flag} -o a.effigy --save-identity a.identity"));
        room.ok(&format!("enroll {short} {flag} -o b.identity"));
        assert_eq!((maps("a.identity"), maps("b.identity")), (clip.into(), person.into()), "{flag}");
    }
}

#[test]
fn crops_of_twice_the_size_give_a_detail_that_larger_pictures_show() {
    let room = Room::new("detail");
    room.clip("large.mkv", 2 * SIDE, FRAMES);
    let encode = |flags: &str, out: &str| {
        let fit = format!("--pack pack.safetensors {QUICK} --tune-steps 2 {flags}");
        room.ok(&format!(
            "encode large.mkv --aligned-input {fit} -o {out}.effigy --save-identity {out}.identity --aligned {out}.crops.mkv"
        ));
        json(&room.ok(&format!("inspect {out}.identity --json")))["detail"].clone()
    };
    assert_eq!((encode("--maps on", "with"), encode("--maps off", "without")), (64.into(), serde_json::Value::Null));
    // What is encoded is of the pack's size, and so is what is decoded unless more is asked for.
    assert_eq!(clip(&room.path("with.crops.mkv"))[0].1.width, SIDE);
    let near = |out: &str, size: u32| {
        room.ok(&format!("decode {out}.effigy --pack pack.safetensors --device cpu --size {size} -o {out}.mkv --quiet"));
        let source = if size == SIDE { "with.crops.mkv" } else { "large.mkv" };
        json(&room.ok(&format!("evaluate {source} {out}.mkv --json")))["psnr"].as_f64().unwrap()
    };
    let (with, without) = (near("with", 2 * SIDE), near("without", 2 * SIDE));
    println!("{with} dB with a detail, {without} without");
    // Two steps of tuning leave a face that is far off as a whole.
    assert!(with > without + 0.2);
    assert!((near("with", SIDE) - near("without", SIDE)).abs() < 0.5);
    // Beyond its own side it is scaled up; crops of yet another size are refused.
    room.ok(&format!("decode with.effigy --pack pack.safetensors --device cpu --size {} -o larger.mkv --quiet", 3 * SIDE));
    assert_eq!(clip(&room.path("larger.mkv"))[0].1.width, 3 * SIDE);
    room.clip("odd.mkv", SIDE + 2, FRAMES);
    room.fails(&format!("encode odd.mkv --aligned-input --pack pack.safetensors {QUICK} -o out.effigy"), 2, "32 x 32 or 64 x 64");
}
