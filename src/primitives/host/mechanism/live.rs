//! What a command prints while it runs, told line by line where it takes its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::handle::Host;
use crate::clients::ssh::Stream;
use crate::error::{Error, Result};
use crate::run::event::What;
use crate::run::scope;
use crate::run::session::Run;

/// A command that is done sooner is not worth a line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of a line without an end is kept.
const LONGEST_LINE: usize = 4096;

/// Listens to a command.
pub struct Live {
    run: Arc<Run>,
    step: Option<String>,
    host: String,
    began: Instant,
    lines: Vec<String>,
    /// What each of the two streams has begun to say.
    begun: [Vec<u8>; 2],
    failure: Option<Error>,
}

impl Live {
    pub fn start(host: &Host) -> Result<Self> {
        Ok(Live {
            run: scope::run()?,
            step: scope::step(),
            host: host.name().to_owned(),
            began: Instant::now(),
            lines: Vec::new(),
            begun: Default::default(),
            failure: None,
        })
    }

    /// Takes in what was printed.
    pub fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        let begun = &mut self.begun[usize::from(stream == Stream::Stderr)];
        begun.extend_from_slice(bytes);
        while let Some(end) = begun.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let line: Vec<u8> = begun.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !line.is_empty() || self.run.settings.shows_output {
                self.lines.push(line);
            }
        }
        if begun.len() > LONGEST_LINE {
            self.lines.push(String::from_utf8_lossy(&std::mem::take(begun)).into_owned());
        }
        if self.run.settings.shows_output || self.began.elapsed() >= PATIENCE {
            self.tell();
        }
    }

    fn tell(&mut self) {
        for line in std::mem::take(&mut self.lines) {
            let what = What::Output { step: self.step.clone(), host: self.host.clone(), line };
            if let Err(error) = self.run.emit(what) {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// What is left to say is told by the command's result, unless all is shown. An error of a listener ends the run.
    pub fn end(mut self) -> Result<()> {
        if self.run.settings.shows_output {
            let rest = std::mem::take(&mut self.begun).into_iter().filter(|rest| !rest.is_empty());
            self.lines.extend(rest.map(|rest| String::from_utf8_lossy(&rest).into_owned()));
            self.tell();
        }
        self.failure.map_or(Ok(()), Err)
    }
}
