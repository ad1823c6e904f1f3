//! A real browser, Chromium or Firefox, that a person is made to sit at, through WebDriver.
//!
//! What the driver clicks and types is trusted input, so it counts as a human's; that the page is visible does not,
//! because the browser says that it is under automation.

use super::instance::new_folder;
use fantoccini::elements::{Element, ShadowRoot};
use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nothing but the page: no sandbox, since tests run as root, and no traffic of the browser's own.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `CHROMIUM` and `CHROMEDRIVER`, else from the PATH.
    Chromium,
    /// `FIREFOX` and `GECKODRIVER`; there is none if they are not set.
    Firefox,
}

/// A browser nobody has used before. Ends with this value.
pub(crate) struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    driver: Child,
    /// Its profile; goes after the browser.
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn open() -> Browser {
        Browser::open_as(Kind::Chromium, &json!({})).expect("Chromium is there or named")
    }

    /// One with settings of its own, in Chromium's or Firefox's names. `None` if Firefox is not there.
    pub(crate) fn open_as(kind: Kind, preferences: &Value) -> Option<Browser> {
        let named = |variable: &str| std::env::var(variable).ok().filter(|path| !path.is_empty());
        let profile = new_folder();
        let (program, options) = match kind {
            Kind::Chromium => {
                let mut args: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
                args.push(format!("--user-data-dir={}", profile.path().display()));
                let mut options = json!({ "args": args, "prefs": preferences });
                if let Some(binary) = named("CHROMIUM") {
                    options["binary"] = binary.into();
                }
                let program = named("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".to_owned());
                (program, ("goog:chromeOptions".to_owned(), options))
            }
            Kind::Firefox => {
                let options = json!({ "args": ["-headless"], "prefs": preferences, "binary": named("FIREFOX")? });
                (named("GECKODRIVER")?, ("moz:firefoxOptions".to_owned(), options))
            }
        };
        let (mut driver, port) = start(&program, profile.path());
        let capabilities = Capabilities::from_iter([options]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let session = builder.capabilities(capabilities);
        let client = runtime.block_on(session.connect(&format!("http://127.0.0.1:{port}")));
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                let _ = driver.kill();
                let _ = driver.wait();
                panic!("{kind:?} does not start: {error}");
            }
        };
        Some(Browser { runtime, client: Some(client), driver, _profile: profile })
    }

    /// Opens an address and waits until the page is loaded.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).expect("the page opens");
    }

    /// Clicks on what a CSS selector finds first; ` >>> ` goes into the shadow tree of what was found.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let clicked = self.runtime.block_on(async { self.find(selector).await?.click().await });
        clicked.unwrap_or_else(|error| panic!("{selector} is not clicked: {error}"));
    }

    /// Types into what a CSS selector finds first, as with [`Browser::click`].
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let typed = self.runtime.block_on(async { self.find(selector).await?.send_keys(text).await });
        typed.unwrap_or_else(|error| panic!("{selector} is not typed into: {error}"));
    }

    async fn find(&self, selector: &str) -> Result<Element, CmdError> {
        let (hosts, last) = selector.rsplit_once(" >>> ").unwrap_or(("", selector));
        let mut root = None;
        for host in hosts.split(" >>> ").filter(|host| !host.is_empty()) {
            root = Some(find_in(self.client(), root.as_ref(), host).await?.shadow_root().await?);
        }
        find_in(self.client(), root.as_ref(), last).await
    }

    /// Types into whatever has the focus.
    #[track_caller]
    pub(crate) fn type_text(&self, text: &str) {
        let typed = self.runtime.block_on(async { self.client().active_element().await?.send_keys(text).await });
        typed.unwrap_or_else(|error| panic!("nothing is typed into: {error}"));
    }

    /// Goes back, as with the button.
    #[track_caller]
    pub(crate) fn back(&self) {
        self.runtime.block_on(self.client().back()).expect("there is somewhere to go back to");
    }

    /// Loads the page again.
    #[track_caller]
    pub(crate) fn reload(&self) {
        self.runtime.block_on(self.client().refresh()).expect("the page opens");
    }

    /// Closes the tab, its page with it, and goes on in a new one.
    #[track_caller]
    pub(crate) fn close_tab(&self) {
        let closed = self.runtime.block_on(async {
            let fresh = self.client().new_window(true).await?;
            self.client().close_window().await?;
            self.client().switch_to_window(fresh.handle).await
        });
        closed.expect("a tab is closed");
    }

    /// Goes on in the tab that the page opens, and closes its own.
    #[track_caller]
    pub(crate) fn follow_new_tab(&self) {
        let opened = super::eventually("there is another tab", || {
            let (own, all) =
                self.runtime.block_on(async { (self.client().window().await, self.client().windows().await) });
            let own = own.expect("a tab");
            all.expect("tabs").into_iter().find(|tab| *tab != own)
        });
        let followed = self.runtime.block_on(async {
            self.client().close_window().await?;
            self.client().switch_to_window(opened).await
        });
        followed.expect("the tab is there");
    }

    /// From now on everything is found in the first frame of the page.
    #[track_caller]
    pub(crate) fn enter_frame(&self) {
        self.runtime.block_on(self.client().enter_frame(0)).expect("there is a frame");
    }

    /// What the address bar shows.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.runtime.block_on(self.client().current_url()).expect("an address").to_string()
    }

    /// From now on everything is found in the page itself again.
    #[track_caller]
    pub(crate) fn leave_frame(&self) {
        self.runtime.block_on(self.client().enter_parent_frame()).expect("there is a page around it");
    }

    /// What a function's body returns in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client().execute(script, Vec::new()))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The same, if the page is there and it does not fail.
    pub(crate) fn try_run(&self, script: &str) -> Option<Value> {
        self.runtime.block_on(self.client().execute(script, Vec::new())).ok()
    }

    /// The cookies that the page's server has set, those hidden from scripts too: name and value.
    #[track_caller]
    pub(crate) fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.runtime.block_on(self.client().get_all_cookies()).expect("cookies");
        cookies.into_iter().map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned())).collect()
    }

    /// The visitor that the tracker has made up for this browser, once it has.
    #[track_caller]
    pub(crate) fn visitor(&self) -> Option<String> {
        self.run("return localStorage.wb_v ?? null").as_str().map(str::to_owned)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("open until dropped")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser; killed before that, it would leave it behind.
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

async fn find_in(client: &Client, root: Option<&ShadowRoot>, selector: &str) -> Result<Element, CmdError> {
    match root {
        Some(root) => root.find(Locator::Css(selector)).await,
        None => client.find(Locator::Css(selector)).await,
    }
}

/// Starts a driver; returns the port that it has chosen. One that another program takes at the same moment ends at once,
/// and is started again.
fn start(program: &str, folder: &Path) -> (Child, u16) {
    for _ in 0..5 {
        let mut driver = Command::new(program)
            .arg("--port=0")
            // Firefox's profile is made by its driver, in the temporary folder.
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver is not found: run npm test, which installs it, or set CHROMEDRIVER");
        if let Some(port) = port_of(&mut driver) {
            return (driver, port);
        }
        let _ = driver.kill();
        let _ = driver.wait();
    }
    panic!("{program} does not say on which port it is");
}

/// The port that the driver says it has chosen.
fn port_of(driver: &mut Child) -> Option<u16> {
    let output = BufReader::new(driver.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        // Chromium's, Firefox's.
        let (_, rest) = line
            .rsplit_once("was started successfully on port ")
            .or_else(|| line.rsplit_once("Listening on 127.0.0.1:"))?;
        rest.trim_end_matches('.').parse().ok()
    });
    // Read on, so that the driver never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    port
}
