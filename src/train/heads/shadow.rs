//! Cast shadows: how much of the main light reaches every vertex.
//!
//! Input: vertices in camera space and the direction of the light. Output: 1 lit, 0 in shadow. Vertices lie densely
//! enough that points splatted into a coarse depth map, seen from the light, stand for the surface.

use super::math::{cross, dot, normalize, smooth, V3};

/// Cells along each side of the map, and the map's half width in eye distances.
const CELLS: usize = 88;
const REACH: f32 = 2.8;
/// Middle of the map: inside the head.
const MIDDLE: V3 = [0.0, -0.5, -1.0];
/// How much nearer to the light an occluder must be: smaller differences are the surface itself.
const BIAS: f32 = 0.14;

/// Share of direct light at every vertex; `normals` are unit vectors.
pub(super) fn lit_share(placed: &[V3], normals: &[V3], light: V3) -> Vec<f32> {
    let right = normalize(cross([0.0, 1.0, 0.0], light));
    let up = cross(light, right);
    let scale = CELLS as f32 / (2.0 * REACH);
    let spots: Vec<V3> = placed
        .iter()
        .map(|p| {
            let q = [p[0] - MIDDLE[0], p[1] - MIDDLE[1], p[2] - MIDDLE[2]];
            [(dot(q, right) + REACH) * scale, (dot(q, up) + REACH) * scale, dot(q, light)]
        })
        .collect();
    let mut map = vec![f32::MIN; CELLS * CELLS];
    let inside = |v: f32| v >= 1.0 && v < CELLS as f32 - 2.0;
    for s in spots.iter().filter(|s| inside(s[0]) && inside(s[1])) {
        let (x, y) = ((s[0] - 0.5) as usize, (s[1] - 0.5) as usize);
        for at in [y * CELLS + x, y * CELLS + x + 1, (y + 1) * CELLS + x, (y + 1) * CELLS + x + 1] {
            map[at] = map[at].max(s[2]);
        }
    }
    spots
        .iter()
        .zip(normals)
        .map(|(s, n)| {
            if !inside(s[0]) || !inside(s[1]) {
                return 1.0;
            }
            let (x, y) = (s[0] as usize, s[1] as usize);
            // A surface that the light grazes spans much depth within one cell.
            let bias = BIAS + 0.30 * (1.0 - dot(*n, light).clamp(0.0, 1.0));
            let mut dark = 0.0;
            for row in y - 1..=y + 1 {
                for depth in &map[row * CELLS + x - 1..=row * CELLS + x + 1] {
                    dark += smooth(bias, bias + 0.14, depth - s[2]);
                }
            }
            1.0 - dark / 9.0
        })
        .collect()
}
