//! What the machine of the sequences has before one begins.

/// A package with a version, what it depends on, and whether it brings a service.
const PACKAGES: [(&str, &str, &str, bool); 6] = [
    ("lab-one", "1.0", "", false),
    ("lab-one", "2.0", "", false),
    ("lab-two", "1.0", "lab-one", false),
    ("lab-three", "1.0", "", false),
    ("lab-served", "1.0", "", true),
    ("lab-rival", "1.0", "", false),
];

/// Makes packages and a folder that apt takes them from, and nothing from elsewhere; and a repository of git.
pub fn prepare() -> String {
    let packages: String = PACKAGES
        .iter()
        .map(|(name, version, needs, serves)| {
            let needs = if needs.is_empty() { String::new() } else { format!("Depends: {needs}\\n") };
            let rival = if *name == "lab-rival" { "Conflicts: lab-three\\n" } else { "" };
            let unit = match serves {
                true => "mkdir -p pkg/lib/systemd/system; printf '[Service]\\nExecStart=/usr/bin/sleep 1000\\n\\n[Install]\\nWantedBy=multi-user.target\\n' > pkg/lib/systemd/system/lab-served.service\n",
                false => "",
            };
            format!(
                "rm -rf pkg; mkdir -p pkg/DEBIAN pkg/usr/share/{name}; echo {version} > pkg/usr/share/{name}/version\n{unit}\
                 printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: lab\\n{needs}{rival}Description: {name}\\n' > pkg/DEBIAN/control\n\
                 dpkg-deb --root-owner-group --build pkg {name}_{version}.deb > /dev/null\n\
                 {{ cat pkg/DEBIAN/control; printf 'Filename: ./{name}_{version}.deb\\nSize: %s\\nSHA256: %s\\n\\n' \
                 \"$(stat -c %s {name}_{version}.deb)\" \"$(sha256sum < {name}_{version}.deb | cut -c1-64)\"; }} >> Packages\n"
            )
        })
        .collect();
    format!(
        "set -e\nmkdir -p /srv/packages && cd /srv/packages\n{packages}chmod -R a+rX /srv/packages\n\
         rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*\n\
         echo 'deb [trusted=yes] file:/srv/packages ./' > /etc/apt/sources.list.d/lab.list\n\
         apt-get -q update > /dev/null\n\
         cd /proc/sys/kernel; for name in msgmax msgmnb; do mount --bind $name $name; mount -o remount,bind,rw $name; done\n\
         {GIT}"
    )
}

/// A repository of git with two branches and a tag.
const GIT: &str = "git init -q -b main /srv/origin && cd /srv/origin
git config user.name lab; git config user.email lab@example.org
echo one > a; git add a; git commit -q -m one; git tag v1
echo two > a; mkdir sub; echo b > sub/b; git add .; git commit -q -m two
git branch side v1; git checkout -q side; echo side > c; git add c; git commit -q -m side; git checkout -q main
git config --system safe.directory '*'
";

/// Takes it back there.
pub const RESET: &str = r#"exec 2>&1
for unit in lab-nap lab-doze lab-served; do systemctl -q stop $unit 2> /dev/null; systemctl -q disable $unit 2> /dev/null; done
rm -rf /etc/systemd/system/lab-*
systemctl daemon-reload
for mount in /mnt/lab-one /mnt/lab-two; do umount -q $mount; done
sed -i '/lab-/d' /etc/fstab
systemctl daemon-reload
rm -rf /mnt/lab-* /srv/lab /srv/git /etc/lab.conf /etc/cron.d/lab* /etc/sysctl.d/kernel.msg* /etc/sysctl.d/lab.conf
rm -f /etc/modprobe.d/lab* /etc/modules-load.d/lab* /etc/apt/sources.list.d/extra*
dpkg --purge --force-all lab-one lab-two lab-three lab-served lab-rival > /dev/null 2>&1
crontab -r 2> /dev/null; crontab -u ops -r 2> /dev/null
for user in lab-u1 lab-u2; do userdel -r $user 2> /dev/null; done
for group in lab-g1 lab-g2; do groupdel $group 2> /dev/null; done
rm -rf /home/lab-*
sed -i '/lab@/d' /root/.ssh/authorized_keys
hostname debian; echo debian > /etc/hostname
ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime; echo Etc/UTC > /etc/timezone
echo 8192 > /proc/sys/kernel/msgmax; echo 16384 > /proc/sys/kernel/msgmnb
mkdir -p /srv/lab
systemctl -q start cron
"#;

/// Somebody who does things by hand between two runs. None of them takes away what a sequence may stand on.
pub const BY_HAND: [&str; 16] = [
    "chmod 700 /srv/lab/*",
    "chown -R ops /srv/lab",
    "rm -f /srv/lab/one /srv/lab/a/one /srv/lab/links-*",
    "for f in /srv/lab/* /srv/lab/*/*; do [ -f $f ] && [ ! -L $f ] && echo more >> $f; done",
    "printf 'x=7\\nx=8\\n# homelab: nothing\\n' > /etc/lab.conf",
    "printf 'y = 1' >> /srv/lab/settings",
    "systemctl stop lab-nap lab-doze lab-served cron",
    "systemctl disable lab-nap lab-doze",
    "umount /mnt/lab-one",
    "echo 8000 > /proc/sys/kernel/msgmax",
    "usermod -s /bin/false -G '' lab-u1",
    "dpkg --remove --force-all lab-one",
    "crontab -r",
    "hostname drifted",
    "ln -sfn ../usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
    "cd /srv/git/one && git checkout -q v1; chown -R ops /srv/git/one",
];
