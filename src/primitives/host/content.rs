//! What playbooks call on a host to change what its files and its kernel hold.

use rhai::Engine;
use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::{
    block, cron, download, files, git_checkout, hostname, kernel_module, line, link, mount, sysctl, timezone, upload,
};

/// Teaches the engine these methods.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// The options of each of them.
pub fn schemas() -> [(&'static str, Schema); 13] {
    [
        ("link", schema_for!(link::LinkOptions)),
        ("line", schema_for!(line::LineOptions)),
        ("block", schema_for!(block::BlockOptions)),
        ("mount", schema_for!(mount::MountOptions)),
        ("files", schema_for!(files::FilesOptions)),
        ("cron", schema_for!(cron::CronOptions)),
        ("git_checkout", schema_for!(git_checkout::GitCheckoutOptions)),
        ("Host.download", schema_for!(download::DownloadOptions)),
        ("upload", schema_for!(upload::UploadOptions)),
        ("sysctl", schema_for!(sysctl::SysctlOptions)),
        ("kernel_module", schema_for!(kernel_module::KernelModuleOptions)),
        ("hostname", schema_for!(hostname::HostnameOptions)),
        ("timezone", schema_for!(timezone::TimezoneOptions)),
    ]
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use super::super::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Makes a symbolic link, leads one elsewhere, or removes it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.link(#{ path: "/usr/local/bin/kubectl", target: "/usr/local/bin/k3s" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn link(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::link::link(&context, host, options)
    }

    /// Sees to it that a line is in a text file, in place of another one where a pattern is given, or that it is not.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.line(#{ path: "/etc/ssh/sshd_config", regexp: "^#?PasswordAuthentication", line: "PasswordAuthentication no",
    ///     validate: "sshd -t -f %s" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn line(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::line::line(&context, host, options)
    }

    /// Sees to it that a block of lines is in a text file, between two lines that mark it by its name, or that it is not.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.block(#{ path: "/etc/hosts", name: "lab", content: "192.0.2.10 nas\n192.0.2.11 printer\n" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn block(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::block::block(&context, host, options)
    }

    /// Gives a parameter of the kernel this value, now and at each boot.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.sysctl(#{ name: "net.ipv4.ip_forward", value: 1 });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn sysctl(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::sysctl::sysctl(&context, host, options)
    }

    /// Loads a module of the kernel, now and at each boot, or unloads it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.kernel_module(#{ name: "br_netfilter" });
    /// host.kernel_module(#{ name: "nouveau", absent: true, blacklist: true });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn kernel_module(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::kernel_module::kernel_module(&context, host, options)
    }

    /// Gives the host a name, now and at each boot.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.hostname(#{ name: "pve-01" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn hostname(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::hostname::hostname(&context, host, options)
    }

    /// Puts the host into a time zone.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.timezone(#{ name: "Europe/Berlin" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn timezone(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::timezone::timezone(&context, host, options)
    }

    /// Sees to it that cron runs a command at certain times, or that it does not: in a user's crontab, or in a file of
    /// `/etc/cron.d`.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.cron(#{ name: "backup", job: "/usr/local/bin/backup", hour: 3, minute: 15 });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn cron(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::cron::cron(&context, host, options)
    }

    /// Keeps a working tree of git at a branch, a tag or a commit. One in which somebody changed files is not touched.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.git_checkout(#{ repo: "https://git.example.org/app.git", path: "/opt/app", revision: "v1.2" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn git_checkout(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::git_checkout::git_checkout(&context, host, options)
    }

    /// Has the host fetch a file from the web. It only takes its place with the right checksum.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.download(#{
    ///     url: "https://example.com/tool-1.2", path: "/usr/local/bin/tool", mode: "0755",
    ///     checksum: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    /// });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn download(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::download::download(&context, host, options)
    }

    /// Sends a local file of any size. It is compared by its hash first, and sent in pieces that need little memory.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.upload(#{ source: "files/image.raw", path: "/root/image.raw" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn upload(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::upload::upload(&context, host, options)
    }

    /// Gives many files below a folder their contents at once: they are compared in one question, and those that differ
    /// are sent as one bundle.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.files(#{ path: "/etc/app", files: #{ "app.conf": "port = 80\n", "conf.d/log.conf": "level = info\n" } });
    /// host.files(#{ path: "/srv/www", source: "files/www", owner: "www-data" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn files(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::files::files(&context, host, options)
    }

    /// Mounts a file system, now and at each boot, or unmounts it and takes it out of `/etc/fstab`.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.mount(#{ path: "/mnt/cache", src: "tmpfs", fstype: "tmpfs", opts: "mode=0755,nosuid,nodev" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn mount(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::mount::mount(&context, host, options)
    }
}
