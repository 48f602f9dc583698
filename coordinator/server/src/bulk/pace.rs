//! A steady pace: so many turns a second, evenly, without making up for time that was lost.

use std::time::Duration;
use tokio::time::Instant;

/// How much lost time is made up for: what a timer's grain takes away, and no more.
const SLACK: Duration = Duration::from_millis(20);

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Pace {
    between: Duration,
    next: Instant,
}

impl Pace {
    /// `per_second` turns a second; 0 is taken for 1.
    pub(crate) fn new(per_second: u32) -> Pace {
        Pace { between: Duration::from_secs(1) / per_second.max(1), next: Instant::now() }
    }

    /// Waits for the next turn.
    pub(crate) async fn turn(&mut self) {
        let now = Instant::now();
        let turn = self.next_after(now);
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
    }

    /// When the next turn is.
    fn next_after(&mut self, now: Instant) -> Instant {
        let turn = self.next.max(now.checked_sub(SLACK).unwrap_or(now));
        self.next = turn + self.between;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes turns at a clock that is `grain` late each time, and says how long that took.
    fn take(pace: &mut Pace, clock: &mut Instant, turns: u32, grain: Duration) -> Duration {
        let begun = *clock;
        for _ in 0..turns {
            *clock = (*clock).max(pace.next_after(*clock)) + grain;
        }
        *clock - begun
    }

    #[test]
    fn turns_come_evenly_and_a_pause_is_not_made_up_for() {
        for (per_second, turns) in [(1, 3), (10, 21), (500, 1001), (5000, 5001)] {
            for grain in [Duration::ZERO, Duration::from_micros(100)] {
                let mut clock = Instant::now();
                let mut pace = Pace::new(per_second);
                let took = take(&mut pace, &mut clock, turns, grain);
                let fair = Duration::from_secs(1) * (turns - 1) / per_second;
                let off = Duration::from_millis(30);
                assert!(
                    took + off >= fair && took <= fair + off,
                    "{per_second}: {turns} turns took {took:?}"
                );
                clock += Duration::from_secs(60);
                let took = take(&mut pace, &mut clock, turns, grain);
                assert!(took + off >= fair, "{per_second}: after a pause {turns} turns took {took:?}");
            }
        }
    }
}
