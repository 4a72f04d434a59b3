//! Renders of one person with the numbers behind them: where a search that is lost may begin anew (`newton`). `start` makes it.

use super::newton::{small, Aim, SIDE};
use crate::error::Result;
use crate::net::ops::Calc;
use tch::{Kind, Tensor};

/// Side of the pictures of an [`Album`].
pub(super) const ALBUM_SIDE: i64 = 32;

/// Rows of numbers and how one person looks there: where a search that is lost may begin anew.
#[derive(Debug)]
pub(super) struct Album {
    /// `[n, 34]`.
    pub rows: Tensor,
    /// `[n, P]` of [`ALBUM_SIDE`].
    pub pictures: Tensor,
    squares: Tensor,
}

impl Album {
    /// Of rows `[n, 34]` and the pages of their pictures.
    pub(super) fn new(rows: Tensor, pages: &[Tensor]) -> Result<Album> {
        let pictures = Tensor::f_cat(pages, 0)?;
        Ok(Album { rows, squares: pictures.f_square()?, pictures })
    }

    /// A page: pictures `[b, 3, R, R]` as they are kept.
    pub(super) fn page(images: &Tensor) -> Result<Tensor> {
        coarse(&small(images)?)
    }

    /// The same, which shares its memory.
    pub(super) fn again(&self) -> Album {
        let Album { rows, pictures, squares } = self;
        Album { rows: rows.shallow_clone(), pictures: pictures.shallow_clone(), squares: squares.shallow_clone() }
    }

    /// [`Aim::error`] of all pictures, `[n]`, for an aim at their side: two products, which take a fifth of the time that differences would.
    pub(super) fn errors(&self, Aim { picture, weights }: &Aim) -> Result<Tensor> {
        let weighed = picture.times(weights)?;
        let constant = weighed.times(picture)?.f_sum(Kind::Float)?;
        let (squares, products) = (self.squares.f_mv(&weights.f_view([-1])?)?, self.pictures.f_mv(&weighed.f_view([-1])?)?);
        let sums = squares.minus(&products.scale(2.0)?)?.plus(&constant)?;
        Ok(sums.scale(1.0 / picture.numel() as f64)?.f_clamp_min(0.0)?)
    }
}

/// Rows `[B, P]` of [`SIDE`] at [`ALBUM_SIDE`].
pub(super) fn coarse(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.f_view([-1, 3, SIDE, SIDE])?.f_adaptive_avg_pool2d([ALBUM_SIDE; 2])?.f_flatten(1, -1)?)
}
