//! Times for people to read.

use std::fmt;

use guildhall_proto::Millis;

/// A moment as RFC 3339 has it, in UTC and to the second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Date(pub(crate) Millis);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0 / 1_000;
        let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        // Years begin in March here, so that the day that only some have is their last; 400 of them have always as many days.
        let days = days + DAYS_FROM_MARCH_0000;
        let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, is_next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year + is_next;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

pub(crate) const DAY_SECONDS: u64 = 24 * 60 * 60;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_FROM_MARCH_0000: u64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_only_some_years_have_are_told() {
        for (seconds, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Date(Millis(seconds * 1_000 + 999)).to_string(), told);
        }
    }
}
