//! Privileges and the roles that come with Proxmox.

/// Every privilege of Proxmox VE 9.
const PRIVILEGES: &str = "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit \
    Group.Allocate Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate \
    Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify \
    Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU \
    VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console \
    VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite \
    VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback";

/// The privileges that `PVEAdmin` lacks.
const BEYOND_ADMIN: &str = "Mapping.Modify Permissions.Modify Realm.Allocate Sys.AccessNetwork Sys.Incoming Sys.Modify \
    Sys.PowerMgmt";

/// The roles that nobody can change, with their privileges. `Administrator` and `PVEAdmin` are computed.
const BUILT_IN: [(&str, &str); 17] = [
    ("Administrator", ""),
    ("NoAccess", ""),
    ("PVEAdmin", ""),
    ("PVEAuditor", "Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit VM.GuestAgent.Audit"),
    ("PVEDatastoreAdmin", "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit"),
    ("PVEDatastoreUser", "Datastore.AllocateSpace Datastore.Audit"),
    ("PVEMappingAdmin", "Mapping.Audit Mapping.Modify Mapping.Use"),
    ("PVEMappingUser", "Mapping.Audit Mapping.Use"),
    ("PVEPoolAdmin", "Pool.Allocate Pool.Audit"),
    ("PVEPoolUser", "Pool.Audit"),
    ("PVESDNAdmin", "SDN.Allocate SDN.Audit SDN.Use"),
    ("PVESDNUser", "SDN.Audit SDN.Use"),
    ("PVESysAdmin", "Sys.Audit Sys.Console Sys.Syslog"),
    ("PVETemplateUser", "VM.Audit VM.Clone"),
    ("PVEUserAdmin", "Group.Allocate Realm.AllocateUser User.Modify"),
    (
        "PVEVMAdmin",
        "VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk \
         VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit \
         VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted \
         VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback",
    ),
    (
        "PVEVMUser",
        "VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.GuestAgent.Audit VM.GuestAgent.FileRead \
         VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.PowerMgmt",
    ),
];

/// All privileges.
pub(crate) fn privileges() -> impl Iterator<Item = &'static str> {
    PRIVILEGES.split_whitespace()
}

/// Whether a privilege exists.
pub(crate) fn is_privilege(name: &str) -> bool {
    privileges().any(|known| known == name)
}

/// The names of the built-in roles.
pub(crate) fn built_in() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The privileges of a built-in role, or `None` when there is no such role.
pub(crate) fn of_built_in(role: &str) -> Option<Vec<&'static str>> {
    let (name, listed) = BUILT_IN.iter().find(|(name, _)| *name == role)?;
    Some(match *name {
        "Administrator" => privileges().collect(),
        "PVEAdmin" => {
            privileges().filter(|one| !BEYOND_ADMIN.split_whitespace().any(|beyond| beyond == *one)).collect()
        }
        _ => listed.split_whitespace().collect(),
    })
}

/// The roles of the homelab's automation user: where, which role, whether it reaches below, and what is in it.
pub(crate) const HOMELAB: [(&str, &str, bool, &str); 6] = [
    (
        "/vms",
        "HomelabVM",
        true,
        "VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk \
         VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit \
         VM.GuestAgent.FileRead VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Snapshot",
    ),
    (
        "/storage",
        "HomelabStore",
        true,
        "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit",
    ),
    ("/nodes", "HomelabNode", true, "Sys.Audit Sys.Modify Sys.PowerMgmt Sys.AccessNetwork Sys.Syslog"),
    ("/", "HomelabRoot", false, "Sys.Audit Sys.Modify"),
    ("/sdn/zones/localnetwork", "HomelabNet", true, "SDN.Use SDN.Audit"),
    ("/mapping/pci", "HomelabPci", true, "Mapping.Use Mapping.Audit Mapping.Modify"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_privilege_exists() {
        let listed = BUILT_IN.iter().map(|(_, list)| *list).chain(HOMELAB.iter().map(|(_, _, _, list)| *list));
        for list in listed.chain([BEYOND_ADMIN]) {
            assert!(list.split_whitespace().all(is_privilege), "{list}");
        }
    }

    #[test]
    fn the_privilege_that_version_9_dropped_is_gone() {
        assert!(!is_privilege("VM.Monitor"));
        assert_eq!(of_built_in("PVEAdmin").unwrap().len(), privileges().count() - 7);
    }
}
