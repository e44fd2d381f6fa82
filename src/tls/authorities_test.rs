use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
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
    assert_eq!(known.count(), 1);
    for (side, right, wrong) in [(Side::Server, ServerAuth, ClientAuth), (Side::Client, ClientAuth, ServerAuth)] {
        let verify = |by, purpose: &[ExtendedKeyUsagePurpose]| word(&known, &[signed(by, purpose)], side);
        assert_eq!(verify(&good, std::slice::from_ref(&right)), Verify::Ok);
        assert_eq!(verify(&good, &[]), Verify::Ok);
        assert_eq!(verify(&good, &[wrong]), Verify::Fail);
        // The same name and another key.
        assert_eq!(verify(&other, &[right]), Verify::Fail);
        assert_eq!(word(&known, &[], side), Verify::No);
        assert_eq!(word(&Authorities::default(), &[signed(&good, &[])], side), Verify::Fail);
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
