//! Users, groups and who may become whom, all read from the machine's own files.

use super::fs::Cred;
use super::machine::Machine;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The comment field.
    pub comment: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A line of /etc/group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Members besides those whose primary group it is.
    pub members: Vec<String>,
}

impl Machine {
    /// All users.
    pub fn users(&self) -> Vec<User> {
        let text = self.fs.text("/etc/passwd");
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else { return None };
            Some(User {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                comment: (*comment).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
            })
        };
        text.lines().filter_map(parse).collect()
    }

    /// All groups.
    pub fn groups(&self) -> Vec<Group> {
        let text = self.fs.text("/etc/group");
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else { return None };
            let members = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
        };
        text.lines().filter_map(parse).collect()
    }

    /// A user by name.
    pub fn user(&self, name: &str) -> Option<User> {
        self.users().into_iter().find(|user| user.name == name)
    }

    /// What `ls` prints for a user id.
    pub fn user_name(&self, uid: u32) -> String {
        self.users().into_iter().find(|user| user.uid == uid).map_or_else(|| uid.to_string(), |user| user.name)
    }

    /// What `ls` prints for a group id.
    pub fn group_name(&self, gid: u32) -> String {
        self.groups().into_iter().find(|group| group.gid == gid).map_or_else(|| gid.to_string(), |group| group.name)
    }

    /// A user id by name or number.
    pub fn uid_of(&self, text: &str) -> Option<u32> {
        self.user(text).map(|user| user.uid).or_else(|| text.parse().ok())
    }

    /// A group id by name or number.
    pub fn gid_of(&self, text: &str) -> Option<u32> {
        let named = self.groups().into_iter().find(|group| group.name == text).map(|group| group.gid);
        named.or_else(|| text.parse().ok())
    }

    /// The ids that a session of this user runs with.
    pub fn cred_of(&self, user: &User) -> Cred {
        let member = |group: &Group| group.gid == user.gid || group.members.contains(&user.name);
        let mut groups: Vec<u32> = self.groups().into_iter().filter(member).map(|group| group.gid).collect();
        groups.sort_by_key(|gid| *gid != user.gid);
        Cred { uid: user.uid, gid: user.gid, groups }
    }

    /// Whether `user` may run anything as anybody without a password.
    pub fn may_sudo(&self, user: &User) -> bool {
        if user.uid == 0 {
            return true;
        }
        let groups = self.groups();
        let applies = |who: &str| match who.strip_prefix('%') {
            Some(name) => groups
                .iter()
                .any(|group| group.name == name && (group.gid == user.gid || group.members.contains(&user.name))),
            None => who == user.name || who == "ALL",
        };
        let mut files = vec!["/etc/sudoers".to_owned()];
        files.extend(self.files_in("/etc/sudoers.d", ""));
        let rules = files.iter().flat_map(|path| self.config_lines(path));
        // The last rule that applies decides, as in sudoers(5).
        let last = rules.filter(|rule| rule.split_whitespace().next().is_some_and(applies)).last();
        last.is_some_and(|rule| {
            let rule: String = rule.split_whitespace().skip(1).collect();
            rule.starts_with("ALL=") && rule.ends_with("NOPASSWD:ALL")
        })
    }
}
