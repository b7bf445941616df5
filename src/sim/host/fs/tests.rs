//! The rules of the file system itself.

use super::*;

fn user(uid: u32) -> Cred {
    Cred { uid, gid: uid, groups: vec![uid] }
}

/// A tree with a sticky /tmp in memory and a home of user 1000.
fn tree() -> Fs {
    let (mut fs, root) = (Fs::default(), Cred::root());
    for (path, mode) in [("/tmp", 0o1777), ("/home", 0o755), ("/home/u", 0o750), ("/etc", 0o755)] {
        fs.make_dir(&root, path, mode).unwrap();
    }
    let (tmp, home) = (fs.find(&root, "/tmp", true).unwrap(), fs.find(&root, "/home/u", true).unwrap());
    fs.settle(tmp, Realm::Memory);
    fs.set_owner(&root, home, Some(1000), Some(1000)).unwrap();
    fs
}

#[test]
fn permissions_stop_everybody_but_root() {
    let mut fs = tree();
    let (root, owner, other) = (Cred::root(), user(1000), user(1001));
    fs.write(&owner, "/home/u/private", b"x", 0o600).unwrap();
    assert_eq!(fs.read(&owner, "/home/u/private").unwrap(), b"x");
    assert_eq!(fs.read(&root, "/home/u/private").unwrap(), b"x");
    assert_eq!(fs.read(&other, "/home/u/private"), Err(Errno::Access));
    assert_eq!(fs.write(&owner, "/etc/new", b"", 0o644), Err(Errno::Access));
    assert_eq!(fs.list(&other, "/home/u"), Err(Errno::Access));
    let ino = fs.find(&root, "/home/u/private", true).unwrap();
    assert_eq!(fs.set_mode(&other, ino, 0o777), Err(Errno::NotPermitted));
    assert_eq!(fs.set_owner(&owner, ino, Some(0), None), Err(Errno::NotPermitted));
}

#[test]
fn a_group_member_gets_the_rights_of_the_group() {
    let mut fs = tree();
    fs.write(&user(1000), "/home/u/shared", b"x", 0o640).unwrap();
    let member = Cred { uid: 1002, gid: 1002, groups: vec![1002, 1000] };
    assert_eq!(fs.read(&member, "/home/u/shared").unwrap(), b"x");
    assert_eq!(fs.write(&member, "/home/u/shared", b"y", 0o640), Err(Errno::Access));
}

#[test]
fn in_a_sticky_directory_only_the_owner_removes() {
    let mut fs = tree();
    fs.write(&user(1000), "/tmp/mine", b"", 0o666).unwrap();
    assert_eq!(fs.unlink(&user(1001), "/tmp/mine"), Err(Errno::NotPermitted));
    assert_eq!(fs.rename(&user(1001), "/tmp/mine", "/tmp/theirs", Rename::Replace), Err(Errno::NotPermitted));
    fs.unlink(&user(1000), "/tmp/mine").unwrap();
}

#[test]
fn a_path_through_a_file_or_a_loop_is_an_error() {
    let (mut fs, root) = (tree(), Cred::root());
    fs.write(&root, "/etc/file", b"", 0o644).unwrap();
    fs.symlink(&root, "b", "/etc/a").unwrap();
    fs.symlink(&root, "a", "/etc/b").unwrap();
    assert_eq!(fs.read(&root, "/etc/file/x"), Err(Errno::NotDirectory));
    assert_eq!(fs.read(&root, "/etc/a"), Err(Errno::Loop));
    assert_eq!(fs.read(&root, "/etc/none/x"), Err(Errno::NoEntry));
    assert_eq!(fs.read(&root, "/etc"), Err(Errno::IsDirectory));
}

