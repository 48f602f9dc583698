//! What a step's output must be like.
//!
//! It is asked where an output is about to be taken: from an answer, a callback, a signal, a default or an
//! operator. Folding a journal never asks: what was taken stays taken.

use super::Step;
use crate::Json;
use std::fmt;

/// Something that tells whether an output is as its definition says: a parsed `returns`.
///
/// An implementation must be deterministic and limited in time.
pub trait Returns: fmt::Debug + Send + Sync {
    /// Checks an output.
    ///
    /// # Errors
    /// Each place that does not fit, at least one.
    fn check(&self, output: &Json) -> Result<(), Misfits>;
}

/// One place of an output that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// Every place of an output that is not as it should be, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfits(pub Vec<Misfit>);

impl Misfits {
    /// One thing that is wrong with the whole.
    pub fn whole(message: String) -> Misfits {
        Misfits(vec![Misfit { path: String::new(), message }])
    }
}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = &self.0[..] else { return f.write_str("it does not fit") };
        if !first.path.is_empty() {
            write!(f, "at {}: ", first.path)?;
        }
        f.write_str(&first.message)?;
        if rest.is_empty() { Ok(()) } else { write!(f, " (and {} more)", rest.len()) }
    }
}

impl Step {
    /// Checks what one run of the step yields: the step itself, or one item of its list.
    ///
    /// # Errors
    /// Each place that is not as the step's `returns` says.
    pub fn check_returned(&self, output: &Json) -> Result<(), Misfits> {
        self.returns.as_ref().map_or(Ok(()), |returns| returns.check(output))
    }

    /// Checks what a step yields that is done for a list: the outputs of its items, in order.
    ///
    /// # Errors
    /// As [`Step::check_returned`] for the first item that does not fit; one misfit where it is no list.
    pub fn check_list(&self, output: &Json) -> Result<(), Misfits> {
        let Some(returns) = &self.returns else { return Ok(()) };
        let Some(items) = output.as_array() else {
            return Err(Misfits::whole("the step is done for a list, and this is none".to_owned()));
        };
        for (number, item) in items.iter().enumerate() {
            returns.check(&Json::new(item.clone())).map_err(|Misfits(misfits)| {
                let below = |misfit: Misfit| Misfit { path: format!("/{number}{}", misfit.path), ..misfit };
                Misfits(misfits.into_iter().map(below).collect())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
