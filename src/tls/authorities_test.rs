use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SigningKey as _,
};
use std::time::Duration;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn authority(name: &str) -> Issuer {
    let mut parameters = parameters(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &Issuer, purpose: &[ExtendedKeyUsagePurpose]) -> CertificateDer<'static> {
    let mut parameters = parameters("mail.test");
    parameters.extended_key_usages = purpose.to_vec();
    parameters.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
}

fn word(authorities: &Authorities, chain: &[CertificateDer<'static>], side: Side) -> Verify {
    authorities.judge(chain, side, UnixTime::now()).0
}

#[test]
fn an_authority_vouches_for_whom_it_has_signed() {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let (good, other) = (authority("good"), authority("good"));
    let known = Authorities::from_pem(format!("{}\nnoise\n", good.pem()).as_bytes()).unwrap();
    assert_eq!((known.listed.len(), known.roots.len()), (1, 1));
    for (side, right, wrong) in [(Side::Server, ServerAuth, ClientAuth), (Side::Client, ClientAuth, ServerAuth)] {
        let verify = |by, purpose: &[ExtendedKeyUsagePurpose]| word(&known, &[signed(by, purpose)], side);
        assert_eq!(verify(&good, std::slice::from_ref(&right)), Verify::Ok);
        assert_eq!(verify(&good, &[]), Verify::Ok);
        assert_eq!(verify(&good, &[wrong]), Verify::Fail);
        // The same name and another key.
        assert_eq!(verify(&other, &[right]), Verify::Fail);
        assert_eq!(word(&known, &[], side), Verify::No);
        let own = signed(&good, &[]);
        let (early, late) = (UnixTime::since_unix_epoch(Duration::ZERO), Duration::from_secs(1 << 38));
        assert_eq!(known.judge(std::slice::from_ref(&own), side, early).0, Verify::Fail);
        assert_eq!(known.judge(&[own], side, UnixTime::since_unix_epoch(late)).0, Verify::Fail);
    }
    let (_, shown) = known.judge(&[signed(&good, &[])], Side::Server, UnixTime::now());
    let shown = shown.unwrap();
    assert_eq!((&shown.subject[..], &shown.issuer[..], &shown.name[..]), ("/CN=mail.test", "/CN=good", "mail.test"));
    assert_eq!(shown.hosts, ["mail.test"]);
}

#[test]
fn the_authorities_between_are_those_that_are_shown() {
    let root = authority("root");
    let mut middle = parameters("middle");
    middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &root).unwrap();
    let leaf = parameters("leaf").signed_by(&KeyPair::generate().unwrap(), &middle).unwrap().der().clone();
    let known = Authorities::from_pem(root.pem().as_bytes()).unwrap();
    for side in [Side::Server, Side::Client] {
        assert_eq!(word(&known, std::slice::from_ref(&leaf), side), Verify::Fail);
        assert_eq!(word(&known, &[leaf.clone(), middle.der().clone()], side), Verify::Ok);
    }
}

#[test]
fn a_file_of_authorities_may_name_a_host_itself() {
    for authority in [false, true] {
        let mut own = parameters("self.test");
        own.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let known = Authorities::from_pem(own.pem().as_bytes()).unwrap();
        let stranger = parameters("self.test").self_signed(&KeyPair::generate().unwrap()).unwrap();
        for side in [Side::Server, Side::Client] {
            assert_eq!(word(&known, &[own.der().clone()], side), Verify::Ok, "authority: {authority}");
            assert_eq!(word(&known, &[stranger.der().clone()], side), Verify::Fail);
            let late = UnixTime::since_unix_epoch(Duration::from_secs(1 << 38));
            assert_eq!(known.judge(&[own.der().clone()], side, late).0, Verify::Fail);
        }
    }
}

/// Leaves signed with `key` in this name, as a client and as a server would show them with `between`.
fn words(known: &Authorities, name: &str, key: &KeyPair, between: &[CertificateDer<'static>]) -> [Verify; 2] {
    // Without usages of its own, for rcgen signs with no key that may not.
    let by = rcgen::Issuer::new(parameters(name), key);
    let leaf = parameters("mail.test").signed_by(&KeyPair::generate().unwrap(), &by).unwrap().der().clone();
    let chain: Vec<_> = std::iter::once(leaf).chain(between.iter().cloned()).collect();
    [Side::Server, Side::Client].map(|side| word(known, &chain, side))
}

/// What a certificate says of itself, and whether it may sign for others.
fn kinds() -> [(IsCa, Vec<KeyUsagePurpose>, Verify); 7] {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign};
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    [
        (ca, Vec::new(), Verify::Ok),
        (ca, vec![DigitalSignature, KeyCertSign], Verify::Ok),
        (ca, vec![DigitalSignature, CrlSign], Verify::Fail),
        (IsCa::NoCa, Vec::new(), Verify::Fail),
        (IsCa::NoCa, vec![KeyCertSign], Verify::Fail),
        (IsCa::ExplicitNoCa, Vec::new(), Verify::Fail),
        (IsCa::ExplicitNoCa, vec![KeyCertSign], Verify::Fail),
    ]
}

