//! Names in certificates, in sendmail's encoding (sendmail.md 3.3): OpenSSL's one line, `/C=US/O=example/CN=Darth Mail`, with everything in it
//! that could mean something to a table as `+HH`. Called by `authorities`.

use mail::Certificate;
use std::fmt::Write as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

/// Longest name that is told; what is longer matches nothing.
const LONGEST: usize = 1_000;
/// Most host names of one certificate.
const HOSTS: usize = 100;
/// In place of a name that is too long, in sendmail's word.
const TOO_LONG: &str = "BadCertificateTooLong";

/// OpenSSL's short names of what stands in names; anything else is shown by its number.
const SHORT: [(&str, &str); 22] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// Whose certificate it is.
pub(crate) fn certificate(parsed: &X509Certificate<'_>) -> Certificate {
    let name = parsed.subject().iter_common_name().next().map(|name| encoded(name.as_slice(), false));
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let hosts = alternatives.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(host) if host.len() < LONGEST => Some(encoded(host.as_bytes(), false)),
        _ => None,
    });
    Certificate {
        subject: one_line(parsed.subject()),
        issuer: one_line(parsed.issuer()),
        name: name.filter(|name| name.len() <= LONGEST).unwrap_or_default(),
        hosts: hosts.take(HOSTS).collect(),
    }
}

fn one_line(name: &X509Name<'_>) -> String {
    let mut line = String::new();
    for part in name.iter_attributes() {
        if part.as_slice().len() > LONGEST {
            return TOO_LONG.to_owned();
        }
        let number = part.attr_type().to_id_string();
        let short = SHORT.iter().find(|(known, _)| *known == number).map_or(&number[..], |(_, short)| short);
        let _infallible = write!(line, "/{short}={}", encoded(part.as_slice(), true));
        if line.len() > LONGEST {
            return TOO_LONG.to_owned();
        }
    }
    line
}

/// A value as it stands in tables. In a `line`, a slash that looks like the beginning of another part is encoded as well, as OpenSSL does
/// not: who is called `x/CN=root` is not to be taken for root.
fn encoded(value: &[u8], line: bool) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, &byte) in value.iter().enumerate() {
        let begins_a_part = line && byte == b'/' && looks_like_a_part(value.get(at + 1..).unwrap_or_default());
        let _infallible = match byte {
            // OpenSSL's form of what is not printable; then its backslash is encoded.
            b if !(b' '..=b'~').contains(&b) => write!(text, "+5Cx{b:02X}"),
            b' ' | b'+' | b'\\' | b'(' | b')' | b'<' | b'>' | b'"' => write!(text, "+{byte:02X}"),
            b'/' if begins_a_part => write!(text, "+2F"),
            b => write!(text, "{}", char::from(b)),
        };
    }
    text
}

/// `CN=…`, `1.2.3=…`: looked at as far as the longest short name goes.
fn looks_like_a_part(rest: &[u8]) -> bool {
    let end = rest.iter().take(64).position(|b| !b.is_ascii_alphanumeric() && *b != b'.');
    end.is_some_and(|end| end > 0 && rest.get(end) == Some(&b'='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn shown(parts: &[(DnType, &str)], hosts: &[&str]) -> Certificate {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut parameters = CertificateParams::new(hosts).unwrap();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        let der = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(der.der()).unwrap();
        certificate(&parsed)
    }

    #[test]
    fn a_name_is_written_as_sendmail_writes_it() {
        use DnType::{CommonName, CountryName, OrganizationName, StateOrProvinceName};
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let shown = shown(
            &[
                (CountryName, "US"),
                (StateOrProvinceName, "California"),
                (OrganizationName, "A/S \"x\" <é>"),
                (CommonName, "Darth Mail (Cert)"),
                (email, "darth+cert@endmail.org"),
                (DnType::CustomDnType(vec![1, 2, 3]), "odd"),
            ],
            &["mail.endmail.org", "*.endmail.org"],
        );
        let name = "/C=US/ST=California/O=A/S+20+22x+22+20+3C+5CxC3+5CxA9+3E/CN=Darth+20Mail+20+28Cert+29\
                    /emailAddress=darth+2Bcert@endmail.org/1.2.3=odd";
        assert_eq!((&shown.subject[..], &shown.issuer[..]), (name, name));
        assert_eq!(shown.name, "Darth+20Mail+20+28Cert+29");
        assert_eq!(shown.hosts, ["mail.endmail.org", "*.endmail.org"]);
    }

    #[test]
    fn nobody_has_another_ones_name() {
        let part = |value: &str| shown(&[(DnType::CommonName, value)], &[]).subject;
        assert_eq!(part("x/CN=root"), "/CN=x+2FCN=root");
        assert_eq!(part("x/2.5.4.3=root"), "/CN=x+2F2.5.4.3=root");
        assert_eq!(part("root\0.evil.test"), "/CN=root+5Cx00.evil.test");
        assert_eq!(part(&"x".repeat(2_000)), TOO_LONG);
        assert_eq!(part(&"(".repeat(900)), TOO_LONG);
        assert_eq!(shown(&[], &[]), Certificate::default());
    }
}
