//! Fixtures: manifests, tensors and inputs by their rule, and the comparison with the expected outputs.

use effigy::net::ops::{from_vec, to_vec};
use effigy::net::Weights;
use effigy::pack::fixture::rule;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// A manifest with the folder it came from.
pub struct Fixture {
    folder: PathBuf,
    pub name: String,
    pub manifest: Value,
}

fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference")
}

/// All fixtures of the folder; none, with a line saying so, when it is missing.
pub fn fixtures() -> Vec<Fixture> {
    let folder = std::env::var_os("EFFIGY_REFERENCE").map(PathBuf::from).unwrap_or_else(default_folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no reference fixtures at {}; set EFFIGY_REFERENCE", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if manifest["format"] == "reference-fixture/1" {
            let name = manifest["name"].as_str().unwrap().to_string();
            out.push(Fixture { folder: folder.clone(), name, manifest });
        }
    }
    out
}

/// The fixtures of one kind that `wanted` accepts; says how many there are.
pub fn of_kind(kind: &str, wanted: impl Fn(&Fixture) -> bool) -> Vec<Fixture> {
    let mut all = fixtures();
    all.retain(|f| kind_of(f) == kind && wanted(f));
    println!("fixtures of kind {kind} to compare: {}", all.len());
    all
}

/// What kind of network a fixture is about.
pub fn kind_of(fixture: &Fixture) -> &'static str {
    match fixture.manifest["source"]["class"].as_str().unwrap_or_default() {
        "Generator" => "stylegan2 generator",
        "Encoder4Editing" => "e4e encoder",
        "Backbone" => "arcface embedding",
        "BiSeNet" => "bisenet parser",
        "lpips.LPIPS" => "lpips distance",
        class if class.starts_with("cnf") => "styleflow",
        _ => "unknown",
    }
}

pub fn shape(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|d| d.as_i64().unwrap()).collect()
}

/// Numbers of nested lists, outermost first.
fn flatten(value: &Value, out: &mut Vec<f32>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, out)),
        number => out.push(number.as_f64().unwrap() as f32),
    }
}

impl Fixture {
    pub fn text(&self, key: &str) -> &str {
        self.manifest[key].as_str().unwrap()
    }

    /// Arguments of the published constructor.
    pub fn arguments(&self) -> &Value {
        &self.manifest["source"]["constructor"]
    }

    /// A whole-number argument of the published constructor.
    pub fn argument(&self, key: &str) -> i64 {
        self.arguments()[key].as_i64().unwrap_or_else(|| panic!("{}: argument {key}", self.name))
    }

    /// Entries of the manifest's list of outputs.
    pub fn outputs(&self) -> &[Value] {
        self.manifest["outputs"].as_array().unwrap()
    }

    /// Whether the manifest lists an output.
    pub fn has_output(&self, name: &str) -> bool {
        self.outputs().iter().any(|o| o["name"] == name)
    }

