//! How the tests get at Wingbeat: an instance of it, its HTTP interfaces, a browser, a
//! website of a customer's, and made-up people and events.

pub(crate) mod api;
pub(crate) mod braze;
pub(crate) mod browser;
pub(crate) mod events;
pub(crate) mod instance;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod wait;

pub(crate) use api::{Answer, Api};
pub(crate) use braze::Braze;
pub(crate) use browser::Browser;
pub(crate) use instance::{Instance, shared};
pub(crate) use site::Site;
pub(crate) use wait::{eventually, until, within};
