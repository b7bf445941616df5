//! OpenSSH's `scp` and `sftp` against simulated machines.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::lab::{GUEST, Lab};
use super::programs::{fed, is_there, success, told};

fn lab() -> Option<Arc<Lab>> {
    is_there("sftp", "openssh-client").then(Lab::shared)
}

/// A tree with what copying may get wrong.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("a/empty")).expect("made");
    fs::write(root.join("a/one"), "1\n").expect("written");
    fs::write(root.join("a/with space ünd"), vec![7; 300_000]).expect("written");
    fs::write(root.join("none"), "").expect("written");
    let set = |path: &str, mode| {
        fs::set_permissions(root.join(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
    };
    set("a/one", 0o640);
    set("a", 0o750);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    let file = fs::File::options().write(true).open(root.join("a/one")).expect("open");
    file.set_modified(old).expect("ours");
}

/// Every path of a tree with its mode, size and, of files, its time.
fn census(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::metadata(&path).expect("it is there");
        let name = path.strip_prefix(root).expect("below").display().to_string();
        if about.is_dir() {
            left.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
            found.push(format!("{name}/ {:o}", about.mode()));
        } else {
            found.push(format!("{name} {:o} {} {}", about.mode(), about.len(), about.mtime()));
        }
    }
    found.sort();
    found
}

/// By SFTP, and by the protocol of before.
#[test]
fn scp_copies_a_tree_there_and_back_with_modes_and_times() {
    let Some(lab) = lab() else { return };
    for (how, name) in [("-s", "tree-sftp"), ("-O", "tree-rcp")] {
        let tree = lab.path(name);
        plant(&tree);
        success(&lab.run("scp", &[how, "-rpq", name, &format!("{}:", GUEST.0)]));
        let listed = lab.on(GUEST.0, &format!("cd {name}; stat -c '%n %a %s %Y' a/one a/with* none a a/empty"));
        assert!(listed.starts_with("a/one 640 2 1600000000\na/with space ünd 644 300000 "), "{how}: {listed}");
        assert!(listed.contains("\na 750 "), "{how}: {listed}");
        let back = format!("{name}-back");
        success(&lab.run("scp", &[how, "-rpq", &format!("{}:{name}", GUEST.0), &back]));
        assert_eq!(census(&lab.path(&back)), census(&tree), "{how}");
    }
}

#[test]
fn scp_copies_single_files_between_machines_and_says_what_it_cannot() {
    let Some(lab) = lab() else { return };
    lab.on("pve-01", "printf secret > /root/single; chmod 600 /root/single; mkdir -p /root/folder");
    for how in ["-s", "-O"] {
        fs::write(lab.path("local"), "content").expect("written");
        let to = |place: &str| lab.run("scp", &[how, "-q", "local", place]);
        success(&to(&format!("pve-01:/root/as-{how}")));
        success(&to("pve-01:/root/folder"));
        assert_eq!(lab.on("pve-01", &format!("cat /root/as-{how} /root/folder/local")), "contentcontent");
        success(&lab.run("scp", &[how, "-q", "-3", "pve-01:/root/single", &format!("{}:single{how}", GUEST.0)]));
        assert_eq!(lab.on(GUEST.0, &format!("cat single{how}")), "secret");
        let failures = [
            (to(&format!("{}:/etc/forbidden", GUEST.0)), "/etc/forbidden", "Permission denied"),
            (to("pve-01:/root/no/such/folder"), "/root/no/such/folder", "No such file or directory"),
            (lab.run("scp", &[how, "-q", "pve-01:/root/missing", "."]), "/root/missing", "No such file or directory"),
            (lab.run("scp", &[how, "-q", "pve-01:/root/folder", "."]), "/root/folder", "not a regular file"),
        ];
        for (output, path, why) in failures {
            let (out, err, code) = told(&output);
            assert!(code != Some(0) && err.contains(path) && err.contains(why), "{how}, {path}: {out}{err}");
        }
    }
}

