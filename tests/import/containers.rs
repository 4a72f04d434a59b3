//! Small files of our own through every container.

use crate::write::{archive, floats, legacy, small_legacy, small_zip, zipped, Dialect, Pickle, Scratch};
use effigy::import::{Checkpoint, ElementType, Value};
use effigy::Error;

fn values(checkpoint: &Checkpoint, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensors = checkpoint.tensors().unwrap();
    let data = checkpoint.load(&tensors[name]).unwrap();
    (data.shape.clone(), data.to_f32().unwrap())
}

#[test]
fn the_same_dictionary_comes_out_of_every_container() {
    let scratch = Scratch::new("same");
    for bytes in [small_zip(), small_legacy(Dialect::Legacy), small_legacy(Dialect::Python2)] {
        let checkpoint = scratch.open(&bytes).unwrap();
        assert_eq!(values(&checkpoint, "w"), (vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(values(&checkpoint, "t"), (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        // 0x3e00: sign 0, exponent 15 of bias 15, fraction 1/2.
        assert_eq!(values(&checkpoint, "b"), (vec![], vec![1.5]));
        let Value::Dict(entries) = checkpoint.root() else { panic!("{:?}", checkpoint.root()) };
        assert_eq!(entries.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["w", "t", "b"], "the order of the file");
    }
}

#[test]
fn a_safetensors_file_is_a_flat_checkpoint() {
    let header =
        br#"{"g_ema.w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend(floats([0.5, -2.0]));
    bytes.extend_from_slice(&7i64.to_le_bytes());
    let scratch = Scratch::new("flat");
    let checkpoint = scratch.open(&bytes).unwrap();
    assert_eq!(values(&checkpoint, "g_ema.w"), (vec![2], vec![0.5, -2.0]));
    let count = checkpoint.load(&checkpoint.tensors().unwrap()["n"]).unwrap();
    assert_eq!((count.dtype, &count.bytes[..]), (ElementType::I64, &7i64.to_le_bytes()[..]));
    assert!(matches!(count.to_f32(), Err(Error::Malformed(_))), "a counter is no weight");
    let cut = scratch.open(&bytes[..bytes.len() - 1]).unwrap_err();
    assert!(matches!(&cut, Error::Malformed(what) if what.contains("\"n\"")), "{cut}");
}

#[test]
fn views_share_a_storage_and_come_out_without_gaps() {
    let all = ("FloatStorage", "0", 24);
    let p = Pickle::new(Dialect::Zip).raw(b"}(").text("rows").tensor(all, 6, &[2, 2], &[6, 1]);
    let p = p.text("every third").tensor(all, 1, &[4], &[3]).text("same twice").tensor(all, 5, &[2, 2], &[0, 1]);
    let p = p.text("none").tensor(all, 24, &[0, 3], &[3, 1]).text("one").tensor(all, 23, &[1, 1], &[999, 77]).raw(b"u");
    let scratch = Scratch::new("views");
    let checkpoint = scratch.open(&zipped(&p.stop(), &[("0", floats((0..24).map(|i| i as f32)))])).unwrap();
    assert_eq!(values(&checkpoint, "rows"), (vec![2, 2], vec![6.0, 7.0, 12.0, 13.0]));
    assert_eq!(values(&checkpoint, "every third"), (vec![4], vec![1.0, 4.0, 7.0, 10.0]));
    assert_eq!(values(&checkpoint, "same twice"), (vec![2, 2], vec![5.0, 6.0, 5.0, 6.0]));
    assert_eq!(values(&checkpoint, "none"), (vec![0, 3], vec![]));
    assert_eq!(values(&checkpoint, "one"), (vec![1, 1], vec![23.0]));
}

#[test]
fn a_legacy_storage_may_be_a_part_of_another() {
    let p = Pickle::new(Dialect::Legacy).global("torch._utils", "_rebuild_tensor").raw(b"((").text("storage");
    let p = p.global("torch", "FloatStorage").text("k").text("cpu").int(5).raw(b"(").text("part").int(2).int(3).raw(b"ttQ");
    let p = p.int(1).sizes(&[2]).sizes(&[1]).raw(b"tR");
    let scratch = Scratch::new("part");
    let bytes = legacy(&p.stop(), &[("k", 5, floats([0.0, 1.0, 2.0, 3.0, 4.0]))], Dialect::Legacy);
    let checkpoint = scratch.open(&bytes).unwrap();
    let Value::Tensor(tensor) = checkpoint.root() else { panic!("{:?}", checkpoint.root()) };
    // Element 1 of the part that begins at element 2.
    assert_eq!(checkpoint.load(tensor).unwrap().to_f32().unwrap(), [3.0, 4.0]);
}

#[test]
fn doubles_halves_and_bfloat16_become_single_precision() {
    let p = Pickle::new(Dialect::Zip).raw(b"}(").text("d").tensor(("DoubleStorage", "0", 1), 0, &[1], &[1]);
    let p = p.text("b").tensor(("BFloat16Storage", "1", 2), 0, &[2], &[1]).raw(b"u");
    // The upper halves of 1.0 (0x3f800000) and -3.0 (0xc0400000).
    let storages = [("0", 0.1f64.to_le_bytes().to_vec()), ("1", vec![0x80, 0x3f, 0x40, 0xc0])];
    let scratch = Scratch::new("types");
    let checkpoint = scratch.open(&zipped(&p.stop(), &storages)).unwrap();
    assert_eq!(values(&checkpoint, "d").1, [0.1f32]);
    assert_eq!(values(&checkpoint, "b").1, [1.0, -3.0]);
}

/// `{'a': [1, 2.5, None, True, -300, 1 << 40], 'é\n': (), b'\x00': 'x'}` as Python 3 pickles it under protocols 0, 1 and 4.
/// The last key, written in bytes, names nothing that a checkpoint has and is left out.
#[test]
fn the_plain_values_of_old_and_new_protocols_are_the_same() {
    let protocols: [&[u8]; 3] = [
        b"(dp0\nVa\np1\n(lp2\nI1\naF2.5\naNaI01\naI-300\naL1099511627776L\nasV\xc3\xa9\\u000a\np3\n(ts.",
        b"}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00NI01\nJ\xd4\xfe\xff\xffL1099511627776L\ne\
          X\x03\x00\x00\x00\xc3\xa9\nq\x03)u.",
        b"\x80\x04\x95\x3a\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\0\0\0\0\0\0N\x88J\xd4\xfe\xff\xff\
          \x8a\x06\0\0\0\0\0\x01e\x8c\x03\xc3\xa9\n\x94)C\x01\0\x94\x8c\x01x\x94u.",
    ];
    let scratch = Scratch::new("protocols");
    for (i, pickle) in protocols.iter().enumerate() {
        let checkpoint = scratch.open(&zipped(pickle, &[])).unwrap();
        let list = [Value::Int(1), Value::Float(2.5), Value::None, Value::Bool(true), Value::Int(-300), Value::Int(1 << 40)];
        assert_eq!(checkpoint.get("a"), Some(&Value::List(list.to_vec())), "pickle {i}");
        assert_eq!(checkpoint.get("é\n"), Some(&Value::List(vec![])), "pickle {i}");
        let Value::Dict(entries) = checkpoint.root() else { panic!("{:?}", checkpoint.root()) };
        assert_eq!(entries.len(), 2, "pickle {i}");
    }
}

#[test]
fn values_that_are_not_looked_into_keep_their_names_and_the_tensors_beside_them() {
    let p = Pickle::new(Dialect::Zip).raw(b"}(").text("w").tensor(("FloatStorage", "0", 1), 0, &[1], &[1]);
    let p = p.text("loss").global("numpy.core.multiarray", "scalar").global("numpy", "dtype").text("f8").raw(b"\x85R");
    let p = p.text("bytes").raw(b"\x86R").text("class").global("torch.optim.adam", "Adam");
    let p = p.text("path").global("pathlib", "PosixPath").text("exp").raw(b"\x85Ru");
    let scratch = Scratch::new("names");
    let checkpoint = scratch.open(&zipped(&p.stop(), &[("0", floats([4.0]))])).unwrap();
    assert_eq!(values(&checkpoint, "w").1, [4.0]);
    for (key, class) in
        [("loss", "numpy.core.multiarray.scalar"), ("class", "torch.optim.adam.Adam"), ("path", "pathlib.PosixPath")]
    {
        assert_eq!(checkpoint.get(key), Some(&Value::Opaque { class: class.into() }));
    }
}

#[test]
fn the_container_directory_may_have_any_name_or_none() {
    let pickle = Pickle::new(Dialect::Zip).tensor(("FloatStorage", "x7", 1), 0, &[], &[]).stop();
    let scratch = Scratch::new("roots");
    for root in ["", "archive/", "deep/er/"] {
        let records = [(format!("{root}data.pkl"), pickle.clone()), (format!("{root}data/x7"), floats([9.0]))];
        let checkpoint = scratch.open(&archive(&records)).unwrap();
        assert_eq!(values(&checkpoint, "").1, [9.0]);
    }
}

#[test]
fn a_changed_number_in_a_zip_record_is_noticed_when_it_is_read() {
    let mut bytes = small_zip();
    let five = bytes.windows(4).position(|w| w == 5.0f32.to_le_bytes()).unwrap();
    bytes[five] ^= 1;
    let scratch = Scratch::new("crc");
    let checkpoint = scratch.open(&bytes).unwrap();
    let error = checkpoint.load(&checkpoint.tensors().unwrap()["w"]).unwrap_err();
    assert!(matches!(&error, Error::Malformed(what) if what.contains("CRC")), "{error}");
}
