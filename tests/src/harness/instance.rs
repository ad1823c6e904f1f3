//! One running Wingbeat: `node edge/ops/start.mjs`, what `npm start` runs, with a port and a state folder of its own.

use super::api::{Api, Tokens};
use super::wait::within;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The first start of a fresh clone compiles tools and the Worker: six minutes on two cores are allowed (README).
const START_WITHIN: Duration = Duration::from_secs(600);
const END_WITHIN: Duration = Duration::from_secs(20);
/// How much of an instance's output a failed test shows.
const LOG_SHOWN: usize = 4_000;

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    // Asked when the tests run, not when they are compiled: clones may share a target folder.
    let of_tests = || std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo test says where this crate is");
    std::env::var_os("WINGBEAT_ROOT").map_or_else(|| Path::new(&of_tests()).join(".."), PathBuf::from)
}

/// A running instance. Ends with this value, its processes and its data.
pub(crate) struct Instance {
    folder: TempDir,
    /// Variables of its environment.
    settings: Vec<(String, String)>,
    running: Option<Running>,
}

struct Running {
    command: Child,
    runtime: Pid,
    api: Api,
}

impl Instance {
    /// Starts one on an empty state folder.
    pub(crate) fn start() -> Instance {
        let mut instance = Instance { folder: new_folder(), settings: Vec::new(), running: None };
        instance.restart();
        instance
    }

    /// Starts one on an empty state folder with so many partitions. What it is started with later does not say.
    pub(crate) fn start_with_partitions(partitions: u16) -> Instance {
        let mut instance = Instance { folder: new_folder(), settings: Vec::new(), running: None };
        instance.launch(&[("PARTITIONS".to_owned(), partitions.to_string())]);
        instance
    }

    /// Starts one on an empty state folder whose deployment key is given: of two with one key, the same people have
    /// the same ids.
    pub(crate) fn start_with_key(key: &str) -> Instance {
        Instance::start_with(key, &[])
    }

    /// Starts one on an empty state folder with a deployment key and settings of its own.
    pub(crate) fn start_with(key: &str, settings: &[(&str, &str)]) -> Instance {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut instance = Instance { folder: new_folder(), settings, running: None };
        fs::create_dir(instance.state()).expect("the state folder is made");
        let secrets = serde_json::json!({ "DEPLOYMENT_KEY": key }).to_string();
        fs::write(instance.state().join("secrets.json"), secrets).expect("the key is written");
        instance.restart();
        instance
    }

    /// Starts again on the same state, once nothing runs any more.
    pub(crate) fn restart(&mut self) {
        self.launch(&self.settings.clone());
    }

    /// Starts again on the same state, with other settings.
    pub(crate) fn restart_with(&mut self, settings: &[(&str, &str)]) {
        self.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.restart();
    }

    fn launch(&mut self, settings: &[(String, String)]) {
        assert!(self.running.is_none(), "still running");
        // What a killed runtime left would be taken for the new one's.
        let _ = fs::remove_file(self.state().join("runtime.json"));
        let before = self.log().len();
        let mut command = spawn_with(&self.state(), &self.log_file(), settings);
        let started = within(START_WITHIN, || {
            if let Some(status) = command.try_wait().expect("the command can be asked") {
                panic!("the instance did not start ({status}):\n{}", self.log());
            }
            let about = fs::read(self.state().join("runtime.json")).ok()?;
            let about: Value = serde_json::from_slice(&about).ok()?;
            let runtime = about["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))?;
            let api = Api::new(about["port"].as_u64()?, tokens());
            let healthy = api.try_get("/healthz").is_ok_and(|answer| answer.status == 200);
            // The command looks for itself, and may find out after us.
            let told = self.log().get(before..).is_some_and(|log| log.contains(" is running "));
            (healthy && told).then_some((runtime, api))
        });
        match started {
            Some((runtime, api)) => self.running = Some(Running { command, runtime, api }),
            None => {
                end(&mut command);
                panic!("the instance does not answer:\n{}", self.log());
            }
        }
    }

    /// Its HTTP interfaces. A restart gives it another port.
    pub(crate) fn api(&self) -> &Api {
        &self.running.as_ref().expect("the instance runs").api
    }

    /// Kills the runtime as a crash would: at once, in the middle of whatever it is doing. Returns when it is dead.
    pub(crate) fn kill_9(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the instance runs");
        kill_process(running.runtime, Signal::KILL).expect("the runtime is killed");
        within(END_WITHIN, || running.command.try_wait().expect("the command can be asked"))
            .unwrap_or_else(|| panic!("the command goes on without its runtime:\n{}", self.log()))
    }

    /// Stops it as Ctrl+C does, and waits until it has ended.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        self.running.take().and_then(|mut running| end(&mut running.command))
    }

