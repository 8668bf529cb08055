//! The throwaway keys of an API server.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::write_private;

/// Writes `ca.crt`, `server.{crt,key}` for `address` and the loopback interface,
/// `admin.{crt,key}` for a member of `system:masters`, and `tokens.{pub,key}` that tokens of
/// service accounts are signed with.
pub(super) fn write(folder: &Path, address: IpAddr) -> anyhow::Result<()> {
    let save = |name: &str, text: String| write_private(&folder.join(name), &text);

    let mut params = named("brindle lab")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().context("no key")?;
    save("ca.crt", params.self_signed(&key).context("no certificate")?.pem())?;
    let issuer = Issuer::new(params, key);

    let sign = |name: &str, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().context("no key")?;
        let signed = params.signed_by(&key, &issuer).context("no certificate")?;
        save(&format!("{name}.crt"), signed.pem())?;
        save(&format!("{name}.key"), key.serialize_pem())
    };
    let mut server = named("kube-apiserver")?;
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    for name in names {
        server.subject_alt_names.push(SanType::DnsName(name.try_into().context("a DNS name")?));
    }
    let loopback = IpAddr::from([127, 0, 0, 1]);
    server.subject_alt_names.push(SanType::IpAddress(loopback));
    if address != loopback {
        server.subject_alt_names.push(SanType::IpAddress(address));
    }
    sign("server", server, ExtendedKeyUsagePurpose::ServerAuth)?;
    let mut admin = named("admin")?;
    admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
    sign("admin", admin, ExtendedKeyUsagePurpose::ClientAuth)?;

    let tokens = KeyPair::generate().context("no key")?;
    save("tokens.pub", tokens.public_key_pem())?;
    save("tokens.key", tokens.serialize_pem())
}

fn named(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("a certificate")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
