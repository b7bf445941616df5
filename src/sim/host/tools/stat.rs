//! stat.

use super::Options;
use crate::sim::host::fs::{Inode, Kind};
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// Attributes of files, as `-c` or `--printf` asks for them.
pub fn stat(p: &Process) -> Exit {
    let options = Options::parse(p, "Lc:F:f", &[("dereference", 'L'), ("format", 'c'), ("printf", 'F')])?;
    if options.has('f') {
        return not_simulated("stat -f");
    }
    if options.operands.is_empty() {
        return fail("missing operand");
    }
    let (format, newline) = match (options.value('F'), options.value('c')) {
        (Some(format), _) => (format.to_owned(), false),
        (None, Some(format)) => (format.to_owned(), true),
        (None, None) => ("  File: %N\n  Size: %s\tBlocks: %b\tIO Block: 4096\t%F\nAccess: (%04a/%A)  Uid: (%u/%U)  Gid: (%g/%G)\nModify: %y".to_owned(), true),
    };
    super::print::refuse_wide(&format)?;
    let mut status = 0;
    for path in &options.operands {
        let found = p.fs(|fs, cred| {
            let full = p.path(path);
            let target = fs.read_link(cred, &full).ok().filter(|_| !options.has('L'));
            fs.find(cred, &full, options.has('L')).and_then(|ino| Ok((ino, fs.inode(ino)?.clone(), target)))
        });
        match found {
            Ok((ino, inode, target)) => {
                let text = render(p, &format, path, ino, &inode, target.as_deref());
                let (bytes, _) = if newline { (text.into_bytes(), false) } else { super::unescape(&text, false) };
                p.out(bytes)?;
                if newline {
                    p.out("\n")?;
                }
            }
            Err(errno) => {
                p.complain(format!("cannot statx '{path}': {errno}"));
                status = 1;
            }
        }
    }
    Ok(status)
}

fn render(p: &Process, format: &str, path: &str, ino: u64, inode: &Inode, target: Option<&str>) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let flags = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        let (width, after) = rest.split_at(flags);
        let Some(directive) = after.chars().next() else {
            out.push('%');
            break;
        };
        rest = &after[directive.len_utf8()..];
        let value = match directive {
            'a' => format!("{:o}", inode.mode),
            'A' => inode.mode_text(),
            'b' => inode.size().div_ceil(512).to_string(),
            'B' => "512".to_owned(),
            'd' => "2049".to_owned(),
            'f' => format!("{:x}", inode.st_mode()),
            'F' => kind(inode).to_owned(),
            'g' => inode.gid.to_string(),
            'G' => p.session.with(|machine| machine.group_name(inode.gid)),
            'h' => inode.links.to_string(),
            'i' => ino.to_string(),
            'm' => "/".to_owned(),
            'n' => path.to_owned(),
            'N' => target.map_or_else(|| format!("'{path}'"), |target| format!("'{path}' -> '{target}'")),
            'o' => "4096".to_owned(),
            's' => inode.size().to_string(),
            'u' => inode.uid.to_string(),
            'U' => p.session.with(|machine| machine.user_name(inode.uid)),
            'W' => "0".to_owned(),
            'w' => "-".to_owned(),
            'X' | 'Y' | 'Z' => inode.mtime.to_string(),
            'x' | 'y' | 'z' => super::clock::stamp(inode.mtime),
            '%' => "%".to_owned(),
            other => format!("%{other}"),
        };
        let wide: usize = width.parse().unwrap_or(0);
        let fill = if width.starts_with('0') { '0' } else { ' ' };
        out.extend(std::iter::repeat_n(fill, wide.saturating_sub(value.len())));
        out.push_str(&value);
    }
    out.push_str(rest);
    out
}

/// What `%F` calls an object.
fn kind(inode: &Inode) -> &'static str {
    match &inode.kind {
        Kind::File(bytes) if bytes.0.is_empty() => "regular empty file",
        Kind::File(_) => "regular file",
        Kind::Computed(_) => "regular empty file",
        Kind::Dir { .. } => "directory",
        Kind::Link(_) => "symbolic link",
        Kind::Device(crate::sim::host::fs::Device::Inert) => "block special file",
        Kind::Device(_) => "character special file",
    }
}