    /// A file that belongs to the fixture: beside the manifest, else in the default folder.
    pub fn file(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A side file's place: beside the manifest, else in the default folder.
    pub fn path(&self, name: &str) -> PathBuf {
        let beside = self.folder.join(name);
        if beside.exists() {
            beside
        } else {
            default_folder().join(name)
        }
    }

    /// Expected outputs.
    pub fn side_file(&self) -> Vec<u8> {
        self.file(&format!("{}.safetensors", self.name))
    }

    fn by_rule(&self, key: &str, entry: &Value) -> Tensor {
        let dims = shape(&entry["shape"]);
        let (scale, offset) = (entry["scale"].as_f64().unwrap(), entry["offset"].as_f64().unwrap());
        let count = dims.iter().product::<i64>() as usize;
        let values = rule(&format!("{}{key}", self.text("prefix")), count, scale, offset);
        from_vec(&values, &dims, Device::Cpu).unwrap()
    }

    pub fn weights(&self) -> Weights {
        let mut out = Weights::new();
        for entry in self.manifest["tensors"].as_array().unwrap().iter().filter(|t| t["source"] == "rule") {
            let key = entry["key"].as_str().unwrap();
            out.insert(key, self.by_rule(key, entry));
        }
        out
    }

    /// Every tensor of the network's list stands in the manifest with the same shape, and the other way round for those that the
    /// computation uses: by rule, apart from the names that `unused` accepts.
    pub fn check_tensors(&self, ours: &[(String, Vec<i64>)], unused: impl Fn(&str) -> bool) {
        let listed = self.manifest["tensors"].as_array().unwrap();
        for (name, dims) in ours {
            let entry = listed.iter().find(|t| t["key"] == name.as_str());
            let entry = entry.unwrap_or_else(|| panic!("{}: the manifest has no tensor {name}", self.name));
            assert_eq!(&shape(&entry["shape"]), dims, "{}: shape of {name}", self.name);
        }
        for key in listed.iter().filter(|t| t["source"] == "rule").map(|t| t["key"].as_str().unwrap()) {
            assert!(unused(key) || ours.iter().any(|(name, _)| name == key), "{}: our list lacks {key}", self.name);
        }
    }

    pub fn input(&self, name: &str) -> Tensor {
        let inputs = self.manifest["inputs"].as_array().unwrap();
        let entry = inputs.iter().find(|i| i["name"] == name).unwrap_or_else(|| panic!("{}: no input {name}", self.name));
        match entry["source"].as_str().unwrap() {
            "rule" => self.by_rule(name, entry),
            "compose" => {
                let part = |part: &str| self.by_rule(entry[part]["key"].as_str().unwrap(), &entry[part]);
                let block = entry["block"].as_i64().unwrap();
                let wide = part("coarse").repeat_interleave_self_int(block, 2, None).repeat_interleave_self_int(block, 3, None);
                let fine = part("fine");
                let (h, w) = (fine.size()[2], fine.size()[3]);
                wide.narrow(2, 0, h).narrow(3, 0, w) + fine
            }
            "literal" => {
                let mut values = Vec::new();
                flatten(&entry["value"], &mut values);
                from_vec(&values, &shape(&entry["shape"]), Device::Cpu).unwrap()
            }
            other => panic!("{}: input {name} is made by {other}", self.name),
        }
    }
}

/// Compares outputs and remembers which were compared and the worst share of a tolerance.
pub struct Comparison<'a> {
    fixture: &'a Fixture,
    expected: SafeTensors<'a>,
    done: Vec<String>,
    worst: (f64, String),
}

impl<'a> Comparison<'a> {
    pub fn new(fixture: &'a Fixture, bytes: &'a [u8]) -> Self {
        let expected = SafeTensors::deserialize(bytes).unwrap();
        Comparison { fixture, expected, done: Vec::new(), worst: (0.0, String::new()) }
    }

    /// All outputs of the manifest whose names equal `name` or begin with `name.`, parts of one whole.
    pub fn check_all(&mut self, name: &str, found: &Tensor) {
        let begin = format!("{name}.");
        let names = self.fixture.outputs().iter().map(|o| o["name"].as_str().unwrap());
        let names: Vec<&str> = names.filter(|n| *n == name || n.starts_with(&begin)).collect();
        assert!(!names.is_empty(), "{}: the manifest has no output {name}", self.fixture.name);
        for name in names {
            self.check(name, found);
        }
    }

    /// The output `name`, a part of `found` or all of it, within the tolerance that the manifest suggests.
    pub fn check(&mut self, name: &str, found: &Tensor) {
        self.check_within(name, found, "suggested_atol");
    }

    /// As `check`, with the tolerance in another field of the output's entry, where the entry has it.
    pub fn check_within(&mut self, name: &str, found: &Tensor, field: &str) {
        let output = self.fixture.outputs().iter().find(|o| o["name"] == name);
        let output = output.unwrap_or_else(|| panic!("{}: the manifest has no output {name}", self.fixture.name));
        let tolerance = output[field].as_f64().or(output["suggested_atol"].as_f64()).unwrap();
        let far = self.deviation(output, found);
        println!("  {name:<22} max deviation {far:.1e} of {tolerance:.0e}");
        assert!(far <= tolerance, "{}: {name} is off by {far:.3e}, tolerance {tolerance:.0e}", self.fixture.name);
        if far > 0.0 && far / tolerance > self.worst.0 {
            self.worst = (far / tolerance, name.to_string());
        }
        self.mark(name);
    }

