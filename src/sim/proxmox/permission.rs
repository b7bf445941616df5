//! Who may do what: rows of the access list, inherited along the path tree, and the checks of the definition.

use std::collections::BTreeMap;

use super::access::{Access, Row};
use super::answer::Refusal;
use super::definition::Right;
use super::form::{Form, Given};

/// Privileges on a path. The value says whether the privilege reaches below it.
pub(crate) type Privileges = BTreeMap<String, bool>;

/// Who calls.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caller {
    /// `automation@pve`.
    pub(crate) user: String,
    /// `homelab`, when a token calls.
    pub(crate) token: Option<String>,
}

impl Caller {
    /// Reads `user@realm` or `user@realm!token`.
    pub(crate) fn parse(id: &str) -> Self {
        match id.split_once('!') {
            Some((user, token)) => Caller { user: user.into(), token: Some(token.into()) },
            None => Caller { user: id.into(), token: None },
        }
    }

    /// The one name that needs no privilege. A token of root, whatever it may do, is another name.
    pub(crate) fn is_root(&self) -> bool {
        self.user == "root@pam" && self.token.is_none()
    }

    /// `automation@pve!homelab`.
    pub(crate) fn id(&self) -> String {
        self.token.as_ref().map_or_else(|| self.user.clone(), |token| format!("{}!{token}", self.user))
    }
}

impl Access {
    /// The effective privileges of a caller on a path.
    pub(crate) fn privileges(&self, caller: &Caller, path: &str) -> Privileges {
        let of_user = || self.privileges_of("user", &caller.user, path);
        let Some(token) = &caller.token else { return of_user() };
        let separated = self.users.get(&caller.user).and_then(|user| user.tokens.get(token)).is_none_or(|t| t.privsep);
        if !separated {
            return of_user();
        }
        let user = of_user();
        let mut token = self.privileges_of("token", &caller.id(), path);
        token.retain(|privilege, _| user.contains_key(privilege));
        token
    }

    /// The privileges by the rows of one user or token alone.
    fn privileges_of(&self, kind: &str, id: &str, path: &str) -> Privileges {
        if kind == "user" && id == "root@pam" {
            return super::roles::privileges().map(|privilege| (privilege.to_string(), true)).collect();
        }
        let mut roles: Vec<&Row> = Vec::new();
        let path = &normal_path(path);
        for level in levels(path) {
            let at_level = || self.rows.iter().filter(|row| row.path == level && (row.propagate || level == path));
            let own = |row: &&Row| row.kind == kind && row.id == id;
            let of_group = |row: &&Row| row.kind == "group" && kind == "user" && self.is_member(id, &row.id);
            let mut here: Vec<&Row> = at_level().filter(own).collect();
            if here.is_empty() {
                // What a group may is for those of its users of whom nothing is said there.
                here = at_level().filter(of_group).collect();
            }
            if !here.is_empty() {
                // A deeper row replaces what is inherited, it does not add.
                roles = here;
            }
        }
        if roles.iter().any(|row| row.role == "NoAccess") {
            return Privileges::new();
        }
        let mut privileges = Privileges::new();
        for row in roles {
            for privilege in self.privileges_of_role(&row.role).unwrap_or_default() {
                *privileges.entry(privilege).or_insert(false) |= row.propagate;
            }
        }
        privileges
    }

    fn is_member(&self, user: &str, group: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.groups.contains(group))
    }

    /// Whether a caller has any of some privileges on a path.
    pub(crate) fn has_any(&self, caller: &Caller, path: &str, privileges: &[&str]) -> bool {
        let have = self.privileges(caller, path);
        privileges.iter().any(|privilege| have.contains_key(*privilege))
    }

    /// Demands all of some privileges on a path.
    pub(crate) fn demand(&self, caller: &Caller, path: &str, privileges: &[&str]) -> Result<(), Refusal> {
        let have = self.privileges(caller, path);
        match privileges.iter().find(|privilege| !have.contains_key(**privilege)) {
            Some(missing) => Err(Refusal::forbidden(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    /// Demands any of some privileges on a path.
    pub(crate) fn demand_any(&self, caller: &Caller, path: &str, privileges: &[&str]) -> Result<(), Refusal> {
        if self.has_any(caller, path, privileges) {
            return Ok(());
        }
        Err(Refusal::forbidden(&format!("{path}, {}", privileges.join("|"))))
    }

    /// Runs the checks of the definition: one right of every group.
    pub(crate) fn check(&self, caller: &Caller, groups: &[Vec<Right>], form: &Form) -> Result<(), Refusal> {
        groups.iter().try_for_each(|group| match &group[..] {
            [one] => self.check_right(caller, one, form),
            // What several ways could have been is not told.
            several if several.iter().any(|right| self.check_right(caller, right, form).is_ok()) => Ok(()),
            _ => Err(Refusal::forbidden("")),
        })
    }

    fn check_right(&self, caller: &Caller, right: &Right, form: &Form) -> Result<(), Refusal> {
        let Right::On { privileges, any, path, given: parameter } = right else {
            let is_own = caller.token.is_none() && caller.user == given(form, "userid");
            return if is_own { Ok(()) } else { Err(Refusal::forbidden("")) };
        };
        if parameter.is_some_and(|name| !form.contains_key(name)) {
            return Err(Refusal::forbidden(""));
        }
        let path = fill(path, form);
        if *any { self.demand_any(caller, &path, privileges) } else { self.demand(caller, &path, privileges) }
    }
}

fn given<'f>(form: &'f Form, name: &str) -> &'f str {
    match form.get(name) {
        Some(Given::One(value)) => value,
        _ => "",
    }
}

/// Puts parameters into the placeholders of a path.
fn fill(template: &str, form: &Form) -> String {
    let filled = template.split('/').map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some("realm-of-userid") => given(form, "userid").rsplit('@').next().unwrap_or_default(),
        Some(name) => given(form, name).trim_matches('/'),
        None => part,
    });
    let filled = filled.collect::<Vec<_>>().join("/");
    // A path that is a parameter comes as people write it.
    if template.starts_with('/') { filled } else { normal_path(&filled) }
}

