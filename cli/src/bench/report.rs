//! The table, or the same as JSON.

use super::cell::Cell;
use crate::{globals::Globals, output::say, table::Table};

/// Prints what was measured.
pub(super) fn print(cells: &[Cell], seconds: u64, globals: &Globals) -> anyhow::Result<()> {
    if globals.json {
        let cells: Vec<serde_json::Value> = cells.iter().map(json).collect::<Result<_, _>>()?;
        let machine = serde_json::json!({ "cores": std::thread::available_parallelism()?.get() });
        let report = serde_json::json!({ "seconds": seconds, "machine": machine, "cells": cells });
        say!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let mut table = Table::new(&[
        "workload",
        "in flight",
        "sagas/s",
        "p50 ms",
        "p99 ms",
        "CPU us a saga, by process",
        "fsyncs a saga",
        "KB written a saga",
    ]);
    for cell in cells {
        let cpu: Vec<String> = cell.cpu_us.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
        table.row([
            cell.workload.to_owned(),
            cell.in_flight.to_string(),
            format!("{:.0}", cell.sagas_per_second),
            format!("{:.2}", cell.p50_ms),
            format!("{:.2}", cell.p99_ms),
            cpu.join(", "),
            format!("{:.3}", cell.fsyncs_per_saga),
            format!("{:.1}", cell.written_per_saga / 1024.0),
        ]);
    }
    table.print();
    Ok(())
}

fn json(cell: &Cell) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(cell)?;
    let cpu: serde_json::Map<String, serde_json::Value> =
        cell.cpu_us.iter().map(|(name, us)| ((*name).to_owned(), serde_json::json!(us))).collect();
    value["cpu_us"] = serde_json::Value::Object(cpu);
    Ok(value)
}
