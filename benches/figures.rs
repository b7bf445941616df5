//! Figures, as they are printed and judged.

use std::time::Duration;

/// What was measured so far.
#[derive(Default)]
pub struct Figures {
    missed: Vec<String>,
}

/// Several measurements of one thing.
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Measures something so many times, after once for warming up.
    pub fn of(times: usize, mut measure: impl FnMut() -> Duration) -> Self {
        measure();
        Sample::from((0..times).map(|_| measure()).collect::<Vec<_>>())
    }

    /// The middle one.
    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }
}

impl From<Vec<Duration>> for Sample {
    fn from(mut measured: Vec<Duration>) -> Self {
        assert!(!measured.is_empty(), "nothing was measured");
        measured.sort();
        Sample(measured)
    }
}

impl Figures {
    /// Prints a figure. Where there is a bar, the median must be below it.
    pub fn report(&mut self, what: &str, sample: &Sample, bar: Option<Duration>) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let (least, most) = (sample.0[0], sample.0[sample.0.len() - 1]);
        let mut line = format!(
            "  {what:<62} median {:>8.1} ms  (min {:.1}, max {:.1}, n {})",
            ms(sample.median()),
            ms(least),
            ms(most),
            sample.0.len()
        );
        if let Some(bar) = bar {
            let holds = sample.median() < bar;
            line.push_str(&format!("  bar {:.0} ms: {}", ms(bar), if holds { "holds" } else { "MISSED" }));
            if !holds {
                self.missed.push(what.to_owned());
            }
        }
        println!("{line}");
    }

    /// Prints how one figure stands to another of the same run.
    pub fn ratio(&self, what: &str, one: &Sample, other: &Sample) {
        println!("  {what:<62} {:.2}", one.median().as_secs_f64() / other.median().as_secs_f64());
    }

    /// Prints how one figure stands to another of the same run, which must not be above its bar.
    pub fn share(&mut self, what: &str, one: &Sample, other: &Sample, bar: f64) {
        let share = one.median().as_secs_f64() / other.median().as_secs_f64();
        let holds = share <= bar;
        println!("  {what:<62} {share:.2}  bar {bar}: {}", if holds { "holds" } else { "MISSED" });
        if !holds {
            self.missed.push(what.to_owned());
        }
    }

    /// Prints a count, which must not be above its bar.
    pub fn count(&mut self, what: &str, count: usize, bar: usize) {
        let holds = count <= bar;
        println!("  {what:<62} {count}  bar {bar}: {}", if holds { "holds" } else { "MISSED" });
        if !holds {
            self.missed.push(what.to_owned());
        }
    }

    /// What missed its bar.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }
}
