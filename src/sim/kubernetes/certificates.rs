//! The authorities of a Kubernetes cluster, and what they vouch for.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::sim::chance::{hex, sha256};

/// How long certificates hold, in seconds.
pub(crate) const YEAR: u64 = 365 * 86_400;

/// How long before their end they are made anew when K3s starts, in seconds.
const RENEWED_WITHIN: u64 = 120 * 86_400;

/// An authority.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Authority {
    /// `k3s-server-ca@1764288000`
    name: String,
    pub(crate) pem: String,
    key: String,
    /// When it was made, in seconds.
    made: u64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A certificate and its key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pair {
    /// The certificate, and those of its authority.
    pub(crate) chain: String,
    pub(crate) key: String,
    /// The SHA-256 of the certificate.
    pub(crate) fingerprint: String,
    /// The names that it is for.
    pub(crate) names: Vec<String>,
    /// When it ends, in seconds.
    pub(crate) until: u64,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("names", &self.names).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Pair {
    /// Whether K3s makes it anew when it starts at this second.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.until < now + RENEWED_WITHIN
    }
}

/// Whom a certificate is for.
pub(crate) enum Holder<'a> {
    /// A server with these names and addresses.
    Server(&'a [String]),
    /// A user with groups.
    Client(&'a str, &'a [&'a str]),
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::new(Class::Bug, "simulator: a certificate of Kubernetes cannot be made").cause(error)
}

fn lasting(mut params: CertificateParams, from: u64, until: u64) -> CertificateParams {
    let begin = date_time_ymd(1970, 1, 1);
    params.not_before = begin + Duration::from_secs(from);
    params.not_after = begin + Duration::from_secs(until);
    params
}

impl Authority {
    /// A new one, made at this second.
    pub(crate) fn new(name: &str, now: u64) -> Result<Self> {
        let key = KeyPair::generate().map_err(wrong)?;
        let name = format!("{name}@{now}");
        let pem = Authority::params(&name, now).self_signed(&key).map_err(wrong)?.pem();
        Ok(Authority { name, pem, key: key.serialize_pem(), made: now })
    }

    fn params(name: &str, made: u64) -> CertificateParams {
        let mut params = lasting(CertificateParams::default(), made, made + 10 * YEAR);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// Vouches for somebody for a year from this second on.
    pub(crate) fn issue(&self, holder: &Holder<'_>, from: u64) -> Result<Pair> {
        self.issue_until(holder, from, from + YEAR)
    }

    /// A certificate for names, with the authority's own, and its key.
    pub(crate) fn for_names(&self, names: &[String], from: u64, until: u64) -> Option<(String, String)> {
        let pair = self.issue_until(&Holder::Server(names), from, until).ok()?;
        Some((pair.chain, pair.key))
    }

    /// Vouches for somebody from one second to another.
    pub(crate) fn issue_until(&self, holder: &Holder<'_>, from: u64, until: u64) -> Result<Pair> {
        let issuer =
            Issuer::new(Authority::params(&self.name, self.made), KeyPair::from_pem(&self.key).map_err(wrong)?);
        let key = KeyPair::generate().map_err(wrong)?;
        let mut params = lasting(CertificateParams::default(), from, until);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match holder {
            Holder::Server(names) => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.distinguished_name.push(DnType::OrganizationName, "k3s");
                params.distinguished_name.push(DnType::CommonName, "k3s");
                for name in *names {
                    params.subject_alt_names.push(match name.parse::<IpAddr>() {
                        Ok(address) => SanType::IpAddress(address),
                        Err(_) => SanType::DnsName(Ia5String::try_from(name.clone()).map_err(wrong)?),
                    });
                }
            }
            Holder::Client(user, groups) => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                for group in *groups {
                    params.distinguished_name.push(DnType::OrganizationName, *group);
                }
                params.distinguished_name.push(DnType::CommonName, *user);
            }
        }
        let certificate = params.signed_by(&key, &issuer).map_err(wrong)?;
        let names = match holder {
            Holder::Server(names) => names.to_vec(),
            Holder::Client(user, _) => vec![(*user).to_owned()],
        };
        Ok(Pair {
            chain: certificate.pem() + self.pem.as_str(),
            key: key.serialize_pem(),
            fingerprint: fingerprint(certificate.der()),
            names,
            until,
        })
    }
}

/// The SHA-256 of a certificate.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex(&sha256(der))
}

/// The file that an administrator connects with.
pub(crate) fn kubeconfig(server_ca: &str, admin: &Pair) -> String {
    let [ca, certificate, key] = [server_ca, &admin.chain, &admin.key].map(|text| BASE64_STANDARD.encode(text));
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    server: https://127.0.0.1:6443\n  name: default\ncontexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\nkind: Config\nusers:\n- name: default\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}
