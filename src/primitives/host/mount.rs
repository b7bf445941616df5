//! File systems of a host: mounted now, and by a boot.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::directory::{Directory, DirectoryOptions};
use super::handle::Host;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::part::{Part, Placed};
use super::mechanism::probe;
use super::mechanism::text::Lines;
use crate::clients::ssh::{Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A file system as it should be, now and after a boot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountOptions {
    /// Where it is mounted: a folder, absolute, which is made where it is missing.
    pub path: String,
    /// What is mounted: `"nas:/export"`, `"UUID=…"`, `"/dev/sdb1"`, `"tmpfs"`. Default: none, which `absent` needs.
    #[serde(default)]
    pub src: Option<String>,
    /// Its type: `"nfs"`, `"ext4"`, `"tmpfs"`. Default: none, which `absent` needs.
    #[serde(default)]
    pub fstype: Option<String>,
    /// Its options, as `/etc/fstab` has them. Of those that are changed, `ro`, `nosuid`, `nodev`, `noexec` and `noatime`
    /// take effect at once, others when it is mounted the next time. Default: `"defaults"`.
    #[serde(default)]
    pub opts: Option<String>,
    /// Whether `dump` saves it. Default: 0.
    #[serde(default)]
    pub dump: u8,
    /// In which pass a boot checks it; 0 for never. Default: 0.
    #[serde(default)]
    pub passno: u8,
    /// Whether it is mounted now. Without it only `/etc/fstab` is written. Default: true.
    #[serde(default = "yes")]
    pub mounted: bool,
    /// Whether it should neither be mounted nor listed. The folder stays. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn yes() -> bool {
    true
}

/// What is wanted.
#[derive(Clone)]
struct Wanted {
    src: String,
    fstype: String,
    opts: String,
    numbers: (u8, u8),
}

/// What the kernel has mounted at a path.
struct Live {
    path: String,
    wanted: Option<Wanted>,
}

/// Options of every file system that take effect when it is remounted.
const FLAGS: [&str; 4] = ["nosuid", "nodev", "noexec", "noatime"];

/// Brings a file system to its wanted state.
pub(super) fn mount(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: MountOptions = options(call, "mount", map)?;
    all(host, options).map_err(fail)
}

fn all(host: &Host, options: MountOptions) -> Result<ScriptMap> {
    let path = probe::normal_path("path", &options.path)?;
    let wanted = wanted(&options)?;
    let become_ = options.become_;
    let table = listed(host, &path, wanted.clone(), become_.clone())?;
    let live = Placed::new(host, become_.as_ref(), Live { path: path.clone(), wanted: wanted.clone() });
    match wanted {
        // What is still mounted must not vanish from the table.
        None => {
            let live = ensure(&Arc::new(live))?;
            Ok(outcome::together(live, [table.ensure()?]))
        }
        Some(_) if !options.mounted => table.ensure_for_script(),
        Some(_) => {
            let folder = DirectoryOptions {
                path,
                mode: None,
                owner: None,
                group: None,
                parents: false,
                absent: false,
                allow_destroy: false,
                become_,
            };
            let folder = ensure(&Arc::new(Directory::new(host, folder)?))?;
            let table = table.ensure()?;
            Ok(outcome::together(ensure(&Arc::new(live))?, [folder, table]))
        }
    }
}

fn wanted(options: &MountOptions) -> Result<Option<Wanted>> {
    let refuse = |what: String, help: &str| Err(Error::new(Class::Script, format!("`mount`: {what}")).help(help));
    match (&options.src, &options.fstype, options.absent) {
        (None, None, true) => Ok(None),
        (_, _, true) => refuse("what is absent has no `src` and no `fstype`".to_owned(), "leave them out"),
        (Some(src), Some(fstype), false) => {
            let opts = options.opts.clone().unwrap_or_else(|| "defaults".to_owned());
            let words = [("src", src), ("fstype", fstype), ("opts", &opts)];
            let spaced = |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '\0');
            if let Some((name, text)) = words.iter().find(|(_, text)| spaced(text)) {
                return refuse(
                    format!("option `{name}`: {text:?} is not one word"),
                    "options are separated by commas alone",
                );
            }
            if options.path.contains(|c: char| c.is_whitespace() || c == '\\') {
                return refuse(format!("option `path`: {:?} holds a space", options.path), "choose another folder");
            }
            let numbers = (options.dump, options.passno);
            Ok(Some(Wanted { src: src.clone(), fstype: fstype.clone(), opts, numbers }))
        }
        (None, _, false) => refuse("option `src` is missing".to_owned(), "say what is mounted, or `absent: true`"),
        (_, None, false) => refuse("option `fstype` is missing".to_owned(), "as in `fstype: \"nfs\"`"),
    }
}

