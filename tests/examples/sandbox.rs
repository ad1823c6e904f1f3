//! `npm run sandbox`: the strict stand-in of the tests, to try a connection to Braze without an account. It knows a few
//! made-up people (those that `?braze_id=` links of the demo shop name, too) and prints what is written to them.

// What only tests ask of it is not used here.
#![allow(dead_code)]

#[path = "../src/harness/braze.rs"]
mod braze;
#[path = "../src/harness/server.rs"]
mod server;

use braze::{Braze, Profile};
use std::time::Duration;

/// Nobody's key: it opens nothing but this.
const KEY: &str = "sandbox-0000-4000-8000-00000000braze";

fn main() {
    let braze = Braze::start(KEY);
    let people = [
        ("5fbd99bac125ca40511f2cb1", "ada", "ada@example.com"),
        ("5fbd99bac125ca40511f2cb2", "bob", "bob@example.com"),
        ("5fbd99bac125ca40511f2cb3", "cem", "cem@example.com"),
    ];
    for (braze_id, external_id, email) in people {
        braze.add(Profile {
            braze_id: braze_id.to_owned(),
            external_id: Some(external_id.to_owned()),
            email: Some(email.to_owned()),
            ..Profile::default()
        });
    }
    println!("Braze's stand-in answers at {}   API key: {KEY}", braze.endpoint);
    println!("It knows {}.   Stop: Ctrl+C", people.map(|(braze_id, ..)| braze_id).join(", "));
    let (mut writes, mut complaints) = (0, 0);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        for write in braze.writes().iter().skip(writes) {
            writes += 1;
            println!("{}  {} = {}", write.braze_id, write.name, write.value);
        }
        for complaint in braze.complaints().iter().skip(complaints) {
            complaints += 1;
            println!("! {complaint}");
        }
    }
}