#[test]
fn who_is_no_authority_counts_for_itself_only() {
    for (is_ca, key_usages, verify) in kinds() {
        let what = format!("{is_ca:?} {key_usages:?}");
        let (key, mut own) = (KeyPair::generate().unwrap(), parameters("own.test"));
        (own.is_ca, own.key_usages) = (is_ca, key_usages);
        let own = own.self_signed(&key).unwrap();
        let alone = Authorities::from_pem(own.pem().as_bytes()).unwrap();
        let beside = Authorities::from_pem(format!("{}{}", authority("good").pem(), own.pem()).as_bytes()).unwrap();
        for known in [alone, beside] {
            assert_eq!(words(&known, "own.test", &key, &[]), [verify; 2], "{what}");
            assert_eq!(words(&known, "own.test", &key, &[own.der().clone()]), [verify; 2], "{what}, shown");
            let itself = [Side::Server, Side::Client].map(|side| word(&known, &[own.der().clone()], side));
            assert_eq!(itself, [Verify::Ok; 2], "{what}");
        }
    }
}

#[test]
fn an_authority_between_must_be_one_and_have_a_key_for_it() {
    let root = authority("root");
    let known = Authorities::from_pem(root.pem().as_bytes()).unwrap();
    for (is_ca, key_usages, verify) in kinds() {
        let what = format!("{is_ca:?} {key_usages:?}");
        let (key, mut middle) = (KeyPair::generate().unwrap(), parameters("middle"));
        (middle.is_ca, middle.key_usages) = (is_ca, key_usages);
        let middle = middle.signed_by(&key, &root).unwrap().der().clone();
        assert_eq!(words(&known, "middle", &key, &[middle]), [verify; 2], "{what}");
    }
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length: &[u8] = match (high, low) {
        (0, 0..0x80) => &[low],
        (0, _) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, &content].concat()
}

/// A certificate of version 1, which rcgen does not make: no version and no extensions.
fn version_1(name: &str, issuer: &str, key: &KeyPair) -> CertificateDer<'static> {
    let newer = |name| parameters(name).self_signed(key).unwrap().der().clone();
    let (own, issuer) = (newer(name), newer(issuer));
    let (own, issuer) = (x509(&own).unwrap(), x509(&issuer).unwrap());
    let ecdsa_with_sha256 = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let (from, to) = (der(0x17, &[b"200101000000Z"]), der(0x17, &[b"490101000000Z"]));
    let (validity, names) = (der(0x30, &[&from, &to]), (issuer.subject().as_raw(), own.subject().as_raw()));
    let body = [b"\x02\x01\x01", &ecdsa_with_sha256[..], names.0, &validity, names.1, own.public_key().raw];
    let body = der(0x30, &body);
    let signature = der(0x03, &[b"\0", &key.sign(&body).unwrap()]);
    CertificateDer::from(der(0x30, &[&body, ecdsa_with_sha256, &signature]))
}

#[test]
fn a_root_of_version_1_is_an_authority_if_it_names_itself() {
    let key = KeyPair::generate().unwrap();
    for (issuer, verify) in [("old", Verify::Ok), ("else", Verify::Fail)] {
        let known = Authorities::of(std::iter::once(version_1("old", issuer, &key)), UnixTime::now()).unwrap();
        assert_eq!(known.listed.len(), 1);
        assert_eq!(words(&known, "old", &key, &[]), [verify; 2], "issued by {issuer}");
        assert_eq!(words(&known, "old", &KeyPair::generate().unwrap(), &[]), [Verify::Fail; 2]);
    }
}

#[test]
fn without_authorities_nobody_can_be_judged() {
    let (none, good) = (Authorities::default(), authority("good"));
    for side in [Side::Server, Side::Client] {
        let (verify, shown) = none.judge(&[signed(&good, &[])], side, UnixTime::now());
        assert_eq!((verify, shown.unwrap().issuer), (Verify::Temp, "/CN=good".to_owned()));
        // These need none.
        assert_eq!(word(&none, &[], side), Verify::No);
        assert_eq!(word(&none, &[CertificateDer::from(b"\x30\x03\x02\x01".to_vec())], side), Verify::Fail);
    }
}

#[test]
fn what_cannot_be_read_is_trusted_in_nothing() {
    let good = authority("good");
    let known = Authorities::from_pem(good.pem().as_bytes()).unwrap();
    let own = signed(&good, &[]);
    let mut longer = own.to_vec();
    longer.push(0);
    for bytes in [Vec::new(), b"\x30\x03\x02\x01".to_vec(), own[..own.len() - 1].to_vec(), longer] {
        let (verify, shown) = known.judge(&[CertificateDer::from(bytes)], Side::Client, UnixTime::now());
        assert_eq!((verify, shown), (Verify::Fail, None));
    }
    let mut expired = parameters("old");
    expired.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = expired.self_signed(&KeyPair::generate().unwrap()).unwrap();
    for nothing in [String::new(), "noise".to_owned(), expired.pem()] {
        assert_eq!(Authorities::from_pem(nothing.as_bytes()).unwrap_err(), Error::NoAuthorities);
    }
}
