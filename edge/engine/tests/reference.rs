//! The reference suite of the scoring engine: every file in `tests/rules/` is read as `wingbeat test` reads it, and
//! every case must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use wingbeat_engine::cli::suite::Suite;
use wingbeat_engine::cli::verdict::judge;

#[test]
fn the_reference_suite_holds() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut cases, mut failures) = (0, Vec::new());
    for file in files {
        let suite = Suite::read(&file).unwrap_or_else(|trouble| panic!("{trouble}"));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for case in &suite.cases {
            cases += 1;
            assert!(!case.expect.is_empty(), "{name}: `{}` expects nothing", case.name);
            failures.extend(judge(&suite, case).into_iter().map(|f| {
                format!("{name}: {}: at {}: {}: expected {}, found {}", case.name, f.at, f.what, f.expected, f.found)
            }));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 200, "{cases} cases");
}
