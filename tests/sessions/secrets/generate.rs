//! Random secrets, the same ones for the same seed.

/// A small generator of random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }
}

const WORD: &str = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
// Nothing of homelab's own looks like these, so that what is found is no coincidence.
const SIGNS: &str = "~^#!@*;";

/// So many secrets of all kinds.
pub fn secrets(random: &mut Random, count: usize) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::with_capacity(count);
    for index in 0..count {
        let secret = one(random, index, secrets.last());
        secrets.push(secret);
    }
    secrets
}

fn one(random: &mut Random, kind: usize, last: Option<&String>) -> String {
    let length = 8 + random.below(24);
    let (few, many) = (random.below(6), random.below(400));
    match kind % 12 {
        0 => [random.text(SIGNS, 2), random.text(WORD, 1), random.text(SIGNS, 1 + few % 2)].concat(),
        1 => random.text(WORD, length),
        // The one before begins it.
        2 => [last.cloned().unwrap_or_default(), random.text(WORD, 6)].concat(),
        3 => random.text(WORD, 200 + many),
        4 => random.text(&format!("{WORD}\"'`\\${{}}"), length),
        5 => (0..3).map(|_| random.text(WORD, 9 + length) + "\n").collect(),
        6 => random.text("äöüßéñçøΩжあ漢字🔑🦀e\u{301}z", 6 + few),
        7 => random.text(&format!("{WORD}%/+&=?#:@ "), 10 + length),
        8 => format!("-----BEGIN KEY-----\n{}\n{}\n-----END KEY-----\n", random.text(WORD, 64), random.text(WORD, 40)),
        9 => random.text("0123456789", 12 + few),
        10 => format!("  {} <&> {}\t", random.text(WORD, 6), random.text(WORD, 6)),
        _ => format!("{{\"user\": \"{}\", \"pass\": \"{}\"}}", random.text(WORD, 12), random.text(SIGNS, 12)),
    }
}