/// Whether a line of the table is about this path.
fn is_about(line: &str, path: &str) -> bool {
    let target = line.split_whitespace().nth(1).unwrap_or_default();
    !line.trim_start().starts_with('#') && (target == path || target.trim_end_matches('/') == path)
}

/// The line of `/etc/fstab`.
fn listed(host: &Host, path: &str, wanted: Option<Wanted>, become_: Option<BecomeOption>) -> Result<Edited> {
    let point = path.to_owned();
    let what = What {
        kind: "mount",
        name: format!("{path} (/etc/fstab)"),
        secret: false,
        missing: if wanted.is_some() { Missing::Create } else { Missing::Fine },
        prune: false,
        edit: Ok(Box::new(move |text| Ok(edit(text, &point, wanted.as_ref())))),
    };
    Edited::new(host, File { path: "/etc/fstab".to_owned(), become_, ..File::default() }, what)
}

/// One line for the path in place of those that are there. One that says the same in other words is left alone.
fn edit(text: &str, path: &str, wanted: Option<&Wanted>) -> String {
    let line = wanted.map(|wanted| {
        let Wanted { src, fstype, opts, numbers: (dump, pass) } = wanted;
        format!("{src} {path} {fstype} {opts} {dump} {pass}")
    });
    let fields = |line: &str| {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        fields.resize(6, "0".to_owned());
        fields
    };
    let known: Vec<&str> = text.lines().filter(|line| is_about(line, path)).collect();
    match (known.as_slice(), &line) {
        ([], None) => return text.to_owned(),
        ([one], Some(line)) if fields(one) == fields(line) => return text.to_owned(),
        _ => {}
    }
    let mut line = line.map(|line| vec![line]);
    let mut lines = Lines::of(text);
    lines.replace(|known| is_about(known, path).then(|| line.take().unwrap_or_default()));
    line.into_iter().flatten().for_each(|line| lines.push(line));
    lines.text()
}

/// What the kernel says of the last file system that was mounted at a path.
fn found(mounts: &str, path: &str) -> State {
    let decoded = |word: &str| word.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
    let at = |line: &&str| line.split(' ').nth(1).is_some_and(|target| decoded(target) == path);
    let Some(line) = mounts.lines().rfind(at) else { return State::Absent };
    let mut words = line.split(' ');
    let (src, fstype, opts) = (words.next(), words.nth(1), words.next());
    state(&decoded(src.unwrap_or_default()), fstype.unwrap_or_default(), flags(opts.unwrap_or_default()))
}

/// Those of the options that every file system has.
fn flags(opts: &str) -> String {
    let has = |flag: &str| opts.split(',').any(|known| known == flag);
    let access = if has("ro") { "ro" } else { "rw" };
    std::iter::once(access).chain(FLAGS.into_iter().filter(|flag| has(flag))).collect::<Vec<_>>().join(",")
}

fn state(src: &str, fstype: &str, flags: String) -> State {
    let fields = [("src", Value::from(src)), ("fstype", Value::from(fstype)), ("flags", Value::Text(flags))];
    State::Here(Value::Map(fields.map(|(name, value)| (name.to_owned(), value)).into()))
}

impl Wanted {
    fn has(&self, option: &str) -> bool {
        self.opts.split(',').any(|known| known == option)
    }

    /// As the kernel shows it, given what it shows: names of devices and types are known to it by others.
    fn as_shown(&self, have: Option<&Value>) -> State {
        let text = |key: &str| have.and_then(|have| have.get(key)).and_then(Value::as_text);
        let bind = self.has("bind") || self.has("rbind");
        let named_alike = !bind && (self.src.contains(":/") || self.src.starts_with("//"));
        let device =
            self.src.starts_with("/dev/sd") || self.src.starts_with("/dev/vd") || self.src.starts_with("/dev/nvme");
        let src = match text("src") {
            Some(src) if src.trim_end_matches('/') == self.src.trim_end_matches('/') => src,
            Some(src) if !named_alike && (bind || !device) => src,
            _ => &self.src,
        };
        let fstype = match text("fstype") {
            Some(shown) if bind || self.fstype == "auto" => shown,
            Some("nfs4") if self.fstype == "nfs" => "nfs4",
            Some(shown) if shown.starts_with("fuse.") && self.fstype == "fuse" => shown,
            _ => &self.fstype,
        };
        // What a user may mount brings flags of its own.
        let implied = ["user", "users", "owner", "group"].iter().any(|option| self.has(option));
        let flags = text("flags").filter(|_| implied).map_or_else(|| flags(&self.opts), str::to_owned);
        state(src, fstype, flags)
    }
}

