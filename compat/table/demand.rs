//! What `TLS_Srv:`, `TLS_Clt:` and `TLS_Rcpt:` demand (sendmail.md 3.3): `[PERM+|TEMP+]VERIFY[:bits]` or `ENCR:bits`, perhaps with
//! `+CN:name` and the like, which are about a verified certificate. Called by `access` and `check_access`.

use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag_no_case;
use nom::character::complete::{char, u32};
use nom::combinator::{map, opt, value};
use nom::sequence::preceded;
use table::Demand;

/// The demand, if `text` makes one: any other text demands nothing, as in sendmail.
pub(crate) fn demand(text: &str) -> Option<Demand> {
    parse(text.trim()).ok().map(|(_, demand)| demand)
}

fn parse(text: &str) -> IResult<&str, Demand> {
    let permanent = alt((value(true, tag_no_case("PERM+")), value(false, tag_no_case("TEMP+"))));
    let verify = (tag_no_case("VERIFY"), opt(preceded(char(':'), u32)));
    let encrypt = preceded(tag_no_case("ENCR:"), u32);
    let kind = alt((map(verify, |(_, bits)| (true, bits.unwrap_or(0))), map(encrypt, |bits| (false, bits))));
    map((opt(permanent), kind), |(permanent, (verified, bits))| Demand {
        bits,
        verified,
        permanent: permanent.unwrap_or(false),
    })
    .parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded() {
        let said = |text: &str| demand(text).map(|d| (d.verified, d.bits, d.permanent));
        assert_eq!(said("ENCR:112"), Some((false, 112, false)));
        assert_eq!(said(" PERM+VERIFY:128"), Some((true, 128, true)));
        assert_eq!(said("temp+verify"), Some((true, 0, false)));
        assert_eq!(said("VERIFY:256+CN:smtp.example"), Some((true, 256, false)));
        assert_eq!(said("OK"), None);
        assert_eq!(said("ENCR:"), None);
        assert_eq!(said("ENCR:99999999999"), None);
    }

    #[test]
    fn what_is_unmet() {
        let unmet = |text: &str, bits| demand(text).unwrap().unmet(bits);
        assert_eq!(unmet("ENCR:128", 256), None);
        assert_eq!(unmet("ENCR:256", 128).unwrap(), "encryption too weak 128 less than 256");
        assert_eq!(unmet("ENCR:1", 0).unwrap(), "encryption required");
        assert_eq!(unmet("VERIFY", 256).unwrap(), "authentication required");
    }
}
