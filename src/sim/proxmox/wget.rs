//! How wget tells of a download: a node's log shows its words.

/// How many bytes come in a second.
pub(super) const RATE: u64 = 110_100_480;

/// A time as logs have it.
pub(super) fn stamp(at: u64) -> String {
    let when = i64::try_from(at / 1000).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    when.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A length as wget repeats it for people.
pub(super) fn rounded(length: u64) -> String {
    let mut size = length as f64;
    let mut unit = "";
    for next in ["K", "M", "G"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    match unit {
        "" => String::new(),
        _ if size < 10.0 => format!(" ({size:.1}{unit})"),
        _ => format!(" ({size:.0}{unit})"),
    }
}

/// The rows of dots, one for a megabyte.
pub(super) fn progress(length: u64) -> Vec<String> {
    const ROW: u64 = 32 << 20;
    let rows = length.div_ceil(ROW).max(1);
    let row = |index: u64| {
        let here = (length - index * ROW).min(ROW);
        let mut dots = String::new();
        for dot in 0..32 {
            if dot % 8 == 0 {
                dots.push(' ');
            }
            dots.push(if dot < here >> 20 { '.' } else { ' ' });
        }
        let done = ((index + 1) * ROW).min(length) * 100 / length.max(1);
        let left = (length - ((index + 1) * ROW).min(length)) / RATE;
        let end = if index + 1 == rows { format!("={}s", seconds(length)) } else { format!(" {left}s") };
        format!("{:>6}K{dots}{done:>3}%  105M{end}", index * (ROW >> 10))
    };
    (0..rows).map(row).collect()
}

/// How long a file of this length took, in as many digits as tell something.
fn seconds(length: u64) -> String {
    let seconds = length as f64 / RATE as f64;
    match seconds {
        _ if seconds < 0.01 => "0".into(),
        _ if seconds < 0.95 => format!("{seconds:.2}"),
        _ if seconds < 9.95 => format!("{seconds:.1}"),
        _ => format!("{seconds:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_row_of_dots_for_every_32_megabytes() {
        assert_eq!(progress(196_664), [format!("     0K{}100%  105M=0s", " ".repeat(36))]);
        let rows = progress(40 << 20);
        assert_eq!(rows.len(), 2);
        assert!(rows[0].starts_with("     0K ........ ........ ........ ........ 80%  105M"), "{}", rows[0]);
        assert!(rows[1].starts_with(" 32768K ........ "), "{}", rows[1]);
    }

    #[test]
    fn lengths_are_rounded_for_people() {
        assert_eq!(rounded(35), "");
        assert_eq!(rounded(196_664), " (192K)");
        assert_eq!(rounded(5 << 20), " (5.0M)");
        assert_eq!(rounded(600 << 20), " (600M)");
    }
}
