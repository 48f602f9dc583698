//! A step that waits for a signal.

use super::{AwaitText, Reader};
use crate::definition::{
    fields::Fields,
    schema::{self, Schema},
    template::{self, Place},
    tree::shorten,
};

impl Reader<'_> {
    /// Notes a default that is not what the step returns. One with expressions in it is looked at when it is made.
    pub(super) fn default_fits(&mut self, fields: &Fields<'_>, returns: &Schema) {
        let Some(entry) = fields.get("default").filter(|entry| template::is_fixed(&entry.value)) else {
            return;
        };
        let Err(misfits) = returns.check(&entry.value.to_json()) else { return };
        for misfit in misfits {
            let place = schema::lookup(&entry.value, &misfit.path).unwrap_or(&entry.value);
            let message = format!(
                "the \"default\" of {} does not fit its \"returns\": {}",
                fields.what,
                shorten(&misfit.message)
            );
            self.faults.add(place.at, message, "correct one of the two");
        }
    }

    pub(super) fn waiting(&mut self, fields: &Fields<'_>) -> Option<AwaitText> {
        let default = fields.get("default").map(|entry| self.template(&entry.value, Place::Default));
        if fields.get("timeout").is_none() {
            let message = format!("{} does not say how long", fields.what);
            self.faults.add(self.around.name_at, message, "give it a \"timeout\", such as 15m");
        }
        if let (None, Some(pivot)) = (&default, self.around.past) {
            let message = format!("{} comes after the pivot \"{pivot}\" and has no default", fields.what);
            let help = "nothing can turn back when its time is up: give it a \"default\", or let it wait before the pivot";
            self.faults.add(self.around.name_at, message, help);
        }
        let (signal, timeout) = (fields.name("await", self.faults), fields.span("timeout", self.faults));
        Some(AwaitText { signal: signal?, timeout: timeout?, default })
    }
}
