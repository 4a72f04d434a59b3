//! StyleFlow: the solvers against the exact solution and against the published solver's results, and the posing of latents.

use crate::fixture::{of_kind, shape, Comparison, Fixture};
use effigy::decode::{GridOptions, PosedGrid};
use effigy::net::ops::from_vec;
use effigy::net::styleflow::{Direction, Solver, StyleFlow, StyleFlowConfig};
use effigy::net::PoseFlow;
use effigy::pack::fixture::rule;
use effigy::params::FrameParams;
use std::time::Instant;
use tch::{no_grad, Device, Kind, Tensor};

/// What the exact outputs of the fixtures were made with.
const EXACT: Solver = Solver::Dopri5 { tolerance: 1e-10 };
/// The fixed steps that the fixtures give a tolerance for.
const FIXED: Solver = Solver::Rk4 { steps: 16 };
const FIXED_FIELD: &str = "suggested_atol_fixed_step_rk4_16";

fn network(fixture: &Fixture) -> StyleFlow {
    let dims = fixture.arguments()["dims"].as_str().unwrap().split('-').map(|d| d.parse().unwrap()).collect();
    let number = |key: &str| fixture.argument(key);
    let config = StyleFlowConfig { input_dim: number("input_dim"), dims, zdim: number("zdim"), num_blocks: number("num_blocks") };
    fixture.check_tensors(&config.tensors(), |_| false);
    StyleFlow::new(config, fixture.weights()).unwrap()
}

/// One journey through the flow: all outputs named `name`.
struct Journey<'a> {
    name: &'a str,
    start: &'a Tensor,
    attributes: &'a Tensor,
    way: Direction,
}

/// Compares the exact solver with the exact and the published outputs and fixed steps with the exact one; returns the exact end.
fn check_journey(fixture: &Fixture, comparison: &mut Comparison, flow: &StyleFlow, journey: Journey) -> Tensor {
    let Journey { name, start, attributes, way } = journey;
    let probe = fixture.input("input.hutchinson_e");
    let (end, density) = flow.run_with_density(start, attributes, &probe, way, EXACT).unwrap();
    let alone = flow.run(start, attributes, way, EXACT).unwrap();
    let apart = (&alone - &end).abs().max().double_value(&[]);
    assert!(apart < 1e-7, "{name}: the density changes the solution by {apart:.1e}");
    // The tighter of the two tolerances, where the manifest has it.
    comparison.check_within(&format!("{name}.exact"), &end, FIXED_FIELD);
    let fixed = flow.run(start, attributes, way, FIXED).unwrap();
    println!("  fixed steps:");
    comparison.check_within(&format!("{name}.exact"), &fixed, FIXED_FIELD);
    for output in fixture.outputs() {
        let key = output["name"].as_str().unwrap();
        match key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
            Some(rest) if rest.starts_with("td") => comparison.check(key, &end),
            Some(rest) if rest.starts_with("logp.") => comparison.check(key, &density),
            _ => {}
        }
    }
    end
}

/// W+ rows that an edit changes, from the manifest's tables.
fn changed_rows(fixture: &Fixture, edit: &str) -> Vec<i64> {
    let attributes = fixture.manifest["attributes"].as_array().unwrap();
    let named = attributes.iter().find(|a| a["name"].as_str().unwrap().eq_ignore_ascii_case(edit));
    shape(&named.unwrap_or(&fixture.manifest["lighting"])["changed_rows"])
}

/// `edited` on the rows of the edit, `original` elsewhere.
fn applied(fixture: &Fixture, edit: &str, original: &Tensor, edited: &Tensor) -> Tensor {
    let rows = changed_rows(fixture, edit);
    let pick =
        |row: i64| if rows.contains(&row) { edited.select(1, row) } else { original.select(1, row).to_kind(edited.kind()) };
    Tensor::stack(&(0..original.size()[1]).map(pick).collect::<Vec<_>>(), 1)
}

fn check_parts(fixture: &Fixture, comparison: &mut Comparison, flow: &StyleFlow, w: &Tensor, source: &Tensor) {
    let probe = fixture.input("input.hutchinson_e");
    for output in fixture.outputs() {
        let key = output["name"].as_str().unwrap();
        let Some(time) = key.strip_prefix("ode.dy_t") else { continue };
        let (x, slope, density) = flow.taps(w, source, &probe, time.parse().unwrap()).unwrap();
        comparison.check("bn0.forward", &x);
        comparison.check(key, &slope);
        comparison.check(&format!("ode.dlogp_t{time}"), &density);
    }
}