/// The older protocol leaves it to the shell there what a name means.
#[test]
fn a_blank_in_a_remote_name_is_part_of_it_or_ambiguous() {
    let Some(lab) = lab() else { return };
    fs::write(lab.path("content"), "content").expect("written");
    let to = |how: &str, place: &str| told(&lab.run("scp", &[how, "-q", "content", place]));
    assert_eq!(to("-s", "pve-02:/root/a name").2, Some(0));
    let (_, err, code) = to("-O", "pve-02:/root/a name");
    assert!(code == Some(1) && err.contains("scp: ambiguous target"), "{err}");
    assert_eq!(to("-O", "pve-02:'/root/a name'").2, Some(0));
    assert_eq!(lab.on("pve-02", "cat /root/a*name"), "content");
}

/// What `sftp` prints for commands, one a line; a `-` before one lets it fail.
fn session(lab: &Lab, machine: &str, commands: &str) -> (String, String) {
    let mut sftp = lab.openssh("sftp");
    sftp.args(["-b", "-", machine]);
    let (out, err, code) = told(&fed(sftp, commands.as_bytes()));
    assert_eq!(code, Some(0), "{out}{err}");
    (out, err)
}

#[test]
fn sftp_does_everything_to_files() {
    let Some(lab) = lab() else { return };
    fs::write(lab.path("upload"), vec![1; 100_000]).expect("written");
    let (out, err) = session(
        &lab,
        GUEST.0,
        "mkdir box\nput upload box/a\nln box/a box/b\nln -s a box/c\nls -l box\nrename box/b box/d\nchmod 4755 box/d\n\
         cd box\npwd\ncd ..\nget box/d fetched\n-cp box/a box/copy\n-rename box/copy box/a\n-mkdir /etc/forbidden\n\
         -rm box/missing\n-rmdir box\n-put upload box/a/\nrm box/c\nls -1 box\n",
    );
    let links: Vec<&str> = out.lines().filter(|line| line.starts_with('-') || line.starts_with('l')).collect();
    // A client that asks for names by id makes the line itself, and knows no number of links.
    assert!(links.len() == 3 && links[0].starts_with("-rw-r--r--    "), "{out}");
    assert!(links[0].contains(" ubuntu   ubuntu     100000 "), "{out}");
    assert!(links[2].starts_with("lrwxrwxrwx    ") && links[2].contains(" ubuntu   ubuntu          1 "), "{out}");
    assert!(out.contains("Remote working directory: /home/ubuntu/box\n"), "{out}");
    assert!(out.ends_with("box/a\nbox/d\n"), "{out}");
    assert!(err.contains("/etc/forbidden") && err.contains("Permission denied"), "{err}");
    assert!(err.contains("No such file"), "{err}");
    assert_eq!(fs::read(lab.path("fetched")).expect("it is there"), vec![1; 100_000]);
    assert_eq!(lab.on(GUEST.0, "stat -c '%a %s' box/d box/a"), "4755 100000\n755 100000\n");
}

#[test]
fn sftp_tells_the_room_on_the_disk() {
    let Some(lab) = lab() else { return };
    let (out, _) = session(&lab, "pve-02", "df /root\ndf -i /root\n");
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let room: Vec<&Vec<&str>> = rows.iter().filter(|row| row.last().is_some_and(|word| word.ends_with('%'))).collect();
    let number = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{out}"));
    assert_eq!(room.len(), 2, "{out}");
    let (size, used) = (number(room[0][0]), number(room[0][1]));
    let df = lab.on("pve-02", "df -k /root | tail -n 1");
    let words: Vec<&str> = df.split_whitespace().collect();
    assert_eq!((size, used), (number(words[1]), number(words[2])), "{df}");
    assert!(number(room[1][1]) > 100, "{out}");
}

