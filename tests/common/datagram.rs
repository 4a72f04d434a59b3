//! Packets of a stream as datagrams.

/// The first record of `bytes`: marker, length of one or two bytes, its check, body, CRC (docs/bitstream.md).
pub fn record(bytes: &[u8]) -> &[u8] {
    let (head, body) = match bytes[1] {
        short @ 0..=0x7f => (3, usize::from(short)),
        low => (4, usize::from(low & 0x7f) + 128 * usize::from(bytes[2])),
    };
    &bytes[..head + body + 4]
}