fn check_styleflow(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let flow = network(fixture);
    let w = fixture.input("input.w_plus");
    let attributes = |name: &str| fixture.input(&format!("input.context_{name}")).flatten(1, -1);
    let source = attributes("source");
    check_parts(fixture, &mut comparison, &flow, &w, &source);
    let mut go = |name: &str, start: &Tensor, attributes: &Tensor, way: Direction| {
        check_journey(fixture, &mut comparison, &flow, Journey { name, start, attributes, way })
    };
    let z = go("z", &w, &source, Direction::Forward);
    let _ = go("cycle", &z, &source, Direction::Reverse);
    let mut results = Vec::new();
    for edit in ["yaw", "pitch", "light"].into_iter().filter(|e| fixture.has_output(&format!("edit.{e}.exact"))) {
        let edited = go(&format!("edit.{edit}"), &z, &attributes(edit), Direction::Reverse);
        results.push((edit, applied(fixture, edit, &w, &edited)));
    }
    if fixture.has_output("z2.exact") {
        let (_, turned) = results.iter().find(|(edit, _)| *edit == "yaw").unwrap();
        let _ = go("z2", turned, &attributes("yaw"), Direction::Forward);
    }
    for (edit, result) in &results {
        comparison.check_within(&format!("applied.{edit}.exact"), result, FIXED_FIELD);
    }
    comparison.finish(&[]);
}

#[test]
fn styleflow_matches_the_reference() {
    no_grad(|| of_kind("styleflow", |_| true).iter().for_each(check_styleflow));
}

/// The published shape with weights as the fixtures have them, two flows in a row if asked for.
fn by_rule(num_blocks: i64) -> StyleFlow {
    let config = StyleFlowConfig { num_blocks, ..StyleFlowConfig::default() };
    let mut weights = effigy::net::Weights::new();
    for (name, dims) in config.tensors() {
        // Spread and mean of the fixtures' tensors; 0.088 = sqrt(4 / 512).
        let (scale, offset) = match name.rsplit('.').next().unwrap() {
            "weight" if name.contains("._layer.") => ((4.0 / dims[1] as f64).sqrt(), 0.0),
            "weight" if name.contains("._hyper_") => (0.02, 0.0),
            "running_var" => (0.2, 1.0),
            "sqrt_end_time" => (0.05, 1.0),
            _ => (0.1, 0.0),
        };
        let count = dims.iter().product::<i64>() as usize;
        weights
            .insert(name.clone(), from_vec(&rule(&format!("seed0/{name}"), count, scale, offset), &dims, Device::Cpu).unwrap());
    }
    StyleFlow::new(config, weights).unwrap()
}