    fn deviation(&self, output: &Value, found: &Tensor) -> f64 {
        let name = output["name"].as_str().unwrap();
        let view = self.expected.tensor(name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{}: kind of {name}", self.fixture.name);
        let want: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let found = excerpt(found, output);
        assert_eq!(found.size(), shape(&output["shape"]), "{}: shape of {name}", self.fixture.name);
        let found = to_vec(&found).unwrap();
        assert_eq!(found.len(), want.len(), "{}: size of {name}", self.fixture.name);
        // `max` would pass over NaN.
        let apart = found.iter().zip(&want).map(|(a, b)| f64::from((a - b).abs()));
        apart.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
    }

    /// The bytes of an output that is no float.
    #[cfg(feature = "analysis")]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.expected.tensor(name).unwrap().data().to_vec()
    }

    /// Notes that an output was compared; once, however many solvers meet it.
    pub fn mark(&mut self, name: &str) {
        if !self.done.iter().any(|d| d == name) {
            self.done.push(name.to_string());
        }
    }

    /// Every output was compared, apart from those that begin with one of `inner`: the public interface does not show them.
    pub fn finish(self, inner: &[&str]) {
        let names = self.fixture.outputs().iter().map(|o| o["name"].as_str().unwrap());
        let left: Vec<&str> = names.filter(|name| !self.done.iter().any(|d| d == name)).collect();
        let hidden = |name: &&&str| inner.iter().any(|start| name.starts_with(start));
        let missed: Vec<&&str> = left.iter().filter(|name| !hidden(name)).collect();
        assert!(missed.is_empty(), "{}: outputs not compared: {missed:?}", self.fixture.name);
        let (share, name) = &self.worst;
        println!("{}: {} outputs compared, worst {share:.2} of its tolerance ({name})", self.fixture.name, self.done.len());
        if !left.is_empty() {
            println!("{}: not compared, inside the network: {}", self.fixture.name, left.join(" "));
        }
    }
}

/// The whole; or what the entry says of it: its averages (`poolN`), exact pixels ("rows a..b, columns c..d"), or the first channels
/// at every n-th row and column.
fn excerpt(whole: &Tensor, output: &Value) -> Tensor {
    let dims = shape(&output["shape"]);
    if whole.size() == dims {
        return whole.shallow_clone();
    }
    let (name, text) = (output["name"].as_str().unwrap(), output["description"].as_str().unwrap());
    let part = name.rsplit('.').next().unwrap_or_default();
    if part.starts_with("pool") && part != name {
        return whole.adaptive_avg_pool2d([dims[2], dims[3]]);
    }
    if let (Some(rows), Some(columns)) = (range(text, "rows"), range(text, "columns")) {
        return whole.slice(2, rows.0, rows.1 + 1, 1).slice(3, columns.0, columns.1 + 1, 1);
    }
    let (down, across) = steps(text, whole.size()[2]);
    whole.narrow(1, 0, dims[1]).slice(2, 0, None, down).slice(3, 0, None, across)
}

/// The numbers of "word a..b".
fn range(text: &str, word: &str) -> Option<(i64, i64)> {
    let text = text.split(word).nth(1)?.trim_start();
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let (a, b) = digits.split_once("..")?;
    Some((a.parse().ok()?, b.trim_end_matches('.').parse().ok()?))
}

/// Steps down and across: of "every 9th row / 12th column", "every 8th row and column", "every 4th pixel", "step = size div 8", or 1.
fn steps(text: &str, side: i64) -> (i64, i64) {
    let number = |text: &str| -> Option<i64> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    if let Some(after) = text.split("every ").nth(1) {
        let down = number(after).unwrap_or_else(|| panic!("no number after `every` in: {text}"));
        let across = after.split(" / ").nth(1).and_then(number).unwrap_or(down);
        return (down, across);
    }
    match text.split("step = size div ").nth(1).and_then(number) {
        Some(count) => ((side / count).max(1), (side / count).max(1)),
        None => (1, 1),
    }
}
