//! What the light falls on at one place, whatever it belongs to.

use super::label;
use super::light::Gloss;
use super::math::V3;
use super::mesh::Material;

/// Interpolated vertex values at one place of the picture.
pub(super) struct Place {
    pub mat: Material,
    /// Meaning depends on the material: see the part that made it.
    pub uv: [f32; 2],
    /// Camera space.
    pub at: V3,
    pub normal: V3,
    /// Share of the surroundings' light by the part's shape, 0..1.
    pub open: f32,
    /// Noise cells per eye distance that a pixel still shows.
    pub finest: f32,
}

/// Colour and behaviour of a surface.
pub(super) struct Surface {
    /// Linear share of light sent back.
    pub colour: V3,
    pub label: u8,
    pub gloss: Gloss,
    /// Slope of fine relief along the texture coordinates, height in eye distances.
    pub slope: [f32; 2],
    /// Mirrored light that does not depend on the shading, in units of white.
    pub glow: f32,
    /// True where light travels under the surface.
    pub scatter: bool,
}

impl Default for Surface {
    fn default() -> Self {
        Surface {
            colour: [0.5; 3],
            label: label::SKIN,
            gloss: Gloss { strength: 0.0, rough: 0.6 },
            slope: [0.0; 2],
            glow: 0.0,
            scatter: false,
        }
    }
}
