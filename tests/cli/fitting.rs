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
