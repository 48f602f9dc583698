//! What the system says of a process: processor time and bytes written to disk, from `/proc`.

use anyhow::Context;

/// Ticks of the processor clock a second, as Linux has it on every platform this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// A process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory {
    resident_kib: u64,
    peak_kib: u64,
}

impl Memory {
    /// Reads the memory of a process.
    pub(super) fn of(pid: u32) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} is gone; its log says why"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.trim().parse().ok()
        };
        let (resident, peak) = (kib("VmRSS:"), kib("VmHWM:"));
        Ok(Memory { resident_kib: resident.unwrap_or(0), peak_kib: peak.unwrap_or(0) })
    }

    /// What is resident now.
    pub(super) fn resident_mib(self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }

    /// The most that ever was.
    pub(super) fn peak_mib(self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

/// A process's use of the machine so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Processor time of all its threads, user and system, in microseconds; counted in ticks of 10 ms.
    pub(super) cpu_us: u64,
    /// Bytes it caused to be written to disk.
    pub(super) written: u64,
}

impl Usage {
    /// Reads the usage of a process.
    pub(super) fn of(pid: u32) -> anyhow::Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone; its log says why"))?;
        // The name in parentheses may hold anything; the numbers follow it.
        let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| numbers.get(i).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
        let cpu_us = (ticks(11) + ticks(12)) * 1_000_000 / TICKS_PER_SECOND;
        Ok(Usage { cpu_us, written: written.unwrap_or(0) })
    }

    /// What was used since `earlier`.
    pub(super) fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us.saturating_sub(earlier.cpu_us),
            written: self.written.saturating_sub(earlier.written),
        }
    }
}
