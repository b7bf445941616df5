//! The check of a configuration by the SSH server. Being one is the machine's own business.

use super::Options;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// What a configuration can say, in small letters.
const KEYWORDS: &str = "acceptenv addressfamily allowagentforwarding allowgroups allowstreamlocalforwarding \
    allowtcpforwarding allowusers authenticationmethods authorizedkeyscommand authorizedkeyscommanduser authorizedkeysfile \
    authorizedprincipalscommand authorizedprincipalscommanduser authorizedprincipalsfile banner casignaturealgorithms \
    channeltimeout chrootdirectory ciphers clientalivecountmax clientaliveinterval compression denygroups denyusers \
    disableforwarding exposeauthinfo fingerprinthash forcecommand gatewayports gssapiauthentication \
    gssapicleanupcredentials gssapistrictacceptorcheck hostbasedacceptedalgorithms hostbasedauthentication \
    hostbasedusesnamefrompacketonly hostcertificate hostkey hostkeyagent hostkeyalgorithms ignorerhosts \
    ignoreuserknownhosts include ipqos kbdinteractiveauthentication kerberosauthentication kerberosgetafstoken \
    kerberosorlocalpasswd kerberosticketcleanup kexalgorithms listenaddress logingracetime loglevel logverbose macs match \
    maxauthtries maxsessions maxstartups modulifile passwordauthentication permitemptypasswords permitlisten permitopen \
    permitrootlogin permittty permittunnel permituserenvironment permituserrc persourcemaxstartups \
    persourcenetblocksize persourcepenalties pidfile port printlastlog printmotd pubkeyacceptedalgorithms \
    pubkeyauthentication pubkeyauthoptions rdomain rekeylimit requiredrsasize revokedkeys securitykeyprovider setenv \
    sshdsessionpath streamlocalbindmask streamlocalbindunlink strictmodes subsystem syslogfacility tcpkeepalive \
    trustedusercakeys unusedconnectiontimeout usedns usepam versionaddendum x11displayoffset x11forwarding \
    x11uselocalhost xauthlocation challengeresponseauthentication debianbanner";

/// `sshd -t [-f FILE]`: whether every line begins with something that it knows.
pub fn sshd(p: &Process) -> Exit {
    let options = Options::parse(p, "tf:", &[])?;
    if !options.has('t') {
        return not_simulated("sshd without -t");
    }
    let file = options.value('f').unwrap_or("/etc/ssh/sshd_config");
    let Ok(content) = p.input(file) else {
        return fail(format!("{file}: No such file or directory"));
    };
    let text = String::from_utf8_lossy(&content);
    let mut wrong = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let word = line.trim_start().split([' ', '\t', '=']).next().unwrap_or_default();
        let is_known = KEYWORDS.split_whitespace().any(|known| known.eq_ignore_ascii_case(word));
        if !word.is_empty() && !word.starts_with('#') && !is_known {
            wrong += 1;
            p.err(format!("{file}: line {number}: Bad configuration option: {word}\n"));
        }
    }
    if wrong > 0 {
        p.err(format!("{file}: terminating, {wrong} bad configuration options\n"));
        return Ok(255);
    }
    Ok(0)
}
