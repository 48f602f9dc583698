//! Orders.

pub mod body;
pub mod book;
pub mod command;
pub mod money;
pub mod state;
