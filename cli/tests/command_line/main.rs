//! The executable from outside: what it prints, how it ends, and that its processes work together.

mod binary;
mod chaos;
mod conformance;
mod definitions;
mod demo;
mod load;
mod sagas;
mod services;
mod settings;
mod stub;
mod traces;
mod usage;
mod verify;
