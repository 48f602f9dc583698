//! A participant as a queue with one server: it can be slow, overloaded or gone.

/// How a participant fares at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It works.
    Fair,
    /// Nobody answers at its address.
    Down,
    /// Each call takes so many times as long.
    Slow(i64),
}

/// A participant that works on one call after the other, in the order in which they came.
///
/// A call whose caller has given up is worked on all the same: that is what makes an overload feed itself.
#[derive(Debug)]
pub struct Server {
    service_us: i64,
    free_at_us: i64,
    weather: Vec<(i64, Weather)>,
}

impl Server {
    /// Makes one that can do so many calls a second.
    pub fn new(per_second: i64) -> Server {
        Server { service_us: 1_000_000 / per_second, free_at_us: 0, weather: vec![(0, Weather::Fair)] }
    }

    /// Changes the weather from a time on, which is later than any before.
    #[must_use]
    pub fn from(mut self, at_ms: i64, weather: Weather) -> Server {
        self.weather.push((at_ms, weather));
        self
    }

    fn weather(&self, now_ms: i64) -> Weather {
        self.weather.iter().rfind(|(from, _)| *from <= now_ms).map_or(Weather::Fair, |(_, weather)| *weather)
    }

    /// Takes a call: after how many milliseconds it is answered, or after how many its caller gives up and why.
    pub(super) fn take(&mut self, now_ms: i64, timeout_ms: i64) -> Result<i64, (i64, &'static str)> {
        let slower = match self.weather(now_ms) {
            Weather::Down => return Err((0, "connection refused")),
            Weather::Fair => 1,
            Weather::Slow(times) => times,
        };
        let begin_us = self.free_at_us.max(now_ms * 1000);
        self.free_at_us = begin_us + self.service_us * slower;
        let took_ms = (self.free_at_us - now_ms * 1000 + 999) / 1000;
        if took_ms > timeout_ms { Err((timeout_ms, "no answer in time")) } else { Ok(took_ms) }
    }
}
