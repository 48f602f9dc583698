//! The executable from outside: what it prints, how it ends, and that its processes work together.

mod binary;
mod chaos;
mod conformance;
mod definitions;
mod demo;
mod services;
mod settings;
mod traces;
mod usage;
mod verify;
