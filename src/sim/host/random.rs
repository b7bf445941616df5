//! Randomness for keys, identifiers and temporary names.

/// Fills a buffer with random bytes.
pub fn fill(buffer: &mut [u8]) {
    let provider = rustls::crypto::ring::default_provider();
    if provider.secure_random.fill(buffer).is_err() {
        // Only identifiers and temporary names of a simulated machine come from here, and those of one machine
        // stay apart by time and position alone.
        let seed = super::fs::now().unsigned_abs();
        for (byte, index) in buffer.iter_mut().zip(seed..) {
            *byte = (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8;
        }
    }
}

/// `count` random hexadecimal digits.
pub fn hex(count: usize) -> String {
    let mut bytes = vec![0; count.div_ceil(2)];
    fill(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text[..count].to_owned()
}

/// A random UUID of version 4.
pub fn uuid() -> String {
    let text = hex(32);
    let variant = ["8", "9", "a", "b"][usize::from(text.as_bytes()[16] & 3)];
    format!("{}-{}-4{}-{variant}{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

/// Random letters and digits, as `mktemp` fills in for its `X`s.
pub fn letters(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = vec![0; count];
    fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
