//! How fast it is: `cargo bench`. Each figure is the program's own, run as people run it; those with a bar make the bench
//! fail when they miss it. Machines differ and are busy, so each group ends with ratios of figures from the same run.

mod cluster;
mod figures;
mod program;
mod scale;
mod start;
mod watch;

use std::process::ExitCode;

use figures::Figures;

/// Measures one group.
type Measure = fn(&mut Figures);

fn main() -> ExitCode {
    // `cargo bench -- watch` runs one group. Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let groups: [(&str, Measure); 4] = [
        ("start", start::measure),
        ("scale", scale::measure),
        ("watch", watch::measure),
        ("cluster", cluster::measure),
    ];
    let mut figures = Figures::default();
    for (name, measure) in groups {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("{name}");
            measure(&mut figures);
        }
    }
    if figures.missed().is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("missed: {}", figures.missed().join("; "));
    ExitCode::FAILURE
}
