//! When something is due that comes again and again: minute, hour, day, month and weekday.

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// For each field the numbers that it is due at, as bits.
    fields: [u64; 5],
    /// Whether day and weekday were both told: then one of them is enough.
    either: bool,
}

/// The ranges of the fields.
const RANGES: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            text => text,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut fields = [0; 5];
        if words.len() != fields.len() {
            return None;
        }
        for (index, word) in words.iter().enumerate() {
            *fields.get_mut(index)? = field(word, index)?;
        }
        let told = |index: usize| words.get(index).is_some_and(|word| !word.starts_with('*'));
        Some(Schedule { fields, either: told(2) && told(4) })
    }

    /// Whether it is due in the minute of a time, given as minute, hour, day, month and weekday from Sunday.
    pub(super) fn is_due(&self, time: [u32; 5]) -> bool {
        let hit = |index: usize| self.fields[index] & (1 << time[index]) != 0;
        let day = if self.either { hit(2) || hit(4) } else { hit(2) && hit(4) };
        hit(0) && hit(1) && hit(3) && day
    }
}

fn field(text: &str, index: usize) -> Option<u64> {
    let (low, high) = *RANGES.get(index)?;
    let value = |text: &str| -> Option<u32> {
        let names: &[&str] = match index {
            3 => &MONTHS,
            4 => &DAYS,
            _ => &[],
        };
        if let Some(at) = names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
            return u32::try_from(at).ok().map(|at| at + low);
        }
        let number: u32 = text.parse().ok()?;
        // Sunday has two numbers.
        let number = if index == 4 && number == 7 { 0 } else { number };
        (low..=high).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (low, high),
            (_, Some((first, last))) => (value(first)?, value(last)?),
            (one, None) if part.contains('/') => (value(one)?, high),
            (one, None) => (value(one)?, value(one)?),
        };
        if first > last {
            return None;
        }
        (first..=last).step_by(step as usize).for_each(|number| bits |= 1 << number);
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_due_when_all_its_fields_are() {
        let schedule = Schedule::read("*/15 3 * * 1-5").unwrap();
        assert!(schedule.is_due([30, 3, 9, 11, 1]));
        assert!(!schedule.is_due([31, 3, 9, 11, 1]));
        assert!(!schedule.is_due([30, 3, 8, 11, 0]));
        let either = Schedule::read("0 0 13 * fri").unwrap();
        assert!(either.is_due([0, 0, 13, 2, 2]));
        assert!(either.is_due([0, 0, 14, 2, 5]));
        assert_eq!(Schedule::read("0 24 * * *"), None);
        assert_eq!(Schedule::read("0 0 * *"), None);
        assert_eq!(Schedule::read("@daily"), Schedule::read("0 0 * * *"));
    }
}
