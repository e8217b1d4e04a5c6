//! The certificate that `init` makes: a CA of the vault's own, and a server
//! certificate that it signs.

use std::net::IpAddr;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use strongroom_hsm::SecretBytes;

/// Days that the CA is valid.
const CA_DAYS: u32 = 3_650;
/// Days that the server certificate is valid; clients refuse longer ones.
const SERVER_DAYS: u32 = 397;

/// What `init` stores.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca: Vec<u8>,
    pub(super) ca_key: SecretBytes,
    pub(super) server: Vec<u8>,
    pub(super) server_key: SecretBytes,
}

/// Makes a CA and a certificate for these host names and addresses.
pub(super) fn make(vault: &str, names: &[String]) -> Result<Certificates, ErrorStack> {
    let ca_key = key()?;
    let mut builder = begin(&format!("Strongroom CA {vault}"), CA_DAYS, &ca_key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    let ca_name = name(&format!("Strongroom CA {vault}"))?;
    builder.set_issuer_name(&ca_name)?;
    builder.sign(&ca_key, MessageDigest::sha256())?;
    let ca = builder.build();

    let server_key = key()?;
    let common = names.first().map_or("strongroom", String::as_str);
    let mut builder = begin(common, SERVER_DAYS, &server_key)?;
    builder.set_issuer_name(ca.subject_name())?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        if name.parse::<IpAddr>().is_ok() {
            alternatives.ip(name);
        } else {
            alternatives.dns(name);
        }
    }
    let alternatives = alternatives.build(&builder.x509v3_context(Some(&ca), None))?;
    builder.append_extension(alternatives)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(Some(&ca), None))?;
    builder.append_extension(identifier)?;
    let authority =
        AuthorityKeyIdentifier::new().keyid(true).build(&builder.x509v3_context(Some(&ca), None))?;
    builder.append_extension(authority)?;
    builder.sign(&ca_key, MessageDigest::sha256())?;
    let server = builder.build();

    Ok(Certificates {
        ca: ca.to_pem()?,
        ca_key: SecretBytes::from_vec(ca_key.private_key_to_pem_pkcs8()?),
        server: [server.to_pem()?, ca.to_pem()?].concat(),
        server_key: SecretBytes::from_vec(server_key.private_key_to_pem_pkcs8()?),
    })
}

fn key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn name(common: &str) -> Result<openssl::x509::X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Strongroom")?;
    // A common name has at most 64 characters (RFC 5280 appendix A).
    let common: String = common.chars().take(64).collect();
    name.append_entry_by_nid(Nid::COMMONNAME, &common)?;
    Ok(name.build())
}

fn begin(common: &str, days: u32, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&*name(common)?)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(days)?)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}