impl Part for Live {
    const KIND: &'static str = "mount";

    fn name(&self) -> String {
        self.path.clone()
    }

    fn question(&self) -> String {
        "cat /proc/mounts\n".to_owned()
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(found(answer, &self.path))
    }

    fn want(&self, have: &State) -> Result<State> {
        Ok(self.wanted.as_ref().map_or(State::Absent, |wanted| wanted.as_shown(have.here())))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let path = quote(&self.path);
        // systemd goes by units that it made of the table.
        let reload = "if [ -d /run/systemd/system ]; then systemctl daemon-reload || exit 1; fi\n";
        let Some(wanted) = &self.wanted else { return Ok(Command::script(format!("umount {path}\n"))) };
        let only_flags = !difference.touches("src") && !difference.touches("fstype");
        Ok(Command::script(match difference.action {
            Action::Update if only_flags => {
                format!("{reload}mount -o {} {path}\n", quote(&format!("remount,{}", remounted(wanted))))
            }
            Action::Update => format!("{reload}umount {path} || exit 1\nmount {path}\n"),
            _ => format!("{reload}mount {path}\n"),
        }))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        let said = output.stderr_text();
        let error = |help: &str| {
            let what = format!("{}: {} was not changed", host.name(), self.path);
            Some(Error::new(Class::Failed, what).cause(said.trim()).help(help))
        };
        if said.contains("busy") {
            return error("something uses it: `fuser -m` or `lsof` on the host list what; stop that first");
        }
        if said.contains("unknown filesystem type") || said.contains("helper program") {
            return error("install what mounts this type: `nfs-common`, `cifs-utils`, …");
        }
        None
    }
}

/// The options of a remount: what is wanted, without what only counts for the first time.
fn remounted(wanted: &Wanted) -> String {
    let all = [("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("noatime", "relatime")];
    all.map(|(with, without)| if wanted.has(with) { with } else { without }).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nfs(opts: &str) -> Wanted {
        Wanted { src: "nas:/export".into(), fstype: "nfs".into(), opts: opts.into(), numbers: (0, 0) }
    }

    #[test]
    fn the_table_gets_one_line_for_a_path() {
        let text =
            "# /mnt is for guests\nUUID=1 / ext4 defaults 0 1\nold:/x /mnt nfs ro 0 0\nother:/x /mnt/ nfs ro 0 0\n";
        let new = edit(text, "/mnt", Some(&nfs("hard")));
        assert_eq!(new, "# /mnt is for guests\nUUID=1 / ext4 defaults 0 1\nnas:/export /mnt nfs hard 0 0\n");
        assert_eq!(edit(&new, "/mnt", Some(&nfs("hard"))), new);
        assert_eq!(edit(&new, "/mnt", None), "# /mnt is for guests\nUUID=1 / ext4 defaults 0 1\n");
        let short = "nas:/export\t/mnt\tnfs\thard\n";
        assert_eq!(edit(short, "/mnt", Some(&nfs("hard"))), short);
    }

    #[test]
    fn what_the_kernel_calls_by_another_name_is_the_same() {
        let shown = found("nas:/export/ /mnt nfs4 rw,noatime,vers=4.2 0 0\n", "/mnt");
        assert_eq!(nfs("noatime,vers=4").as_shown(shown.here()), shown);
        assert_ne!(nfs("ro").as_shown(shown.here()), shown);
        let other = Wanted { src: "nas2:/export".into(), ..nfs("noatime") };
        assert_ne!(other.as_shown(shown.here()), shown);
        let by_id = Wanted { src: "UUID=1".into(), fstype: "ext4".into(), opts: "defaults".into(), numbers: (0, 2) };
        let shown = found("/dev/sdb1 /data ext4 rw,relatime 0 0\n", "/data");
        assert_eq!(by_id.as_shown(shown.here()), shown);
    }
}
