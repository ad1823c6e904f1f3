//! A real Chromium that a person is made to sit at, through WebDriver.
//!
//! What the driver clicks and types is trusted input, so it counts as a human's; that the page is visible does not,
//! because the browser says that it is under automation.

use super::instance::new_folder;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
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
        let named = |variable: &str, name: &str| std::env::var(variable).unwrap_or_else(|_| name.to_owned());
        let mut driver = Command::new(named("CHROMEDRIVER", "chromedriver"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is not found: run npm test, which installs it, or set CHROMEDRIVER");
        let port = port_of(&mut driver);
        let profile = new_folder();
        let mut args: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let mut options = json!({ "args": args });
        if let Ok(binary) = std::env::var("CHROMIUM") {
            options["binary"] = binary.into();
        }
        let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let session = builder.capabilities(capabilities);
        let client = runtime.block_on(session.connect(&format!("http://127.0.0.1:{port}")));
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                let _ = driver.kill();
                let _ = driver.wait();
                panic!("Chromium does not start: {error}");
            }
        };
        Browser { runtime, client: Some(client), driver, _profile: profile }
    }

    /// Opens an address and waits until the page is loaded.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).expect("the page opens");
    }

    /// Clicks on what a CSS selector finds first.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let clicked = self.runtime.block_on(async { self.client().find(Locator::Css(selector)).await?.click().await });
        clicked.unwrap_or_else(|error| panic!("{selector} is not clicked: {error}"));
    }

    /// Types into what a CSS selector finds first.
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let typed =
            self.runtime.block_on(async { self.client().find(Locator::Css(selector)).await?.send_keys(text).await });
        typed.unwrap_or_else(|error| panic!("{selector} is not typed into: {error}"));
    }

    /// What the address bar shows.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.runtime.block_on(self.client().current_url()).expect("an address").to_string()
    }

    /// What a function's body returns in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client().execute(script, Vec::new()))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
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

/// The port that the driver says it has chosen.
fn port_of(driver: &mut Child) -> u16 {
    let output = BufReader::new(driver.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let port = lines
        .find_map(|line| line.rsplit_once("was started successfully on port ")?.1.trim_end_matches('.').parse().ok());
    // Read on, so that the driver never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver says on which port it is")
}
