//! What several tests of streams share: random headers, frames and identities, and the examples of the format text.
// Reason: each test program compiles this file and uses its part of it.
#![allow(dead_code)]

use effigy::bitstream::quant::{f16_to_f32, f32_to_f16};
use effigy::bitstream::*;
use effigy::frame::TimeBase;
use effigy::params::{FrameParams, Placement, WPlus, PARAMS};

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn text(&mut self, most: u64) -> String {
        (0..self.below(most)).map(|_| ['a', 'Z', '0', ' ', 'é', '漢', '😀'][self.below(7) as usize]).collect()
    }

    pub fn header(&mut self) -> StreamHeader {
        StreamHeader {
            pack: std::array::from_fn(|_| self.next() as u8),
            resolution: 1 + self.below(1024) as u32,
            time_base: TimeBase { num: 1 + self.below(2000) as u32, den: 1 + self.below(90_000) as u32 },
            start_pts: self.next() as i64 >> (4 + self.below(60)),
            frame_ticks: self.below(5000) as u32,
            camera_width: 1 + self.below(16_384) as u32,
            camera_height: 1 + self.below(16_384) as u32,
            coding: Coding::Raw16,
            placement: self.below(2) == 1,
            synthetic: self.below(2) == 1,
            quantiser: Vec::new(),
            starts: Vec::new(),
            metadata: (0..self.below(5)).map(|_| (self.text(12), self.text(40))).collect(),
        }
    }

    /// `count` frames with rising, irregular time stamps, already rounded to what the wire holds.
    pub fn frames(&mut self, header: &StreamHeader, count: u64) -> Vec<FrameRecord> {
        // Time for every frame is left between the start and the largest time stamp.
        let mut pts = header.start_pts.min(MAX_PTS - 1_000_000) + self.below(100) as i64;
        (0..count)
            .map(|_| {
                pts += 1 + self.below(2 * u64::from(header.frame_ticks) + 1) as i64;
                let mut place = || self.below(1 << 20) as f32 / 64.0;
                let placement = Placement { x: place(), y: -place(), side: place() + 1.0 };
                let scale = 10f32.powi(self.below(9) as i32 - 4);
                let values: [f32; PARAMS] = std::array::from_fn(|_| self.unit() * scale);
                let params = raw16_round(&FrameParams::from_array(&values)).unwrap();
                FrameRecord { pts, params, placement: header.placement.then_some(placement) }
            })
            .collect()
    }

    /// Parameters as f16 holds them.
    pub fn anchor(&mut self) -> FrameParams {
        FrameParams::from_array(&std::array::from_fn(|_| f16_to_f32(f32_to_f16(self.unit() * 30.0))))
    }

    pub fn identity(&mut self, rows: usize, dim: usize) -> Identity {
        let shapes: [&[usize]; 5] = [&[6, 4, 3, 3], &[5], &[1, 7], &[3, 1, 2], &[2, 2, 2, 2, 2]];
        let rules = [StepRule::Fixed(0.01), StepRule::Tensor(0.5), StepRule::Channel(0.3)];
        let tuned = (0..self.below(6))
            .map(|i| {
                let shape = shapes[self.below(5) as usize];
                let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.unit().powi(5) * 4.0).collect();
                TunedTensor::quantise(&format!("layer.{i}"), shape, &values, rules[self.below(3) as usize]).unwrap()
            })
            .collect();
        let scale = 2f32.powi(self.below(40) as i32 - 20);
        Identity {
            pack: std::array::from_fn(|_| self.next() as u8),
            name: self.text(60),
            resolution: 1 << self.below(11),
            latent: WPlus { rows, dim, data: (0..rows * dim).map(|_| self.unit() * scale).collect() },
            tuned,
            sensitivity: std::array::from_fn(|_| self.unit().abs()),
            rest: FrameParams::from_array(&std::array::from_fn(|_| self.unit() * 5.0)),
            anchors: (0..self.below(4)).map(|_| self.anchor()).collect(),
            thumbnail: (self.below(2) == 1).then(|| (0..1 + self.below(50)).map(|_| self.next() as u8).collect()),
            metadata: (0..self.below(4)).map(|_| (self.text(8), self.text(30))).collect(),
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of an example in the format text, as hex digits. Its lines are: offset, colon, bytes, and a remark behind two
/// blanks; `00*32` stands for 32 times 00.
pub fn example(name: &str) -> String {
    let text = include_str!("../../docs/bitstream.md");
    let block = text.split(&format!("<!-- example: {name} -->")).nth(1).and_then(|t| t.split("```").nth(1));
    let lines = block.expect("the text has the example").lines().filter_map(|line| line.split_once(": "));
    let words = lines.flat_map(|(_, line)| line.split("  ").next().unwrap_or_default().split_whitespace());
    words
        .map(|word| match word.split_once('*') {
            Some((byte, times)) => byte.repeat(times.parse().expect("a count")),
            None => word.to_string(),
        })
        .collect()
}
