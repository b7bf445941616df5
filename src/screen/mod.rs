//! What people and other programs see of a run. A screen reads events and nothing else; working code never prints.

pub mod history;
pub mod human;
pub mod json;
pub mod junit;
pub mod paint;
pub mod status;

mod change;
mod words;

#[cfg(test)]
mod sample;

use crate::error::{Class, Error, Result};
use crate::run::event::{Event, Subscriber, What};

/// Hands each event to several subscribers, in the order in which they were added. The journal goes first: a change
/// that it could not note is announced to nobody.
#[derive(Default)]
pub struct Screens {
    subscribers: Vec<Box<dyn Subscriber>>,
}

impl Screens {
    /// Adds a subscriber.
    #[must_use]
    pub fn with(mut self, subscriber: impl Subscriber + 'static) -> Self {
        self.subscribers.push(Box::new(subscriber));
        self
    }
}

impl Subscriber for Screens {
    fn notice(&mut self, event: &Event) -> Result<()> {
        self.notice_all(std::slice::from_ref(event))
    }

    fn notice_all(&mut self, events: &[Event]) -> Result<()> {
        let announces_change = events.iter().any(|event| matches!(event.what, What::ChangeStarted { .. }));
        let mut first = Ok(());
        for subscriber in &mut self.subscribers {
            let noticed = subscriber.notice_all(events);
            if noticed.is_err() && announces_change {
                return noticed;
            }
            // One that fails (a closed pipe) does not keep the others from the end of the story.
            first = first.and(noticed);
        }
        first
    }
}

/// Output that cannot be written.
fn unwritable(error: &std::io::Error) -> Error {
    Error::new(Class::Failed, "output: cannot be written")
        .cause(error)
        .help("what reads it may have ended early; `homelab show` tells the story again")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps the names of what it saw and fails where told to.
    struct Spy {
        seen: Arc<Mutex<Vec<&'static str>>>,
        name: &'static str,
        fails: bool,
    }

    impl Subscriber for Spy {
        fn notice(&mut self, _: &Event) -> Result<()> {
            self.seen.lock().expect("no test panics with it").push(self.name);
            if self.fails { Err(Error::new(Class::Failed, self.name)) } else { Ok(()) }
        }
    }

    fn told(event: &Event) -> (Vec<&'static str>, Option<String>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let spy = |name, fails| Spy { seen: seen.clone(), name, fails };
        let mut screens = Screens::default().with(spy("journal", true)).with(spy("screen", true));
        let error = screens.notice(event).err().map(|error| error.to_string());
        let seen = seen.lock().expect("no test panics with it").clone();
        (seen, error)
    }

    #[test]
    fn a_change_that_the_journal_cannot_note_is_announced_to_nobody() {
        let event = sample::change_started();
        assert_eq!(told(&event), (vec!["journal"], Some("journal".to_owned())));
    }

    #[test]
    fn everybody_hears_the_end_and_the_first_error_is_the_one_reported() {
        let events = sample::real_run();
        let last = events.last().expect("a run has events");
        assert_eq!(told(last), (vec!["journal", "screen"], Some("journal".to_owned())));
    }
}
