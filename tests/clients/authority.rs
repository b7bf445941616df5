//! A certificate authority that signed nothing here.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::lab::Lab;

/// The file of one that has the name of the simulator's own, and another key.
pub fn other(lab: &Lab) -> PathBuf {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Proxmox Virtual Environment");
    let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
    let path = lab.path(&format!("other-{:?}.pem", std::thread::current().id()));
    std::fs::write(&path, certificate.pem()).expect("written");
    path
}
