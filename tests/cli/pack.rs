//! Packs: where they are found; what their numbers do and their parser finds, drawn (`effigy pack`).

use super::*;

#[test]
fn the_regions_of_crops_are_drawn_below_them() {
    let room = Room::new("regions");
    room.ok("pack regions pack.safetensors crops.mkv -o r.png --columns 3 --device cpu --quiet");
    let drawn = effigy::media::read_png(room.path("r.png")).unwrap();
    let crops = clip(&room.path("crops.mkv"));
    let tile = |x: u32, y: u32| -> Vec<[u8; 3]> { (0..SIDE * SIDE).map(|i| drawn.pixel(x + i % SIDE, y + i / SIDE)).collect() };
    let whole = |frame: &Frame| -> Vec<[u8; 3]> { (0..SIDE * SIDE).map(|i| frame.pixel(i % SIDE, i / SIDE)).collect() };
    let legend = (2 * SIDE + 6..drawn.height).flat_map(|y| (0..drawn.width).map(move |x| (x, y)));
    let named: std::collections::BTreeSet<_> = legend.map(|(x, y)| drawn.pixel(x, y)).collect();
    let places: Vec<_> = (0..3).map(|i| 2 + i * (SIDE + 2)).collect();
    for (x, frame) in places.iter().zip([0, 1, 3]) {
        assert_eq!(tile(*x, 2), whole(&crops[frame].1), "frame {frame}");
        // Every pixel has one of the colours that the last row names, over the grey of the crop.
        let blend = |c: u8, rgb: [u8; 3]| {
            (u32::from(c) * 140 + (u32::from(rgb[0]) + 2 * u32::from(rgb[1]) + u32::from(rgb[2])) / 4 * 116) / 256
        };
        let under = whole(&crops[frame].1);
        for (shown, rgb) in tile(*x, SIDE + 4).iter().zip(under) {
            let named = named.iter().any(|colour| (0..3).all(|k| u32::from(shown[k]) == blend(colour[k], rgb)));
            assert!(named, "{shown:?} over {rgb:?}");
        }
    }
    Frame::filled(40, 30, [9; 3]).and_then(|wide| effigy::media::write_png(room.path("wide.png"), &wide, false)).unwrap();
    room.fails("pack regions pack.safetensors wide.png -o out.png", 2, "aligned crops are square");
}

#[test]
fn what_each_number_does_is_drawn_and_listed() {
    let room = Room::new("channels");
    room.encode("-o a.effigy --save-identity me.identity");
    let mean = room.ok("pack channels pack.safetensors -o mean.png --device cpu --precision fp32 --quiet");
    let own = room.ok("pack channels pack.safetensors --identity me.identity -o me.png --device cpu --precision fp32 --quiet");
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| alpha")).count();
    assert_eq!((rows(&mean), rows(&own)), (32, 32), "{mean}");
    let columns = |text: &str| text.lines().map(|line| line.matches('|').count()).collect::<Vec<_>>();
    assert!(columns(&mean).iter().all(|n| *n == 8) && columns(&own).iter().all(|n| *n == 9), "{own}");
    let [mean, own] = ["mean.png", "me.png"].map(|name| effigy::media::read_png(room.path(name)).unwrap());
    // 34 cells in rows of four: three tiles and a name each.
    assert_eq!((mean.width, mean.height), (4 * (3 * 33 + 1 + 6) + 6, 9 * (11 + 32 + 3 + 6) + 6));
    assert_ne!(mean, own);
}

#[test]
fn the_pack_of_the_environment_is_used() {
    let room = Room::new("variable");
    room.encode("-o a.effigy");
    let line = format!("decode a.effigy -o b.mkv {DECODE}");
    let out = room.command(&line).env("EFFIGY_PACK", room.path("pack.safetensors")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
