//! The definitions that come with the project can be read, and lie where their name says.

use amends_wire::definition::Text;

use crate::tree::{files, none, read};

#[test]
fn every_definition_can_be_read() {
    let paths = files("sagas", "yaml");
    assert!(paths.iter().any(|path| path == "sagas/checkout.yaml"), "the checkout is among {paths:?}");
    let mut complaints = Vec::new();
    for path in paths {
        let source = read(&path);
        match Text::read(&source) {
            Err(diagnostics) => complaints.push(diagnostics.render(&path, &source)),
            Ok(text) if !path.ends_with(&format!("/{}.yaml", text.name)) => {
                complaints.push(format!("{path} holds the saga {}", text.name));
            }
            Ok(_) => {}
        }
    }
    none("a definition that cannot be used", &complaints);
}
