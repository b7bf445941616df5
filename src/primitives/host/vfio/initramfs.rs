//! The initramfs: what modprobe is told counts early in a boot only once it is in there.

use super::super::handle::Host;
use super::super::mechanism::part::Part;
use super::made::{Edits, current};
use crate::clients::ssh::{Command, Output};
use crate::error::{Error, Result};
use crate::run::difference::Difference;
use crate::run::ensure::Outcome;
use crate::run::value::State;

/// What modprobe was told when an initramfs was last made here.
const STAMP: &str = "/var/lib/homelab/initramfs.applied";

/// All initramfs of a host.
pub struct Initramfs {
    /// The edits of what belongs into it.
    edits: Edits,
}

impl Initramfs {
    /// As it is after these changes of what belongs into it.
    pub fn after(outcomes: &[Outcome]) -> Self {
        Initramfs { edits: Edits::of(outcomes) }
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
        let mut words = answer.split_whitespace();
        let (now, then, later) = (words.next(), words.next(), words.next());
        // One that is younger than everything in it has it, whoever made it.
        Ok(self.edits.state(now.is_some() && now == then || later == Some("no")))
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(current(true))
    }

    /// For all kernels, and on to the boot partitions, which a hook of the same program does.
    fn command(&self, _: &Difference) -> Result<Command> {
        self.edits.settle();
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
