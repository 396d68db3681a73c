//! What options are refused, and with which words. Handshakes are tested with real clients, on the whole program.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

fn options() -> TlsOptions {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    TlsOptions {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        ..TlsOptions::default()
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

#[track_caller]
fn refused(options: &TlsOptions) -> TlsError {
    TlsAcceptor::new(options).expect_err("these options should be refused")
}

#[test]
fn good_options_are_taken_and_tell_when_they_expire() {
    let acceptor = TlsAcceptor::new(&options()).unwrap();
    assert!(acceptor.expires().unwrap() > 1_700_000_000);
    let (ca, _) = authority();
    for client_certificates in [ClientCertificates::Optional, ClientCertificates::Required] {
        let client_ca = ca.clone().into_bytes();
        TlsAcceptor::new(&TlsOptions { client_certificates, client_ca, ..options() }).unwrap();
    }
}

#[test]
fn wrong_files_are_told_from_each_other() {
    let good = options();
    let certificate = refused(&TlsOptions { certificate: b"nothing".to_vec(), ..good.clone() });
    assert!(matches!(certificate, TlsError::NoCertificate(Part::Certificate)), "{certificate}");
    let rubbish = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n".to_vec();
    let certificate = refused(&TlsOptions { certificate: rubbish.clone(), ..good.clone() });
    assert_eq!(certificate.part(), Part::Certificate, "{certificate}");
    let key = refused(&TlsOptions { key: Vec::new(), ..good.clone() });
    assert!(matches!(key, TlsError::NoKey), "{key}");
    let key = refused(&TlsOptions { key: options().key, ..good.clone() });
    assert!(matches!(key, TlsError::KeyMismatch), "{key}");
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let key = refused(&TlsOptions { key: encrypted.to_vec(), ..good.clone() });
    assert!(matches!(key, TlsError::EncryptedKey), "{key}");
    let key = b"-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n".to_vec();
    assert!(matches!(refused(&TlsOptions { key, ..good.clone() }), TlsError::BadKey(_)));
    let asked = TlsOptions { client_certificates: ClientCertificates::Required, ..good };
    assert_eq!(refused(&asked).part(), Part::ClientCa);
    assert_eq!(refused(&TlsOptions { client_ca: rubbish, ..asked.clone() }).part(), Part::ClientCa);
    let (ca, _) = authority();
    let crl = refused(&TlsOptions { client_ca: ca.into_bytes(), crl: b"nothing".to_vec(), ..asked });
    assert!(matches!(crl, TlsError::BadCrl(_)), "{crl}");
}

#[test]
fn a_suite_is_picked_by_its_name() {
    let with = |names: &[&str], versions: &[TlsVersion]| {
        let suites = names.iter().map(|name| (*name).to_owned()).collect();
        TlsAcceptor::new(&TlsOptions { suites, versions: versions.to_vec(), ..options() })
    };
    let picked = with(&["TLS13_AES_128_GCM_SHA256"], &[]).unwrap().config();
    assert_eq!((picked.crypto_provider().cipher_suites.len(), picked.ignore_client_order), (1, true));
    assert!(!TlsAcceptor::new(&options()).unwrap().config().ignore_client_order);
    let unknown = with(&["AES"], &[]).unwrap_err();
    assert!(unknown.to_string().starts_with("`AES` is no cipher suite; known are TLS13_"), "{unknown}");
    let nothing = with(&["TLS13_AES_128_GCM_SHA256"], &[TlsVersion::V1_2]).unwrap_err();
    assert!(matches!(nothing, TlsError::NothingInCommon), "{nothing}");
}

#[test]
fn a_failed_replacement_leaves_the_old_options_in_force() {
    let acceptor = TlsAcceptor::new(&options()).unwrap();
    let before = Arc::as_ptr(&acceptor.0.load().config);
    acceptor.replace(&TlsOptions { key: Vec::new(), ..options() }).unwrap_err();
    assert_eq!(Arc::as_ptr(&acceptor.0.load().config), before);
    acceptor.replace(&options()).unwrap();
    assert_ne!(Arc::as_ptr(&acceptor.0.load().config), before);
}

#[test]
fn a_name_that_no_user_can_have_is_none() {
    assert_eq!(user_name("kitchen".to_owned()).as_deref(), Some("kitchen"));
    for name in ["", "a\nb", "a\0b", &"x".repeat(1025)] {
        assert_eq!(user_name(name.to_owned()), None, "{name:?}");
    }
}