fn latents(batch: i64, rows: i64) -> Tensor {
    from_vec(&rule("posed/w", (batch * rows * 512) as usize, 1.0, 0.0), &[batch, rows, 512], Device::Cpu).unwrap()
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn several_flows_in_a_row_run_back_to_where_they_began() {
    let flow = by_rule(2);
    let w = latents(1, 4);
    let attributes = from_vec(&rule("posed/attributes", 17, 1.0, 0.0), &[1, 17], Device::Cpu).unwrap();
    no_grad(|| {
        let z = flow.run(&w, &attributes, Direction::Forward, EXACT).unwrap();
        assert!(far(&z, &w) > 0.5, "the flow hardly moves");
        let back = flow.run(&z, &attributes, Direction::Reverse, EXACT).unwrap();
        assert!(far(&back, &w.to_kind(Kind::Double)) < 1e-7);
    });
}

#[test]
fn zero_angles_pose_nothing_and_rows_from_the_fifth_on_stay() {
    let flow = by_rule(1);
    let w = latents(1, 10);
    let angles = Tensor::from_slice(&[0f32, 0.0, 15.0, -10.0]).view([2, 2]);
    let posed = no_grad(|| flow.posed(&w, &angles)).unwrap();
    assert_eq!(posed.size(), [2, 10, 512]);
    assert!(far(&posed.narrow(0, 0, 1), &w) < 5e-6, "zero angles move by {:.1e}", far(&posed.narrow(0, 0, 1), &w));
    assert_eq!(far(&posed.narrow(1, 4, 6), &w.narrow(1, 4, 6)), 0.0);
    let moved = posed.get(1) - w.get(0);
    for row in 0..4 {
        assert!(moved.get(row).abs().max().double_value(&[]) > 0.1, "row {row} does not move");
    }
    // A latent per pose gives what one latent for all gives.
    let wide = no_grad(|| flow.posed(&w.repeat([2, 1, 1]), &angles)).unwrap();
    assert!(far(&wide, &posed) < 5e-6);
}

#[test]
fn gradients_of_posed_latents_agree_with_differences() {
    let flow = by_rule(1);
    let w = latents(1, 5).set_requires_grad(true);
    let angles = Tensor::from_slice(&[8f32, -5.0]).view([1, 2]).set_requires_grad(true);
    let weights = from_vec(&rule("posed/loss", 5 * 512, 1.0, 0.0), &[1, 5, 512], Device::Cpu).unwrap();
    let loss =
        |w: &Tensor, angles: &Tensor, solver: Solver| (flow.posed_by(w, angles, solver).unwrap() * &weights).sum(Kind::Double);
    loss(&w, &angles, Solver::Rk4 { steps: 8 }).backward();
    let exact = |w: &Tensor, angles: &Tensor| no_grad(|| loss(w, angles, EXACT)).double_value(&[]);
    for axis in 0..2 {
        let step = |size: f32| {
            let mut by = [0f32; 2];
            by[axis] = size;
            exact(&w.detach(), &(angles.detach() + Tensor::from_slice(&by)))
        };
        // Half a degree each way: the loss is smooth, rounding of the posed latents is 1e-7 of 2560 terms.
        let (analytic, numeric) = (angles.grad().double_value(&[0, axis as i64]), step(0.5) - step(-0.5));
        assert!((analytic - numeric).abs() < 0.01 * numeric.abs().max(0.1), "axis {axis}: {analytic:.4} and {numeric:.4}");
    }
    let direction = from_vec(&rule("posed/direction", 5 * 512, 1.0, 0.0), &[1, 5, 512], Device::Cpu).unwrap();
    let step = |size: f64| exact(&(w.detach() + &direction * size), &angles.detach());
    let analytic = (w.grad() * &direction).sum(Kind::Double).double_value(&[]);
    let numeric = (step(0.01) - step(-0.01)) / 0.02;
    assert!((analytic - numeric).abs() < 0.01 * numeric.abs().max(1.0), "along a direction: {analytic:.4} and {numeric:.4}");
}

#[test]
fn the_fast_solver_poses_within_a_thousandth_of_the_exact_one() {
    let flow = by_rule(1);
    let w = latents(1, 4);
    let angles = Tensor::from_slice(&[-20f32, -20.0, 20.0, -20.0, -20.0, 20.0, 20.0, 20.0]).view([4, 2]);
    no_grad(|| {
        let exact = flow.posed_by(&w, &angles, EXACT).unwrap();
        let moved = far(&exact, &w);
        let off = far(&flow.posed(&w, &angles).unwrap(), &exact);
        assert!(off < 1e-3 * moved, "off by {off:.1e} where the pose moves by {moved:.1e}");
    });
}

#[test]
fn the_decoders_grid_follows_the_exact_flow_between_its_nodes() {
    let w = latents(1, 18);
    let mut grid = PosedGrid::new(PoseFlow::Style(by_rule(1)), w.shallow_clone(), &GridOptions::default()).unwrap();
    // Off the nodes, which lie 2.5 degrees apart, all over what StyleFlow was made for.
    let at = |i: i32, k: i32| -20.0 + 40.0 * ((i * k % 16) as f32 + 0.37) / 16.0;
    let poses: Vec<FrameParams> =
        (0..16).map(|i| FrameParams { yaw: at(i, 1), pitch: at(i, 7), ..FrameParams::default() }).collect();
    let angles: Vec<f32> = poses.iter().flat_map(|p| [p.yaw, p.pitch]).collect();
    let angles = Tensor::from_slice(&angles).view([16, 2]);
    let exact = no_grad(|| by_rule(1).posed_by(&w, &angles, EXACT)).unwrap().narrow(1, 0, 4);
    let (off, moved) = (far(&grid.rows(&poses).unwrap(), &exact), far(&exact, &w.narrow(1, 0, 4)));
    println!("grid of 2.5 degrees: worst error {off:.1e}, largest move {moved:.2}");
    assert!(off < 1e-3 * moved, "off by {off:.1e} where the pose moves by {moved:.2}");
}

#[test]
#[ignore = "prints figures: errors and times of the fixed-step solver"]
fn figures_of_fixed_steps() {
    let flow = by_rule(1);
    let w = latents(1, 18);
    let grid: Vec<f32> = (0..16).flat_map(|i| [(i % 4) as f32 * 40.0 / 3.0 - 20.0, (i / 4) as f32 * 40.0 / 3.0 - 20.0]).collect();
    let angles = Tensor::from_slice(&grid).view([16, 2]);
    let timed = |solver: Solver| {
        let run = || no_grad(|| flow.posed_by(&w, &angles, solver)).unwrap();
        let posed = run();
        let start = Instant::now();
        let _ = run();
        (posed, start.elapsed().as_secs_f64())
    };
    let (exact, seconds) = timed(EXACT);
    let size = exact.narrow(1, 0, 4).abs().max().double_value(&[]);
    println!("exact: {seconds:.3} s for 16 poses; largest value {size:.2}, largest move {:.2}", far(&exact, &w));
    for steps in [1, 2, 4, 8, 16] {
        let (posed, seconds) = timed(Solver::Rk4 { steps });
        let off = far(&posed, &exact);
        println!("{steps:>2} steps: {seconds:.3} s, error {off:.1e}, relative to the move {:.1e}", off / far(&exact, &w));
        assert!(off < 0.1 * size, "{steps} steps are off by {off:.1e}");
    }
}
