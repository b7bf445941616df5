//! One object of the file system: a file, directory, symbolic link or device, with its attributes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The number of an inode.
pub type Ino = u64;

/// Who asks: the ids that permissions are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cred {
    /// Effective user id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Cred {
    /// The superuser.
    pub fn root() -> Self {
        Cred { uid: 0, gid: 0, groups: vec![0] }
    }

    /// Whether this is the superuser, whom permissions do not stop.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether `gid` is one of the groups.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// Where an object lives, which decides what survives a boot and what counts as a change of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realm {
    /// On the disk.
    Disk,
    /// In a memory file system that a boot empties: /tmp, /run, /dev.
    Memory,
    /// A face of the kernel: /proc and /sys. Nothing can be created or removed there.
    Kernel,
}

/// The bytes of a file, base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

/// Device files that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Reads as empty, swallows what is written.
    Null,
    /// Reads as endless zero bytes.
    Zero,
    /// Reads as endless random bytes.
    Random,
    /// A disk or a terminal: there to be looked at, not simulated further.
    Inert,
}

/// Kernel files whose content is made when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Computed {
    /// /proc/uptime
    Uptime,
    /// /proc/loadavg
    Load,
    /// /proc/sys/kernel/random/uuid: another one at each reading
    Uuid,
    /// /proc/modules
    Modules,
    /// /proc/sys/kernel/hostname
    Hostname,
    /// `authorized` of what is plugged into a Thunderbolt port
    Authorized(u8),
    /// /sys/bus/pci/rescan
    Rescan,
}

/// What an inode is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File(Bytes),
    /// A directory: its entries, and the directory it is in.
    Dir {
        /// Names and what they stand for.
        entries: BTreeMap<String, Ino>,
        /// What `..` means.
        parent: Ino,
    },
    /// A symbolic link and its target.
    Link(String),
    /// A device.
    Device(Device),
    /// A kernel file that is computed.
    Computed(Computed),
}

/// A file that is too large to be kept: what is told of it, instead of what its bytes here would tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandsFor {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// One object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of content, seconds.
    pub mtime: i64,
    /// Number of names.
    pub links: u32,
    /// Where it lives.
    pub realm: Realm,
    /// The larger file that it stands for, until it is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<StandsFor>,
    /// Counts the open descriptors: an object without a name lives on until the last one closes.
    #[serde(skip)]
    pub opened: Arc<()>,
}

impl Inode {
    /// A new object with one name.
    pub fn new(kind: Kind, mode: u32, owner: (u32, u32), realm: Realm) -> Self {
        let (uid, gid) = owner;
        Inode { kind, mode, uid, gid, mtime: now(), links: 1, realm, stands_for: None, opened: Arc::new(()) }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir { .. })
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        matches!(self.kind, Kind::Link(_))
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Computed(_))
    }

    /// The size as `stat` reports it.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(bytes) => self.stands_for.as_ref().map_or(bytes.0.len() as u64, |large| large.length),
            Kind::Dir { .. } => 4096,
            Kind::Link(target) => target.len() as u64,
            Kind::Device(_) | Kind::Computed(_) => 0,
        }
    }

    /// The permission bits that apply to `cred`, as a digit 0 to 7.
    pub fn rights(&self, cred: &Cred) -> u32 {
        if cred.is_root() {
            let execute = if self.is_dir() || self.mode & 0o111 != 0 { 1 } else { 0 };
            return 6 | execute;
        }
        let shift = match () {
            () if cred.uid == self.uid => 6,
            () if cred.in_group(self.gid) => 3,
            () => 0,
        };
        (self.mode >> shift) & 7
    }

    /// The type and permission bits of `st_mode`.
    pub fn st_mode(&self) -> u32 {
        let kind = match &self.kind {
            Kind::File(_) | Kind::Computed(_) => 0o100_000,
            Kind::Dir { .. } => 0o040_000,
            Kind::Link(_) => 0o120_000,
            Kind::Device(Device::Inert) => 0o060_000,
            Kind::Device(_) => 0o020_000,
        };
        kind | self.mode
    }

    /// The mode as `ls -l` prints it.
    pub fn mode_text(&self) -> String {
        let mut text = String::from(match &self.kind {
            Kind::File(_) | Kind::Computed(_) => "-",
            Kind::Dir { .. } => "d",
            Kind::Link(_) => "l",
            Kind::Device(Device::Inert) => "b",
            Kind::Device(_) => "c",
        });
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = (self.mode >> shift) & 7;
            text.push(if bits & 4 != 0 { 'r' } else { '-' });
            text.push(if bits & 2 != 0 { 'w' } else { '-' });
            text.push(match (self.mode & special != 0, bits & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            });
        }
        text
    }
}

/// The time, in seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
