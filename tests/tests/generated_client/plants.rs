//! Documents that say something wrong, each in one place.

use serde_json::{Value, json};

/// One wrong document.
pub(crate) struct Plant {
    /// What is wrong with it.
    pub(crate) what: &'static str,
    /// How it comes to be so.
    pub(crate) change: fn(&mut Value),
    /// What has to be told of it.
    pub(crate) told: &'static str,
}

/// Complete, and not what the coordinator answers.
pub(crate) const OF_ANSWERS: [Plant; 6] = [
    Plant {
        what: "a member of an answer is renamed",
        change: |document| rename(&mut document["components"]["schemas"]["Saga"], "status", "state"),
        told: "/state is missing",
    },
    Plant {
        what: "an optional member of an answer is renamed",
        change: |document| rename(&mut document["components"]["schemas"]["Saga"], "steps", "stages"),
        told: "/steps is described nowhere",
    },
    Plant {
        what: "a member deep inside an answer is renamed",
        change: |document| rename(&mut document["components"]["schemas"]["Call"], "attempts", "tries"),
        told: "attempts",
    },
    Plant {
        what: "a word of an enum is gone",
        change: |document| {
            document["components"]["schemas"]["Status"]["enum"] =
                json!(["running", "compensating", "repair", "compensated", "abandoned"]);
        },
        told: "completed",
    },
    Plant {
        what: "a status is not described",
        change: |document| {
            remove(&mut document["paths"]["/v1/sagas"]["post"]["responses"], "201");
        },
        told: "startSaga: status 201 is not described",
    },
    Plant {
        what: "a slug is not described",
        change: |document| {
            document["components"]["responses"]["NotFound"]["content"]["application/problem+json"]["schema"]
                ["allOf"][1]["properties"]["slug"]["enum"] = json!(["gone"]);
        },
        told: "\"not_found\" and must be one of ['gone']",
    },
];

/// Not complete, so that no client can be made.
pub(crate) const OF_DOCUMENTS: [Plant; 9] = [
    Plant {
        what: "a reference leads nowhere",
        change: |document| {
            remove(&mut document["components"]["schemas"], "Saga");
        },
        told: "#/components/schemas/Saga names nothing",
    },
    Plant {
        what: "an operation has no id",
        change: |document| {
            remove(&mut document["paths"]["/v1/sagas"]["get"], "operationId");
        },
        told: "GET /v1/sagas: \"\" is no operationId of its own",
    },
    Plant {
        what: "two operations have one id",
        change: |document| document["paths"]["/v1/sagas"]["get"]["operationId"] = json!("startSaga"),
        told: "\"startSaga\" is no operationId of its own",
    },
    Plant {
        what: "a parameter of the path is not described",
        change: |document| document["paths"]["/v1/sagas/{id}"]["get"]["parameters"] = json!([]),
        told: "the path's parameters are not those that are described",
    },
    Plant {
        what: "a word of a schema would not be checked",
        change: |document| document["components"]["schemas"]["Saga"]["multipleOf"] = json!(2),
        told: "\"multipleOf\" is a word that would not be checked",
    },
    Plant {
        what: "an example does not fit",
        change: |document| {
            document["components"]["schemas"]["SignalRequest"]["examples"] = json!([{ "id": 7 }])
        },
        told: "SignalRequest: example 0",
    },
    Plant {
        what: "what is required is not described",
        change: |document| document["components"]["schemas"]["Saga"]["required"] = json!(["nonsense"]),
        told: "\"nonsense\" is required and not described",
    },
    Plant {
        what: "a schema is used nowhere",
        change: |document| document["components"]["schemas"]["Orphan"] = json!({ "type": "string" }),
        told: "schemas/Orphan: is used nowhere",
    },
    Plant {
        what: "a problem does not list its slugs",
        change: |document| {
            document["components"]["responses"]["Forbidden"]["content"]["application/problem+json"]["schema"] =
                json!({ "$ref": "#/components/schemas/Problem" });
        },
        told: "does not list the slugs it is answered with",
    },
];

fn remove(object: &mut Value, member: &str) -> Value {
    object
        .as_object_mut()
        .expect("an object")
        .remove(member)
        .unwrap_or_else(|| panic!("there is no {member}"))
}

/// Renames a member of an object's schema, where it is required too.
fn rename(schema: &mut Value, from: &str, to: &str) {
    let described = remove(&mut schema["properties"], from);
    schema["properties"][to] = described;
    for name in schema["required"].as_array_mut().into_iter().flatten() {
        if name == from {
            *name = json!(to);
        }
    }
}
