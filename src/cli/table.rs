//! Columns for people to read.

use std::fmt;

/// Rows under a heading, in columns as wide as their widest cell.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; control characters in cells are replaced when it is printed.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(single_line).to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = self.heading.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let mut widths = vec![0; heading.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in lines() {
            let mut text = String::new();
            for (width, cell) in widths.iter().zip(line) {
                text.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn single_line(cell: &str) -> String {
    let shown = if cell.is_empty() { "-" } else { cell };
    shown.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_their_end() {
        let mut table = Table::new(&["NAME", "TYPE", "NEXT"]);
        table.row(["acs/ecs/web-01", "ECS", "2024-05-13"]);
        table.row(["a", "Generic", ""]);
        let shown = table.to_string();
        assert_eq!(
            shown,
            "NAME            TYPE     NEXT\nacs/ecs/web-01  ECS      2024-05-13\na               Generic  -\n"
        );
    }

    #[test]
    fn a_cell_cannot_forge_a_row() {
        let mut table = Table::new(&["NAME"]);
        table.row(["a\nb\u{1b}c"]);
        assert_eq!(table.to_string(), "NAME\na\u{fffd}b\u{fffd}c\n");
    }
}
