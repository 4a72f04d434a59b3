//! Goes on with the training of a pack's region parser, on parametric heads of twice the side that it looks at; nothing else of the pack
//! changes.
//!
//! Input: a pack of our own trainer. Output: the same pack, whose parser has a top-down path of its own. While the trunk learns, small regions
//! count more than others, and every picture is made worse; here edges find their places.

use super::analysis::{self, PARSER};
use super::data::HeadSet;
use super::generator::Model;
use super::heads::LABEL_NAMES;
use super::init;
use super::pack::{check_options, claim, parser_path, write, Run, TrainOptions};
use crate::error::{Error, Result};
use crate::net::facenet::{FaceNet, FaceNetConfig, OWN, SHARED};
use crate::net::{Analysis, AnalysisConfig, PoseFlow, Weights};
use crate::pack::{Pack, PackConfig};
use crate::progress::Progress;
use tch::Device;

/// Trains the parser of the pack that `options.init` names for `options.analysis_steps` steps and writes the pack to `options.out`. Of the other
/// options count `images`, `seed`, `minutes`, `film`, `device` and `kind`. A run that was stopped goes on from `options.state`.
///
/// # Errors
/// `Unsupported` for packs that the trainer did not make; cancelled; input/output; device.
pub fn train_parser(options: &TrainOptions, progress: &dyn Progress) -> Result<()> {
    let path =
        options.init.as_ref().ok_or_else(|| Error::Misuse("a parser is trained on in a pack, and none was given".into()))?;
    let pack = Pack::load(path)?;
    let device = options.device;
    let name = &pack.config().name;
    let (PoseFlow::Rows(flow), Analysis::Built(net)) = (pack.flow(device)?, pack.analysis(device)?) else {
        return Err(Error::Unsupported(format!("pack {name}: training goes on only from packs that it made")));
    };
    if net.config().top_down.is_empty() || pack.config().labels != LABEL_NAMES {
        return Err(Error::Unsupported(format!("pack {name}: its parser is of another kind than this trainer's")));
    }
    let options = &TrainOptions { size: 2 * net.config().input, ..options.clone() };
    check_options(options)?;
    std::fs::create_dir_all(&options.state).map_err(|e| Error::io("create", &options.state, e))?;
    claim(options, &format!(" parser of {}", pack.short_hash()))?;
    tch::manual_seed(options.seed as i64);
    let net = with_own_path(&net, device)?;
    let generator = pack.generator(device)?;
    let heads = HeadSet::render(options.images, options.size, options.seed << 32, Some(&options.state), progress)?;
    analysis::train(&net, &heads, &PARSER, &Run::new(options, progress))?;
    let config = PackConfig {
        analysis: Some(AnalysisConfig::Built(net.config().clone())),
        provenance: format!("{}; then its parser on heads of {} pixels", pack.config().provenance, options.size),
        command: options.command.clone(),
        ..pack.config().clone()
    };
    let model = Model { generator: &generator, flow: &flow, net: &net, channels: &pack.config().channels };
    write(options, &config, &model)
}

/// The network with a path for the parser: where it has none yet, levels begin as those that the parser had, the finest wider and anew.
fn with_own_path(net: &FaceNet, device: Device) -> Result<FaceNet> {
    let own = match net.config().parser_down.is_empty() {
        true => parser_path(net.config()),
        false => net.config().parser_down.clone(),
    };
    let cfg = FaceNetConfig { parser_down: own, ..net.config().clone() };
    let mut weights = Weights::new();
    for (name, fresh) in init::facenet(&cfg, device)?.iter() {
        let before = name.strip_prefix(OWN).map(|rest| format!("{SHARED}{rest}"));
        let kept =
            [Some(name.clone()), before].into_iter().flatten().find_map(|old| net.weights().shaped(&old, &fresh.size()).ok());
        weights.insert(name.clone(), kept.unwrap_or(fresh).f_detach()?.copy());
    }
    FaceNet::new(cfg, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{to_tensor, to_vec};
    use crate::pack::fixture;
    use crate::progress::Silent;
    use tch::{no_grad, Kind};

    #[test]
    fn levels_of_the_own_path_begin_as_those_that_the_parser_had() {
        let Analysis::Built(shared) = fixture::tiny(3).unwrap().analysis(Device::Cpu).unwrap() else { panic!("built") };
        let own = with_own_path(&shared, Device::Cpu).unwrap();
        let values = |net: &FaceNet, name: &str| to_vec(net.weights().get(name).unwrap()).unwrap();
        for part in ["3.side.weight", "2.up.weight", "1.mix.weight", "1.side.bias"] {
            assert_eq!(values(&own, &format!("parser_down.{part}")), values(&shared, &format!("top_down.{part}")), "{part}");
        }
        assert_eq!(values(&own, "trunk.0.weight"), values(&shared, "trunk.0.weight"));
        let again = with_own_path(&own, Device::Cpu).unwrap();
        assert!(own.weights().iter().all(|(name, _)| values(&again, name) == values(&own, name)));
    }

    #[test]
    fn the_parser_alone_changes_and_goes_on_from_where_it_was() {
        let folder = std::env::temp_dir().join(format!("effigy-parser-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        fixture::write_tiny(at("before.safetensors"), 3).unwrap();
        let train = |init: &str, out: &str, steps| {
            let options = TrainOptions {
                out: at(out),
                state: at(out).with_extension("state"),
                init: Some(at(init)),
                images: 8,
                analysis_steps: steps,
                kind: Kind::Float,
                ..TrainOptions::default()
            };
            train_parser(&options, &Silent)
        };
        train("before.safetensors", "first.safetensors", 2).unwrap();
        train("first.safetensors", "second.safetensors", 2).unwrap();
        let look = |name: &str| {
            let pack = Pack::load(at(name)).unwrap();
            let head = super::super::heads::render(&super::super::heads::sample(5), 32).frame;
            let Analysis::Built(net) = pack.analysis(Device::Cpu).unwrap() else { panic!("built") };
            let features = net.features(&to_tensor(&[&head], Device::Cpu).unwrap(), Kind::Float).unwrap();
            let (angles, expression) = no_grad(|| net.predict(&features)).unwrap();
            let others = [angles, expression, net.encode(&features).unwrap(), net.embed(&features).unwrap()];
            let others: Vec<f32> = others.iter().flat_map(|t| to_vec(&t.f_contiguous().unwrap()).unwrap()).collect();
            (others, to_vec(&net.parse(&features).unwrap().f_contiguous().unwrap()).unwrap(), net.config().parser_down.clone())
        };
        let (before, first, second) = (look("before.safetensors"), look("first.safetensors"), look("second.safetensors"));
        // The fixture has weights in single precision, which are written in half.
        let off = before.0.iter().zip(&first.0).map(|(a, b)| (a - b).abs() / (1.0 + a.abs())).fold(0.0, f32::max);
        assert!(off < 0.01 && first.0 == second.0, "what is not the parser: {off}");
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let (anew, on) = (apart(&before.1, &first.1), apart(&first.1, &second.1));
        assert!(on > 0.0 && on < 0.1 * anew, "the parser: {anew}, then {on}");
        assert_eq!((first.2.as_slice(), second.2.as_slice()), ([24, 8, 8, 10].as_slice(), [24, 8, 8, 10].as_slice()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