/// A path with one leading slash and none at its end.
pub(crate) fn normal_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// A path and what is above it, from the root down.
fn levels(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().skip(1).filter(|(_, next)| *next == '/').map(|(at, _)| at);
    let below = ends.chain([path.len()]).map(|end| &path[..end]);
    ["/"].into_iter().chain(below.filter(|level| *level != "/"))
}

#[cfg(test)]
mod tests {
    use super::super::table::alternatives;
    use super::*;

    fn access(rows: &[(&str, &str, &str, &str, bool)]) -> Access {
        let mut access = Access::with_root("secret-key", "password");
        access.add_user("a@pve", "");
        access.add_token("a@pve", "t", true, "value");
        for (path, kind, id, role, propagate) in rows {
            access.rows.push(Row {
                path: path.to_string(),
                kind: kind.to_string(),
                id: id.to_string(),
                role: role.to_string(),
                propagate: *propagate,
            });
        }
        access
    }

    #[test]
    fn a_path_is_under_every_path_that_begins_it() {
        assert_eq!(levels("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(levels("/vms/100").collect::<Vec<_>>(), ["/", "/vms", "/vms/100"]);
    }

    #[test]
    fn a_separated_token_has_only_what_its_user_has_too() {
        let user_only = access(&[("/vms", "user", "a@pve", "PVEVMUser", true)]);
        assert!(user_only.privileges(&Caller::parse("a@pve!t"), "/vms/100").is_empty());
        let token_only = access(&[("/vms", "token", "a@pve!t", "PVEVMUser", true)]);
        assert!(token_only.privileges(&Caller::parse("a@pve!t"), "/vms/100").is_empty());
        let both =
            access(&[("/vms", "user", "a@pve", "PVEVMUser", true), ("/vms", "token", "a@pve!t", "PVEAuditor", true)]);
        let have = both.privileges(&Caller::parse("a@pve!t"), "/vms/100");
        assert_eq!(have.keys().collect::<Vec<_>>(), ["VM.Audit", "VM.GuestAgent.Audit"]);
    }

    #[test]
    fn a_deeper_row_replaces_what_is_inherited() {
        let rows = access(&[
            ("/vms", "user", "a@pve", "PVEVMAdmin", true),
            ("/vms/9000", "user", "a@pve", "PVEAuditor", true),
            ("/vms/9001", "user", "a@pve", "NoAccess", true),
        ]);
        let user = Caller::parse("a@pve");
        assert!(rows.has_any(&user, "/vms/100", &["VM.Config.CPU"]));
        assert!(!rows.has_any(&user, "/vms/9000", &["VM.Config.CPU"]));
        assert!(rows.privileges(&user, "/vms/9001").is_empty());
    }

    #[test]
    fn what_a_group_may_is_for_its_members_unless_a_row_of_their_own_stands_there() {
        let mut rows =
            access(&[("/vms", "group", "ops", "PVEVMAdmin", true), ("/vms/1", "user", "a@pve", "NoAccess", true)]);
        let user = Caller::parse("a@pve");
        assert!(!rows.has_any(&user, "/vms/100", &["VM.Config.CPU"]));
        rows.users.get_mut("a@pve").unwrap().groups.insert("ops".into());
        assert!(rows.has_any(&user, "/vms/100", &["VM.Config.CPU"]));
        assert!(!rows.has_any(&user, "/vms/1", &["VM.Config.CPU"]));
    }

    #[test]
    fn a_row_that_does_not_propagate_counts_only_exactly_there() {
        let rows = access(&[("/", "user", "a@pve", "PVEAuditor", false)]);
        let user = Caller::parse("a@pve");
        assert_eq!(rows.privileges(&user, "/").get("Sys.Audit"), Some(&false));
        assert!(rows.privileges(&user, "/nodes").is_empty());
    }

    #[test]
    fn the_text_of_a_refusal_names_path_and_privilege() {
        let rows = access(&[]);
        let form = Form::from([("vmid".to_string(), Given::One("240".into()))]);
        let refused = |right| rows.check(&Caller::parse("a@pve"), &[alternatives(right).unwrap()], &form).unwrap_err();
        let refusal = refused("VM.Audit on /vms/{vmid}");
        assert_eq!(refusal.reason, "Permission check failed (/vms/240, VM.Audit)");
        let refusal = refused("Sys.Audit|Sys.Modify on /");
        assert_eq!(refusal.reason, "Permission check failed (/, Sys.Audit|Sys.Modify)");
    }
}
