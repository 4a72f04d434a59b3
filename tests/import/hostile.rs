//! Files that want something run, lie about sizes, or are something else: one error each; never a panic, a hang or much memory.

use crate::write::{archive, floats, legacy, small_legacy, small_zip, zipped, Dialect, Pickle, Scratch};
use effigy::import::{read, MAX_DEPTH, MAX_DIRECTORY_BYTES, MAX_EXPANDED_VALUES, MAX_RECORDS};
use effigy::Error;

/// Opens `bytes` and reads all tensors; true if all went well.
fn exhaust(scratch: &Scratch, bytes: &[u8]) -> bool {
    let Ok(checkpoint) = scratch.open(bytes) else { return false };
    let Ok(tensors) = checkpoint.tensors() else { return false };
    // Twice the expansion that is allowed is more than these small files can hold otherwise.
    assert!(tensors.values().all(|t| t.count() as u64 <= MAX_EXPANDED_VALUES));
    tensors.values().take(32).filter(|t| t.count() < 4096).all(|tensor| checkpoint.load(tensor).is_ok())
}

/// Every byte inverted, every byte with its lowest bit flipped, and every cut.
pub fn disturb(scratch: &Scratch, bytes: &[u8]) {
    for at in 0..bytes.len() {
        for mask in [0xff, 0x01] {
            let mut changed = bytes.to_vec();
            changed[at] ^= mask;
            exhaust(scratch, &changed);
        }
        assert!(!exhaust(scratch, &bytes[..at]), "cut at {at} went unnoticed");
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn error_of(scratch: &Scratch, pickle: Pickle) -> Error {
    scratch.open(&zipped(&pickle.stop(), &[("0", floats([1.0; 4]))])).unwrap_err()
}

#[test]
fn small_files_with_any_byte_changed_or_cut_anywhere_never_panic() {
    let scratch = Scratch::new("disturb");
    for bytes in [small_zip(), small_legacy(Dialect::Legacy), small_legacy(Dialect::Python2)] {
        assert!(exhaust(&scratch, &bytes));
        disturb(&scratch, &bytes);
    }
}

#[test]
fn calls_outside_the_list_are_refused_by_name_wherever_they_stand_and_nothing_runs() {
    let scratch = Scratch::new("calls");
    let witness = Scratch::new("witness");
    let touch = format!("touch {}", witness.path().display());
    let zip = || Pickle::new(Dialect::Zip);
    let spellings = [
        zip().global("posix", "system").text(&touch).raw(b"\x85R"),
        zip().text("posix").text("system").raw(b"\x93").text(&touch).raw(b"\x85R"),
        zip().global("posix", "system").text(&touch).raw(b"\x85\x81"),
        zip().global("posix", "system").text(&touch).raw(b"\x85}\x92"),
        zip().raw(b"(").global("posix", "system").text(&touch).raw(b"o"),
        zip().raw(b"(").text(&touch).raw(b"iposix\nsystem\n"),
        zip().global("posix", "system").raw(b"}b"),
        // In a part that nobody asks for, and even if the result is thrown away.
        zip().raw(b"}").text("opts").global("posix", "system").text(&touch).raw(b"\x85Rs"),
        zip().global("posix", "system").text(&touch).raw(b"\x85R0}"),
    ];
    for (i, pickle) in spellings.into_iter().enumerate() {
        let error = error_of(&scratch, pickle);
        assert!(matches!(&error, Error::Unsupported(what) if what.contains("posix.system")), "spelling {i}: {error}");
        assert!(!witness.path().exists(), "spelling {i} ran");
    }
}

#[test]
fn functions_that_are_dangerous_only_by_their_arguments_are_not_on_the_list() {
    let scratch = Scratch::new("dangerous");
    for (module, name) in [
        ("torch", "load"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("torch.serialization", "load"),
        ("collections", "namedtuple"),
        ("argparse", "ArgumentParser"),
        ("numpy", "load"),
        ("builtins", "getattr"),
        ("copyreg", "_reconstructor"),
    ] {
        let error = error_of(&scratch, Pickle::new(Dialect::Zip).global(module, name).text("x").raw(b"\x85R"));
        assert!(matches!(&error, Error::Unsupported(what) if what.contains(&format!("{module}.{name}"))), "{error}");
    }
    // Keyword arguments would reach where positions do not.
    let error = error_of(&scratch, Pickle::new(Dialect::Zip).global("argparse", "Namespace").raw(b")}").text("k").raw(b"Ns\x92"));
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let scratch = Scratch::new("outside");
    let four = ("FloatStorage", "0", 4);
    let tensor = |offset, shape: &[i64], strides: &[i64]| {
        error_of(&scratch, Pickle::new(Dialect::Zip).tensor(four, offset, shape, strides))
    };
    for (offset, shape, strides) in [
        (1, &[4][..], &[1][..]),
        (0, &[2, 2], &[3, 1]),
        (0, &[2], &[i32::MAX.into()]),
        (5, &[0], &[1]),
        (-1, &[1], &[1]),
        (0, &[-1], &[1]),
        (0, &[4], &[-1]),
        (0, &[2], &[1, 1]),
        (0, &[i32::MAX.into(); 3], &[i32::MAX.into(); 3]),
    ] {
        let error = tensor(offset, shape, strides);
        assert!(matches!(error, Error::Malformed(_)), "{offset} {shape:?} {strides:?}: {error}");
    }
    assert!(matches!(tensor(0, &[1; 9], &[1; 9]), Error::Limit(_)));
    assert!(matches!(tensor(0, &[i32::MAX.into()], &[0]), Error::Limit(_)), "stride 0 makes much of little");
    let claims = Pickle::new(Dialect::Zip).tensor(("FloatStorage", "0", i32::MAX.into()), 0, &[4], &[1]);
    assert!(matches!(error_of(&scratch, claims), Error::Malformed(_)));
    let complex = Pickle::new(Dialect::Zip).tensor(("ComplexFloatStorage", "0", 2), 0, &[2], &[1]);
    assert!(matches!(error_of(&scratch, complex), Error::Unsupported(_)));
    let absent = Pickle::new(Dialect::Zip).tensor(("FloatStorage", "1", 4), 0, &[4], &[1]);
    assert!(error_of(&scratch, absent).to_string().contains("a/data/1"));
}

#[test]
fn legacy_tables_that_contradict_the_pickle_are_refused() {
    let scratch = Scratch::new("tables");
    let pickle = Pickle::new(Dialect::Legacy).tensor(("FloatStorage", "0", 2), 0, &[2], &[1]).stop();
    let told = |storages: &[(&str, i64, Vec<u8>)]| match scratch.open(&legacy(&pickle, storages, Dialect::Legacy)) {
        Ok(_) => panic!("{storages:?} was accepted"),
        Err(error) => error.to_string(),
    };
    let two = floats([1.0, 2.0]);
    assert!(told(&[]).contains("no storage \"0\""));
    assert!(told(&[("0", 3, floats([1.0; 3]))]).contains("has 3 numbers, expected 2"));
    assert!(told(&[("0", -1, two.clone())]).contains("has -1 numbers"));
    assert!(told(&[("0", 2, two[..7].to_vec())]).contains("it is cut"));
    assert!(told(&[("0", 2, two.clone()), ("0", 2, two.clone())]).contains("listed twice"));
    assert!(told(&[("0", 2, two.clone()), ("1", 2, two)]).contains("\"1\" belongs to no tensor"));
}

#[test]
fn pickles_that_grow_are_stopped() {
    let scratch = Scratch::new("growth");
    let zip = || Pickle::new(Dialect::Zip);
    // A list of two of the list before, 40 times: 2^40 values of 40 nodes.
    let laughs = (0..40).fold(zip().raw(b"]"), |p, _| p.raw(b"2\x86"));
    let deep = zip().raw(&b"(".repeat(MAX_DEPTH + 2)).raw(&b"t".repeat(MAX_DEPTH + 2));
    let itself = zip().raw(b"]q\0h\0a");
    // A dictionary of 5000 entries, copied 1000 times.
    let entries = (0..5000).fold(zip().raw(b"}q\0("), |p, _| p.raw(b"NN")).raw(b"u0");
    let copies = (0..1000).fold(entries, |p, _| p.global("collections", "OrderedDict").raw(b"h\0\x85R0")).raw(b"N");
    // A dictionary of 100,000 entries under keys that are left out, 400,000 times in a list.
    let left_out = zip().raw(b"}q\0(").raw(&b")N".repeat(100_000)).raw(b"u0](").raw(&b"h\0".repeat(400_000)).raw(b"e");
    let steps = zip().raw(b"N").raw(&b"20".repeat(1 << 21));
    for (pickle, why) in [
        (laughs, "more than"),
        (deep, "nested deeper"),
        (itself, "contains itself"),
        (copies, "steps"),
        (left_out, "more than"),
        (steps, "steps"),
        (zip().raw(b"X").raw(&u32::MAX.to_le_bytes()), "a string of 4294967295 bytes"),
        (zip().raw(&[0x8d]).raw(&u64::MAX.to_le_bytes()), "a string of"),
        (zip().raw(&[0x8b]).raw(&u32::MAX.to_le_bytes()), "an integer of"),
    ] {
        let error = error_of(&scratch, pickle);
        assert!(matches!(&error, Error::Limit(what) if what.contains(why)), "{why}: {error}");
    }
    // A key of 200 bytes under another is too long a name, however many tensors hide below.
    let long = "k".repeat(200);
    let p = zip().raw(b"}").text(&long).raw(b"}").text(&long).tensor(("FloatStorage", "0", 4), 0, &[4], &[1]).raw(b"ss");
    let checkpoint = scratch.open(&zipped(&p.stop(), &[("0", floats([1.0; 4]))])).unwrap();
    assert!(matches!(checkpoint.tensors(), Err(Error::Limit(_))));
}

#[test]
fn broken_pickles_say_where() {
    let scratch = Scratch::new("broken");
    let zip = || Pickle::new(Dialect::Zip);
    for (pickle, why) in [
        (zip(), "byte 3: nothing on the stack"),
        (zip().raw(b"t"), "byte 3: no mark"),
        (zip().raw(b"(0("), "nothing on the stack"),
        (zip().raw(b"N(a"), "nothing on the stack"),
        (zip().raw(b"h\x07"), "nothing was remembered as 7"),
        (zip().raw(b"\xff"), "opcode 0xff"),
        (zip().raw(b"Na"), "nothing on the stack"),
        (zip().raw(b"NNa"), "neither list nor dictionary"),
        (zip().raw(b"}(Nu"), "a key without a value"),
        (zip().raw(b"X\x02\0\0\0\xff\xff"), "not UTF-8"),
        (zip().raw(b"I1x\n"), "not a number"),
        (zip().raw(b"S'a\n"), "broken escape"),
        (zip().raw(b"NN\x93"), "not text"),
        (zip().raw(b"N)R"), "not a function"),
        (zip().raw(b"NQ"), "persistent identifier"),
        (zip().global("torch._utils", "_rebuild_tensor_v2").raw(b"(NNNNNNtR"), "without a storage"),
        (zip().global("collections", "OrderedDict").raw(b"](Ne\x85R"), "other than pairs"),
    ] {
        let error = error_of(&scratch, pickle);
        assert!(matches!(&error, Error::Malformed(what) if what.contains(why)), "expected {why:?}: {error}");
    }
}

/// Opcodes that mostly make sense after each other, with one in thirty that need not: random bytes alone would all end at the
/// first opcode.
fn random_pickle(state: &mut u64) -> Vec<u8> {
    const STRAY: &[u8] = b"NK)]}(tld\x85\x86\x87aeesu012qhQbcR\x81\x92oi\x93\x94X.";
    const NAMES: [(&str, &str); 7] = [
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch", "FloatStorage"),
        ("collections", "OrderedDict"),
        ("argparse", "Namespace"),
        ("torch", "Size"),
        ("posix", "system"),
    ];
    let mut p = Pickle::new(Dialect::Zip).raw(b"}q\0");
    for _ in 0..splitmix(state) % 40 {
        let small = (splitmix(state) % 6) as i64;
        let (module, name) = NAMES[splitmix(state) as usize % NAMES.len()];
        p = match splitmix(state) % 30 {
            0..=3 => p.int(small),
            4..=7 => p.text(["storage", "0", "w", "opts"][small as usize % 4]),
            8..=9 => p.raw(&[b"N)]}"[small as usize % 4]]),
            10..=12 => p.tensor(("FloatStorage", "0", 4), small, &[small - 2, 1], &[1, small]),
            13 => p.storage("FloatStorage", "0", small),
            14..=15 => p.global(module, name),
            16..=17 => p.global("collections", "OrderedDict").raw(b")R"),
            18..=20 => p.raw(&[0x85 + (small % 2) as u8]),
            21 => p.raw(b"(h\0h\0l"),
            22 => p.raw(b"h\0"),
            23 => p.raw(b"h\0").text("k").int(small).raw(b"s"),
            24 if small == 0 => p.raw(b"h\0").text("self").raw(b"h\0s"),
            25 => p.raw(b"]").int(small).raw(b"a"),
            26 => p.raw(b"q").raw(&[small as u8]),
            27 => p.raw(b"R"),
            28 => p.raw(b"b"),
            _ => p.raw(&[STRAY[splitmix(state) as usize % STRAY.len()]]),
        };
    }
    p.stop()
}

#[test]
fn five_thousand_random_pickles_end_in_a_value_or_an_error() {
    let scratch = Scratch::new("random");
    let mut state = 17;
    let mut accepted = 0;
    for _ in 0..5000 {
        let pickle = random_pickle(&mut state);
        accepted += u32::from(exhaust(&scratch, &zipped(&pickle, &[("0", floats([1.0; 4]))])));
        let storages: &[_] = if splitmix(&mut state).is_multiple_of(2) { &[("0", 4, floats([1.0; 4]))] } else { &[] };
        exhaust(&scratch, &legacy(&pickle, storages, Dialect::Legacy));
    }
    assert!(accepted > 500, "a tenth is valid, or they would test a few errors only: {accepted}");
}

#[test]
fn five_thousand_random_strings_behind_good_beginnings_are_refused() {
    let scratch = Scratch::new("noise");
    let mut state = 23;
    let starts: [&[u8]; 4] = [b"PK\x03\x04", &small_legacy(Dialect::Legacy)[..15], b"\x10\0\0\0\0\0\0\0{", b""];
    for i in 0..5000 {
        let mut bytes = starts[i % 4].to_vec();
        bytes.extend((0..splitmix(&mut state) % 200).map(|_| splitmix(&mut state) as u8));
        assert!(scratch.open(&bytes).is_err());
    }
}

#[test]
fn zip_archives_that_are_no_checkpoints_are_told_apart() {
    let scratch = Scratch::new("archives");
    let record = |name: &str, bytes: &[u8]| (name.to_string(), bytes.to_vec());
    let told = |records: &[(String, Vec<u8>)]| scratch.open(&archive(records)).unwrap_err();
    assert!(matches!(told(&[record("word/document.xml", b"<xml/>")]), Error::Unsupported(_)));
    let twice = told(&[record("a/data.pkl", b"\x80\x02}."), record("b/data.pkl", b"\x80\x02}.")]);
    assert!(matches!(twice, Error::Malformed(_)), "{twice}");
    let big = told(&[record("a/data.pkl", b"\x80\x02}."), record("a/byteorder", b"big")]);
    assert!(matches!(&big, Error::Unsupported(what) if what.contains("byte order")), "{big}");
    let scripted = told(&[record("a/data.pkl", b"\x80\x02c__torch__.models\nNet\n)\x81."), record("a/code/__torch__.py", b"")]);
    assert!(matches!(&scripted, Error::Unsupported(what) if what.contains("TorchScript")), "{scripted}");
    // The method of the directory's first entry: 8 is deflate.
    let mut packed = archive(&[record("a/data.pkl", b"\x80\x02}.")]);
    let entry = packed.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    packed[entry + 10] = 8;
    let packed = scratch.open(&packed).unwrap_err();
    assert!(matches!(&packed, Error::Unsupported(what) if what.contains("compressed")), "{packed}");
}

#[test]
fn zip_directories_of_unreasonable_size_are_given_up() {
    let scratch = Scratch::new("directory");
    let name = "x".repeat(60_000);
    let wide: Vec<_> = (0..MAX_DIRECTORY_BYTES / 60_000 + 1).map(|i| (format!("{i}{name}"), vec![])).collect();
    let long: Vec<_> = (0..=MAX_RECORDS).map(|i| (i.to_string(), vec![])).collect();
    for (records, why) in [(wide, "zip directory"), (long, "records")] {
        let error = scratch.open(&archive(&records)).unwrap_err();
        assert!(matches!(&error, Error::Limit(what) if what.contains(why)), "{why}: {error}");
    }
}

#[test]
fn files_of_other_kinds_are_named() {
    let scratch = Scratch::new("strangers");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, why) in [
        (&b"\n<!DOCTYPE html><html>Quota exceeded"[..], "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
        (&tar, "tar container"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x80\x03cdnnlib.tflib.network\nNetwork\n", "NVIDIA"),
        (b"RIFF....WEBPVP8 ", "neither"),
        (b"\x80", "neither"),
        (b"", "empty"),
    ] {
        let error = scratch.open(bytes).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("effigy-import-strangers"), "expected {why:?}: {error}");
    }
    assert!(matches!(read(std::env::temp_dir()), Err(Error::Misuse(_))), "a folder");
    assert!(matches!(read(scratch.path().join("absent")), Err(Error::Io { .. })));
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let scratch = Scratch::new("headers");
    let open = |header: &str, claimed: Option<u64>, data: usize| {
        let mut bytes = claimed.unwrap_or(header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(vec![0; data]);
        scratch.open(&bytes).unwrap_err()
    };
    let one =
        |shape: &str, from: u64, to: u64| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#);
    assert!(matches!(open(&one("[2]", 0, 8), Some(u64::MAX), 8), Error::Limit(_)));
    assert!(matches!(open(&one("[2]", 0, 8), Some(1 << 20), 8), Error::Malformed(_)));
    for (header, data) in [
        (one("[2]", 0, 8), 7),
        (one("[3]", 0, 8), 8),
        (one("[4294967296,4294967296,4294967296]", 0, 8), 8),
        (one("[2]", 8, 0), 8),
        (one("[2]", u64::MAX - 8, u64::MAX), 8),
        ("{".to_string(), 8),
    ] {
        let error = open(&header, None, data);
        assert!(matches!(error, Error::Malformed(_)), "{header}: {error}");
    }
    let odd = one("[2]", 0, 2).replace("F32", "F8_E4M3");
    assert!(matches!(open(&odd, None, 2), Error::Unsupported(_)));
}
