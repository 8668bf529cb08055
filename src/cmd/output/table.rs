//! Columns, aligned over all pages of an answer.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};

use super::text::{Tone, paint};
use crate::visible::visible;

/// What has a row, or more, in a table.
pub(super) trait Shown {
    /// The columns, of `-o wide` too if asked for.
    fn columns(is_wide: bool) -> Vec<Column>;
    /// Its rows, with a cell for each column.
    fn rows(&self, is_wide: bool) -> Vec<Row>;
    /// What it is called.
    fn name(&self) -> String;
}

/// A column: its title and to which side it is aligned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    is_number: bool,
}

/// A column of text.
pub(super) const fn text(title: &'static str) -> Column {
    Column { title, is_number: false }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str) -> Column {
    Column { title, is_number: true }
}

/// One line of a table.
#[derive(Debug)]
pub(super) struct Row {
    cells: Vec<String>,
    /// A cell that says how good things are.
    state: Option<(usize, Tone)>,
}

impl Row {
    /// A row; its cells may hold anything.
    pub(super) fn new(cells: impl IntoIterator<Item = String>) -> Self {
        Self { cells: cells.into_iter().collect(), state: None }
    }

    /// Colours the cell of a column.
    pub(super) fn tone(mut self, column: usize, tone: Tone) -> Self {
        self.state = Some((column, tone));
        self
    }
}

/// A table that is written page by page: a column never gets narrower.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    widths: Vec<u16>,
    has_header: bool,
}

impl Table {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let widths = vec![0; columns.len()];
        Self { columns, widths, has_header: false }
    }

    /// The next lines, the header before the first; nothing for no rows.
    pub(super) fn lines(&mut self, rows: Vec<Row>, color: bool) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let header = (!self.has_header).then(|| {
            self.has_header = true;
            Row::new(self.columns.iter().map(|column| column.title.to_owned()))
        });
        let rows: Vec<Row> = header.into_iter().chain(rows).collect();
        for row in &rows {
            table.add_row(row.cells.iter().map(|cell| visible(cell).into_owned()));
        }
        for (width, here) in self.widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = here.max(*width);
        }
        for ((column, how), width) in table.column_iter_mut().zip(&self.columns).zip(&self.widths) {
            column.set_padding((0, 2));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
            if how.is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        for (line, row) in table.lines().zip(&rows) {
            text.push_str(&colored(line.trim_end(), row, color));
            text.push('\n');
        }
        text
    }
}

/// The line with the row's state in colour.
fn colored(line: &str, row: &Row, color: bool) -> String {
    let Some((column, tone)) = row.state.filter(|_| color) else {
        return line.to_owned();
    };
    let Some(cell) = row.cells.get(column) else {
        return line.to_owned();
    };
    // Not the first column, so two spaces stand before it.
    let Some(at) = line.find(&format!("  {cell}")).map(|at| at + 2) else {
        return line.to_owned();
    };
    let (before, after) = (&line[..at], &line[at + cell.len()..]);
    format!("{before}{}{after}", paint(cell, tone, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3], tone: Tone) -> Row {
        Row::new(cells.map(str::to_owned)).tone(1, tone)
    }

    #[test]
    fn columns_stay_where_they_were_on_later_pages() {
        let mut table = Table::new(vec![text("NAME"), text("STATE"), number("N")]);
        let first = table.lines(vec![row(["a-long-name", "up", "1000"], Tone::Good)], false);
        let second = table.lines(vec![row(["b", "down", "2"], Tone::Bad)], false);
        assert_eq!(first, "NAME         STATE     N\na-long-name  up     1000\n");
        assert_eq!(second, "b            down      2\n");
        assert_eq!(table.lines(vec![], false), "", "no rows, no lines");
    }

    #[test]
    fn the_state_alone_is_coloured_whatever_the_name_is() {
        let mut table = Table::new(vec![text("NAME"), text("STATE"), text("WHY")]);
        let lines = table.lines(vec![row(["up", "up", "up  up"], Tone::Good)], true);
        assert_eq!(lines, "NAME  STATE  WHY\nup    \x1b[32mup\x1b[0m     up  up\n");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::new(vec![text("NAME"), text("STATE"), text("WHY")]);
        let lines = table.lines(vec![row(["a\nb", "x\x1b[2J", "\r\u{202e}"], Tone::Bad)], true);
        assert_eq!(lines.lines().count(), 2, "{lines:?}");
        assert!(!lines.contains(['\r', '\x1b', '\u{202e}']), "{lines:?}");
    }
}
