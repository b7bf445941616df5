//! Which endpoints the phases use that the simulator serves today. Those of later phases are counted apart.

/// Method and path of each, `{}` for one segment and `**` for all that follows. Paths that are asked for without being
/// there (a misspelt one, a method that a path has not) are shapes of HTTP and belong to all phases.
const SERVED: &[(&str, &str)] = &[
    ("GET", "/version"),
    ("GET POST", "/access/ticket"),
    ("GET POST PUT DELETE", "/access/**"),
    ("GET", "/access"),
    ("GET POST PUT DELETE", "/pools/**"),
    ("GET POST PUT DELETE", "/pools"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{}"),
    ("GET POST", "/nodes/{}/status"),
    ("GET", "/nodes/{}/version"),
    ("GET", "/nodes/{}/time"),
    ("GET PUT", "/nodes/{}/dns"),
    ("GET POST", "/nodes/{}/hosts"),
    ("GET PUT", "/nodes/{}/config"),
    ("GET", "/nodes/{}/disks/list"),
    ("GET", "/nodes/{}/disks/zfs"),
    ("GET", "/nodes/{}/apt/repositories"),
    ("GET POST", "/nodes/{}/apt/update"),
    ("GET", "/nodes/{}/certificates/info"),
    ("GET", "/cluster/status"),
    ("GET", "/cluster/options"),
    ("GET POST", "/cluster/config"),
    ("GET POST", "/cluster/config/join"),
    ("GET", "/cluster/config/nodes"),
    ("POST DELETE", "/cluster/config/nodes/{}"),
    ("GET", "/cluster/config/qdevice"),
    ("GET", "/cluster/config/totem"),
    ("GET", "/cluster/config/apiversion"),
    ("GET POST PUT DELETE", "/nodes/{}/network"),
    ("GET PUT DELETE", "/nodes/{}/network/{}"),
    ("GET POST", "/storage"),
    ("GET PUT DELETE", "/storage/{}"),
    ("GET", "/nodes/{}/storage"),
    ("GET", "/nodes/{}/storage/{}/status"),
    ("GET", "/nodes/{}/scan/nfs"),
    ("GET POST", "/nodes/{}/storage/{}/content"),
    ("GET DELETE", "/nodes/{}/storage/{}/content/**"),
    ("POST", "/nodes/{}/storage/{}/download-url"),
    ("POST", "/nodes/{}/storage/{}/upload"),
    ("GET", "/nodes/{}/hardware/pci"),
    ("GET POST PUT DELETE", "/cluster/mapping/pci"),
    ("GET PUT DELETE", "/cluster/mapping/pci/{}"),
    ("GET", "/cluster/resources"),
    ("GET", "/cluster/nextid"),
    ("GET", "/cluster/tasks"),
    ("GET POST", "/nodes/{}/qemu"),
    ("GET DELETE", "/nodes/{}/qemu/{}"),
    ("GET PUT POST", "/nodes/{}/qemu/{}/config"),
    ("GET", "/nodes/{}/qemu/{}/pending"),
    ("GET PUT", "/nodes/{}/qemu/{}/cloudinit"),
    ("GET", "/nodes/{}/qemu/{}/cloudinit/dump"),
    ("PUT", "/nodes/{}/qemu/{}/resize"),
    ("POST", "/nodes/{}/qemu/{}/move_disk"),
    ("POST", "/nodes/{}/qemu/{}/clone"),
    ("POST", "/nodes/{}/qemu/{}/template"),
    ("GET POST", "/nodes/{}/qemu/{}/migrate"),
    ("GET POST", "/nodes/{}/qemu/{}/snapshot"),
    ("GET", "/nodes/{}/qemu/{}/status"),
    ("GET POST", "/nodes/{}/qemu/{}/status/{}"),
    ("GET", "/nodes/{}/qemu/{}/agent"),
    ("GET POST", "/nodes/{}/qemu/{}/agent/{}"),
    ("GET", "/nodes/{}/tasks"),
    ("GET DELETE", "/nodes/{}/tasks/{}"),
    ("GET", "/nodes/{}/tasks/{}/status"),
    ("GET", "/nodes/{}/tasks/{}/log"),
];

/// Whether the phases of today use an endpoint. What a client asks in vain (status 501) is for all of them.
pub(super) fn is_of_today(method: &str, path: &str) -> bool {
    SERVED.iter().any(|(methods, pattern)| methods.split(' ').any(|one| one == method) && fits(pattern, path))
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut given = path.split('/').filter(|part| !part.is_empty());
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        match (part, given.next()) {
            ("**", found) => return found.is_some(),
            ("{}", Some(_)) => {}
            (name, Some(one)) if name == one => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

/// A path with `{}` in the place of what stands for one thing of a kind.
pub(super) fn pattern(path: &str) -> String {
    let known = SERVED.iter().map(|(_, pattern)| *pattern).filter(|pattern| fits(pattern, path));
    // The pattern with the most names of its own says most.
    let best = known.filter(|pattern| !pattern.ends_with("**")).min_by_key(|pattern| pattern.matches("{}").count());
    best.map_or_else(|| generic(path), str::to_string)
}

/// The same for paths that are not listed: what follows a word for a collection is one of it.
fn generic(path: &str) -> String {
    const COLLECTIONS: [&str; 22] = [
        "nodes",
        "qemu",
        "tasks",
        "storage",
        "users",
        "token",
        "roles",
        "pci",
        "network",
        "pools",
        "groups",
        "snapshot",
        "backup",
        "rules",
        "ipset",
        "aliases",
        "resources",
        "services",
        "lxc",
        "zones",
        "usb",
        "dir",
    ];
    let mut before = "";
    let named = path.split('/').map(|part| {
        let name = if COLLECTIONS.contains(&before) && !part.is_empty() { "{}" } else { part };
        before = part;
        name
    });
    let path = named.collect::<Vec<_>>().join("/");
    // A volume's id has slashes of its own.
    path.split_once("/content/").map_or(path.clone(), |(head, _)| format!("{head}/content/{{}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_jobs_firewall_and_high_availability_come_later() {
        for path in ["/cluster/backup", "/cluster/firewall/rules", "/cluster/ha/resources", "/nodes/a/vzdump"] {
            assert!(!is_of_today("GET", path) && !is_of_today("POST", path), "{path}");
        }
        assert!(is_of_today("GET", "/nodes/a/storage/s/content/s:import/x.qcow2"));
        assert!(is_of_today("PUT", "/access/users/u@pve/token/t"));
    }

    #[test]
    fn an_endpoint_is_named_without_the_things_of_a_recording() {
        assert_eq!(pattern("/nodes/a/qemu/100/status/start"), "/nodes/{}/qemu/{}/status/{}");
        assert_eq!(pattern("/access/users/u@pve/token/t"), "/access/users/{}/token/{}");
        assert_eq!(pattern("/nodes/a/storage/s/content/s:iso/x"), "/nodes/{}/storage/{}/content/{}");
    }
}
