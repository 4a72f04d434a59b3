//! Memory that networks have freed, given back to the system. Input and output: none.
//!
//! The one place beside the C interface that is not safe Rust: no safe crate offers the call.
#![allow(unsafe_code)]

/// Gives back what is free of the C library's heap. glibc keeps it by itself while anything that lies above is in use: a stage that needed much
/// would add its peak to that of the next one. Takes milliseconds; does nothing with other C libraries, which have no such call.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc declares it so; it takes any number, may be called by any thread at any time, and touches nothing that is in use.
        let _ = unsafe { malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn free_memory_below_what_is_in_use_goes_back() {
        let resident = || -> usize {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // Small enough for the heap, which would not shrink below the last of them.
        let mut pieces: Vec<Vec<u8>> = (0..4096).map(|i| vec![i as u8; 16 << 10]).collect();
        let last = pieces.pop().unwrap();
        drop(pieces);
        let before = resident();
        give_back();
        let after = resident();
        assert!(after + (32 << 20) < before, "{before} bytes before, {after} after, {} in use", last.len());
    }
}
