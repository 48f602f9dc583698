//! The closed set of problems, each with its status, its title and its paragraph.

use std::fmt;

/// Makes the enum and its table from one list, so that no slug is without its paragraph.
macro_rules! slugs {
    ($($variant:ident $text:literal $status:literal $title:literal $about:literal)*) => {
        /// The kinds of problem. The text of a slug is stable for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Slug {
            $(#[doc = $title] $variant,)*
        }

        impl Slug {
            /// Every slug, in the order of the documentation.
            pub const ALL: &[Slug] = &[$(Slug::$variant,)*];

            /// The slug's text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Slug::$variant => $text,)* }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Slug::$variant => $status,)* }
            }

            /// The kind of problem in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Slug::$variant => $title,)* }
            }

            /// What happened, what the coordinator will do, and what the caller can do.
            pub const fn about(self) -> &'static str {
                match self { $(Slug::$variant => $about,)* }
            }
        }
    };
}

slugs! {
    MalformedBody "malformed_body" 400 "the body is not what this call reads"
    "The body is not JSON, lacks a member, has one that this call does not know, or has one of the wrong type; \
     `detail` says which and where. Nothing was changed. Correct the body and send it again; the same idempotency \
     key may be used."
    BadUtf8 "bad_utf8" 400 "the body is not UTF-8"
    "JSON and YAML are read as UTF-8, and the body has bytes that are not; `detail` says where. Nothing was changed. \
     Send the body as UTF-8."
    TooDeep "too_deep" 400 "the body is nested too deeply"
    "Arrays and objects may be nested 64 levels deep. Nothing was changed. Flatten the body; data that is this deep \
     is better stored elsewhere and named by its id."
    NumberNotExact "number_not_exact" 400 "a number cannot be kept exactly"
    "A number in the body has more digits than a 64-bit integer or a double keeps, and the coordinator does not round \
     what it is given: money and ids depend on it. Nothing was changed. Send the number as a text, or with fewer digits."
    BodyTooLarge "body_too_large" 413 "the body is too large"
    "The body is longer than the limit in `detail`. Nothing was changed. Store large data elsewhere and send its id, \
     or ask the operator to raise the limit."
    UnsupportedMediaType "unsupported_media_type" 415 "the body's media type is not read here"
    "The `Content-Type` is none that this call reads. Nothing was changed. Send `application/json`; definitions may \
     also be sent as `application/yaml`."
    BadQuery "bad_query" 400 "the query is not understood"
    "A parameter in the address is unknown, repeated, or has a value out of range; `detail` names it. Nothing was \
     changed. Correct the parameter."
    BadName "bad_name" 400 "a name breaks the rule for names"
    "Names of definitions, steps, participants and operations match `[a-z][a-z0-9_-]{0,62}`. Nothing was changed. \
     Choose another name."
    BadKey "bad_key" 400 "the idempotency key is not usable"
    "A key has 1 to 256 bytes and no control characters. Nothing was changed. Use another key, for example the \
     order's number."
    BadHeader "bad_header" 400 "a header is missing or not usable"
    "A call to a participant says in its headers which saga, step, op and attempt it is; `detail` names the header and \
     what it should hold. Nothing was changed. Correct the caller: the coordinator sends all of them."
    KeyConflict "key_conflict" 400 "header and body carry different keys"
    "The `Idempotency-Key` header and the body's `key` differ, so it is not clear which start this is. Nothing was \
     changed. Send the key once, or the same in both places."
    KeyReused "key_reused" 409 "the key belongs to another start"
    "A saga was started under this key with another definition, input or labels. That saga goes on unchanged and \
     nothing was started. To see it, read `saga` in this answer; to start something else, use a new key."
    BadLabel "bad_label" 400 "a label is not usable"
    "A saga has at most 16 labels; a label's name has 1 to 64 bytes and its text at most 256. Nothing was started. \
     Correct the labels."
    UnknownDefinition "unknown_definition" 404 "no such definition"
    "No definition of this name and version is registered. Nothing was started. Register it with \
     `PUT /v1/definitions/{name}/{version}`, or send the whole definition in place of its name."
    DefinitionInvalid "definition_invalid" 422 "the definition has faults"
    "The definition was read and has the faults listed in `diagnostics`, each with line, column and what to do. \
     Nothing was registered or started. Correct them all; `amends definition check FILE` shows the same list."
    DefinitionExists "definition_exists" 409 "this version has other content"
    "A registered version never changes, because sagas that run it rely on it; this one is registered with other \
     content. Nothing was changed. Raise `version` and register again."
    InputDoesNotFit "input_does_not_fit" 422 "the input does not fit the definition"
    "The definition describes its input with a JSON Schema and this input does not fit; `errors` lists each place and \
     why. Nothing was started. Correct the input."
    UnknownOperation "unknown_operation" 409 "the definition calls an operation that nobody offers"
    "A participant or operation named in the definition is not registered, so the saga could neither go forward nor \
     be undone. Nothing was started. Start the participant (it registers itself) or register it with \
     `PUT /v1/participants/{name}`, then start again with the same key."
    BadRegistration "bad_registration" 422 "the registration has faults"
    "The registration contradicts itself or breaks a limit; `detail` says where. The participant stays registered as \
     it was. Correct it and send it again."
    AddressRefused "address_refused" 422 "the coordinator does not call this address"
    "A participant's address must be `http` or `https`, without user info, and not a link-local, metadata, \
     unspecified or multicast address; configuration may narrow it further. Nothing was changed. Register an address \
     that is allowed."
    NotFound "not_found" 404 "there is nothing here"
    "No saga, definition, participant, repair item or page has this address. Nothing was changed. Check the id; a \
     saga that ended long ago may have been removed by retention."
    MethodNotAllowed "method_not_allowed" 405 "this address does not take this method"
    "The address exists and is called with another method; `Allow` lists which. Nothing was changed."
    SagaEnded "saga_ended" 409 "the saga has ended"
    "The saga is completed, compensated or abandoned, and an end is final. Nothing was changed. To undo a completed \
     saga, revert it."
    PastPivot "past_pivot" 409 "the saga can only go forward"
    "The saga has passed its point of no return, so it can neither be cancelled nor reverted: what it has done stays \
     done, and what is left is done until it succeeds or an operator settles it. Nothing was changed. To make good \
     what it did, start a saga that does so."
    NotCompleted "not_completed" 409 "only a completed saga can be reverted"
    "Reverting undoes a saga that has completed, and this one has not; `detail` says how it stands. Nothing was \
     changed. To undo a saga that is still running, cancel it; one that is compensated is undone already. \
     `reverted` says whether it was reverted before, as after a request whose answer was lost."
    NotRevertible "not_revertible" 409 "the saga cannot be reverted"
    "An open saga ends with its decision: what was committed was made final by its branches' confirms, and there is \
     no call that would undo those. Nothing was changed. To make good what it did, start a saga that does so."
    NotOpen "not_open" 409 "the saga is not an open one"
    "Only an open saga, begun with `POST /v1/sagas/open`, has branches registered and is committed, rolled back or \
     renewed by a caller; this one runs a definition. Nothing was changed. Cancel or revert it instead."
    SagaDecided "saga_decided" 409 "the open saga is decided already"
    "The open saga was committed or rolled back, or its time was up and it was rolled back for that; `detail` says \
     which. A decision is final, and after it no branch is registered, nor acknowledged again; `registered` says \
     whether one of this name was in time. Nothing was changed. Work for a branch must not begin after the decision."
    BranchConflict "branch_conflict" 409 "another branch has this name"
    "A branch of this name was registered with another compensation, confirm or body, and it stays as it is. Nothing \
     was changed. Give the branch a name of its own, or send the same registration again."
    TooManyBranches "too_many_branches" 409 "the open saga has as many branches as one may have"
    "An open saga has at most 512 branches. Nothing was changed. Make one branch of what belongs together, or divide \
     the work over several sagas."
    UnknownChild "unknown_child" 409 "the definition runs a saga that is not registered"
    "A step runs a child saga whose definition, named in `path`, is not registered, so the saga could not go forward. \
     Nothing was started. Register that definition, then start again with the same key."
    ChildCircle "child_circle" 409 "the definition contains itself"
    "A definition runs child sagas that in the end run the definition again, and such a saga would never end; `path` \
     names the circle. Nothing was started. Take one of its links out and register the next version."
    ChildrenTooDeep "children_too_deep" 409 "child sagas are nested too deeply"
    "A saga runs children, they run theirs, and so on at most 8 levels down; `path` names definitions that go \
     further. Nothing was started. Join some of them into one definition."
    OutputDoesNotFit "output_does_not_fit" 422 "the output does not fit the definition"
    "The definition describes with `returns` what the step yields, and what was sent (a signal's payload, the answer to \
     a pending call, an output given by hand) does not fit; `errors` lists each place and why. Nothing was changed: the \
     step waits as before, and a token may be used again. Correct what is sent."
    NoSuchSignal "no_such_signal" 404 "the saga awaits no such signal"
    "No step of the saga's definition awaits a signal of this name, so nobody would ever take it. Nothing was changed. \
     Check the name against the definition's `await` steps."
    SignalConflict "signal_conflict" 409 "the signal comes too late or says something else"
    "The signal's time is up, or another payload was taken before; a signal counts once. Nothing was changed. Read \
     the saga to see what was taken."
    UnknownStep "unknown_step" 404 "the saga has no such step"
    "The saga has no step of this name, or the step makes no call that could be answered. Nothing was changed. Check \
     the name; the item of a step that is done for a list is named as `name[0]`."
    TokenInvalid "token_invalid" 403 "the token does not belong to this call"
    "The answer to a pending call needs the `Saga-Token` that came with that very call, and this is another. Nothing \
     was changed. Send the token unchanged, to the address in `Saga-Callback`."
    AnswerConflict "answer_conflict" 409 "the call has another answer already"
    "A call is answered once. This one was answered otherwise before, by a callback or when its status was asked, or \
     was given up, or is made anew since. Nothing was changed. Read the saga to see how the step stands."
    RepairSettled "repair_settled" 409 "the repair item is settled"
    "The item has been settled, and `detail` says by whom and how. Nothing was changed. If the step was parked again, \
     a newer item stands in the queue."
    RepairRetrying "repair_retrying" 409 "the repair item is being tried again"
    "Somebody else is having the item tried again, and `detail` says who. Nothing was changed. Wait for the round of \
     attempts to end and read the item; resolve, skip and abandon are taken meanwhile."
    NotRetryable "not_retryable" 409 "the repair item cannot be retried or abandoned"
    "The item stands for an anomaly that an audit has found: there is no call to send again and no saga to give up. \
     Nothing was changed. Correct the participant's books, then resolve the item with a note."
    InputRequired "input_required" 422 "the call has no body"
    "The definition's expression for the call's body fails, so there is nothing to send; `detail` says why. Nothing \
     was changed. Send the body to use as `input`."
    JobEnded "job_ended" 409 "the bulk job has ended"
    "The job has worked on every item it was about, so it can neither be stopped nor resumed. Nothing was changed. \
     Read the job to see how each went, or start another."
    NoteRequired "note_required" 422 "a note is required"
    "This verb changes what the coordinator would have done, so it is kept with a reason. Nothing was changed. Send a \
     `note` that is not empty."
    FilterRequired "filter_required" 422 "the filter would mean everything"
    "An empty filter means every item that is not settled, which is seldom what is meant. Nothing was changed. Name \
     what is meant in `filter`, or confirm with `\"all\": true`; `\"dry_run\": true` shows first what it would be."
    TooManySagas "too_many_sagas" 429 "the coordinator drives as many sagas as it may"
    "The number of sagas in flight has reached its limit, and one more would slow all of them. Nothing was started. \
     Try again after `Retry-After` with the same key; if this lasts, a participant is probably slow or down."
    ParticipantBusy "participant_busy" 429 "a participant has too much waiting for it"
    "So many calls wait for a participant of this definition that one more saga would only wait longer; `detail` names \
     it. Nothing was started, and sagas that do not need it go on as ever. Try again after `Retry-After` with the same \
     key; if this lasts, see the participant's breaker in `GET /v1/participants/{name}`."
    TooManyRequests "too_many_requests" 429 "too many requests at once"
    "The coordinator answers a limited number of requests at a time. Nothing was changed. Try again after \
     `Retry-After`, with the same key."
    Unauthorized "unauthorized" 401 "a token is required"
    "The coordinator listens beyond this machine and wants a bearer token; there was none, or it is not known. \
     Nothing was changed. Send `Authorization: Bearer …`."
    Forbidden "forbidden" 403 "the token's role does not allow this"
    "Roles are `submit` (start and read sagas), `operate` (repair them) and `admin` (change definitions, participants \
     and tokens). Nothing was changed. Use a token with the role named in `detail`."
    RequestTimeout "request_timeout" 408 "the request took too long to arrive"
    "Header or body did not arrive in time. Nothing was changed. Send the request again, with the same key."
    StoreUnavailable "store_unavailable" 503 "the journal cannot be written"
    "The database behind the coordinator does not answer. What was accepted is safe and goes on as soon as it answers \
     again; whether this request was accepted is not known. Try again after `Retry-After` with the same key: a start \
     that was accepted is answered with its saga."
    ShuttingDown "shutting_down" 503 "the coordinator is shutting down"
    "This coordinator takes no new work; what it has accepted goes on elsewhere or at its next start. Nothing was \
     started. Try again after `Retry-After`, with the same key, at any coordinator."
    NotSupported "not_supported" 501 "this version does not do that yet"
    "The request is understood and this version of the coordinator does not carry it out; `detail` says what is \
     missing. Nothing was changed."
    Internal "internal" 500 "a fault of the coordinator"
    "Something happened that must not; it is in the coordinator's log under the request's id. Whether the request took \
     effect is not known. Read the saga, or repeat the request with the same key, and report the log line."
}

impl Slug {
    /// The `type` of its problems, which is also the path its paragraph is served under.
    pub fn uri(self) -> String {
        format!("/problems/{}", self.as_str())
    }

    /// Finds a slug by its text.
    pub fn find(text: &str) -> Option<Slug> {
        Slug::ALL.iter().copied().find(|slug| slug.as_str() == text)
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
