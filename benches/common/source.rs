//! A stream that carries its identity, whole in memory.

use std::path::Path;

use effigy::bitstream::{FrameRecord, Identity, ResidualRecord, StreamHeader, StreamReader};
use effigy::{Error, Result};

/// All of a stream.
pub struct Source {
    pub header: StreamHeader,
    pub identity: Identity,
    /// The identity as the stream has it.
    // Reason for the allowance: not every benchmark sends it on.
    #[allow(dead_code)]
    pub identity_bytes: Vec<u8>,
    pub records: Vec<FrameRecord>,
    /// What the numbers miss.
    #[allow(dead_code)]
    pub residuals: Vec<ResidualRecord>,
}

impl Source {
    pub fn read(stream: &Path) -> Result<Source> {
        let file = std::fs::File::open(stream).map_err(|e| Error::io("open", stream, e))?;
        let mut reader = StreamReader::open(std::io::BufReader::new(file))?;
        let apart = || Error::Misuse(format!("{}: its identity travels apart; encode without --detached", stream.display()));
        let identity_bytes = reader.identity().bytes.clone().ok_or_else(apart)?;
        let (mut records, mut residuals) = (Vec::new(), Vec::new());
        while let Some(packet) = reader.next_packet()? {
            records.extend(packet.frames);
            residuals.extend(packet.residuals);
        }
        let identity = Identity::from_bytes(&identity_bytes)?;
        Ok(Source { header: reader.header().clone(), identity, identity_bytes, records, residuals })
    }
}
