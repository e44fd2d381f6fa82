//! Exit codes for addresses, as sendmail makes them of enhanced status codes (sendmail.md 1.6, 3.4). Used by `explain` and `verify`.

use mail::{Severity, Status};

/// Deliverable.
pub(crate) const OK: u8 = 0;
/// Could not be found out.
pub(crate) const TEMPORARY: u8 = 75;
/// Refused for another reason than those that have a code.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Something could not be read or written.
pub(crate) const IO: u8 = 74;
/// Usage, or no address.
pub(crate) const USAGE: u8 = 64;

/// The exit code of a refusal.
pub(crate) const fn of(status: Status) -> u8 {
    if matches!(status.severity, Severity::Temporary) {
        return TEMPORARY;
    }
    match (status.subject, status.detail) {
        (1, 1 | 6) => 67,
        (1, 2 | 8 | 10) => 68,
        (1, 3 | 7) => USAGE,
        (1, 0) | (7, _) => 65,
        (4, 6) | (3, 5) => 70,
        (5, _) => 76,
        _ => UNAVAILABLE,
    }
}

/// The same for a refusal whose words count as well: sendmail takes these two for wrong usage.
pub(crate) fn of_refusal(status: Status, text: &str) -> u8 {
    if is_loop(text) || text.starts_with("Cannot mail directly to") { USAGE } else { of(status) }
}

/// Whether aliases led in a circle or too far, which sendmail says without an address in front.
pub(crate) fn is_loop(text: &str) -> bool {
    text.starts_with("aliasing/forwarding loop broken")
}

/// The worse of two: the first refusal for good stays, a temporary trouble gives way to one.
pub(crate) const fn worse(so_far: u8, next: u8) -> u8 {
    match (so_far, next) {
        (OK, next) => next,
        (TEMPORARY, next) if next != OK => next,
        _ => so_far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_sendmails_codes() {
        assert_eq!(
            [of(Status::permanent(1, 1)), of(Status::permanent(1, 2)), of(Status::permanent(1, 3))],
            [67, 68, 64]
        );
        assert_eq!(
            [of(Status::permanent(7, 0)), of(Status::permanent(0, 0)), of(Status::temporary(3, 0))],
            [65, 69, 75]
        );
        let words = |status, text| of_refusal(status, text);
        assert_eq!(words(Status::permanent(7, 1), "Cannot mail directly to programs"), 64);
        assert_eq!(words(Status::permanent(4, 6), "aliasing/forwarding loop broken"), 64);
        assert_eq!(words(Status::permanent(4, 6), "rewrite: excessive recursion (max 50)"), 70);
        assert_eq!(words(Status::permanent(7, 1), "no"), 65);
        assert_eq!([worse(0, 75), worse(75, 67), worse(67, 69), worse(67, 0)], [75, 67, 67, 67]);
    }
}
