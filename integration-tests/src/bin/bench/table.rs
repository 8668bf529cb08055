//! The one table: figures, and how they relate to the best others' figure in each row.

use std::fmt;

use super::daemon::Program;
use super::usage::Cost;

/// Rows by kind of work, in the order in which the kinds first came.
#[derive(Default)]
pub(crate) struct Table(Vec<(String, Rows)>);

/// One kind of work: what it cost each program, or why it failed.
type Rows = Vec<(Program, Result<Cost, String>)>;

impl Table {
    /// Adds a measurement, and says it at once: a long run shows that it goes on.
    pub(crate) fn row(&mut self, work: &str, program: Program, result: Result<Cost, String>) {
        match &result {
            Ok(cost) => eprintln!(
                "{work}, {program}: {:.3} s, {:.2} s of CPU, {:.0} MB",
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64(),
                megabytes(cost)
            ),
            Err(why) => eprintln!("{work}, {program}: FAILED: {why}"),
        }
        match self.0.iter_mut().find(|(known, _)| known == work) {
            Some((_, rows)) => rows.push((program, result)),
            None => self.0.push((work.to_owned(), vec![(program, result)])),
        }
    }
}

fn megabytes(cost: &Cost) -> f64 {
    cost.peak as f64 / 1e6
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nIn brackets: times the best figure of the others in that row of work.")?;
        for (work, rows) in &self.0 {
            writeln!(f, "\n{work}")?;
            writeln!(f, "  {:<10} {:>16} {:>16} {:>18}", "", "wall s", "CPU s", "peak MB")?;
            for (program, result) in rows {
                let cost = match result {
                    Ok(cost) => cost,
                    Err(why) => {
                        writeln!(f, "  {program:<10} failed: {why}")?;
                        continue;
                    }
                };
                let others = || {
                    let others = rows.iter().filter(|(other, _)| other != program);
                    others.filter_map(|(_, result)| result.as_ref().ok())
                };
                let column = |of: fn(&Cost) -> f64, digits: usize| {
                    let best = others().map(of).fold(f64::INFINITY, f64::min);
                    match best.is_finite() && best > 0.0 {
                        true => format!("{:.digits$} ({:.2})", of(cost), of(cost) / best),
                        false => format!("{:.digits$}", of(cost)),
                    }
                };
                writeln!(
                    f,
                    "  {program:<10} {:>16} {:>16} {:>18}",
                    column(|cost| cost.wall.as_secs_f64(), 3),
                    column(|cost| cost.cpu.as_secs_f64(), 2),
                    column(megabytes, 0),
                )?;
            }
        }
        Ok(())
    }
}
