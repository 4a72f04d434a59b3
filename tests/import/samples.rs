//! The reference files: containers written by PyTorch itself, and the published LPIPS heads.

use crate::write::Scratch;
use effigy::import::{read, ElementType, Value};
use effigy::Error;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// The folder with the reference files, or a line saying that there is none.
pub fn folder() -> Option<PathBuf> {
    // Always the default folder: fixtures elsewhere have other numbers, not other files.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
    if folder.join("pt_files/pt_files.json").exists() {
        return Some(folder);
    }
    println!("skipped: no reference files at {}", folder.display());
    None
}

fn manifest(folder: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(folder.join("pt_files/pt_files.json")).unwrap()).unwrap()
}

fn dtype(of: ElementType) -> Dtype {
    match of {
        ElementType::F32 => Dtype::F32,
        ElementType::F64 => Dtype::F64,
        ElementType::F16 => Dtype::F16,
        ElementType::I64 => Dtype::I64,
        ElementType::U8 => Dtype::U8,
        ElementType::Bool => Dtype::BOOL,
        other => panic!("no reference file has {other:?}"),
    }
}

#[test]
fn every_good_reference_file_equals_its_expected_tensors_bit_for_bit() {
    let Some(folder) = folder() else { return };
    let mut files = 0;
    for entry in manifest(&folder)["files"].as_array().unwrap() {
        let Some(expected) = entry["expected"].as_str() else { continue };
        let name = entry["file"].as_str().unwrap();
        let bytes = std::fs::read(folder.join("pt_files").join(expected)).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let checkpoint = read(folder.join("pt_files").join(name)).unwrap();
        let tensors = checkpoint.tensors().unwrap();
        let mut names: Vec<&str> = expected.names().into_iter().collect();
        names.sort_unstable();
        assert_eq!(tensors.keys().map(String::as_str).collect::<Vec<_>>(), names, "{name}");
        for (key, tensor) in &tensors {
            let (found, wanted) = (checkpoint.load(tensor).unwrap(), expected.tensor(key).unwrap());
            assert_eq!((dtype(found.dtype), &found.shape[..]), (wanted.dtype(), wanted.shape()), "{name}: {key}");
            assert_eq!(found.bytes, wanted.data(), "{name}: {key}");
        }
        files += 1;
    }
    assert_eq!(files, 8, "the good files of pt_files.json");
}

#[test]
fn every_hostile_or_damaged_reference_file_is_refused_with_its_name() {
    let Some(folder) = folder() else { return };
    let reasons = [
        ("d_hostile_zip.pt", "posix.system"),
        ("d_hostile_legacy.pt", "posix.system"),
        ("d_hostile_exec_zip.pt", "__builtin__.exec"),
        ("e_truncated_zip.pt", "zip archive"),
        ("e_truncated_legacy_storage.pt", "it is cut"),
        ("e_truncated_legacy_pickle.pt", "the data end inside the pickle"),
        ("e_empty.pt", "empty"),
    ];
    for entry in manifest(&folder)["files"].as_array().unwrap() {
        if entry["expect_error"] != true {
            continue;
        }
        let name = entry["file"].as_str().unwrap();
        let (_, reason) = reasons.iter().find(|(file, _)| *file == name).expect("a reason for every bad file");
        let error = read(folder.join("pt_files").join(name)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(reason), "{name}: {message}");
        let hostile = name.starts_with("d_");
        assert_eq!(matches!(error, Error::Unsupported(_)), hostile, "{name}: {message}");
        assert_eq!(matches!(error, Error::Malformed(_)), !hostile, "{name}: {message}");
    }
}

/// Python's plain values as JSON, which has no difference between lists and tuples either.
fn json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Dict(entries) => Json::Object(entries.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
        other => panic!("{other:?} has no JSON"),
    }
}

#[test]
fn options_and_optimiser_numbers_are_read_from_dictionaries_and_namespaces_alike() {
    let Some(folder) = folder() else { return };
    let manifest = manifest(&folder);
    for name in ["b_e4e_zip.pt", "b_e4e_namespace_zip.pt", "c_e4e_legacy.pt"] {
        let checkpoint = read(folder.join("pt_files").join(name)).unwrap();
        assert_eq!(json(checkpoint.get("opts").unwrap()), manifest["opts"], "{name}");
        let groups = checkpoint.get("optimizer").unwrap().get("param_groups").unwrap();
        assert_eq!(json(groups), manifest["optimizer_scalars"]["param_groups"], "{name}");
    }
}

/// Channels of the taps of each backbone, from the LPIPS paper's code.
const HEADS: [(&str, &[usize]); 3] =
    [("alex", &[64, 192, 384, 256, 256]), ("vgg", &[64, 128, 256, 512, 512]), ("squeeze", &[64, 128, 256, 384, 384, 512, 512])];

#[test]
fn the_published_lpips_heads_of_python_2_load() {
    let Some(folder) = folder() else { return };
    for (name, channels) in HEADS {
        let checkpoint = read(folder.join(format!("lpips_lin/{name}.pth"))).unwrap();
        let tensors = checkpoint.tensors().unwrap();
        assert_eq!(tensors.len(), channels.len(), "{name}");
        for (i, channels) in channels.iter().enumerate() {
            let data = checkpoint.load(&tensors[&format!("lin{i}.model.1.weight")]).unwrap();
            assert_eq!((data.dtype, &data.shape[..]), (ElementType::F32, &[1, *channels, 1, 1][..]), "{name}");
            let values = data.to_f32().unwrap();
            // The heads were trained with weights kept at or above zero.
            assert!(values.iter().all(|v| v.is_finite() && *v >= 0.0), "{name} {i}");
            assert!(values.iter().sum::<f32>() > 0.0, "{name} {i}");
        }
    }
}

#[test]
fn reference_files_with_any_byte_changed_or_cut_anywhere_never_panic() {
    let Some(folder) = folder() else { return };
    let scratch = Scratch::new("samples");
    for name in ["a_g_ema_zip.pt", "b_e4e_namespace_zip.pt", "c_e4e_legacy.pt", "c_bare_legacy.pth", "d_hostile_legacy.pt"] {
        let bytes = std::fs::read(folder.join("pt_files").join(name)).unwrap();
        crate::hostile::disturb(&scratch, &bytes);
    }
}