#[test]
fn a_rename_replaces_atomically_and_an_open_file_outlives_its_name() {
    let (mut fs, root) = (tree(), Cred::root());
    fs.write(&root, "/etc/conf", b"old", 0o644).unwrap();
    fs.write(&root, "/etc/conf.new", b"new", 0o600).unwrap();
    let (old, opened) = fs.open(&root, "/etc/conf", Access::READ, 0).unwrap();
    fs.rename(&root, "/etc/conf.new", "/etc/conf", Rename::Replace).unwrap();
    assert_eq!(fs.read(&root, "/etc/conf").unwrap(), b"new");
    assert_eq!(fs.stat(&root, "/etc/conf", true).unwrap().mode, 0o600);
    let mut buffer = [0; 3];
    assert_eq!(fs.read_at(old, 0, &mut buffer), Ok(3));
    assert_eq!(&buffer, b"old");
    drop(opened);
    fs.write(&root, "/etc/x", b"", 0o600).unwrap();
    fs.unlink(&root, "/etc/x").unwrap();
    assert!(fs.inode(old).is_err(), "the last descriptor is closed");
}

#[test]
fn a_directory_does_not_move_into_itself_nor_over_a_full_one() {
    let (mut fs, root) = (tree(), Cred::root());
    assert_eq!(fs.rename(&root, "/home", "/home/u/in", Rename::Replace), Err(Errno::Invalid));
    assert_eq!(fs.rename(&root, "/etc", "/home", Rename::Replace), Err(Errno::NotEmpty));
    fs.rename(&root, "/home/u", "/etc/u", Rename::Replace).unwrap();
    let spot = fs.locate(&root, "/etc/u/../u/./", true).unwrap();
    assert_eq!(fs.real_path(&spot), "/etc/u");
}

#[test]
fn only_changes_outside_memory_count() {
    let (mut fs, root) = (tree(), Cred::root());
    let before = fs.changes();
    fs.write(&root, "/tmp/x", b"1", 0o600).unwrap();
    fs.unlink(&root, "/tmp/x").unwrap();
    fs.read(&root, "/etc/none").unwrap_err();
    assert_eq!(fs.changes(), before);
    fs.write(&root, "/tmp/y", b"1", 0o600).unwrap();
    fs.rename(&root, "/tmp/y", "/etc/y", Rename::Replace).unwrap();
    assert_eq!(fs.changes(), before + 1);
}

#[test]
fn no_file_can_be_made_under_a_name_that_ends_with_a_slash() {
    let mut fs = Fs::default();
    let root = Cred::root();
    fs.write(&root, "/file", b"x", 0o644).unwrap();
    fs.make_dir(&root, "/dir", 0o755).unwrap();
    for (path, errno) in [
        ("/file/", Errno::IsDirectory),
        ("/dir/", Errno::IsDirectory),
        ("/new/", Errno::IsDirectory),
        ("/file/below/", Errno::NotDirectory),
        ("/none/below/", Errno::NoEntry),
    ] {
        assert_eq!(fs.open(&root, path, Access::WRITE, 0o644).unwrap_err(), errno, "{path}");
    }
    assert_eq!(fs.open(&root, "/file/", Access::READ, 0).unwrap_err(), Errno::NotDirectory);
}

#[test]
fn a_new_owner_takes_the_set_id_bits_of_a_file_and_leaves_those_of_a_directory() {
    let mut fs = Fs::default();
    let root = Cred::root();
    fs.write(&root, "/file", b"x", 0o644).unwrap();
    fs.make_dir(&root, "/dir", 0o755).unwrap();
    for (path, mode, left) in
        [("/file", 0o6755, 0o755), ("/file", 0o6745, 0o2745), ("/file", 0o1755, 0o1755), ("/dir", 0o6755, 0o6755)]
    {
        let ino = fs.find(&root, path, true).unwrap();
        fs.set_mode(&root, ino, mode).unwrap();
        fs.set_owner(&root, ino, Some(1000), None).unwrap();
        assert_eq!(fs.inode(ino).unwrap().mode, left, "{path} {mode:o}");
    }
}
