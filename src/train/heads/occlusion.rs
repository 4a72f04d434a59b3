//! Light that does not get into hollows: from the depths of the picture.
//!
//! Input: depth per pixel and pixels per eye distance. Output: share of the surroundings' light per pixel, 0..1.
//! A place is hollow where the mean depth of two opposite neighbours lies nearer to the viewer than the place itself; a slope
//! cancels out. Three distances: pores of features, sockets and sides of the nose, neck under the chin.

/// Distances of the neighbours in eye distances, and how much each counts.
const RINGS: [(f32, f32); 3] = [(0.045, 0.9), (0.13, 0.9), (0.34, 0.65)];
/// Directions to one of two opposite neighbours.
const DIRECTIONS: [(f32, f32); 4] = [(1.0, 0.0), (0.71, 0.71), (0.0, 1.0), (-0.71, 0.71)];

/// Depths of background pixels.
pub(super) const FAR: f32 = f32::MIN;

/// Openness of every pixel.
pub(super) fn openness(depth: &[f32], width: usize, height: usize, unit: f32) -> Vec<f32> {
    let mut out = vec![1.0; depth.len()];
    let steps: Vec<(i32, i32, f32, f32)> = RINGS
        .iter()
        .flat_map(|(r, k)| {
            DIRECTIONS.iter().map(move |(x, y)| {
                let px = (r * unit).max(1.0);
                ((x * px).round() as i32, (y * px).round() as i32, *r, *k / DIRECTIONS.len() as f32)
            })
        })
        .collect();
    for y in 0..height as i32 {
        for x in 0..width as i32 {
            let at = y as usize * width + x as usize;
            let z = depth[at];
            if z == FAR {
                continue;
            }
            let rise = |dx: i32, dy: i32, reach: f32| {
                let (px, py) = ((x + dx).clamp(0, width as i32 - 1), (y + dy).clamp(0, height as i32 - 1));
                let d = depth[py as usize * width + px as usize];
                if d == FAR {
                    -reach
                } else {
                    (d - z).clamp(-2.0 * reach, 2.0 * reach)
                }
            };
            let mut hidden = 0.0;
            for &(dx, dy, r, k) in &steps {
                let hollow = 0.5 * (rise(dx, dy, r) + rise(-dx, -dy, r)) / r;
                hidden += k * (hollow - 0.03).max(0.0);
            }
            out[at] = 1.0 / (1.0 + 1.5 * hidden);
        }
    }
    out
}
