//! What is shown and written in the end.

use std::fs;
use std::io;
use std::path::Path;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::row::{Row, Unit};

/// The table, and below it what each row is.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["row", "ours", "spread", "unit", "peer", "ratio", "limit", "reach", ""]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            number(row.ours),
            if row.spread.runs > 1 {
                format!("{}-{}", number(row.spread.least), number(row.spread.most))
            } else {
                String::new()
            },
            row.unit.name().to_owned(),
            optional(row.peer),
            row.ratio.map_or_else(String::new, |ratio| format!("{} x", number(ratio))),
            optional(row.limit),
            row.reach.map_or_else(String::new, |reach| format!("{} {}", sign(row.unit), number(reach))),
            verdict(row),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    for row in rows {
        text += &format!("\n{}: {} ({})", row.name, row.what, row.sizes);
        let more = [("limit", row.limit_what.as_deref()), ("peer", row.peer_what.as_deref())];
        for (name, what) in more.into_iter().filter_map(|(name, what)| Some((name, what?))) {
            text += &format!("\n    {name}: {what}");
        }
        if !row.note.is_empty() {
            text += &format!("\n    {}", row.note);
        }
    }
    text + "\n"
}

/// Which rows have a number to reach and were not held against it; `None` if there are none.
pub fn unjudged(rows: &[Row]) -> Option<String> {
    let names: Vec<&str> = rows.iter().filter(|row| row.unjudged.is_some()).map(|row| &*row.name).collect();
    (!names.is_empty()).then(|| format!("{} not judged: {}", names.len(), names.join(", ")))
}

/// Writes the rows as a JSON list.
///
/// # Errors
/// What the system says of the file.
pub fn write_json(path: &Path, rows: &[Row]) -> io::Result<()> {
    fs::write(path, serde_json::to_string_pretty(rows)? + "\n")
}

fn verdict(row: &Row) -> String {
    match (row.reached, &row.unjudged) {
        (Some(true), _) => String::from("reached"),
        (Some(false), _) => String::from("missed"),
        (None, Some(why)) => format!("not judged: {why}"),
        (None, None) => String::new(),
    }
}

fn sign(unit: Unit) -> &'static str {
    if unit == Unit::PerS { ">=" } else { "<=" }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, number)
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Measured, Sample};

    #[test]
    fn a_row_that_was_missed_says_so_and_what_it_is() {
        let row = Measured::new("scan", (Sample::of([2.0, 3.0, 4.0]), Unit::Ms), "1,000 members", "ids found");
        let rows = [Row::new(row.reach(2.5).limit(1.0, "the bytes copied"), &[])];
        let text = table(&rows);
        for part in ["missed", "<= 2.50", "2.00-4.00", "scan: ids found (1,000 members)", "limit: the bytes copied"] {
            assert!(text.contains(part), "{part:?} is missing from\n{text}");
        }
    }

    #[test]
    fn a_row_that_is_not_judged_says_why_and_is_named_at_the_end() {
        let row = |name: &str| Measured::new(name, (Sample::once(9.0), Unit::Ms), "", "").reach(2.0);
        let rows = [row("scan"), row("calls").unjudged(Some(String::from("1 quiet slices of 7")))];
        let rows = rows.map(|row| Row::new(row, &[]));
        let text = table(&rows);
        assert!(text.contains("not judged: 1 quiet slices of 7"), "{text}");
        assert_eq!(text.matches("missed").count(), 1, "{text}");
        assert_eq!(unjudged(&rows).unwrap(), "1 not judged: calls");
        assert_eq!(unjudged(&rows[..1]), None);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [12_345_678.0, 12_345.0, 123.4, 12.34, 1.234, 0.01234].map(number);
        assert_eq!(shown, ["12.35 M", "12.3 k", "123", "12.3", "1.23", "0.0123"]);
    }

    #[test]
    fn the_json_is_a_list() {
        let row = Row::new(Measured::new("scan", (Sample::once(2.0), Unit::Ms), "", ""), &[]);
        let list = serde_json::to_value([row]).unwrap();
        assert_eq!(list[0]["name"], "scan");
        assert_eq!(list[0]["ours"], 2.0);
    }
}
