//! The initramfs: what modprobe is told counts early in a boot only once it is in there.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::handle::Host;
use super::super::part::Part;
use crate::clients::ssh::{Command, Output};
use crate::error::{Error, Result};
use crate::run::difference::Difference;
use crate::run::ensure::{Changed, Outcome};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// What modprobe was told when an initramfs was last made here.
const STAMP: &str = "/var/lib/homelab/initramfs.applied";

/// All initramfs of a host.
pub struct Initramfs {
    /// Whether something that belongs into it was, or would be, changed just now.
    edited: std::result::Result<AtomicBool, Unknown>,
}

impl Initramfs {
    /// As it is after these changes of what belongs into it.
    pub fn after(outcomes: &[Outcome]) -> Self {
        let maybe: Vec<&Unknown> = outcomes
            .iter()
            .filter_map(|outcome| match &outcome.changed {
                Changed::Maybe(unknown) => Some(unknown),
                _ => None,
            })
            .collect();
        let surely = outcomes.iter().any(|outcome| outcome.changed == Changed::Yes);
        let edited = match surely || maybe.is_empty() {
            true => Ok(AtomicBool::new(surely)),
            false => Err(Unknown::join(maybe)),
        };
        Initramfs { edited }
    }
}

impl Part for Initramfs {
    const KIND: &'static str = "initramfs";

    fn name(&self) -> String {
        "all kernels".to_owned()
    }

    fn cell(&self) -> String {
        "initramfs".to_owned()
    }

    fn question(&self) -> String {
        format!(
            r#"image=/boot/initrd.img-$(uname -r)
now=$(cat /etc/modprobe.d/*.conf 2>/dev/null | sha256sum) && now=${{now%% *}} || exit 1
read -r then < {STAMP} 2>/dev/null || then=none
later=no
for file in /etc/modprobe.d /etc/modprobe.d/*.conf; do
  [ -e "$file" ] && [ "$file" -nt "$image" ] && later=yes
done
[ -e "$image" ] || later=yes
echo "$now $then $later"
"#
        )
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let edited = match &self.edited {
            Err(unknown) => return Ok(State::Unknown(unknown.clone())),
            Ok(edited) => edited.load(Ordering::SeqCst),
        };
        let mut words = answer.split_whitespace();
        let (now, then, later) = (words.next(), words.next(), words.next());
        // One that is younger than everything in it has it, whoever made it.
        let current = !edited && (now.is_some() && now == then || later == Some("no"));
        Ok(State::Here(Value::Map(Map::from([("current".to_owned(), Value::Bool(current))]))))
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(State::Here(Value::Map(Map::from([("current".to_owned(), Value::Bool(true))]))))
    }

    /// For all kernels, and on to the boot partitions, which a hook of the same program does.
    fn command(&self, _: &Difference) -> Result<Command> {
        if let Ok(edited) = &self.edited {
            edited.store(false, Ordering::SeqCst);
        }
        Ok(Command::script(format!(
            "command -v update-initramfs > /dev/null 2>&1 || {{ echo 'update-initramfs: not found' >&2; exit 1; }}\n\
             said=$(update-initramfs -u -k all 2>&1) || {{ printf '%s\\n' \"$said\" >&2; exit 1; }}\n\
             printf '%s\\n' \"$said\"\n\
             now=$(cat /etc/modprobe.d/*.conf 2>/dev/null | sha256sum) || exit 1\n\
             mkdir -p /var/lib/homelab && printf '%s\\n' \"${{now%% *}}\" > {STAMP} || exit 1\n"
        )))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        super::no_room(host, output)
    }
}