    /// Whether the runtime's process is there.
    pub(crate) fn runtime_lives(&self) -> bool {
        self.running.as_ref().is_some_and(|running| lives(running.runtime))
    }

    /// The runtime's process.
    pub(crate) fn runtime(&self) -> Pid {
        self.running.as_ref().expect("the instance runs").runtime
    }

    /// The folder of its durable state.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What it has written to the terminal.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(LOG_SHOWN);
            eprintln!("The instance wrote:\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

/// The instance that most tests share, started by the first that asks for it.
pub(crate) fn shared() -> &'static Api {
    static API: OnceLock<Api> = OnceLock::new();
    API.get_or_init(|| keep("shared", Instance::start()))
}

/// Keeps an instance under a name until the last test is over.
pub(crate) fn keep(name: &'static str, instance: Instance) -> Api {
    static AT_EXIT: Once = Once::new();
    let api = instance.api().clone();
    of_all().lock().unwrap_or_else(PoisonError::into_inner).insert(name, instance);
    // Statics are never dropped, and nothing but the end of the process tells that the last test is over.
    AT_EXIT.call_once(|| {
        // SAFETY: the handler unwinds into nobody, and the standard library that it uses is up while handlers run.
        unsafe { libc::atexit(end_kept) };
    });
    api
}

/// What the shared instance has written to the terminal.
pub(crate) fn shared_log() -> String {
    of_all().lock().unwrap_or_else(PoisonError::into_inner).get("shared").map(Instance::log).unwrap_or_default()
}

fn of_all() -> &'static Mutex<BTreeMap<&'static str, Instance>> {
    static INSTANCES: Mutex<BTreeMap<&'static str, Instance>> = Mutex::new(BTreeMap::new());
    &INSTANCES
}

extern "C" fn end_kept() {
    let _ = std::panic::catch_unwind(|| of_all().lock().unwrap_or_else(PoisonError::into_inner).clear());
}

/// Runs `npm start`'s command on a state folder.
pub(crate) fn spawn(state: &Path, log: &Path) -> Child {
    spawn_with(state, log, &[])
}

fn spawn_with(state: &Path, log: &Path, settings: &[(String, String)]) -> Child {
    let output = File::options().create(true).append(true).open(log).expect("the log opens");
    Command::new("node")
        .arg("edge/ops/start.mjs")
        .current_dir(root())
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .env("PORT", "0")
        .env("WINGBEAT_STATE", state)
        // It then ends when we do, however that happens, as it ends with npm.
        .env("npm_lifecycle_event", "start")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("the log is shared"))
        .stderr(output)
        .spawn()
        .expect("node runs")
}

/// Whether a process is there.
pub(crate) fn lives(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}

/// A folder that goes when the value goes.
pub(crate) fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("wingbeat-test-").tempdir().expect("a folder is made")
}

fn end(command: &mut Child) -> Option<ExitStatus> {
    if let Some(pid) = i32::try_from(command.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let ended = within(END_WITHIN, || command.try_wait().ok().flatten());
    if ended.is_none() {
        let _ = command.kill();
        let _ = command.wait();
    }
    ended
}

/// The tokens of `.dev.vars`, which every start reads, and the first makes.
fn tokens() -> Tokens {
    let text = fs::read_to_string(root().join(".dev.vars")).expect(".dev.vars is there");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_else(|| panic!(".dev.vars has no {name}"))
    };
    Tokens { admin: value("ADMIN_TOKEN"), currents: value("CURRENTS_TOKEN"), site: value("SITE_KEY") }
}