#[test]
fn a_changed_owner_takes_what_a_program_may_do_with_it() {
    let Some(lab) = lab() else { return };
    let set = "cp /bin/true /root/prog; chmod 6755 /root/prog; ";
    let chown = lab.on("pve-03", &format!("{set} chown 1000 /root/prog; stat -c '%a %u' /root/prog"));
    assert_eq!(chown, "755 1000\n");
    lab.on("pve-03", set);
    session(&lab, "pve-03", "chown 1000 /root/prog\n");
    assert_eq!(lab.on("pve-03", "stat -c '%a %u' /root/prog"), "755 1000\n");
}

/// A link has an owner and a time of its own.
#[test]
fn sftp_changes_a_link_itself() {
    let Some(lab) = lab() else { return };
    lab.on("pve-03", "touch /root/aim; ln -s aim /root/link");
    session(&lab, "pve-03", "chown -h 1000 /root/link\n-chmod -h 600 /root/link\n");
    assert_eq!(lab.on("pve-03", "stat -c %u /root/link /root/aim"), "1000\n0\n");
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_was() {
    let Some(lab) = lab() else { return };
    let whole: Vec<u8> = (0..400_000u32).map(|number| (number % 253) as u8).collect();
    fs::write(lab.path("whole"), &whole).expect("written");
    fs::write(lab.path("part"), &whole[..150_000]).expect("written");
    session(&lab, GUEST.0, "put whole resumed\nreget resumed part\n");
    assert_eq!(fs::read(lab.path("part")).expect("it is there"), whole);
    session(&lab, GUEST.0, "rm resumed\n");
}

#[test]
fn what_is_copied_into_a_shared_storage_is_on_every_node() {
    let Some(lab) = lab() else { return };
    let (share, nodes) = ("/mnt/pve/nas-vmstorage", ["pve-01", "pve-02", "pve-03"]);
    fs::write(lab.path("user.yaml"), "#cloud-config\n").expect("written");
    success(&lab.run("scp", &["-pq", "user.yaml", &format!("pve-01:{share}/snippets/")]));
    lab.on("pve-02", &format!("cd {share}; mkdir -m 750 notes; ln -s ../snippets/user.yaml notes/link"));
    for node in nodes {
        let seen = lab.on(node, &format!("cd {share}; cat notes/link; stat -c '%a %F' notes notes/link"));
        assert_eq!(seen, "#cloud-config\n750 directory\n777 symbolic link\n", "{node}");
    }
    session(
        &lab,
        "pve-03",
        &format!("rm {share}/notes/link\nrmdir {share}/notes\nchmod 600 {share}/snippets/user.yaml\n"),
    );
    lab.on("pve-01", &format!("echo '# more' >> {share}/snippets/user.yaml; echo own > /var/lib/vz/snippets/own"));
    for node in nodes {
        let seen = lab
            .on(node, &format!("cd {share}; cat snippets/user.yaml; stat -c %a snippets/user.yaml; test ! -e notes"));
        assert_eq!(seen, "#cloud-config\n# more\n600\n", "{node}");
    }
    let world = lab.world_where(|world| volumes(world, "user.yaml") == [21]);
    assert_eq!(volumes(&world, "own"), [4]);
    assert_eq!(lab.on("pve-02", "ls /var/lib/vz/snippets"), "", "a node's own folder is its own");
    lab.on("pve-02", &format!("rm {share}/snippets/user.yaml"));
    lab.world_where(|world| volumes(world, "user.yaml").is_empty());
    lab.on("pve-01", "rm /var/lib/vz/snippets/own");
}

/// The lengths of the snippets of this name.
fn volumes(world: &serde_json::Value, name: &str) -> Vec<u64> {
    let all = world["clusters"][0]["volumes"].as_array().expect("volumes").iter();
    let ours = all.filter(|volume| volume["name"] == format!("snippets/{name}"));
    ours.map(|volume| volume["length"].as_u64().expect("a number")).collect()
}
